"""KeyMapping written lines back: which records a file already holds, and where a torn end begins."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from vggcli.errors import UsageError
from vggcli.output.lines import COLUMNS, HEADERS
from vggcli.text import unescape, unguard_formula


@dataclass(frozen=True, slots=True)
class Written:
    """One whole record of a file.

    Attributes:
        path: the input, as it was before escaping.
        failed: whether it is a failure.
        start: offset of its first byte in the file.
        end: offset behind its last byte.
    """

    path: str
    failed: bool
    start: int
    end: int


def header_end(file: BinaryIO, format: str, where: str) -> int:
    """Read over the header; 0 when there is none or the file ends within it.

    Raises:
        UsageError: the file begins with something else.
    """
    header = HEADERS[format]
    found = file.read(len(header))
    if found == header:
        return len(header)
    if header.startswith(found):
        return 0
    raise _foreign(where, 1)


def read_back(file: BinaryIO, format: str, top_k: int, where: str) -> Iterator[Written]:
    """The whole records of a file from its current position (see `header_end`) on, one at a time.

    What a kill can leave at the end, a line without its newline or fewer than `top_k` rows of a record, is passed
    over; the caller cuts it off behind the last record given.

    Args:
        file: the output of an earlier run.
        format: "tsv", "csv" or "jsonl".
        top_k: predictions a classified input has.
        where: name of the file, for messages.

    Raises:
        UsageError: a line that this tool does not write.
    """
    rows_a_record = 1 if format == "jsonl" else top_k
    start = end = file.tell()
    group: tuple[str, int] | None = None  # path and number of rows of the record that is not complete yet
    for number, line in enumerate(file, start=2 if HEADERS[format] else 1):
        if not line.endswith(b"\n"):
            return
        end += len(line)
        try:
            path, rank = _PARSERS[format](line.decode())
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise _foreign(where, number) from error
        rows = 0 if rank is None else rank
        if group not in (None, (path, rows - 1)) or (group is None and rows > 1):
            raise _foreign(where, number)
        group = (path, rows)
        if rank is None or rows == rows_a_record:
            yield Written(path, rank is None, start, end)
            start, group = end, None


def _foreign(where: str, line: int) -> UsageError:
    return UsageError(
        "cannot resume",
        where,
        f"line {line} is not one that this tool wrote there",
        "Name another output with -o, or start anew with --overwrite",
    )


def _parse_cells(cells: list[str]) -> tuple[str, int | None]:
    if len(cells) != len(COLUMNS):
        raise ValueError("not the columns of this tool")
    rank = None if cells[1] == "" else int(cells[1])
    if rank is not None and rank < 1:
        raise ValueError("ranks begin with 1")
    return unescape(cells[0]), rank


def _parse_tsv(line: str) -> tuple[str, int | None]:
    return _parse_cells(line[:-1].split("\t"))


def _parse_csv(line: str) -> tuple[str, int | None]:
    (cells,) = csv.reader([line], strict=True)
    path, rank = _parse_cells(cells)
    return unguard_formula(path), rank


def _parse_jsonl(line: str) -> tuple[str, int | None]:
    fields = json.loads(line)
    path, failed = fields["path"], {"ok": False, "error": True}[fields["status"]]
    if not isinstance(path, str):
        raise TypeError("a path is text")
    return path, None if failed else 1


# A line to its path and its rank, None for a failure; a classified input in jsonl is one row of rank 1.
_PARSERS: dict[str, Callable[[str], tuple[str, int | None]]] = {
    "tsv": _parse_tsv,
    "csv": _parse_csv,
    "jsonl": _parse_jsonl,
}
