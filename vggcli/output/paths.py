"""Paths in a column too narrow for them: the middle goes, and no two of them look the same."""

from __future__ import annotations

from itertools import count

from vggcli.text import printable

# Shortened paths that are remembered: more than anybody scrolls back, and less than a megabyte or two.
_REMEMBERED = 10_000
_ELLIPSIS = "…"


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

    def cut(self, path: str) -> str:
        """The path in at most `width` cells, as no other path of the column is shown; the same path as before."""
        text = printable(path)
        shown = shorten(text, self._width)
        if _ELLIPSIS not in shown:
            return shown
        # Where it would look like another one, show the place where the two differ.
        for _ in range(4):
            other = self._shown.get(shown, path)
            if other == path:
                break
            pairs = enumerate(zip(text, printable(other), strict=False))
            shown = shorten_around(text, self._width, next((i for i, (ours, theirs) in pairs if ours != theirs), 0))
        number = count(2)
        while self._shown.get(shown, path) != path:
            suffix = f"~{next(number)}"
            shown = shorten(text, self._width - len(suffix)) + suffix
        self._shown[shown] = path
        if len(self._shown) > _REMEMBERED:
            del self._shown[next(iter(self._shown))]
        return shown


def _head(text: str, width: int) -> str:
    from rich.cells import chop_cells

    return chop_cells(text, width)[0] if text and width > 0 else ""


def _tail(text: str, width: int) -> str:
    return _head(text[::-1], width)[::-1]
