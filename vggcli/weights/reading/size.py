"""The size of a network's images: certain where its classifier fits one only, guessed by a stated rule elsewhere."""

from __future__ import annotations

from typing import NamedTuple

from vggcli.network.architecture import Architecture, numbered
from vggcli.network.layers import Pool
from vggcli.weights.reading.head import Join
from vggcli.weights.reading.layout import Layout
from vggcli.weights.reading.problem import BrokenChainError

PAPER = 224  # pixels
PAPER_GRID = 7  # side of the map that the paper's classifier takes; to which other programs stretch smaller maps
_SIDES = (28, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)  # in pixels, that people train on
LARGEST = 1024  # pixels; a file of nothing but expanded tensors could ask for any
_USUAL = {10: 32, 100: 32, 200: 64}  # classes of CIFAR-10, CIFAR-100 and Tiny ImageNet to the side of their pictures


class Size(NamedTuple):
    """How large images must be.

    Attributes:
        pixels: side of the input.
        guess: why it is no more than a guess, a clause without a full stop; empty where it is certain.
    """

    pixels: int
    guess: str = ""


def has_no_last_pool(architecture: Architecture) -> bool:
    """Whether no pool ends the features: with one the classifier's map would be that of images that nobody has."""
    size = architecture.native_size
    return architecture.pool > 1 and architecture.smallest_size > 1 and size not in _SIDES and size // 2 in _SIDES


def without_last_pool(architecture: Architecture) -> Architecture:
    """The same without the last of its pools."""
    last = [layer for layer in architecture.layers() if isinstance(layer, Pool)][-1:]
    return numbered(layer for layer in architecture.layers() if layer not in last)


def size_of(architecture: Architecture, layout: Layout, joined: Join | None) -> Size:
    """The size of the images that an architecture was trained on, as far as it can be told.

    One feature a channel is what is left of 32 pixels after five pools, and also what averaging leaves of any size:
    32 pixels are taken for the 10 or 100 classes of CIFAR, 64 for the 200 of Tiny ImageNet, and 224 for others.  A grid
    is flattened, which fits one size, unless it is the paper's.

    Raises:
        BrokenChainError: larger than vgg takes.
    """
    native = architecture.native_size
    if joined is None or native == PAPER:
        return Size(PAPER)
    if native > LARGEST:
        raise BrokenChainError(
            f"its classifier is for images of {native} pixels a side, and vgg takes {LARGEST} at most"
        )
    if layout.flattens:
        return Size(native)
    if joined.side > 1:
        return Size(native, f"its classifier takes a map of {joined.side}x{joined.side}, which {native} pixels give")
    classes = architecture.num_classes
    pixels = max(_USUAL.get(classes, PAPER), architecture.smallest_size)
    each = "two features" if joined.concat else "one feature"
    if classes in _USUAL:
        why = f"its classifier takes {each} a channel, which fits any size, and {classes} classes are usual at {pixels}"
    else:
        why = f"its classifier takes {each} a channel, which fits any size"
    return Size(pixels, why)
