"""Predictions with a small picture of each image beside its bars, drawn with half blocks: `vgg predict --show`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vggcli.output.codec import path_of
from vggcli.output.paths import PathColumn
from vggcli.output.predictions import PredictionCodec
from vggcli.output.sinks import Sink
from vggcli.output.stream import Stream
from vggcli.output.table import BOLD, DIM, GAP, RED, YELLOW, TableSink, bar, colour_of, fit, percent, table_width
from vggcli.records import TRUNCATED, Prediction, Record
from vggcli.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALF = "▀"  # its upper half has the foreground's colour, its lower half the background's
_SHADES = " ░▒▓█"  # from dark to light, where there are no colours
_CUBE = np.array([0, 95, 135, 175, 215, 255])  # levels of red, green and blue among the 256 colours
_FIRST_OF_CUBE = 16
_FIRST_GREY, _GREYS = 232, 24  # from 8 to 238 in steps of 10


class Box(NamedTuple):
    """The room of a preview in terminal cells; none at all when both are 0."""

    columns: int
    rows: int

    @classmethod
    def of(cls, width: int) -> Box:
        """That of a terminal of so many columns: a cell is twice as high as wide, a photograph 4 to 3."""
        return cls(24, 9) if width >= 100 else cls(18, 7) if width >= 64 else cls(10, 4) if width >= 40 else cls(0, 0)

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height: a half block has two pixels, one above the other."""
        return self.columns, 2 * self.rows


class Previews:
    """The picture of the record that is written next.

    Attributes:
        box: its room.
        picture: (height, width, 3) uint8, RGB, within the box's pixels; None for none.
    """

    def __init__(self) -> None:
        self.box = Box.of(table_width(is_terminal=True))
        self.picture: NDArray[np.uint8] | None = None


class PreviewCodec(PredictionCodec):
    """Predictions whose table has pictures; every other format is as without them."""

    def __init__(self, top_k: int, min_prob: float, previews: Previews) -> None:
        super().__init__(top_k, min_prob)
        self._previews = previews

    def table(self, stream: Stream, *, is_terminal: bool) -> Sink[Record]:
        return PreviewSink(stream, top_k=self._top_k, previews=self._previews)


class PreviewSink(TableSink):
    """Writes records on a terminal, each as a picture with its path, bars and classes beside it.

    Args:
        stream: the terminal.
        top_k: predictions that a record has at most.
        previews: told of each record's picture before the record is written.
    """

    def __init__(self, stream: Stream, *, top_k: int, previews: Previews) -> None:
        super().__init__(stream, is_terminal=True, top_k=top_k)
        self._previews = previews
        self._indent = previews.box.columns + len(GAP) if previews.box.columns else 0
        self._room = self._console.width - self._indent
        self._paths = PathColumn(self._room)
        self._bar = 0 if self._room < 30 else 6 if self._room < 50 else 12
        colours = self._console.color_system if self._has_colour else None
        self._colours = {"truecolor": 1 << 24, "256": 256}.get(colours or "", 0)

    def write(self, record: Record) -> None:
        """Write the lines of one record; see `Stream.write` for the errors."""
        picture, self._previews.picture = self._previews.picture, None
        drawn = self._drawn(picture) if picture is not None and self._indent and record.ok else []
        blank = " " * self._indent
        lines = [
            ((left + GAP if left else blank) + right).rstrip()
            for left, right in zip_longest(drawn, self._texts(record), fillvalue="")
        ]
        self._stream.write("".join(f"{line}\n" for line in [*lines, ""]).encode())

    def _drawn(self, picture: NDArray[np.uint8]) -> list[str]:
        """The picture as lines of exactly the box's width."""
        columns = self._previews.box.columns
        left = (columns - picture.shape[1]) // 2
        right = columns - picture.shape[1] - left
        lines = shades(picture) if not self._colours else half_blocks(picture, self._colours)
        return [" " * left + line + " " * right for line in lines]

    def _texts(self, record: Record) -> list[str]:
        """What stands beside the picture."""
        texts = [self._styled(self._paths.cut(path_of(record)), BOLD)]
        if record.failure is not None:
            return texts + [self._styled(line, RED) for line in self._wrapped(f"✗ {record.failure}", self._room)]
        texts += [self._class(prediction) for prediction in record.predictions]
        if not record.predictions:
            texts.append(self._styled("-", DIM))
        if record.truncated:
            texts += [self._styled(line, YELLOW) for line in self._wrapped(TRUNCATED, self._room)]
        return texts

    def _class(self, prediction: Prediction) -> str:
        drawn = f"{bar(prediction.probability, self._bar)} " if self._bar else ""
        number = drawn + percent(prediction.probability)
        label = fit(printable(prediction.label), max(1, self._room - len(number) - len(GAP))).rstrip()
        code = colour_of(prediction.probability) if prediction.rank == 1 else DIM
        return self._styled(number, code) + GAP + (label if prediction.rank == 1 else self._styled(label, DIM))


def half_blocks(picture: NDArray[np.uint8], colours: int) -> list[str]:
    """A picture as lines of coloured half blocks, two rows of pixels each.

    Args:
        picture: (height, width, 3) uint8, RGB.
        colours: 256, or 1 << 24 for all of them.
    """
    codes = _codes_of_256(picture) if colours == 256 else _codes_of_all(picture)
    lines = []
    for top in range(0, len(codes), 2):
        upper, lower = codes[top], codes[top + 1] if top + 1 < len(codes) else None
        before, cells = "", []
        for column, code in enumerate(upper):
            # A colour is said where it changes: half of a line's bytes on a photograph, nearly all on a drawing.
            style = f"\x1b[38;{code};{f'48;{lower[column]}' if lower else '49'}m"
            cells.append(_HALF if style == before else style + _HALF)
            before = style
        lines.append("".join(cells) + "\x1b[0m")
    return lines


def shades(picture: NDArray[np.uint8]) -> list[str]:
    """A picture as lines of characters that are the fuller the lighter it is, its own range from dark to light."""
    grey = picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    if len(grey) % 2:
        grey = np.concatenate([grey, grey[-1:]])
    cells = (grey[::2] + grey[1::2]) / 2
    span = float(np.ptp(cells)) or 1.0
    levels = np.rint((cells - cells.min()) / span * (len(_SHADES) - 1)).astype(int)
    return ["".join(_SHADES[level] for level in line) for line in levels]


def _codes_of_all(picture: NDArray[np.uint8]) -> list[list[str]]:
    return [[f"2;{red};{green};{blue}" for red, green, blue in line] for line in picture.tolist()]


def _codes_of_256(picture: NDArray[np.uint8]) -> list[list[str]]:
    """The nearest of the 256 colours: of the cube, or of the greys where they are nearer."""
    values = picture.astype(int)
    places = np.abs(values[..., None] - _CUBE).argmin(-1)
    in_cube = _FIRST_OF_CUBE + places @ np.array([36, 6, 1])
    grey = np.clip(np.rint((values.mean(-1) - 8) / 10), 0, _GREYS - 1).astype(int)
    to_cube = ((values - _CUBE[places]) ** 2).sum(-1)
    to_grey = ((values - (8 + 10 * grey)[..., None]) ** 2).sum(-1)
    numbers: Sequence[Sequence[int]] = np.where(to_grey < to_cube, _FIRST_GREY + grey, in_cube).tolist()
    return [[f"5;{number}" for number in line] for line in numbers]
