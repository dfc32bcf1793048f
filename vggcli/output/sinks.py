"""Record writers: table for people; tsv, csv, jsonl and parquet for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from vggcli.errors import UsageError
from vggcli.output.stream import is_regular, is_stdout, open_file, open_stdout
from vggcli.records import Record, Settings

FORMATS = ("table", "tsv", "csv", "jsonl", "parquet")
_ENDINGS = {".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


class Sink(Protocol):
    """Takes the records of a run, in input order, each handed to the operating system before `write` returns."""

    def write(self, record: Record) -> None:
        """Write one whole record.

        Raises:
            BrokenPipeError: nobody reads any more.
            OutputError: no room, an input/output error; the records before this one are whole.
        """

    def close(self, settings: Settings | None = None) -> None:
        """Finish the output; the table shows the settings in its footer. Call once, also after a stop."""

    def suspend(self) -> None:
        """Leave an interrupted run at once, instead of `close`: no footer, and parquet keeps its journal."""


def choose_format(asked: str, output: Path | None, is_terminal: bool) -> str:
    """The format to write.

    Args:
        asked: one of `FORMATS`, or "auto": by the ending of the output, else a table on a terminal, else tsv.
        output: the file of `-o`, None for standard output.
        is_terminal: whether standard output is a terminal.

    Raises:
        UsageError: an unknown format or ending, or parquet without a file.
    """
    if asked == "auto":
        return _format_of_ending(output, is_terminal)
    if asked not in FORMATS:
        raise UsageError("no such format", asked, "", f"Known are auto, {', '.join(FORMATS)}")
    if asked == "parquet" and (output is None or is_stdout(output) or not is_regular(output)):
        raise UsageError("cannot write parquet", "", "it needs a file that can be replaced", "Name one with -o FILE")
    return asked


def _format_of_ending(output: Path | None, is_terminal: bool) -> str:
    if output is None or is_stdout(output):
        return "table" if is_terminal else "tsv"
    format = _ENDINGS.get(output.suffix.lower())
    if not is_regular(output):
        return format if format and format != "parquet" else "tsv"
    if format is None:
        known = ", ".join(_ENDINGS)
        raise UsageError("no format for", str(output), f"its ending is none of {known}", "Name the format with -f")
    return format


def open_sink(format: str, output: Path | None, *, overwrite: bool = False, resume: bool = False) -> Sink:
    """Open the output, before the first image is read.

    Args:
        format: one of `FORMATS` (see `choose_format`).
        output: the file of `-o`; None, `-` and `/dev/stdout` are standard output; devices and FIFOs work as well.
        overwrite: replace an existing regular file.
        resume: go on with an existing regular file (see `vggcli.output.resume`, which cuts it to the right place).

    Raises:
        UsageError: the file exists and neither was asked for, another run is writing it, or pyarrow is missing.
        OutputError: the path cannot be written.
    """
    if format == "parquet" and output is not None:
        from vggcli.output.parquet import ParquetSink

        return ParquetSink(output, overwrite=overwrite, resume=resume)
    to_stdout = output is None or is_stdout(output)
    stream = open_stdout() if output is None or to_stdout else open_file(output, overwrite=overwrite, resume=resume)
    if format == "table":
        from vggcli.output.table import TableSink

        return TableSink(stream, is_terminal=to_stdout and stream.is_terminal)
    from vggcli.output.lines import LineSink

    return LineSink(format, stream)
