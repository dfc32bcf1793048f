"""What is said of a weights file: its network in one line, and what a person should know of a good one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from vggcli.network.architecture import Architecture
from vggcli.network.layers import Activation, BatchNorm, ConcatPool, Conv2d, Layer, Linear, Pool
from vggcli.weights.checkpoint.problems import cut
from vggcli.weights.reading.layout import REPDISTILLER, STAGED
from vggcli.weights.reading.reading import Reading
from vggcli.weights.state_dict import StateDict

_SHOWN = 3  # keys quoted in an error; `vgg inspect` lists them all


def first_few(keys: Sequence[str]) -> str:
    """The first three keys, long ones cut, and how many more there are."""
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{', '.join(map(cut, keys[:_SHOWN]))}{more}"


def chain(architecture: Architecture) -> str:
    """A network in one line, in the order in which it runs: widths, what stands around them, M or A for a pool.

    What follows every convolution is said once.

    Examples:
        >>> from vggcli.network.zoo import variant
        >>> chain(variant("vgg11_bn").architecture)
        '3 > 64 M 128 M 256 256 M 512 512 M 512 512 M (norm relu) > 7x7 > 4096 relu 4096 relu 1000'
    """
    layers = architecture.layers()
    first = layers.index(architecture.convolutions[0])
    around = " ".join(takewhile(bool, (_around(layer) for layer in layers[first + 1 :])))
    convolutions = " ".join(filter(None, (_in_features(layer) for layer in layers)))
    joined = next((layer for layer in layers if layer.key == "avgpool"), None)
    join = ["2 poolings" if isinstance(joined, ConcatPool) else f"{architecture.pool}x{architecture.pool}"]
    classifier = " ".join(filter(None, (_in_classifier(layer) for layer in layers)))
    parts = [str(architecture.in_channels), f"{convolutions} ({around})", *(join if classifier else []), classifier]
    return " > ".join(filter(None, parts))


def _around(layer: Layer) -> str:
    if isinstance(layer, BatchNorm):
        return "norm"
    return layer.function if isinstance(layer, Activation) else ""


def _in_features(layer: Layer) -> str:
    if isinstance(layer, Pool):
        return "A" if layer.average else "M"
    return str(layer.out_channels) if isinstance(layer, Conv2d) else ""


def _in_classifier(layer: Layer) -> str:
    if not layer.key.startswith("classifier"):
        return ""
    return str(layer.out_features) if isinstance(layer, Linear) else _around(layer)


def notes(reading: Reading, variant: str | None, weights: StateDict) -> tuple[str, ...]:
    """What a person should know about a file that is otherwise fine."""
    found = []
    if reading.layout is STAGED and variant is not None and variant.startswith("vgg11"):
        found.append(
            "the stages are those of VGG-11 (1, 1, 2, 2, 2); a widely copied tutorial calls this network VGG_13, "
            "whose stages are 2, 2, 2, 2, 2"
        )
    if reading.layout is REPDISTILLER:
        found.append(
            "its keys are those of RepDistiller, whose networks have pools behind block0, block1 and block2 only and "
            "average the rest, and one more behind block3 for images of 64 pixels, which is left out"
        )
    if reading.layout.flattens and reading.size.pixels != 224:
        size = reading.size.pixels
        found.append(f"its classifier takes {size}x{size} images, so images are resized to that")
    if reading.is_by_table:
        stages = ", ".join(str(len(stage)) for stage in reading.architecture.stages)
        found.append(
            f"its keys do not show where the pools are, so the {len(reading.architecture.convolutions)} convolutions "
            f"are in stages of {stages}, as in the paper's table"
        )
    found.extend(reading.remarks)
    if reading.outside:
        found.append(f"no part of the network, and left out: {first_few(reading.outside)}")
    if weights.others:
        others = first_few(["/".join(map(cut, other)) for other in weights.others])
        place = cut("/".join(map(cut, weights.wrapper))) or "the top level"
        found.append(f"the weights under {place} are used; there are also {others}")
    return tuple(found)
