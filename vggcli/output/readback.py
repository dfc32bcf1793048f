"""Reading written lines back: which records a file already holds, and where a torn end begins."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from vggcli.errors import UsageError
from vggcli.json_reader import parse_json
from vggcli.output.codec import RowCodec, RowPlace
from vggcli.output.lines import header
from vggcli.text import unescape, unguard_formula

# Bytes of one line, so that a file without newlines takes no more memory; a million values of a layer as JSON fit.
LONGEST_LINE = 32 << 20


@dataclass(frozen=True, slots=True)
class Written:
    """One whole record of a file.

    Attributes:
        path: the input, as it was before escaping.
        failed: whether it is a failure.
        label: the best class; empty where there is none.
        start: offset of its first byte in the file.
        end: offset behind its last byte.
    """

    path: str
    failed: bool
    label: str
    start: int
    end: int


def header_end(file: BinaryIO, format: str, codec: RowCodec[Any], where: str) -> int:
    """Read over the header; 0 when there is none or the file ends within it.

    Raises:
        UsageError: the file begins with something else.
    """
    expected = header(format, codec)
    found = file.read(len(expected))
    if found == expected:
        return len(expected)
    if expected.startswith(found):
        return 0
    raise _foreign(where, 1)


def read_back(file: BinaryIO, format: str, codec: RowCodec[Any], where: str) -> Iterator[Written]:
    """The whole records of a file from its current position (see `header_end`) on, one at a time.

    What a kill can leave at the end, a line without its newline or a record without its last row, is passed over; the
    caller cuts it off behind the last record given.  A last record whose end no row behind it tells is one of these.

    Args:
        file: the output of an earlier run.
        format: "tsv", "csv" or "jsonl".
        codec: of the records.
        where: name of the file, for messages.

    Raises:
        UsageError: a line that this tool does not write.
    """
    start = end = file.tell()
    label = ""
    before: RowPlace | None = None  # the last row of the record that is not complete yet
    lines = iter(lambda: file.readline(LONGEST_LINE), b"")
    for number, line in enumerate(lines, start=2 if header(format, codec) else 1):
        if not line.endswith(b"\n"):
            if len(line) == LONGEST_LINE:
                raise _foreign(where, number)
            return
        try:
            row = _PARSERS[format](codec, line.decode())
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise _foreign(where, number) from error
        if before is not None and before.is_last is None and row.number == 1:
            yield Written(before.path, before.failed, label, start, end)
            start, before = end, None
        if (row.number, row.path) != ((before.number + 1, before.path) if before else (1, row.path)):
            raise _foreign(where, number)
        end += len(line)
        before, label = row, row.label if row.number == 1 else label
        if row.is_last:
            yield Written(row.path, row.failed, label, start, end)
            start, before = end, None


def _foreign(where: str, line: int) -> UsageError:
    return UsageError(
        "cannot resume",
        where,
        f"line {line} is not one that this tool wrote there",
        "Name another output with -o, or start anew with --overwrite",
    )


def _unescaped(codec: RowCodec[Any], cells: Sequence[str]) -> list[str]:
    if len(cells) != len(codec.columns):
        raise ValueError("not the columns of this tool")
    return [unescape(cell) if "\\" in cell else cell for cell in cells]


def _parse_tsv(codec: RowCodec[Any], line: str) -> RowPlace:
    return codec.place(_unescaped(codec, line[:-1].split("\t")))


def _parse_csv(codec: RowCodec[Any], line: str) -> RowPlace:
    (cells,) = csv.reader([line], strict=True)
    row = zip(codec.columns, _unescaped(codec, cells), strict=True)
    return codec.place([unguard_formula(cell) if column in codec.text_columns else cell for column, cell in row])


def _parse_jsonl(codec: RowCodec[Any], line: str) -> RowPlace:
    fields = parse_json(line, LONGEST_LINE)
    path, failed = fields["path"], {"ok": False, "error": True}[fields["status"]]
    if not isinstance(path, str):
        raise TypeError("a path is text")
    return RowPlace(path, 1, is_last=True, failed=failed, label="" if failed else codec.label_of(fields))


_PARSERS: dict[str, Callable[[RowCodec[Any], str], RowPlace]] = {
    "tsv": _parse_tsv,
    "csv": _parse_csv,
    "jsonl": _parse_jsonl,
}
