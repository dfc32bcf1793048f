"""What network a state_dict is, from its keys and shapes alone.

Clean keys; modules in order, typed by their tensors; a chain of channels and features that closes; stages from the gaps
in the numbering, else from the paper's table; the classifier, and how it takes the last map; the size of its images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from vggcli.network.architecture import Architecture, numbered
from vggcli.network.layers import Layer, Shape
from vggcli.weights.reading import features, foreign, head, keys, stages
from vggcli.weights.reading.hints import Hint, Hints
from vggcli.weights.reading.layout import Layout, layout_of
from vggcli.weights.reading.modules import (
    LINEAR,
    NORM,
    OTHER,
    Module,
    Unit,
    check_order,
    in_order,
    modules_of,
    units_of,
)
from vggcli.weights.reading.outside import check_outside
from vggcli.weights.reading.problem import BrokenChainError
from vggcli.weights.reading.remarks import remarks
from vggcli.weights.reading.size import LARGEST, PAPER_GRID, Size, has_no_last_pool, size_of, without_last_pool

__all__ = ["LARGEST", "OPTIONAL", "BrokenChainError", "Layout", "Reading", "Size", "read"]

OPTIONAL = "num_batches_tracked"  # a counter of training; files of 2017 lack it
MOST_TENSORS = 4096  # many times what any VGG has
MOST_VALUES = 1 << 31  # 8 GiB in float32, 15 times VGG-19; a small file can repeat one number as often as it likes


@dataclass(frozen=True, slots=True)
class Reading:
    """What a state_dict turned out to be.

    Attributes:
        layout: the key layout.
        architecture: the network; without linear layers where the file holds features only.
        sources: canonical key to the key in the file, for every tensor that the network has there.
        outside: keys of the file that are no part of the network.
        size: of its images.
        is_by_table: nothing in the numbering shows the pools, so that they are where the paper's table has them.
        ending: what a pickled module does to its logits at last: "softmax" or "sigmoid"; empty where none says it.
        remarks: what the numbers of layers leave open, one sentence each.
        pools_are_said: the file says where each pool is, and whether there is one at the end.
        longer: the same with a pool at the end, where none was taken because of the images' size.
    """

    layout: Layout
    architecture: Architecture
    sources: dict[str, str]
    outside: tuple[str, ...]
    size: Size
    is_by_table: bool = False
    ending: str = ""
    remarks: tuple[str, ...] = ()
    pools_are_said: bool = False
    longer: Architecture | None = None

    @property
    def features_only(self) -> bool:
        """Whether the file holds convolutions and no classifier."""
        return not self.architecture.linears

    def for_size(self, pixels: int | None) -> Reading:
        """The same for images of that size.

        Without a pool at the end where only so the last map has the side that the classifier takes, and nothing in the
        file says that the pool is there.
        """
        pool = self.architecture.pool
        if pixels is not None and self.longer is not None and pixels // self.longer.smallest_size >= pool:
            size = self.size._replace(pixels=self.longer.native_size)
            return replace(self, architecture=self.longer, size=size, remarks=self.remarks[:-1], longer=None)
        if pixels is None or self.pools_are_said or not self.architecture.linears or pool in (1, PAPER_GRID):
            return self
        shorter = without_last_pool(self.architecture)
        if pixels // self.architecture.smallest_size >= pool or pixels // shorter.smallest_size != pool:
            return self
        return replace(self, architecture=shorter, size=self.size._replace(pixels=shorter.native_size))


def read(shapes: Mapping[str, Shape], rows: object = None, hints: Sequence[Hint] = ()) -> Reading:
    """Read a network.

    Args:
        shapes: key to shape, as in the file.
        rows: the list of widths and M's that a program kept beside the weights, if any.
        hints: what pickled modules say of the layers, `key` as in the file, in the order of registration.

    Raises:
        BrokenChainError: it is none; says what it is, or where its chain breaks.
    """
    if len(shapes) > MOST_TENSORS:
        raise BrokenChainError(f"it holds {len(shapes):,} tensors, more than any VGG has")
    cleaned = keys.cleaner(shapes)
    names = {cleaned(key): key for key in shapes}
    tensors = {name: shapes[key] for name, key in names.items()}
    try:
        return _read(names, tensors, rows, Hints(hints, cleaned))
    except BrokenChainError as problem:
        what = foreign.name(tensors)
        raise BrokenChainError(f"it is {what}, and no VGG classifier") if what else problem from None


def _read(names: Mapping[str, str], tensors: Mapping[str, Shape], rows: object, hints: Hints) -> Reading:
    modules = in_order(modules_of(tensors))
    layers = [module for module in modules if module.kind not in (OTHER, NORM)]
    if not any(module.kind != LINEAR for module in layers):
        raise BrokenChainError("its keys are those of no VGG layout that vgg knows")
    _check_sum(layers)
    check_order(modules)
    convolutions, linears = features.split(units_of(modules))
    features.check(convolutions)
    _check_biases(convolutions)
    channels = convolutions[-1].module.outputs
    if linears:
        linears = head.ordered(linears, channels)
        _check_biases(linears)
    joined = head.join(channels, convolutions[-1].module, linears[0]) if linears else None
    hints.check(convolutions)
    check_outside(modules, [*convolutions, *linears])
    layout = layout_of(convolutions, linears)
    pairs = features.layers(convolutions, rows, hints, layout.pools)
    if joined is not None and not (layout.flattens and not joined.concat):
        pairs.append((joined.layer(), None))
    pairs += head.layers(linears, hints)
    architecture = numbered(layer for layer, _ in pairs)
    sources = _sources(architecture.layers(), [module for _, module in pairs], names)
    outside = tuple(key for key in names.values() if key not in set(sources.values()))
    is_said = bool(features.counts_of(convolutions, rows) or layout.pools) or hints.show_pools
    by_table = not is_said and len(architecture.stages) < len(convolutions) and stages.is_by_table(convolutions)
    size = size_of(architecture, layout, joined)
    longer = None
    if not is_said and not hints and joined is not None and not layout.flattens and has_no_last_pool(architecture):
        longer, architecture = architecture, without_last_pool(architecture)
        size = size_of(architecture, layout, joined)
    said = () if hints else remarks(convolutions, linears, architecture)
    if longer is not None:
        said += (f"no pool is taken to end its features, as with one its images would have {2 * size.pixels} pixels",)
    return Reading(
        layout, architecture, sources, outside, size, by_table, hints.ending, said, is_said or bool(hints), longer
    )


def _sources(layers: Sequence[Layer], modules: Iterable[Module | None], names: Mapping[str, str]) -> dict[str, str]:
    sources = {}
    for layer, module in zip(layers, modules, strict=True):
        if module is None:
            continue
        for key in layer.tensors():
            name = f"{module.key}.{key.rpartition('.')[2]}"
            if name in names:
                sources[key] = names[name]
    return sources


def _check_sum(layers: Sequence[Module]) -> None:
    """Refuse a network that no memory holds, whatever its file's size.

    Raises:
        BrokenChainError: names the largest layer.
    """
    values = {module.key: sum(prod(shape) for shape in module.shapes.values()) for module in layers}
    if sum(values.values()) > MOST_VALUES:
        largest = max(values, key=lambda key: values[key])
        raise BrokenChainError(
            f"it is too large: {largest} has {values[largest]:,} values, and all layers of a network together may have "
            f"{MOST_VALUES:,}"
        )


def _check_biases(units: Sequence[Unit]) -> None:
    """Refuse a layer that alone has no bias: its file is damaged.

    Layers in front of a batch norm need none, and the last one of a classifier may well have none.

    Raises:
        BrokenChainError: names the layer.
    """
    without = [unit for unit in units if not unit.module.has_bias]
    if len(without) == len(units):
        return
    for unit in without:
        alike = [other for other in units if (other.norm is None) == (unit.norm is None)]
        is_last_linear = unit is units[-1] and unit.module.kind == LINEAR
        if not is_last_linear and any(other.module.has_bias for other in alike):
            raise BrokenChainError(f"{unit.module.key}.bias is missing")
