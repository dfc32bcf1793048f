"""One block's records as one file, put in its place when it is whole, with a note beside it."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from vggcli.errors import UsageError
from vggcli.images.access import Access
from vggcli.images.item import Input
from vggcli.output.codec import RowCodec
from vggcli.output.lines import ENCODERS, header
from vggcli.output.parquet import read_lines, write_parquet
from vggcli.output.readback import header_end, read_back
from vggcli.records import Record
from vggcli.scale.blocks import Block
from vggcli.scale.notes import Note, shard_name, whole, write_note
from vggcli.scale.storage import Storage

Classify = Callable[[Iterable[Input]], Iterable[Record]]
_COPY_BYTES = 1 << 20


class _Hashed:
    """A file that is written from its beginning to its end, and the SHA-256 of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._sha256 = file, hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._file.write(data)
        self._sha256.update(data)
        count = memoryview(data).nbytes
        self.size += count
        return count

    def flush(self) -> None:
        self._file.flush()

    def tell(self) -> int:
        return self.size

    def close(self) -> None:
        """It belongs to somebody else."""

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


class ShardWriter:
    """Writes the shards of one run.

    Args:
        storage: where they go.
        format: "jsonl", "csv", "tsv" or "parquet".
        codec: of the records.
        run: the name of this run, see `Note`.
        retries: whether failures in shards of earlier runs are tried again.
    """

    def __init__(self, storage: Storage, format: str, codec: RowCodec[Record], run: str, *, retries: bool) -> None:
        self._storage, self._format, self._codec, self._run, self._retries = storage, format, codec, run, retries
        self._line_format = "jsonl" if format == "parquet" else format

    def write(self, number: int, block: Block, classify: Classify, access: Access | None = None) -> Note:
        """Classify a block, unless its shard is whole, and put its shard and its note in their places.

        Args:
            number: of the block.
            block: its inputs; of an archive with failures all are classified again.
            classify: one record for each input, in order.
            access: how an archive is read.

        Raises:
            OutputError: the shard cannot be written.  What `classify` raises goes through, and nothing is left.
        """
        old = whole(self._storage, number, self._format)
        if old is not None and (old.run == self._run or not old.failures or not self._retries):
            return old
        failures: Counter[str] = Counter()
        taken = rows = 0

        def counted(items: Iterable[Input]) -> Iterator[Input]:
            nonlocal taken
            for item in items:
                taken += 1
                yield item

        def lines(records: Iterable[Record]) -> Iterator[bytes]:
            nonlocal rows
            for record in records:
                rows += 1
                failures.update([record.failure.kind] if record.failure else [])
                yield ENCODERS[self._line_format](self._codec, record)

        kept = None if old is None or block.is_archive else self._kept(old, block.items)
        if kept is None:
            every = lines(classify(counted(block.inputs(access or Access()))))
        else:
            failed = [item for item, line in zip(block.items, kept, strict=True) if line is None]
            taken = rows = len(block.items) - len(failed)
            again = lines(classify(counted(failed)))
            every = (next(again) if line is None else line for line in kept)
        size, sha256 = self._put(number, every)
        if rows != taken:
            raise RuntimeError(f"block {number} has {taken} inputs and {rows} records")
        note = Note(number, rows, size, sha256, dict(failures), self._run)
        write_note(self._storage, note)
        return note

    def _put(self, number: int, lines: Iterable[bytes]) -> tuple[int, str]:
        """The shard in its place: its size and SHA-256."""
        found: list[tuple[int, str]] = []

        def write(file: BinaryIO) -> None:
            hashed = _Hashed(file)
            if self._format == "parquet":
                with tempfile.TemporaryFile() as spooled:
                    spooled.writelines(lines)  # records come in their time, and Parquet takes them in groups
                    spooled.seek(0)
                    write_parquet(self._codec, spooled, hashed)
            else:
                hashed.write(header(self._format, self._codec))
                for line in lines:
                    hashed.write(line)
            found.append((hashed.size, hashed.sha256))

        self._storage.write(shard_name(number, self._format), write)
        return found[-1]

    def _kept(self, old: Note, items: Sequence[Input]) -> list[bytes | None] | None:
        """The lines of a shard, None for each failure; None at all where it does not hold just these inputs."""
        lines: list[bytes | None] = []
        try:
            with tempfile.TemporaryFile() as file:
                self._copy(old, file)
                start = header_end(file, self._line_format, self._codec, "")
                places = list(read_back(file, self._line_format, self._codec, ""))
                if [place.path for place in places] != [item.path for item in items]:
                    return None
                file.seek(start)
                for place in places:
                    line = file.read(place.end - place.start)
                    lines.append(None if place.failed else line)
        except (UsageError, ValueError):
            return None
        return lines

    def _copy(self, note: Note, target: BinaryIO) -> None:
        """The lines of a shard; ValueError where it has not the bytes that its note says."""
        with self._storage.open(shard_name(note.block, self._format)) as source:
            if self._format == "parquet":
                target.writelines(read_lines(self._codec, source, shard_name(note.block, self._format)))
            else:
                sha256 = hashlib.sha256()
                while block := source.read(_COPY_BYTES):
                    sha256.update(block)
                    target.write(block)
                if sha256.hexdigest() != note.sha256:
                    raise ValueError("other bytes")
        target.seek(0)
