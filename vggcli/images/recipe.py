"""Preprocessing as data: what turns an image into the numbers that a network was trained on, and back into classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any

from vggcli.errors import UsageError
from vggcli.text import brief

RESIZES = ("squash", "crop", "letterbox")
INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")  # Pillow's filters
CHANNEL_ORDERS = ("rgb", "bgr", "grey")
ACTIVATIONS = ("softmax", "sigmoid")
VALUE_RANGES = (1, 255)
LARGEST_SIZE = 1024  # of an input: whatever a file asks for, one image takes half a GB there
_LARGEST_SIDE = 4 * LARGEST_SIZE
_LARGEST_NUMBER = 1e9  # of means and deviations
_LEAST_STD = 1e-6
_CHOICES: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "resize": RESIZES,
        "interpolation": INTERPOLATIONS,
        "value_range": VALUE_RANGES,
        "channel_order": CHANNEL_ORDERS,
        "activation": ACTIVATIONS,
    }
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """From an image to the network's input, and from its logits to probabilities.

    Attributes:
        size: side in pixels of the input.
        resize: "squash" brings the whole image to a square; "crop" brings its shorter side to `resize_to` and takes the
            centre, as the published accuracies were measured; "letterbox" brings its longer side there and fills up.
        resize_to: length in pixels that resizing gives; the centre of `size` is taken of what is larger.  None is
            `size`, and size * 256 / 224 for "crop".
        interpolation: one of Pillow's filters, see `INTERPOLATIONS`.
        mean, std: subtracted and divided by; one number for each channel, in the range and order that the network sees.
        value_range: what a white pixel is before that: 1 or 255.
        channel_order: "rgb", "bgr", or "grey" for networks of one input channel.
        activation: "softmax" for classes that exclude each other, "sigmoid" for labels that do not.
        fill: of a letterbox, the colour of its bars in 0..255, RGB or one grey; None for the mean.
        source: who says so: "option", "file" (the checkpoint), "config" (a file beside it), "published" (known by its
            hash), "assumed", or "guessed" where the size is.  Recipes are equal whatever their source.

    Raises:
        UsageError: a value that cannot be.
    """

    size: int = 224
    resize: str = "squash"
    resize_to: int | None = None
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    value_range: int = 1
    channel_order: str = "rgb"
    activation: str = "softmax"
    fill: tuple[int, ...] | None = None
    source: str = field(default="assumed", compare=False)

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or value not in choices:
                raise _unusable(name, value, f"known are {', '.join(map(str, choices))}")
        _check_length("size", self.size, 1, LARGEST_SIZE)
        if self.resize_to is not None:
            least = self.size if self.resize == "crop" else 1
            _check_length("resize_to", self.resize_to, least, _LARGEST_SIDE)
            if self.resize_to == self._usual_side:  # said or not, it is the same recipe
                object.__setattr__(self, "resize_to", None)
        for name in ("mean", "std"):
            _check_numbers(name, getattr(self, name), self.channels)
        if min(self.std) < _LEAST_STD:
            raise _unusable("std", list(self.std), "it must be above 0")
        if self.fill is not None:
            _check_numbers("fill", self.fill, self.channels)
            for level in self.fill:
                _check_length("fill", level, 0, 255)

    @property
    def channels(self) -> int:
        """Of the input: 3, or 1 for grey."""
        return 1 if self.channel_order == "grey" else 3

    @property
    def side(self) -> int:
        """Length in pixels that resizing gives: of both sides, or of the shorter or longer one."""
        return self._usual_side if self.resize_to is None else self.resize_to

    @property
    def _usual_side(self) -> int:
        return round(self.size * 256 / 224) if self.resize == "crop" else self.size

    @property
    def colour(self) -> tuple[int, ...]:
        """Of a letterbox's bars: 0..255, RGB or one grey."""
        if self.fill is not None:
            return self.fill
        levels = tuple(min(255, max(0, round(mean * 255 / self.value_range))) for mean in self.mean)
        return levels[::-1] if self.channel_order == "bgr" else levels

    @property
    def name(self) -> str | None:
        """The named recipe with this normalisation, e.g. "imagenet"; None when there is none."""
        return next((name for name, recipe in RECIPES.items() if _normalisation(recipe) == _normalisation(self)), None)

    def describe(self) -> str:
        """In words for the provenance: all that differs from ImageNet's, e.g. "squash 224" or "crop 37/32, cifar10"."""
        parts = [f"{self.resize} {self.size}" if self.side == self.size else f"{self.resize} {self.side}/{self.size}"]
        if self.interpolation != "bilinear":
            parts.append(self.interpolation)
        if self.name is not None:
            parts += [self.name] * (self.name != "imagenet")
        else:
            parts += [f"mean {_listed(self.mean)}", f"std {_listed(self.std)}"]
            parts += ["values to 255"] * (self.value_range == 255) + [self.channel_order] * (
                self.channel_order != "rgb"
            )
        if self.resize == "letterbox" and self.fill is not None:
            parts.append(f"fill {_listed(self.fill)}")
        return ", ".join(parts + [self.activation] * (self.activation != "softmax"))

    def for_people(self) -> str:
        """The same with its normalisation and source, e.g. "squash 224, imagenet (assumed)"."""
        named = ", imagenet" if self.name == "imagenet" else ""
        return f"{self.describe()}{named} ({self.source})"

    def to_json(self) -> dict[str, Any]:
        """As a recipe file holds it."""
        values = asdict(self) | {"resize_to": self.side}
        del values["source"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def is_number(value: object) -> bool:
    """Whether this is a number that images could have to do with: no NaN, nothing astronomical."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST_NUMBER


def _normalisation(recipe: Recipe) -> tuple[object, ...]:
    return recipe.mean, recipe.std, recipe.value_range, recipe.channel_order


def _listed(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:g}" if float(f"{number:g}") == number else repr(number) for number in numbers)


def _unusable(name: str, value: object, why: str) -> UsageError:
    return UsageError(f"cannot use {name}", brief(value), why)


def _check_length(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _unusable(name, value, f"it must be a whole number from {least} to {most}")


def _check_numbers(name: str, values: object, count: int) -> None:
    is_list = isinstance(values, tuple) and len(values) == count
    if not is_list or not all(map(is_number, values)):  # type: ignore[call-overload]
        numbers = f"{count} numbers" if count > 1 else "one number"
        shown = list(values) if isinstance(values, tuple) else values
        raise _unusable(name, shown, f"it must be {numbers}, one for each channel")


FIELDS = tuple(entry.name for entry in fields(Recipe) if entry.name != "source")

IMAGENET = Recipe()
"""What torchvision's networks were trained with, and what is assumed of files that say nothing."""

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "imagenet": IMAGENET,
        # The mean pixel of the authors' Caffe networks.
        "caffe": Recipe(mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0), value_range=255, channel_order="bgr"),
        "half": Recipe(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        "unit": Recipe(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        "cifar10": Recipe(32, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)),
        "cifar100": Recipe(32, mean=(0.5070, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2761)),
    }
)
WITHOUT_SIZE = ("half", "unit")  # people use them at every size, so they decide none
