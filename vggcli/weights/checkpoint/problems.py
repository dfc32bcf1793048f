"""Why a file cannot be read, raised deep inside and turned into a `CheckpointError` at the border (`reader`)."""

from __future__ import annotations

from vggcli.text import printable

DAMAGED = "Download or copy the file again"
QUOTED = 100  # characters


class Unreadable(Exception):  # noqa: N818 - a clause of the final message, never shown by itself
    """The file cannot be read.

    Args:
        why: a clause without a full stop.
        next_step: a sentence without a full stop.
    """

    def __init__(self, why: str, next_step: str = DAMAGED) -> None:
        super().__init__(why)
        self.why, self.next_step = why, next_step


class Unsupported(Unreadable):
    """The pickle holds a kind of tensor that is not plain numbers in memory.

    Args:
        kind: what it is, with its article ("a sparse tensor").
    """

    def __init__(self, kind: str, next_step: str = "Save the plain tensors only, then try again") -> None:
        super().__init__(f"it holds {kind}, which this tool does not read", next_step)


class Forbidden(Unreadable):
    """The pickle asks for code or classes beyond tensors and plain data.

    Args:
        names: every dotted name beyond tensors and plain data that the pickle looks up, in order of first appearance.
        hostile: True when one is of a module that only attacks need.
    """

    def __init__(self, why: str, next_step: str, names: tuple[str, ...], hostile: bool = False) -> None:
        super().__init__(why, next_step)
        self.names, self.hostile = names, hostile


def cut(name: str) -> str:
    """Return a name from a file for a message: short."""
    return name if len(name) <= QUOTED else name[:QUOTED] + "..."


def quote(name: str) -> str:
    """Return the same in quotes, with nothing in it that a terminal obeys."""
    return f"'{printable(cut(name))}'"


def damaged_pickle(why: str) -> Unreadable:
    """Return the error for a pickle that no pickler writes."""
    return Unreadable(f"its pickle is damaged: {why}")


def truncated(size: int, needed: int | None = None) -> Unreadable:
    """The error for a file that ends early: `size` bytes are there, at least `needed` would be."""
    tail = "" if needed is None else f" of at least {needed:,}"
    return Unreadable(f"the file is truncated: it has {size:,} bytes{tail}")
