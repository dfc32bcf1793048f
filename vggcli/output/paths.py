"""Paths in a column too narrow for them: the middle goes, and no two of them look the same."""

from __future__ import annotations

from typing import TypeVar

from vggcli.text import printable

# Shortened paths that are remembered: more than anybody scrolls back, and less than a megabyte or two.
_REMEMBERED = 10_000
_ELLIPSIS = "…"
_Value = TypeVar("_Value")


def shorten(text: str, width: int) -> str:
    """The text in at most `width` terminal cells, its middle replaced by one ellipsis: names differ at their ends."""
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    tail_width = (width - 1) * 2 // 3
    return _head(text, width - 1 - tail_width) + _ELLIPSIS + _tail(text, tail_width)


def shorten_around(text: str, width: int, at: int) -> str:
    """The same with a piece of the middle left, the one around the character `at`."""
    head, tail = _head(text, width // 4), _tail(text, width // 3)
    piece_width = width - width // 4 - width // 3 - 2
    # A little before the place, and neither into the head nor into the tail.
    begin = max(min(at - 2, len(text) - len(tail) - piece_width), len(head))
    return f"{head}{_ELLIPSIS}{_head(text[begin : len(text) - len(tail)], piece_width)}{_ELLIPSIS}{tail}"


class PathColumn:
    """A column of paths.

    Args:
        width: in terminal cells.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._shown: dict[str, str] = {}  # shortened to whole, the oldest first
        self._known: dict[str, str] = {}  # and the other way round
        self._numbers: dict[str, int] = {}  # the last number that a shortened path got, the oldest first

    def cut(self, path: str) -> str:
        """The path in at most `width` cells, as no other path of the column is shown; the same path as before."""
        if path in self._known:
            return self._known[path]
        text = printable(path)
        shown = shorten(text, self._width)
        if _ELLIPSIS not in shown:
            return shown
        # Where it would look like another one, show the place where the two differ.
        for _ in range(4):
            other = self._shown.get(shown)
            if other is None:
                break
            pairs = enumerate(zip(text, printable(other), strict=False))
            shown = shorten_around(text, self._width, next((i for i, (ours, theirs) in pairs if ours != theirs), 0))
        if shown in self._shown:
            shown = self._numbered(text)
        _remember(self._shown, shown, path)
        _remember(self._known, path, shown)
        return shown

    def _numbered(self, text: str) -> str:
        usual = shorten(text, self._width)
        number = self._numbers.get(usual, 1)
        while True:
            number += 1
            suffix = f"~{number}"
            shown = shorten(text, self._width - len(suffix)) + suffix
            if shown not in self._shown:
                _remember(self._numbers, usual, number)
                return shown


def _remember(memory: dict[str, _Value], key: str, value: _Value) -> None:
    """Keep the value, and forget the oldest where there are too many."""
    memory[key] = value
    if len(memory) > _REMEMBERED:
        del memory[next(iter(memory))]


def _head(text: str, width: int) -> str:
    from rich.cells import chop_cells

    # What is far behind a head takes no part in it, and chopping takes time for all of a text.
    return chop_cells(text[: 4 * width], width)[0] if text and width > 0 else ""


def _tail(text: str, width: int) -> str:
    return _head(text[::-1], width)[::-1]
