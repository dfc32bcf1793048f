"""The inputs of a run cut into blocks, each kept in a file of its own: what a run means is settled once.

A folder that changes while a cluster reads it neither loses nor doubles a row, and a resumed run means the same inputs.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vggcli.errors import UsageError
from vggcli.images.access import Access
from vggcli.images.discover import STDIN
from vggcli.images.item import Archive, Input, Skipped
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


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive inputs, which become one shard.

    Attributes:
        items: the inputs; or one archive, which stands for the images in it and is opened where the block is done.
    """

    items: tuple[Input, ...]

    @property
    def is_archive(self) -> bool:
        """Whether its inputs are known to whoever opens the archive alone."""
        return len(self.items) == 1 and isinstance(self.items[0], Archive)

    def inputs(self, access: Access) -> Iterator[Input]:
        """Its inputs, in order; an archive is opened for them."""
        if not self.is_archive:
            yield from self.items
            return
        from vggcli.images import sources

        yield from sources.members(self.items[0], access, Skipped())


def cut(found: Iterable[Input], size: int) -> Iterator[Block]:
    """Inputs as blocks of so many; an archive is one by itself.

    Raises:
        UsageError: one of them cannot be kept in a file.
    """
    items: list[Input] = []
    for item in found:
        _check(item)
        if items and (len(items) == size or isinstance(item, Archive)):
            yield Block(tuple(items))
            items.clear()
        if isinstance(item, Archive):
            yield Block((item,))
        else:
            items.append(item)
    if items:
        yield Block(tuple(items))


def _check(item: Input) -> None:
    if item.is_stdin or item.path is None:
        why = "the nodes of a cluster cannot read it"
        raise UsageError("cannot take", item.path or STDIN, why, "Put the image into a file")
    if item.secret is not None:
        why = "its credentials would be kept in a file of the run"
        raise UsageError("cannot take", item.path, why, "Give them to the nodes by their environment")


def write_block(storage: Storage, number: int, block: Block) -> None:
    """Keep a block."""
    write_bytes(storage, block_name(number), b"".join(map(_line, block.items)))


def read_block(storage: Storage, number: int) -> Block:
    """A kept block; FileNotFoundError where there is no such block.

    Raises:
        UsageError: its file is not one that this tool wrote.
    """
    try:
        return Block(tuple(map(_input, read(storage, block_name(number), _MOST_BYTES).splitlines())))
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
    fields = [item.path, item.given, *(["archive"] if isinstance(item, Archive) else [])]
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _input(line: bytes) -> Input:
    path, given, *kind = parse_json(line)
    if not (isinstance(path, str) and isinstance(given, bool)):
        raise TypeError("a path and whether it was named")
    return Archive(path, given) if kind == ["archive"] else Input(path, given)


class Spooler:
    """Walks the inputs once, in a thread of its own, and keeps them block by block.

    Args:
        storage: where the blocks go; those that an earlier run has kept there are held against the inputs.
        found: every input, in order; not looked at where the earlier run has seen the last one.
        size: inputs per block.

    Attributes:
        blocks: kept so far.
        inputs: in them; archives are not opened for their number.
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
        blocks = cut(self._found, self._size)
        while not self._is_stopped:
            block = next(blocks, None)
            recalls = recalls and self._is_kept(self.blocks, block)
            if block is None:
                end = {"blocks": self.blocks, "inputs": self.inputs}
                write_bytes(self._storage, _END, json.dumps(end).encode())
                return
            if not recalls:
                write_block(self._storage, self.blocks, block)
            self._count(1, 0 if block.is_archive else len(block.items))

    def _is_kept(self, number: int, block: Block | None) -> bool:
        """Whether an earlier run has kept this block.

        Raises:
            UsageError: it kept another one.
        """
        try:
            kept = read_block(self._storage, number)
        except FileNotFoundError:
            return False
        new: tuple[Input, ...] = block.items if block else ()
        for at in range(max(len(kept.items), len(new))):
            before, now = (items[at].path if at < len(items) else None for items in (kept.items, new))
            if before != now:
                was, found = ("none" if path is None else shown(path) for path in (before, now))
                why = f"input {at + 1} of its block {number} is {was}, this run's is {found}"
                step = "Name the same inputs in the same order, or start anew with --overwrite"
                why += ", and it was interrupted before all had been found"
                raise UsageError("cannot resume", self._storage.where, why, step)
        return True

    def _count(self, blocks: int, inputs: int) -> None:
        with self._changed:
            self.blocks, self.inputs = self.blocks + blocks, self.inputs + inputs
            self._changed.notify_all()
