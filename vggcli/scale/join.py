"""One file of the shards of a finished run, in input order, each held against its note."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vggcli import files
from vggcli.errors import StoppedError, UsageError
from vggcli.output.formats import FOR_PROGRAMS, Format
from vggcli.output.lines import header
from vggcli.output.parquet import read_lines, write_parquet
from vggcli.output.predictions import PredictionCodec
from vggcli.output.stream import in_plain_words, is_regular, is_stdout, open_file, open_stdout
from vggcli.scale import directory
from vggcli.scale.blocks import kept_blocks
from vggcli.scale.notes import Note, read_note, shard_name
from vggcli.scale.storage import Storage, has

_COPY_BYTES = 1 << 20
_UNFINISHED = "Run the command that made it again with --resume"


class Joined:
    """The rows of all shards.

    Args:
        storage: of the run.

    Attributes:
        format: of the shards.
        blocks: how many there are.
        rows, failed: what has been read of them.

    Raises:
        UsageError: there is no run, or one that is not finished.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        settings = directory.read_settings(storage)
        if settings is None:
            raise UsageError("cannot join", storage.where, "there is no run in it", "Name the folder of -o with --ray")
        end = kept_blocks(storage)
        if end is None or not has(storage, directory.MANIFEST):
            raise UsageError("cannot join", storage.where, "the run in it is not finished", _UNFINISHED)
        try:
            self.format: Format = next(format for format in FOR_PROGRAMS if format == settings["format"])
            self._codec = PredictionCodec(int(settings["top_k"]), float(settings.get("min_prob", 0.0)))
        except (StopIteration, KeyError, TypeError, ValueError) as error:
            why = f"its {directory.SETTINGS} is not one that this tool wrote"
            raise UsageError("cannot join", storage.where, why, "Start anew") from error
        self.blocks = end[0]
        self.rows = self.failed = 0

    def write(self, format: Format, output: Path | None) -> None:
        """Write them; a regular file is in its place when it is whole.

        Args:
            format: that of the shards, or jsonl of parquet, or parquet of jsonl.
            output: None for standard output.

        Raises:
            UsageError: another format, pyarrow is missing, or a file that exists (see `stream.check_file`).
            StoppedError: a shard is not what its note says.
            OutputError: no room, an input/output error.
        """
        if format != self.format and {format, self.format} != {"jsonl", "parquet"}:
            step = f"Choose {self.format} with -f, or an ending that says so"
            raise UsageError("cannot join as", format, f"the shards are {self.format}", step)
        if output is None or is_stdout(output) or not is_regular(output):
            stream = open_stdout() if output is None or is_stdout(output) else open_file(output)
            for data in self._pieces(format):
                stream.write(data)
            stream.close()
            return
        with in_plain_words(output):
            files.replace_file(output, lambda file: self._write_to(file, format))

    def _write_to(self, file: BinaryIO, format: Format) -> None:
        if format == "parquet":
            write_parquet(self._codec, self._lines(), file)
        else:
            for data in self._pieces(format):
                file.write(data)

    def _pieces(self, format: Format) -> Iterator[bytes]:
        """The bytes of a file of lines."""
        if self.format == "parquet":
            yield from self._lines()
            return
        head = header(format, self._codec)
        yield head
        for note in self._notes():
            with self._storage.open(shard_name(note.block, self.format)) as shard:
                self._check(note, shard)
                shard.seek(len(head))
                while block := shard.read(_COPY_BYTES):
                    yield block

    def _lines(self) -> Iterator[bytes]:
        """The lines of JSON of all shards."""
        for note in self._notes():
            name = shard_name(note.block, self.format)
            with self._storage.open(name) as shard:
                self._check(note, shard)
                if self.format == "parquet":
                    yield from read_lines(self._codec, shard, name)
                else:
                    yield from shard

    def _notes(self) -> Iterator[Note]:
        for number in range(self.blocks):
            note = read_note(self._storage, number)
            if note is None:
                raise self._damaged(number, "it has no note")
            self.rows, self.failed = self.rows + note.rows, self.failed + note.failed
            yield note

    def _check(self, note: Note, shard: BinaryIO) -> None:
        sha256 = hashlib.sha256()
        while block := shard.read(_COPY_BYTES):
            sha256.update(block)
        if sha256.hexdigest() != note.sha256:
            raise self._damaged(note.block, "its SHA-256 is not that of its note")
        shard.seek(0)

    def _damaged(self, number: int, why: str) -> StoppedError:
        where = f"{self._storage.where}/{shard_name(number, self.format)}"
        return StoppedError("cannot join", where, why, f"Remove that shard. {_UNFINISHED}")
