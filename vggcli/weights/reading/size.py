"""The size of a network's images: certain where its classifier fits one only, guessed by a stated rule elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from vggcli.network.architecture import Architecture
from vggcli.weights.reading.head import Join
from vggcli.weights.reading.layout import Layout
from vggcli.weights.reading.problem import BrokenChainError

PAPER = 224  # pixels
LARGEST = 1024  # pixels; a file of nothing but expanded tensors could ask for any
_USUAL = {10: 32, 100: 32, 200: 64}  # classes of CIFAR-10, CIFAR-100 and Tiny ImageNet to the side of their pictures


@dataclass(frozen=True, slots=True)
class Size:
    """How large images must be.

    Attributes:
        pixels: side of the input.
        guess: why it is no more than a guess, a clause without a full stop; empty where it is certain.
    """

    pixels: int
    guess: str = ""


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
