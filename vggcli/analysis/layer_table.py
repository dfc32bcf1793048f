"""The layer table of a network: output shapes, parameters and multiply-adds, from the layer list alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vggcli.cli.tables import Listing
from vggcli.errors import UsageError
from vggcli.network import zoo
from vggcli.network.layers import (
    AdaptiveAvgPool,
    Architecture,
    BatchNorm,
    Conv2d,
    Dropout,
    Layer,
    Linear,
    MaxPool,
    Shape,
)
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.model import open_model

COLUMNS = ("layer", "type", "output shape", "kernel", "parameters", "multiply-adds")


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
    smallest = 1 << len(architecture.stages)
    if input_size < smallest:
        why = f"five poolings need at least {smallest}" if smallest == 32 else f"the poolings need at least {smallest}"
        raise UsageError(
            "cannot take an input of", f"{input_size}x{input_size}", why, f"Use --input-size {smallest} or more"
        )
    shape: Shape = (3, input_size, input_size)
    found = []
    for layer in architecture.layers():
        macs, shape = layer.macs(shape), layer.output(shape)
        found.append(Row(layer.name, type(layer).__name__, shape, _kernel(layer), _parameters(layer), macs))
    return found


def _kernel(layer: Layer) -> str:
    match layer:
        case Conv2d():
            return "3x3"
        case MaxPool():
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
            return layer.out_channels * (layer.in_channels * 9 + layer.bias)
        case BatchNorm():
            return 2 * layer.channels
        case Linear():
            return layer.out_features * (layer.in_features + 1)
        case _:
            return 0


def summarise(name: str, num_classes: int | None = None, input_size: int | None = None) -> Listing:
    """The layer table of a variant or of the network in a weights file.

    Args:
        name: a path or a variant; a file of that name wins.
        num_classes: of the last layer; None for what the variant or the file has.
        input_size: side of the input in pixels; None for 224, or what the file's network takes.

    Raises:
        UsageError, CheckpointError, MismatchError: no such variant, or no usable file.
    """
    architecture, variant, facts = _find(name)
    if num_classes is not None:
        architecture = architecture.with_classes(num_classes)
    native = 224 if architecture.adaptive else architecture.native_size
    size = input_size or native
    if size != native and not architecture.adaptive:
        why = f"without an adaptive pool its classifier takes {native}x{native} only"
        raise UsageError("cannot take an input of", f"{size}x{size}", why, "Leave --input-size out")
    table = rows(architecture, size)
    parameters, macs = sum(row.parameters for row in table), sum(row.macs for row in table)
    facts = {"network": variant, **facts, "input": f"3x{size}x{size}", "classes": str(architecture.num_classes)}
    facts["total"] = f"{parameters:,} parameters, {macs / 1e9:.2f} G multiply-adds"
    layers = [
        {
            "name": row.name,
            "type": row.kind,
            "output_shape": list(row.output),
            "kernel": row.kernel,
            "parameters": row.parameters,
            "multiply_adds": row.macs,
        }
        for row in table
    ]
    totals = {"parameters": parameters, "multiply_adds": macs}
    lines = [(row.name, row.kind, str(list(row.output)), row.kernel, row.parameters, row.macs) for row in table]
    data = {"network": variant, "input_size": size, "classes": architecture.num_classes, "layers": layers} | totals
    total: tuple[str | int, ...] = ("total", "", "", "", parameters, macs)
    return Listing(COLUMNS, lines, data, plain=[*lines, total], facts=facts, totals=total)


def _find(name: str) -> tuple[Architecture, str, dict[str, str]]:
    path = DEMO_FILE if name == zoo.DEMO else Path(name)
    # A folder may well be called vgg16; what has a folder or an ending in its name is no variant.
    if name != zoo.DEMO and not path.is_file() and path.name == name and not path.suffix:
        row = zoo.variant(name)
        return row.architecture, row.name, {}
    model = open_model(path, what="cannot summarise")
    try:
        return model.architecture, model.variant, {"weights": model.name, "dialect": model.mapping.dialect.name}
    finally:
        model.close()
