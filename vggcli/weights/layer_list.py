"""An architecture written down layer by layer, for files whose keys and shapes alone would not say all of it."""

from __future__ import annotations

from dataclasses import fields
from math import isfinite, prod
from typing import Any

from vggcli.network.architecture import Architecture, numbered
from vggcli.network.layers import (
    ACTIVATIONS,
    Activation,
    AdaptiveAvgPool,
    BatchNorm,
    ConcatPool,
    Conv2d,
    Dropout,
    Layer,
    Linear,
    Pool,
    Shape,
)

_TYPES: dict[str, type[Layer]] = {
    kind.__name__: kind for kind in (Conv2d, BatchNorm, Activation, Pool, AdaptiveAvgPool, ConcatPool, Dropout, Linear)
}
_MOST_LAYERS = 1024  # many times what any VGG has
_LARGEST = 1 << 24  # of any whole number in it
_KERNELS = (1, 3)


def write(architecture: Architecture) -> list[dict[str, Any]]:
    """The layers as JSON holds them."""
    return [
        {"type": type(layer).__name__}
        | {entry.name: getattr(layer, entry.name) for entry in fields(layer) if entry.name not in ("key", "name")}
        for layer in architecture.layers()
    ]


def read(document: object, pixels: int) -> Architecture:
    """The architecture of such a list.

    Args:
        document: from a file, so it may be anything.
        pixels: side of the images that go through it.

    Raises:
        ValueError: it is no such list, or its layers do not follow from each other.
    """
    if not isinstance(document, list) or not 0 < len(document) <= _MOST_LAYERS:
        raise ValueError("no list of layers")
    architecture = numbered([_layer(entry) for entry in document])
    if not architecture.convolutions or not architecture.linears:
        raise ValueError("no VGG")
    shape: Shape = (architecture.in_channels, pixels, pixels)
    for layer in architecture.layers():
        if not _takes(layer, shape):
            raise ValueError(f"{layer.name} does not follow")
        shape = layer.output(shape)
    return architecture


def _layer(entry: object) -> Layer:
    if not isinstance(entry, dict) or str(entry.get("type")) not in _TYPES:
        raise ValueError("no layer")
    kind = _TYPES[str(entry["type"])]
    values: dict[str, Any] = {"key": "", "name": ""}
    for place in fields(kind):
        if place.name in values:
            continue
        value: Any = entry.get(place.name)
        wanted = str(place.type)
        if wanted == "float" and type(value) is int:
            value = float(value)
        if type(value).__name__ != wanted:
            raise ValueError(f"{place.name} is no {wanted}")
        if (wanted == "int" and not 1 <= value <= _LARGEST) or (wanted == "float" and not isfinite(value)):
            raise ValueError(f"{place.name} cannot be")
        values[place.name] = value
    layer: Layer = kind(**values)
    if isinstance(layer, Activation) and layer.function not in ACTIVATIONS:
        raise ValueError("unknown activation")
    if isinstance(layer, Conv2d) and layer.kernel not in _KERNELS:
        raise ValueError("unknown kernel")
    if isinstance(layer, BatchNorm) and layer.eps < 0:
        raise ValueError("negative eps")
    return layer


def _takes(layer: Layer, shape: Shape) -> bool:
    """Whether a layer can follow what has this shape."""
    is_map = len(shape) == 3
    if isinstance(layer, Conv2d):
        return is_map and shape[0] == layer.in_channels
    if isinstance(layer, BatchNorm):
        return (is_map and shape[0] if layer.spatial else prod(shape)) == layer.channels
    if isinstance(layer, Pool):
        return is_map and shape[1] > 1
    if isinstance(layer, AdaptiveAvgPool | ConcatPool):
        return is_map
    return prod(shape) == layer.in_features if isinstance(layer, Linear) else True
