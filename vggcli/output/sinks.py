"""Record writers: a table for people; tsv, csv, jsonl and parquet for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from vggcli.output.codec import R, RowCodec
from vggcli.output.stream import is_stdout, open_file, open_stdout

if TYPE_CHECKING:
    from vggcli.output.sidecar import RunSettings

R_contra = TypeVar("R_contra", contravariant=True)


class Sink(Protocol[R_contra]):
    """Takes the records of a run, in input order, each handed to the operating system before `write` returns."""

    def write(self, record: R_contra, /) -> None:
        """Write one whole record.

        Raises:
            BrokenPipeError: nobody reads any more.
            OutputError: no room, an input/output error; the records before this one are whole.
        """

    def close(self, settings: RunSettings | None = None) -> None:
        """Finish the output; the table shows the settings in its footer. Call once, also after a stop."""

    def suspend(self) -> None:
        """Leave an interrupted run at once, instead of `close`: no footer, and parquet keeps its journal."""


def open_sink(
    format: str, output: Path | None, codec: RowCodec[R], *, overwrite: bool = False, resume: bool = False
) -> Sink[R]:
    """Open the output, before the first image is read.

    Args:
        format: one of `codec.formats` (see `formats.choose_format`).
        output: the file of `-o`; None, `-` and `/dev/stdout` are standard output; devices and FIFOs work as well.
        codec: of the records.
        overwrite: replace an existing regular file.
        resume: go on with an existing regular file (see `vggcli.output.resume`, which cuts it to the right place).

    Raises:
        UsageError: the file exists and neither was asked for, another run is writing it, or pyarrow is missing.
        OutputError: the path cannot be written.
    """
    if format == "parquet" and output is not None:
        from vggcli.output.parquet import ParquetSink

        return ParquetSink(codec, output, overwrite=overwrite, resume=resume)
    to_stdout = output is None or is_stdout(output)
    stream = open_stdout() if output is None or to_stdout else open_file(output, overwrite=overwrite, resume=resume)
    if format == "table":
        return codec.table(stream, is_terminal=to_stdout and stream.is_terminal)
    from vggcli.output.lines import LineSink

    return LineSink(format, codec, stream)
