"""The classifier: a chain of linear layers, what stands between them, and how the last map becomes features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations, zip_longest
from math import isqrt
from typing import NamedTuple

from vggcli.network.layers import AdaptiveAvgPool, ConcatPool, Dropout, Layer, Linear
from vggcli.weights.reading.hints import Hints
from vggcli.weights.reading.modules import Module, Unit
from vggcli.weights.reading.places import gap
from vggcli.weights.reading.problem import BrokenChainError
from vggcli.weights.reading.remarks import is_list

_DROPOUT = 0.5  # the paper's (section 3.1); keys do not say it
_IMAGENET = 1000  # classes of a whole network that somebody has put a layer behind
_MOST_BETWEEN = 3  # activation, dropout, and one more that does nothing
_MOST_SORTED = 6  # linear layers whose order is looked for


class Join(NamedTuple):
    """How the classifier takes the last map.

    Attributes:
        side: of the map that it is made for.
        concat: the greatest value and the average of each channel, side by side.
    """

    side: int
    concat: bool = False

    def layer(self) -> Layer:
        """The pool in front of the classifier; the identity on maps that have this side already."""
        return ConcatPool("", "") if self.concat else AdaptiveAvgPool("", "", self.side)


def join(channels: int, last: Module, first: Unit) -> Join:
    """From the first linear layer's width over the channels of the last map.

    Raises:
        BrokenChainError: no square map has so many features.
    """
    features, kernel = first.module.features, first.module.kernel
    if kernel > 1 and features == channels * kernel**2:
        return Join(kernel)
    ratio, rest = divmod(features, channels)
    if rest == 0 and ratio == 2:
        return Join(1, concat=True)
    if rest or ratio == 0 or isqrt(ratio) ** 2 != ratio:
        raise BrokenChainError(f"{first.module.key} takes {features} where {last.key} gives {channels} channels")
    return Join(isqrt(ratio))


def ordered(units: Sequence[Unit], channels: int) -> list[Unit]:
    """The linear layers as a chain in which each takes what the one before it gives.

    Args:
        units: in the order of the file.
        channels: of the last map.

    Raises:
        BrokenChainError: there is no such chain, or several.
    """
    given = list(units)
    broken = _break(given, channels)
    if broken is None:
        return given
    if len(given) <= _MOST_SORTED:
        closed = [order for order in permutations(given) if _break(order, channels) is None]
        if len(closed) == 1:
            return list(closed[0])
    raise broken


def _break(units: Sequence[Unit], channels: int) -> BrokenChainError | None:
    """Where a chain of linear layers is broken."""
    if units[0].module.features % channels:
        return BrokenChainError(
            f"{units[0].module.key} takes {units[0].module.features} where the features have {channels} channels"
        )
    for place, (one, other) in enumerate(pairwise(unit.module for unit in units), 1):
        if one.outputs == other.features:
            continue
        rivals = [unit.module for unit in units[:place] if unit.module.features == other.features]
        if rivals:
            return BrokenChainError(
                f"it has two heads, {rivals[-1].key} and {other.key}, and nothing says which one is meant"
            )
        return BrokenChainError(f"{other.key} takes {other.features} where {one.key} gives {one.outputs}")
    return None


def layers(units: Sequence[Unit], hints: Hints) -> Iterator[tuple[Layer, Module | None]]:
    """The classifier's layers, each with the module of the file that it is."""
    for unit, following in zip_longest(units, units[1:]):
        module, norm = unit.module, unit.norm
        if unit.front is not None:
            yield hints.norm(unit.front, spatial=False), unit.front
        yield Linear("", "", module.features, module.outputs, module.has_bias), module
        after = (hints.norm(norm, spatial=False), norm) if norm is not None else None
        if following is None:
            hints.check_end(unit)
            yield from [after] if after else []
            continue
        said = hints.after(unit, following)
        if said is not None:
            yield from said
            continue
        has_activation, has_dropout = _between(unit, following)
        norm_is_last = after is not None and has_activation and _stands_apart(module, norm)
        if after is not None and not norm_is_last:
            yield after
        if has_activation:
            yield hints.activation, None
        if after is not None and norm_is_last:
            yield after
        if has_dropout:
            yield Dropout("", "", _DROPOUT), None


def _between(unit: Unit, following: Unit) -> tuple[bool, bool]:
    """Whether there is an activation, and a dropout, between two linear layers.

    Raises:
        BrokenChainError: there is room for a layer that the file has lost.
    """
    end = following.front or following.module
    found = gap(unit.module.parts, end.parts)
    if found is None and unit.module.is_numbered and unit.module.outputs == _IMAGENET:
        raise BrokenChainError(
            f"whether a ReLU stands between {unit.module.key} and {end.key}, behind ImageNet's classes, is not known",
            "Save the whole module with torch.save(model), which says it",
        )
    if found is None or found.is_open:
        return True, unit.module.parent.endswith("pre_logits")  # timm's, which has a dropout
    if not found.free and is_list(unit):
        return True, False
    free = found.free - (unit.norm is not None and unit.norm.parent == unit.module.parent)
    if free > _MOST_BETWEEN:
        raise BrokenChainError(f"between {unit.module.key} and {end.key} is room for more layers than a VGG has there")
    return free > 0, free > 1


def _stands_apart(module: Module, norm: Module | None) -> bool:
    """Whether a place is free between a layer and its batch norm, so that the activation is there."""
    found = gap(module.parts, norm.parts) if norm is not None else None
    return found is not None and found.free > 0
