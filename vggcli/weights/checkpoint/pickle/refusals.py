"""The words for a pickle that asks for what only attacks need."""

from __future__ import annotations

from collections.abc import Sequence

from vggcli.weights.checkpoint.problems import Forbidden

SHOWN = 5  # names in a message; the error carries all of them


def forbidden(hostile: Sequence[str], unknown: Sequence[str]) -> Forbidden:
    """Return the error for a pickle.

    Args:
        hostile: the dotted names that only attacks need, in order of first appearance.
        unknown: these and every other name beyond tensors and plain data.
    """
    why = f"its pickle would run or import {listed(hostile)} when loaded; nothing was executed"
    next_step = "Do not load it with other tools; get the weights from a source you trust"
    return Forbidden(why, next_step, tuple(unknown))


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
