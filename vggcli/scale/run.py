"""One run over a cluster, from the driver's side: what is spooled, what is done, what comes next."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import Protocol

from vggcli.engines.devices import first_line
from vggcli.errors import StoppedError, VggError
from vggcli.scale.actors import Refusal
from vggcli.scale.blocks import Spooler, kept_blocks
from vggcli.scale.nodes import as_error
from vggcli.scale.notes import Note, Shards, whole
from vggcli.scale.storage import Storage

_log = logging.getLogger("vggcli")
_READERS = 32  # notes that are read at the same time: from a bucket each takes as long as a reply does
_READ_AT_ONCE = 4096
_MOST_REFUSALS = 3  # of one block
_MOST_IDLE_WAVES = 3  # that end early without a single block done
_RESUME = "The same command with --resume goes on"


class Wave(Protocol):
    """Does blocks; see `waves.outcomes`."""

    def __call__(self, numbers: Sequence[int]) -> Iterator[Note | Refusal]: ...


class ClusterRun:
    """All blocks of a run, wave by wave.

    Args:
        storage: of the run.
        spooler: started; it may be far from its end.
        format: of the shards.
        wave: does blocks.
        first: blocks that are waited for before a wave begins.
        most: blocks of a wave.

    Attributes:
        shards: what is finished, kept ones included.
        kept: rows of an earlier run that stay as they are.
    """

    def __init__(self, storage: Storage, spooler: Spooler, format: str, wave: Wave, *, first: int, most: int) -> None:
        self._storage, self._spooler, self._format, self._wave = storage, spooler, format, wave
        self._first, self._most = first, most
        self._next = 0  # block that has not been given out yet
        self._again: deque[int] = deque()
        self._refusals: Counter[int] = Counter()
        self._refused = 0  # one after the other
        self._stopped = threading.Event()
        self.shards = Shards()
        self.kept = 0

    def keep(self) -> None:
        """Take over what an earlier run has finished: shards that are whole and without failures."""
        end = kept_blocks(self._storage)
        with ThreadPoolExecutor(_READERS) as readers:
            for start in count(0, _READ_AT_ONCE):
                numbers = range(start, start + _READ_AT_ONCE if end is None else min(start + _READ_AT_ONCE, end[0]))
                notes = [note for note in readers.map(self._whole, numbers) if note is not None]
                for note in notes:
                    if not note.failures and self.shards.add(note):
                        self.kept += note.rows
                if not (notes or end) or not numbers:
                    return

    def _whole(self, number: int) -> Note | None:
        return whole(self._storage, number, self._format)

    def stop(self) -> None:
        """Give out no more blocks."""
        self._stopped.set()
        self._spooler.stop()

    def notes(self) -> Iterator[Note]:
        """Do every block that is not finished; what each gave, as they come.

        Raises:
            VggError: nodes refuse to do blocks, or the cluster fails again and again.
        """
        idle = 0
        while numbers := self._take():
            before = self.shards.finished
            todo = set(numbers)
            try:
                for outcome in self._wave(numbers):
                    todo.discard(outcome.block)
                    if isinstance(outcome, Refusal):
                        self._refuse(outcome)
                    elif self.shards.add(outcome):
                        self._refused = 0
                        yield outcome
                    if self._stopped.is_set():
                        return
            except VggError:
                raise
            except Exception as error:  # of Ray, which has many
                idle = 0 if self.shards.finished > before else idle + 1
                why = first_line(error)
                if idle >= _MOST_IDLE_WAVES:
                    raise StoppedError("stopped", "", f"the Ray cluster does no work ({why})", _RESUME) from error
                _log.info("the cluster failed, %d blocks are given out again: %s", len(todo), why)
            self._again.extend(sorted(todo))
        if self._spooler.error is not None:
            raise self._spooler.error

    def _take(self) -> list[int]:
        """The blocks of the next wave; none when there are no more."""
        self._spooler.wait(self._next + self._first)
        numbers: list[int] = []
        while self._again and len(numbers) < self._most:
            numbers.append(self._again.popleft())
        while not self._stopped.is_set() and not self._spooler.error and len(numbers) < self._most:
            new = range(self._next, self._spooler.blocks)
            if not new:
                if numbers or self._spooler.is_done:
                    break
                self._spooler.wait(self._next + 1)
                continue
            room = self._most - len(numbers)
            numbers += islice((number for number in self._passed(new) if not self.shards.is_finished(number)), room)
        return [] if self._stopped.is_set() else numbers

    def _passed(self, numbers: Sequence[int]) -> Iterator[int]:
        for number in numbers:
            self._next = number + 1
            yield number

    def _refuse(self, refusal: Refusal) -> None:
        self._refused += 1
        self._refusals[refusal.block] += 1
        error = as_error(refusal.error, refusal.arguments, refusal.node)
        if self._refusals[refusal.block] >= _MOST_REFUSALS or self._refused >= max(_MOST_REFUSALS, self._first):
            raise error
        _log.info("block %d is given out again: %s", refusal.block, error)
        self._again.append(refusal.block)


def counts(spooler: Spooler, is_over: Callable[[], bool]) -> Iterator[int]:
    """The number of inputs found so far; ends when all are, or when it `is_over`."""
    seen = 0
    while not spooler.is_done and not is_over():
        yield spooler.inputs
        seen += 1
        spooler.wait(spooler.blocks + 1)
    yield spooler.inputs
