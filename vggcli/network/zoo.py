"""The variants as data: layers, weights file and hash, published accuracy.

Source of weights, hashes and accuracies: torchvision's model metadata (a test holds this table against it).
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import NamedTuple

from vggcli.errors import UsageError
from vggcli.network.architecture import Architecture, vgg
from vggcli.network.layers import Conv2d, Layer

WEIGHTS_HOST = "https://download.pytorch.org/models"
DEFAULT_VARIANT = "vgg16_bn"
DEMO = "demo"
DEMO_WHAT = "a small digit classifier that ships with vgg: it knows handwritten digits and nothing else"


class WeightsFile(NamedTuple):
    """A published weights file.

    Attributes:
        name: file name, e.g. "vgg16_bn-6c64b313.pth"; the part after the dash begins the file's SHA-256.
        variant: zoo name of the network it belongs to.
        refusal: why it cannot classify; empty when it can.
    """

    name: str
    variant: str
    refusal: str = ""

    @property
    def url(self) -> str:
        return f"{WEIGHTS_HOST}/{self.name}"

    @property
    def sha256_prefix(self) -> str:
        return self.name.rsplit("-", 1)[1].removesuffix(".pth")


class Variant(NamedTuple):
    """A row of the zoo.

    Attributes:
        name: e.g. "vgg16_bn".
        configuration: column of the paper's table 1 ("A", "B", "D" or "E").
        architecture: the network, with 1000 classes (10 for the demo).
        weights: its ImageNet weights; None for the demo, whose weights are in the package.
        size_mib: published size of the weights file in MiB.
        top1, top5: published ImageNet-1K validation accuracy in percent (Resize 256, CenterCrop 224).
    """

    name: str
    configuration: str
    architecture: Architecture
    weights: WeightsFile | None
    size_mib: float
    top1: float
    top5: float


def _stages(depths: tuple[int, ...], widths: tuple[int, ...] = (64, 128, 256, 512, 512)) -> tuple[tuple[int, ...], ...]:
    return tuple((width,) * depth for depth, width in zip(depths, widths, strict=True))


CONFIGURATIONS = {
    "A": _stages((1, 1, 2, 2, 2)),
    "B": _stages((2, 2, 2, 2, 2)),
    "D": _stages((2, 2, 3, 3, 3)),
    "E": _stages((2, 2, 4, 4, 4)),
}


def _row(name: str, configuration: str, hash_prefix: str, size_mib: float, top1: float, top5: float) -> Variant:
    architecture = vgg(CONFIGURATIONS[configuration], batch_norm=name.endswith("_bn"))
    return Variant(
        name, configuration, architecture, WeightsFile(f"{name}-{hash_prefix}.pth", name), size_mib, top1, top5
    )


# VGG-11 with batch norm at an eighth of the width and a small classifier; `tools/train_demo` trains it.
_DEMO_ROW = Variant(
    DEMO,
    "A/8",
    vgg(_stages((1, 1, 2, 2, 2), (8, 16, 32, 64, 64)), batch_norm=True, hidden=(64, 64), num_classes=10),
    None,
    0.676,
    0.0,
    0.0,
)

VARIANTS: dict[str, Variant] = {
    row.name: row
    for row in (
        _row("vgg11", "A", "8a719046", 506.84, 69.020, 88.628),
        _row("vgg11_bn", "A", "6002323d", 506.881, 70.370, 89.810),
        _row("vgg13", "B", "19584684", 507.545, 69.928, 89.246),
        _row("vgg13_bn", "B", "abd245e5", 507.59, 71.586, 90.374),
        _row("vgg16", "D", "397923af", 527.796, 71.592, 90.382),
        _row("vgg16_bn", "D", "6c64b313", 527.866, 73.360, 91.516),
        _row("vgg19", "E", "dcbb9e9d", 548.051, 72.376, 90.876),
        _row("vgg19_bn", "E", "c79401a0", 548.143, 74.218, 91.842),
        _DEMO_ROW,
    )
}

_FEATURES_ONLY = (
    "its classifier holds no usable weights: the file was published for the convolutions alone, as the backbone of a "
    "detector"
)

WEIGHTS_FILES: dict[str, WeightsFile] = {row.weights.name: row.weights for row in VARIANTS.values() if row.weights} | {
    file.name: file
    for file in (
        WeightsFile("vgg11-bbd30ac9.pth", "vgg11"),
        WeightsFile("vgg13-c768596a.pth", "vgg13"),
        WeightsFile("vgg16_features-amdegroot-88682ab5.pth", "vgg16", _FEATURES_ONLY),
    )
}


def variant(name: str) -> Variant:
    """The zoo's row of that name ("VGG-16-BN" and "vgg16bn" are understood too); UsageError names the nearest ones."""
    found = VARIANTS.get(_folded(name)) or next((v for k, v in VARIANTS.items() if _folded(k) == _folded(name)), None)
    if found is not None:
        return found
    near = difflib.get_close_matches(name.lower(), VARIANTS, n=3, cutoff=0.5) or list(VARIANTS)
    raise UsageError("unknown architecture", name, "no such variant", f"The nearest names are {', '.join(near)}")


def _folded(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def published(name: str) -> WeightsFile | None:
    """The published weights file of that name, with or without its ending; None when there is none."""
    return WEIGHTS_FILES.get(name) or WEIGHTS_FILES.get(f"{name}.pth")


def of_architecture(architecture: Architecture) -> Variant | None:
    """The zoo's row with these convolutions, batch norms, activations and pools; biases and the classifier are free.

    The demo's classifier counts, where there is one, but for its classes: its convolutions are those of any narrow
    VGG-11, and who reads its name thinks of its digits.
    """
    found = _features(architecture)
    row = next((row for row in VARIANTS.values() if _features(row.architecture) == found), None)
    is_another = bool(architecture.linears) and architecture.hidden != _DEMO_ROW.architecture.hidden
    return None if row is _DEMO_ROW and is_another else row


def _features(architecture: Architecture) -> list[Layer]:
    """The convolutional part, without what the same network may have or not."""
    layers = (layer for layer in architecture.layers() if layer.key.startswith("features"))
    return [replace(layer, bias=True) if isinstance(layer, Conv2d) else layer for layer in layers]
