"""The inputs of a run cut into blocks, each kept in a file of its own: what a run means is settled once.

A folder that changes while a cluster reads it neither loses nor doubles a row, and a resumed run means the same inputs.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from itertools import islice

from vggcli.errors import UsageError
from vggcli.images.discover import STDIN, Input
from vggcli.json_reader import parse_json, shown
from vggcli.scale.storage import Storage, read, write_bytes

DEFAULT_BLOCK_SIZE = 2000
FOLDER = "blocks"
_END = f"{FOLDER}/end.json"
_MOST_BYTES = 256 << 20  # of one block's file: 2,000 paths of the longest kind have 16 MB
_TICK_SECONDS = 0.5


def block_name(number: int) -> str:
    """The file that holds the inputs of a block."""
    return f"{FOLDER}/{number:08}.jsonl"


def write_block(storage: Storage, number: int, items: list[Input]) -> None:
    """Keep the inputs of a block."""
    write_bytes(storage, block_name(number), b"".join(map(_line, items)))


def read_block(storage: Storage, number: int) -> list[Input]:
    """The inputs of a block; FileNotFoundError where there is no such block.

    Raises:
        UsageError: its file is not one that this tool wrote.
    """
    try:
        return [_input(line) for line in read(storage, block_name(number), _MOST_BYTES).splitlines()]
    except (ValueError, KeyError, TypeError) as error:
        where = f"{storage.where}/{block_name(number)}"
        raise UsageError("cannot read", where, "it is not one that this tool wrote", "Start anew") from error


def kept_blocks(storage: Storage) -> tuple[int, int] | None:
    """How many blocks and inputs a run has, once it has found all; None until then.

    Raises:
        UsageError: the file that says so is not one that this tool wrote.
    """
    try:
        end = parse_json(read(storage, _END))
        return int(end["blocks"]), int(end["inputs"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        where = f"{storage.where}/{_END}"
        raise UsageError("cannot read", where, "it is not one that this tool wrote", "Start anew") from error


def _line(item: Input) -> bytes:
    # ASCII: the bytes of a path that are no UTF-8 are lone surrogates, which JSON escapes.
    return json.dumps([item.path, item.given], separators=(",", ":")).encode() + b"\n"


def _input(line: bytes) -> Input:
    path, given = parse_json(line)
    if not (isinstance(path, str) and isinstance(given, bool)):
        raise TypeError("a path and whether it was named")
    return Input(path, given)


class Spooler:
    """Walks the inputs once, in a thread of its own, and keeps them block by block.

    Args:
        storage: where the blocks go; those that an earlier run has kept there are held against the inputs.
        found: every input, in order; not looked at where the earlier run has seen the last one.
        size: inputs per block.

    Attributes:
        blocks: kept so far.
        inputs: in them.
        is_done: no more will come; also after an error.
        error: what ended it early.
    """

    def __init__(self, storage: Storage, found: Iterator[Input], size: int) -> None:
        self._storage, self._found, self._size = storage, found, size
        self._changed = threading.Condition()
        self._is_stopped = False
        self.blocks = self.inputs = 0
        self.is_done = False
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin to walk."""
        threading.Thread(target=self._run, name="vggcli", daemon=True).start()

    def stop(self) -> None:
        """Walk no further."""
        self._is_stopped = True

    def wait(self, blocks: int) -> None:
        """Until so many blocks are kept, or all."""
        with self._changed:
            while self.blocks < blocks and not self.is_done and not self._is_stopped:
                self._changed.wait(_TICK_SECONDS)

    def _run(self) -> None:
        try:
            if not self._recall():
                self._walk()
        except BaseException as error:
            self.error = error
        with self._changed:
            self.is_done = True
            self._changed.notify_all()

    def _recall(self) -> bool:
        """Whether an earlier run has seen all inputs; then they are what it saw."""
        end = kept_blocks(self._storage)
        if end is None:
            return False
        self._count(*end)
        return True

    def _walk(self) -> None:
        recalls = True
        while not self._is_stopped:
            items = list(islice(self._found, self._size))
            if recalls:
                recalls = self._is_kept(self.blocks, items)
            if not items:
                break
            _check(items)
            if not recalls:
                write_block(self._storage, self.blocks, items)
            self._count(1, len(items))
        if not self._is_stopped:
            end = {"blocks": self.blocks, "inputs": self.inputs}
            write_bytes(self._storage, _END, json.dumps(end).encode())

    def _is_kept(self, number: int, items: list[Input]) -> bool:
        """Whether an earlier run has kept this block.

        Raises:
            UsageError: it kept other inputs.
        """
        try:
            kept = read_block(self._storage, number)
        except FileNotFoundError:
            return False
        for at, old in enumerate(kept):
            new = items[at] if at < len(items) else None
            if new is None or new.path != old.path:
                now = f"this run's is {shown(new.path)}" if new else "this run has fewer"
                raise UsageError(
                    "cannot resume",
                    self._storage.where,
                    f"its input {number * self._size + at + 1} is {shown(old.path)}, {now}, and it was interrupted "
                    "before all had been found",
                    "Name the same inputs in the same order, or start anew with --overwrite",
                )
        if len(kept) < len(items):  # the last block of a walk that was killed just before it said so
            write_block(self._storage, number, items)
        return True

    def _count(self, blocks: int, inputs: int) -> None:
        with self._changed:
            self.blocks, self.inputs = self.blocks + blocks, self.inputs + inputs
            self._changed.notify_all()


def _check(items: list[Input]) -> None:
    for item in items:
        if item.is_stdin or item.path is None:
            why = "the nodes of a cluster cannot read it"
            raise UsageError("cannot take", item.path or STDIN, why, "Put the image into a file")
