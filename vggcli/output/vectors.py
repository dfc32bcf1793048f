"""Vectors as one array on disk, a row per input, and beside it their paths as lines.

    features.npy               (N, D), as NumPy reads it; a failed input is a row of NaN
    features.npy.paths.jsonl   N lines: path, status, and the error of a failed input
    features.npy.vgg.json      the settings, see `vggcli.output.sidecar`

A .safetensors file has the same three, and holds the array under the name "features".  The array's header says how many
rows are whole, and is written over after each, so that the file can be read at all times.  The lines are written last:
by them a run is gone on with.  A failed row that is tried again is written over at once and its line at the end: killed
in between, it is tried once more.  Of a Parquet file both parts are journals, which become the file when all is done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from vggcli.errors import OutputError, UsageError
from vggcli.output.array_file import HEADERS, TENSOR, ArrayFile, is_header
from vggcli.output.codec import RowCodec, RowPlace, path_of
from vggcli.output.lines import LineSink
from vggcli.output.resume import Lines, ResumableOutput, check_contradiction, open_resumable
from vggcli.output.stream import Stream, check_file, in_plain_words, is_regular, is_stdout, open_file
from vggcli.records import Embedding

if TYPE_CHECKING:
    import pyarrow as pa

    from vggcli.output.sidecar import RunSettings

FORMATS = ("npy", "safetensors", "parquet")
_BLOCK_BYTES = 1 << 20


def vector_format(output: Path | None) -> str:
    """The format of a file of vectors, by its ending.

    Raises:
        UsageError: no file, an ending that names none, or something that cannot be written at two places.
    """
    known = ", ".join(f".{name}" for name in FORMATS)
    if output is None or is_stdout(output):
        why = "the header of an array is written last"
        raise UsageError("cannot write vectors to", "standard output", why, f"Name a file with -o, ending in {known}")
    format = output.suffix.lower().removeprefix(".")
    if format not in FORMATS:
        raise UsageError("no format for", str(output), f"its ending is none of {known}", "Name another output with -o")
    if not is_regular(output):
        raise UsageError("cannot write vectors to", str(output), "it is no regular file", "Name another output with -o")
    return format


def paths_path(array: Path) -> Path:
    """The lines beside an array."""
    return array.with_name(array.name + ".paths.jsonl")


def companions(output: Path) -> tuple[Path, ...]:
    """What a run may write beside an output, but for the sidecar."""
    spool = _spool_path(output)
    return (spool, paths_path(spool)) if vector_format(output) == "parquet" else (paths_path(output),)


def _spool_path(output: Path) -> Path:
    return output.with_name(output.name + ".journal.npy")


class VectorCodec(RowCodec[Embedding]):
    """What is written of a vector as a line, and in Parquet the vector itself.

    Args:
        dimensions: of every vector.
        dtype: float16 or float32.
    """

    kind = "vectors"
    columns = ("path", "error")
    text_columns = frozenset(columns)
    formats = ()

    def __init__(self, dimensions: int, dtype: np.dtype[Any]) -> None:
        self.dimensions, self.dtype = dimensions, dtype
        self.row_bytes = dimensions * dtype.itemsize

    def row(self, record: Embedding) -> bytes:
        """The row of the array.

        Raises:
            ValueError: neither a vector of this form nor a failure.
        """
        if record.vector is None:
            return np.full(self.dimensions, np.nan, self.dtype).tobytes()
        if record.failure is not None or (record.vector.shape, record.vector.dtype) != ((self.dimensions,), self.dtype):
            raise ValueError(f"record of {record.path!r} is not a vector of {self.dimensions}, {self.dtype}")
        return record.vector.tobytes()

    def rows(self, record: Embedding) -> list[tuple[str, ...]]:
        return [(path_of(record), "" if record.failure is None else str(record.failure))]

    def place(self, row: Sequence[str]) -> RowPlace:
        path, error = row
        return RowPlace(path, 1, is_last=True, failed=error != "")

    def to_json(self, record: Embedding) -> dict[str, Any]:
        fields: dict[str, Any] = {"path": path_of(record), "status": "ok" if record.failure is None else "error"}
        if record.failure is not None:
            fields["error"] = {"kind": record.failure.kind, "message": record.failure.message}
        return fields

    def schema(self) -> pa.Schema:
        import pyarrow as pa

        value = pa.float16() if self.dtype.itemsize == 2 else pa.float32()
        error = [pa.field(name, pa.string(), nullable=False) for name in ("kind", "message")]
        return pa.schema(
            [
                pa.field("path", pa.string(), nullable=False),
                pa.field("status", pa.string(), nullable=False),
                pa.field("error", pa.struct(error)),
                pa.field(TENSOR, pa.list_(pa.field("element", value, nullable=False), self.dimensions), nullable=False),
            ]
        )


class VectorSink(LineSink[Embedding]):
    """Writes the rows of the array, and behind each its line.

    Args:
        codec: of the records.
        lines: where the lines go.
        array: where the rows go.
        finish: called when both are closed at the end of a run.
    """

    def __init__(self, codec: VectorCodec, lines: Stream, array: ArrayFile, finish: Callable[[], None]) -> None:
        super().__init__("jsonl", codec, lines)
        self._vectors, self._array, self._finish = codec, array, finish

    def write(self, record: Embedding) -> None:
        """Write one record; see `Stream.write` for the errors."""
        self._array.append(self._vectors.row(record))
        try:
            super().write(record)
        except BaseException:  # a full disk: the array has no row without a line
            self._array.cut(self._array.count - 1)
            raise

    def write_again(self, number: int, record: Embedding) -> bytes:
        """Write over the row of a failed input; see `LineSink.write_again`."""
        self._array.put(number, self._vectors.row(record))
        return self.encode(record)

    def cut(self, size: int, count: int) -> None:
        """Drop everything behind the first records, see `LineSink.cut`."""
        super().cut(size, count)
        self._array.cut(count)

    def close(self, settings: RunSettings | None = None) -> None:
        """Finish: of Parquet, make the file."""
        self._array.stream.check_is_in_place()
        self._array.stream.close()
        super().close(settings)
        self._finish()

    def suspend(self) -> None:
        """Leave off in the middle of a run, with every record written so far in place."""
        self._array.stream.close()
        super().suspend()


def open_vectors(
    output: Path,
    codec: VectorCodec,
    settings: RunSettings,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> ResumableOutput[Embedding]:
    """Open a file of vectors, before the first image is read.

    Args:
        output: its ending is the format.
        codec: of the records.
        settings: of this run.
        resume: go on with what an earlier run left there; start as usual where it left nothing.
        overwrite: replace what is there.

    Raises:
        UsageError: as `open_output`, or what is there is not what this tool wrote.
        OutputError: the path cannot be written.
    """
    check_contradiction(resume=resume, overwrite=overwrite)
    format, target = vector_format(output), Path(os.path.realpath(output))
    if target.is_dir():
        raise OutputError("cannot write", str(output), "is a directory", "Name a file with -o")
    is_parquet = format == "parquet"
    array = _spool_path(target) if is_parquet else target
    lines = paths_path(array)
    for path in (array, lines):  # so that neither is begun where the other is in the way
        check_file(path, replace=resume or overwrite)
    if is_parquet:
        from vggcli.output import vector_tables

        vector_tables.check(target, output, replace=resume or overwrite)

    def header(count: int) -> bytes:
        return HEADERS[format](count, codec.dimensions, codec.dtype)

    def open_sink(overwrite: bool, resume: bool) -> VectorSink:
        stream = open_file(array, overwrite=overwrite, resume=resume, follow_links=not is_parquet)
        try:
            if resume and not is_header(array, header):
                raise _cannot_resume(output, "its header is not one that this run would write")
            rows = ArrayFile(stream, header, codec.row_bytes)
            if resume:
                _cut_lines(lines, rows.count)
            line_stream = open_file(lines, overwrite=overwrite, resume=resume, follow_links=False)
        except BaseException:
            stream.close()
            raise
        return VectorSink(codec, line_stream, rows, finish)

    def finish() -> None:
        if is_parquet:
            vector_tables.convert(codec, array, lines, target)
            lines.unlink()
            array.unlink()

    def restore() -> None:
        if is_parquet:
            vector_tables.restore(codec, target, array, header, lines)
        else:
            raise _cannot_resume(output, f"its paths are not beside it, in {lines.name}")

    steps = Lines(lines, "jsonl", open_sink, restore)
    return open_resumable(format, output, codec, settings, steps, resume=resume, overwrite=overwrite)


def _cut_lines(lines: Path, count: int) -> None:
    """Drop the lines behind the last row: after a power cut either file may be ahead of the other."""
    with in_plain_words(lines), lines.open("r+b") as file:
        end = _end_of_lines(file, count)
        if end is not None:
            file.truncate(end)


def _end_of_lines(file: BinaryIO, count: int) -> int | None:
    """Where the first `count` lines end; None where there are no more."""
    end = 0
    while block := file.read(_BLOCK_BYTES):
        found = block.count(b"\n")
        if found >= count:
            place = 0
            for _ in range(count):
                place = block.index(b"\n", place) + 1
            return end + place
        count -= found
        end += len(block)
    return None


def _cannot_resume(output: Path, why: str) -> UsageError:
    return UsageError("cannot resume", str(output), why, "Start anew with --overwrite")
