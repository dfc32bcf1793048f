"""The catalogue of output formats, and which of them a run writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from vggcli.errors import UsageError
from vggcli.output.stream import is_regular, is_stdout

Format = Literal["table", "tsv", "csv", "jsonl", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
FOR_PROGRAMS = FORMATS[1:]
FOR_ENDINGS: dict[str, Format] = {
    ".tsv": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


def choose_format(asked: str, output: Path | None, is_terminal: bool, formats: Sequence[Format] = FORMATS) -> Format:
    """The format to write.

    Args:
        asked: one of `formats`, or "auto": by the ending of the output, else a table on a terminal, else tsv.
        output: the file of `-o`, None for standard output.
        is_terminal: whether standard output is a terminal.
        formats: what the records can be written as (`RowCodec.formats`).

    Raises:
        UsageError: an unknown format or ending, or parquet without a file.
    """
    if asked == "auto":
        return _format_of_ending(output, is_terminal and "table" in formats)
    for format in formats:
        if format == asked:
            break
    else:
        raise UsageError("no such format", asked, "", f"Known are auto, {', '.join(formats)}")
    if format == "parquet" and (output is None or is_stdout(output) or not is_regular(output)):
        raise UsageError("cannot write parquet", "", "it needs a file that can be replaced", "Name one with -o FILE")
    return format


def _format_of_ending(output: Path | None, to_people: bool) -> Format:
    if output is None or is_stdout(output):
        return "table" if to_people else "tsv"
    format = FOR_ENDINGS.get(output.suffix.lower())
    if not is_regular(output):
        return format if format and format != "parquet" else "tsv"
    if format is None:
        known = ", ".join(FOR_ENDINGS)
        raise UsageError("no format for", str(output), f"its ending is none of {known}", "Name the format with -f")
    return format
