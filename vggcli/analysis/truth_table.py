"""Tables of path and label, as csv with the header `path,label`, as tsv with or without it, or as JSON lines."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple, TextIO

from vggcli.analysis.truth import Example, FolderTruth, Truth
from vggcli.errors import UsageError
from vggcli.images import discover
from vggcli.images.access import Access
from vggcli.images.item import Input, Skipped, file_of, is_special
from vggcli.json_reader import parse_json
from vggcli.network.class_index import ClassIndex

COLUMNS = ("path", "label")
_WHAT = "cannot read the table"
_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
_LONGEST_LINE = 1 << 20  # characters
_SAMPLED_PATHS = 100  # that are looked for to tell where relative ones begin


class _Row(NamedTuple):
    line: int
    path: str
    label: str


def open_truth(where: str, classes: ClassIndex, access: Access | None = None) -> Truth:
    """The truth in a folder of classes or in a table.

    Raises:
        UsageError: there is none.
    """
    if os.path.isdir(where):
        return FolderTruth(where, classes, access or Access())
    return TableTruth(where, classes, access or Access())


class TableTruth(Truth):
    """A table.  Relative paths begin at its folder if the first that is there is there, else at the current one."""

    def __init__(self, where: str, classes: ClassIndex, access: Access) -> None:
        super().__init__(where, classes, access)
        if not os.path.exists(where):
            raise UsageError("cannot find", where, "there is no such file or folder", "Check the spelling")
        if not where.lower().endswith(_ENDINGS):
            why = f"its ending is none of {', '.join(_ENDINGS)}"
            raise UsageError(_WHAT, where, why, "Give a folder of classes or a table of path and label")
        self._folder = self._base(os.path.dirname(where))

    def names(self) -> Iterator[tuple[str, str]]:
        for row in self._rows():
            yield row.label, f"line {row.line} of {self.where}"

    def examples(self) -> Iterator[Example]:
        for row in self._rows():
            index = self.index(row.label)
            for item in self._inputs(row.path):
                yield Example(item, index, os.path.dirname(row.path) or ".")

    def _inputs(self, path: str) -> Iterator[Input]:
        path = path if "://" in path else os.path.join(self._folder, path)
        if is_special(path):
            yield from discover.expand_path(path, False, Skipped(), self.access)
        else:
            yield Input(path)  # a folder too: a row is one image

    def _base(self, beside: str) -> str:
        """Where relative paths begin: "" for the current folder."""
        if not beside or os.path.realpath(beside) == os.getcwd():
            return ""
        relative = (row.path for row in self._rows() if "://" not in row.path and not os.path.isabs(row.path))
        for path in islice(relative, _SAMPLED_PATHS):
            if os.path.lexists(file_of(os.path.join(beside, path)) or ""):
                self.notes.append(f"the paths in {self.where} begin at {beside}, where {path} is")
                return beside
            if os.path.lexists(file_of(path) or ""):
                break
        return ""

    def _rows(self) -> Iterator[_Row]:
        lower = self.where.lower()
        try:
            # Undecodable bytes as in all paths; a mark of the byte order is no part of the first name.
            with open(self.where, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                yield from _separated(file, lower.endswith(".tsv")) if lower.endswith((".csv", ".tsv")) else _json(file)
        except OSError as error:
            raise UsageError(_WHAT, self.where, (error.strerror or str(error)).lower()) from error
        except (ValueError, csv.Error) as error:
            raise UsageError(_WHAT, self.where, str(error), "It needs a path and a label in every row") from error


def _separated(file: TextIO, is_tsv: bool) -> Iterator[_Row]:
    """The rows of csv or tsv; ValueError for what is none."""
    rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if is_tsv else csv.reader(file)
    first = next(rows, None)
    if first is None:
        raise ValueError("it is empty")
    places = 0, 1
    if set(COLUMNS) <= set(first):
        if {"rank", "probability"} <= set(first):
            raise ValueError("it is what vgg predict wrote, which goes behind --predictions, and no truth")
        places = first.index("path"), first.index("label")
    elif is_tsv and len(first) == len(COLUMNS):
        yield _Row(1, *first)
    else:
        raise ValueError(f"its first line is {','.join(first)[:80]!r}, and not path,label")
    for cells in rows:
        if not cells:
            continue
        if len(cells) <= max(places) or not cells[places[0]]:
            raise ValueError(f"line {rows.line_num} has no path and label")
        yield _Row(rows.line_num, cells[places[0]], cells[places[1]])


def _json(file: TextIO) -> Iterator[_Row]:
    """The rows of JSON lines; ValueError for what is none."""
    for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), ""), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line, _LONGEST_LINE)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        path, label = (row.get(name) for name in COLUMNS) if isinstance(row, dict) else (None, None)
        if isinstance(row, dict) and "predictions" in row and label is None:
            raise ValueError("it is what vgg predict wrote, which goes behind --predictions, and no truth")
        if isinstance(label, int) and not isinstance(label, bool):
            label = str(label)
        if not (isinstance(path, str) and path and isinstance(label, str)):
            raise ValueError(f"line {number} has no path and label")
        yield _Row(number, path, label)
