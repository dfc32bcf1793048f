"""Predictions as a table for people, row by row as they are made: how sure, what, and which photo.

The widths of the columns are fixed at the start from the width of the terminal, so that no row waits for the others.
"""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vggcli.output.codec import path_of
from vggcli.output.paths import PathColumn
from vggcli.output.stream import Stream
from vggcli.records import TRUNCATED, Prediction, Record
from vggcli.text import printable

if TYPE_CHECKING:
    from vggcli.output.sidecar import RunSettings

WIDTH_WITHOUT_TERMINAL = 100
_SMALLEST = 36  # on a narrower terminal the lines wrap: less of a path or a label says nothing
GAP = "  "
_PERCENT = 6  # "100.0%"
_LONGEST_LABEL = 32
# Another class that is less probable is not worth a person's look; files and pipes have it.
_LEAST_PROBABLE = 0.01
_EIGHTHS = "▏▎▍▌▋▊▉"
RED, YELLOW, GREEN, DIM, BOLD = 31, 33, 32, 2, 1  # SGR codes


def table_width(is_terminal: bool) -> int:
    """Columns to fill: the terminal's; without one `COLUMNS`, else 100."""
    if is_terminal:
        return shutil.get_terminal_size((WIDTH_WITHOUT_TERMINAL, 24)).columns
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else WIDTH_WITHOUT_TERMINAL


def fit(text: str, width: int) -> str:
    """The text in exactly `width` terminal cells: padded, or cut with an ellipsis at its end."""
    from rich.cells import cell_len, set_cell_size

    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def bar(probability: float, width: int) -> str:
    """A bar of `width` cells, full at 1, in steps of an eighth of a cell; never nothing for what is possible."""
    eighths = max(round(probability * width * 8), 1)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8 - 1] * (eighths % 8 > 0)).ljust(width)


def percent(probability: float) -> str:
    """A probability as it is read, `_PERCENT` wide."""
    return f"{probability:{_PERCENT}.1%}" if probability >= 0.0005 else f"{'<0.1%':>{_PERCENT}}"


def colour_of(probability: float) -> int:
    """The SGR code of how sure it is."""
    return GREEN if probability >= 0.75 else YELLOW if probability >= 0.4 else RED


@dataclass(frozen=True)
class Layout:
    """Widths in terminal cells; a column of width 0 is left out.

    Attributes:
        bar: the most probable class as a bar.
        label: its name.
        path: of the photo.
        others: the names of the next classes; without it they have rows of their own.
    """

    bar: int
    label: int
    path: int
    others: int

    @classmethod
    def of(cls, width: int, top_k: int) -> Layout:
        """What of a line of `width` cells goes to which column."""
        width = max(width, _SMALLEST)
        bar = 0 if width < 50 else 6 if width < 80 else 10
        rest = width - bar - (bar > 0) - _PERCENT - 2 * len(GAP)
        others = rest * 3 // 10 if width >= 110 and top_k > 1 else 0
        rest -= others + len(GAP) * (others > 0)
        label = min(rest * 2 // 5, _LONGEST_LABEL)
        return cls(bar, label, rest - label, others)

    @property
    def numbers(self) -> int:
        """Cells of the bar and the percent together."""
        return self.bar + (self.bar > 0) + _PERCENT

    @property
    def before_path(self) -> int:
        """Cells of everything before the path, without the last gap."""
        return self.numbers + len(GAP) + self.label


class TableSink:
    """Writes records as rows of a table: one line per photo, a failure in red.

    Args:
        stream: where the text goes, UTF-8.
        is_terminal: colour it (unless NO_COLOR is set) and fit it to the terminal.
        top_k: predictions that a record has at most.
    """

    def __init__(self, stream: Stream, *, is_terminal: bool, top_k: int) -> None:
        from rich.console import Console

        width = table_width(is_terminal)
        self._stream = stream
        self._layout = Layout.of(width, top_k)
        self._paths = PathColumn(self._layout.path)
        # Never printed on: it knows how to wrap, and whether this terminal and its owner like colours.
        self._console = Console(file=io.StringIO(), force_terminal=is_terminal, width=max(width, _SMALLEST))
        self._has_colour = self._console.color_system is not None and not self._console.no_color

    def write(self, record: Record) -> None:
        """Write the rows of one record; see `Stream.write` for the errors."""
        lines = self._rows(record) if record.failure is None else self._failed(record, f"✗ {record.failure}")
        if record.truncated:
            indent, room = self._layout.numbers + len(GAP), self._console.width - self._layout.numbers - len(GAP)
            lines += [self._styled(" " * indent + line, YELLOW) for line in self._wrapped(TRUNCATED, room)]
        self._stream.write("".join(f"{line}\n" for line in lines).encode())

    def close(self, settings: RunSettings | None = None) -> None:
        """Write the footer, what ran, and finish."""
        if settings is not None:
            lines = self._wrapped(settings.describe(), self._console.width)
            self._stream.write("".join(f"{self._styled(line, DIM)}\n" for line in lines).encode())
        self.suspend()

    def suspend(self) -> None:
        """Leave off without a footer."""
        self._stream.close()

    def _styled(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._has_colour and text.strip() else text

    def _wrapped(self, text: str, width: int) -> list[str]:
        from rich.text import Text

        return [line.plain.rstrip() for line in Text(printable(text)).wrap(self._console, width, overflow="fold")]

    def _rows(self, record: Record) -> list[str]:
        # By hand, since most rows are these and a rich grid costs 5 ms, a quarter of an image's whole time.
        layout, path = self._layout, self._paths.cut(path_of(record))
        if not record.predictions:  # no class is as probable as was asked for
            return [self._styled(fit("-".rjust(layout.numbers), layout.before_path), DIM) + GAP + path]
        best, *others = record.predictions
        others = [prediction for prediction in others if prediction.probability >= _LEAST_PROBABLE]
        code = colour_of(best.probability)
        drawn = f"{bar(best.probability, layout.bar)} " if layout.bar else ""
        cells = [self._styled(drawn + percent(best.probability), code), fit(printable(best.label), layout.label)]
        if not layout.others:
            return [GAP.join([*cells, path]), *map(self._other_row, others)]
        texts = (f"{printable(prediction.label)} {prediction.probability:.0%}" for prediction in others)
        one_cell = fit(", ".join(texts), layout.others).rstrip()
        return [GAP.join([*cells, fit(path, layout.path), self._styled(one_cell, DIM)]).rstrip()]

    def _other_row(self, prediction: Prediction) -> str:
        number = percent(prediction.probability).rjust(self._layout.numbers)
        return self._styled(f"{number}{GAP}{fit(printable(prediction.label), self._layout.label).rstrip()}", DIM)

    def _failed(self, record: Record, text: str) -> list[str]:
        first, *rest = self._wrapped(text, self._layout.before_path)
        path = self._paths.cut(path_of(record))
        return [self._styled(line, RED) for line in (fit(first, self._layout.before_path) + GAP + path, *rest)]
