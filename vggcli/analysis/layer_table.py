"""The layer table of a network: output shapes, parameters and multiply-adds, from the layer list alone."""

from __future__ import annotations

from dataclasses import dataclass

from vggcli.errors import UsageError
from vggcli.network.architecture import Architecture
from vggcli.network.layers import Activation, AdaptiveAvgPool, BatchNorm, Conv2d, Dropout, Layer, Linear, Pool, Shape

_KINDS = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU", "gelu": "GELU", "silu": "SiLU", "relu6": "ReLU6"}


@dataclass(frozen=True, slots=True)
class Row:
    """One layer.

    Attributes:
        name: as in the paper: conv1-1 ... fc8.
        kind: e.g. "Conv2d".
        output: shape for one image, channels first.
        kernel: e.g. "3x3"; empty for layers without one.
        parameters: trainable ones.
        macs: multiply-adds for one image; the figure that is published as operations.
    """

    name: str
    kind: str
    output: Shape
    kernel: str
    parameters: int
    macs: int


def rows(architecture: Architecture, input_size: int = 224) -> list[Row]:
    """A row for each layer.

    Raises:
        UsageError: the input is too small for the network.
    """
    smallest = architecture.smallest_size
    if input_size < smallest:
        why = f"five poolings need at least {smallest}" if smallest == 32 else f"the poolings need at least {smallest}"
        raise UsageError(
            "cannot take an input of", f"{input_size}x{input_size}", why, f"Use --input-size {smallest} or more"
        )
    shape: Shape = (architecture.in_channels, input_size, input_size)
    found = []
    for layer in architecture.layers():
        macs, shape = layer.macs(shape), layer.output(shape)
        found.append(Row(layer.name, _kind(layer), shape, _kernel(layer), _parameters(layer), macs))
    return found


def _kind(layer: Layer) -> str:
    match layer:
        case Activation():
            return _KINDS.get(layer.function, layer.function.title())
        case Pool():
            return "AvgPool" if layer.average else "MaxPool"
        case _:
            return type(layer).__name__


def _kernel(layer: Layer) -> str:
    match layer:
        case Conv2d():
            return f"{layer.kernel}x{layer.kernel}"
        case Pool():
            return "2x2"
        case AdaptiveAvgPool():
            return f"to {layer.size}x{layer.size}"
        case Dropout():
            return f"p={layer.p:g}"
        case _:
            return ""


def _parameters(layer: Layer) -> int:
    match layer:
        case Conv2d():
            return layer.out_channels * (layer.in_channels * layer.kernel**2 + layer.bias)
        case BatchNorm():
            return 2 * layer.channels * layer.affine
        case Linear():
            return layer.out_features * (layer.in_features + layer.bias)
        case _:
            return 0
