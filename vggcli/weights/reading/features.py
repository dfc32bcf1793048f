"""The convolutional part: a chain of convolutions, their batch norms, and the pools between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise, zip_longest

from vggcli.network.layers import Conv2d, Dropout, Layer, Pool
from vggcli.weights.reading import stages
from vggcli.weights.reading.hints import Hints
from vggcli.weights.reading.modules import CONVOLUTION, Module, Unit
from vggcli.weights.reading.places import gap
from vggcli.weights.reading.problem import BrokenChainError

_KERNELS = (1, 3)  # of the paper
_CHANNELS = (1, 3)  # of an image


def split(units: Sequence[Unit]) -> tuple[list[Unit], list[Unit]]:
    """The convolutional part, and the classifier: linear layers, also where they are written as convolutions."""
    convolutions = [unit for unit in units if unit.module.kind == CONVOLUTION]
    linears = [unit for unit in units if unit.module.kind != CONVOLUTION]
    start = next((place for place, unit in enumerate(convolutions) if place and unit.module.kernel > 3), None)
    if start is None or any(unit.module.kernel > 1 for unit in convolutions[start + 1 :]):
        return convolutions, linears
    return convolutions[:start], [*convolutions[start:], *linears]


def check(units: Sequence[Unit]) -> None:
    """Refuse convolutions that are no chain.

    Raises:
        BrokenChainError: says where it breaks.
    """
    first = units[0].module
    if first.inputs not in _CHANNELS:
        raise BrokenChainError(f"{first.key} takes images of {first.inputs} channels, and vgg has those of 3 or 1")
    for unit in units:
        kernel = unit.module.kernel
        if kernel not in _KERNELS:
            raise BrokenChainError(
                f"{unit.module.key} is a convolution of {kernel}x{kernel}, and those of a VGG are 3x3"
            )
    if any(unit.norm for unit in units):
        for unit in units:
            if unit.norm is None and unit.module.is_numbered:
                raise BrokenChainError(f"{unit.module.key} has no batch norm behind it, and other convolutions have")
    for one, other in pairwise(unit.module for unit in units):
        if one.outputs == other.inputs:
            continue
        if other.inputs == first.inputs:
            raise BrokenChainError(
                f"it holds two networks, {_name(first, other)} and {_name(other, first)}, side by side"
            )
        raise BrokenChainError(f"{other.key} takes {other.inputs} where {one.key} gives {one.outputs}")


def layers(
    units: Sequence[Unit], rows: object, hints: Hints, pools: Sequence[bool] = ()
) -> list[tuple[Layer, Module | None]]:
    """The layers of the convolutional part, each with the module of the file that it is.

    Args:
        units: in order.
        rows: a list of widths and M's from beside the weights, if any.
        hints: what pickled modules say.
        pools: whether a pool ends each stage, by the layout; empty where one ends each.

    Raises:
        BrokenChainError: nothing shows where the pools are.
    """
    said = [hints.after(unit, other) for unit, other in zip_longest(units, units[1:])]
    blocks = [_block(unit, after, hints) for unit, after in zip(units, said, strict=True)]
    if not any(isinstance(layer, Pool) for block in blocks for layer, _ in block):
        if pools:
            counts, ends_with_pool = tuple(Counter(unit.module.parent for unit in units).values()), True
        else:
            counts, ends_with_pool = counts_of(units, rows) or (stages.sizes(units), True)
        has_pool = pools or [True] * len(counts)
        ends = [end for end, has in zip(accumulate(counts), has_pool, strict=True) if has]
        for end in ends if ends_with_pool else ends[:-1]:
            blocks[end - 1].append((hints.pool, None))
    return [pair for block in blocks for pair in block]


def _block(
    unit: Unit, after: list[tuple[Layer, Module | None]] | None, hints: Hints
) -> list[tuple[Layer, Module | None]]:
    module, norm = unit.module, unit.norm
    first = Conv2d("", "", module.inputs, module.outputs, module.has_bias, module.kernel), module
    if after is not None:
        return [first, *(pair for pair in after if not isinstance(pair[0], Dropout))]
    activation = hints.activation, None
    if norm is None:
        return [first, activation]
    found = gap(module.parts, norm.parts)
    layer = hints.norm(norm, spatial=True), norm
    return [first, activation, layer] if found is not None and found.free > 0 else [first, layer, activation]


def counts_of(units: Sequence[Unit], rows: object) -> tuple[tuple[int, ...], bool] | None:
    """Convolutions in each stage and whether a pool ends the last, from a list of widths and M's that fits.

    Programs that prune networks keep it beside the weights, as `cfg`.
    """
    if not isinstance(rows, list | tuple) or [row for row in rows if isinstance(row, int)] != [
        unit.module.outputs for unit in units
    ]:
        return None
    counts = [0]
    for row in rows:
        if row == "M":
            counts.append(0)
        elif isinstance(row, int):
            counts[-1] += 1
        else:
            return None
    ends_with_pool = counts[-1] == 0
    counts = counts[:-1] if ends_with_pool else counts
    return (tuple(counts), ends_with_pool) if all(counts) else None


def _name(module: Module, other: Module) -> str:
    """The shortest beginning of a key that tells it from another."""
    one, two = module.key.split("."), other.key.split(".")
    place = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), len(one) - 1)
    return ".".join(one[: place + 1])
