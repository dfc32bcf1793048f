"""What the numbers of two layers leave room for between them."""

from __future__ import annotations

from typing import NamedTuple

from vggcli.weights.reading.keys import Token


class Gap(NamedTuple):
    """The places between two layers, one behind the other.

    Attributes:
        free: places for layers without tensors, at least.
        is_open: there may be more, behind the first one in a module of its own.
    """

    free: int
    is_open: bool


def gap(first: tuple[Token, ...], second: tuple[Token, ...]) -> Gap | None:
    """The room between two keys' parts; None where names, not numbers, tell them apart."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one == other:
            continue
        if not (isinstance(one, int) and isinstance(other, int)):
            return None
        inner = sum(part for part in second[place + 1 :] if isinstance(part, int))
        return Gap(max(0, other - one - 1) + inner, len(first) > place + 1)
    return None
