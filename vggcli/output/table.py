"""Predictions as a table for people, row by row as they are made.

The widths of the columns are fixed at the start from the width of the terminal, so that no row waits for the others.
"""

from __future__ import annotations

import io
import os
import shutil
from typing import TYPE_CHECKING

from vggcli.output.codec import path_of
from vggcli.output.sidecar import RunSettings
from vggcli.output.stream import Stream
from vggcli.records import TRUNCATED, Failure, Record
from vggcli.text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 100
_GAP = 2
_RANK, _INDEX, _PROBABILITY = 4, 5, 11  # the widths of their headings, which fit the numbers too
_FIXED = _RANK + _INDEX + _PROBABILITY + 4 * _GAP
_SMALLEST_TEXT = 8  # a path or label narrower than this says nothing; the terminal wraps instead


def table_width(is_terminal: bool) -> int:
    """Columns to fill: the terminal's; without one `COLUMNS`, else 100."""
    if is_terminal:
        return shutil.get_terminal_size((WIDTH_WITHOUT_TERMINAL, 24)).columns
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else WIDTH_WITHOUT_TERMINAL


def shorten(text: str, width: int) -> str:
    """The text in at most `width` terminal cells, its middle replaced by one ellipsis: names differ at their ends."""
    from rich.cells import cell_len, chop_cells

    if cell_len(text) <= width:
        return text
    tail_width = (width - 1) * 2 // 3
    head = chop_cells(text, max(width - 1 - tail_width, 1))[0]
    tail = chop_cells(text[::-1], max(tail_width, 1))[0][::-1]
    return f"{head}…{tail}"


def fit(text: str, width: int) -> str:
    """The text in exactly `width` terminal cells: padded, or cut with an ellipsis at its end."""
    from rich.cells import cell_len, set_cell_size

    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


class TableSink:
    """Writes records as rows of a table: the path once, its predictions below each other, failures in red.

    Args:
        stream: where the text goes, UTF-8.
        is_terminal: colour it (unless NO_COLOR is set) and fit it to the terminal.
    """

    def __init__(self, stream: Stream, *, is_terminal: bool) -> None:
        from rich.console import Console

        width = max(table_width(is_terminal), _FIXED + 2 * _SMALLEST_TEXT)
        self._stream = stream
        self._path_width = (width - _FIXED) * 11 // 20
        self._label_width = width - _FIXED - self._path_width
        self._console = Console(
            file=io.StringIO(),  # never written to, see _print
            force_terminal=is_terminal,
            width=width,
            markup=False,
            emoji=False,
            highlight=False,
            legacy_windows=False,
        )
        self._has_header = False

    def write(self, record: Record) -> None:
        """Write the rows of one record; see `Stream.write` for the errors."""
        text = "" if self._has_header else self._render(self._header())
        text += self._rows(record) if record.failure is None else self._failed(record, record.failure)
        if record.truncated:
            text += self._render(self._note("", TRUNCATED, "yellow"))
        self._stream.write(text.encode())
        self._has_header = True

    def close(self, settings: RunSettings | None = None) -> None:
        """Write the footer, what ran, and finish."""
        from rich.text import Text

        if settings is not None:
            footer = Text(printable(settings.describe()), style="dim", overflow="fold")
            self._stream.write(self._render(footer).encode())
        self.suspend()

    def suspend(self) -> None:
        """Leave off without a footer."""
        self._stream.close()

    def _render(self, row: RenderableType) -> str:
        # To text, for one write of the whole record: rich itself would write piecemeal through Python's buffers.
        with self._console.capture() as capture:
            self._console.print(row)
        return "".join(line.rstrip(" ") + "\n" for line in capture.get().splitlines())

    def _rows(self, record: Record) -> str:
        # By hand, since most rows are these and a rich grid costs 5 ms, a quarter of an image's whole time.
        gap = " " * _GAP
        path = fit(shorten(printable(path_of(record)), self._path_width), self._path_width)
        lines = []
        for p in record.predictions:
            label = fit(printable(p.label), self._label_width)
            numbers = f"{p.rank:{_RANK}}{gap}{p.index:{_INDEX}}"
            lines.append(f"{path}{gap}{numbers}{gap}{label}{gap}{p.probability:{_PROBABILITY}.4f}\n")
            path = " " * self._path_width
        return "".join(lines)

    def _grid(self, *widths: int) -> Table:
        from rich.table import Table

        grid = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
        for width in widths:
            grid.add_column(width=width)
        return grid

    def _header(self) -> Table:
        from rich.text import Text

        grid = self._grid(self._path_width, _RANK, _INDEX, self._label_width, _PROBABILITY)
        for number in (1, 2, 4):
            grid.columns[number].justify = "right"
        grid.add_row(*(Text(name, style="bold") for name in ("path", "rank", "index", "label", "probability")))
        return grid

    def _failed(self, record: Record, failure: Failure) -> str:
        return self._render(self._note(path_of(record), str(failure), "red"))

    def _note(self, path: str, text: str, style: str) -> Table:
        from rich.text import Text

        note_width = self._console.width - self._path_width - _GAP
        grid = self._grid(self._path_width, note_width)
        path = shorten(printable(path), self._path_width)
        grid.add_row(Text(path, style=style), Text(printable(text), style=style, overflow="fold"))
        return grid
