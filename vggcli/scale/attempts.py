"""Which blocks were begun, kept beside the shards: a process that dies over an image leaves a trace of it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator
from types import TracebackType

from vggcli.images.item import Input
from vggcli.scale.storage import Folder, Storage, has, write_bytes

FOLDER = "attempts"
MOST_DEATHS = 2  # on one block, after which each of its inputs is read in a child process


def _name(number: int, attempt: int) -> str:
    return f"{FOLDER}/{number:08}-{attempt}.jsonl"


class Attempt:
    """One try at a block, as a context: what is left of it afterwards says that the process died.

    The file has a line about the process, and, where many small writes cost little, a line for each input as it is
    begun: the last ones are those that were being read at the end.

    Args:
        storage: of the run.
        number: of the block.

    Attributes:
        deaths: tries before this one that never ended.
    """

    def __init__(self, storage: Storage, number: int) -> None:
        self._storage, self._number = storage, number
        self._descriptor: int | None = None
        self.deaths = 0

    def __enter__(self) -> Attempt:
        while self.deaths < MOST_DEATHS and has(self._storage, _name(self._number, self.deaths + 1)):
            self.deaths += 1
        name = _name(self._number, self.deaths + 1)
        who = {"block": self._number, "host": platform.node(), "process": os.getpid()}
        write_bytes(self._storage, name, json.dumps(who).encode() + b"\n")
        if isinstance(self._storage, Folder):
            self._descriptor = os.open(self._storage.path / name, os.O_WRONLY | os.O_APPEND)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        # Done, or failed in good order: either way nobody died, and what is known of earlier deaths has served.
        first = self.deaths + 1 if error is not None else 1
        for attempt in range(first, self.deaths + 2):
            self._storage.remove(_name(self._number, attempt))

    def begun(self, items: Iterable[Input]) -> Iterator[Input]:
        """The same inputs, each noted when it is taken."""
        for item in items:
            if self._descriptor is not None:
                os.write(self._descriptor, json.dumps(item.path).encode() + b"\n")
            yield item
