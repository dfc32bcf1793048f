"""Preprocessing as data: what turns an RGB image into the numbers that a network was trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace

RESIZES = ("squash", "crop")


@dataclass(frozen=True, slots=True)
class Recipe:
    """From an RGB image to the network's input.

    Attributes:
        size: side in pixels of the input.
        resize: "squash" brings the whole image to size x size; "crop" brings its shorter side to `resize_to` and takes
            the centre, as the published accuracies were measured.
        resize_to: length in pixels of the shorter side before the centre crop.
        mean, std: of the ImageNet training set, RGB, on values in [0, 1].
    """

    size: int = 224
    resize: str = "squash"
    resize_to: int = 256
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def with_size(self, size: int) -> Recipe:
        """The same for inputs of another size; the crop keeps its share of the image."""
        return replace(self, size=size, resize_to=round(size * self.resize_to / self.size))

    def describe(self) -> str:
        """In words for the provenance, e.g. "squash 224"."""
        return f"crop {self.resize_to}/{self.size}" if self.resize == "crop" else f"squash {self.size}"


IMAGENET = Recipe()
