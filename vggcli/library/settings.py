"""What a classifier is opened with."""

from __future__ import annotations

from dataclasses import dataclass

from vggcli.engines import ENGINES, PRECISIONS, choice
from vggcli.errors import UsageError
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, DEFAULT_TIMEOUT
from vggcli.images.recipe import ACTIVATIONS, RESIZES, VALUE_RANGES, Recipe
from vggcli.weights.recipes import RecipeOptions

_CHOICES = {"resize": RESIZES, "activation": ACTIVATIONS, "engine": ENGINES, "precision": PRECISIONS}
_TEXTS = ("weights", "arch", "labels", "calibration", "device", "mirror")
_NUMBERS = ("size", "max_pixels", "max_bytes", "threads", "batch_size", "workers")
_MOST_THREADS = 4096  # cores of no machine; engines break at billions, and wait for ever
_LONGEST_TIMEOUT = 86_400  # seconds; sockets take no endless ones
_NONE_MEANS_THE_FILES = ("resize", "activation")


@dataclass(frozen=True, slots=True)
class Settings:
    """The keywords of `vggcli.load` (described there) and the options of the commands that run a network."""

    weights: str | None = None
    arch: str | None = None
    labels: str | None = None
    recipe: str | Recipe | None = None
    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    value_range: int | None = None
    bgr: bool | None = None
    resize: str | None = None
    activation: str | None = None
    calibration: str | None = None
    exif: bool = True
    allow_truncated: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    max_bytes: int = DEFAULT_MAX_BYTES
    fast_decode: bool = False
    timeout: float = DEFAULT_TIMEOUT
    allow_private: bool = False
    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    batch_size: int | None = None
    workers: int | None = None
    offline: bool = False
    mirror: str | None = None

    def check(self) -> None:
        """Refuse what cannot be, before anything is opened.

        Raises:
            TypeError: a value of another type.
            UsageError: an unknown choice, or a number that is too small.
            DeviceError: an engine that is not installed.
        """
        for name in (*_TEXTS, *_CHOICES):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} is a str, not {type(value).__name__}")
        for name in _NUMBERS:
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
                raise TypeError(f"{name} is a whole number, not {type(value).__name__}")
            if value is not None and value < 1:
                raise UsageError(f"cannot use {name}", str(value), "it must be 1 or more")
        if self.threads is not None and self.threads > _MOST_THREADS:
            raise UsageError("cannot use threads", str(self.threads), f"it must be {_MOST_THREADS} or less")
        if not isinstance(self.timeout, int | float) or isinstance(self.timeout, bool):
            raise TypeError(f"timeout is a number, not {type(self.timeout).__name__}")
        if not 0 < self.timeout <= _LONGEST_TIMEOUT:
            raise UsageError("cannot use timeout", f"{self.timeout:g}", "it must be above 0, and a day at most")
        if not isinstance(self.recipe, str | Recipe | None):
            raise TypeError(f"recipe is a str or a Recipe, not {type(self.recipe).__name__}")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices and not (value is None and name in _NONE_MEANS_THE_FILES):
                raise UsageError(f"unknown {name}", value, "", f"Known are {', '.join(choices)}")
        if self.value_range is not None and self.value_range not in VALUE_RANGES:
            raise UsageError("unknown value_range", str(self.value_range), "", "Known are 1 and 255")
        choice.check(self.engine, self.device)

    @property
    def recipe_options(self) -> RecipeOptions:
        """What they say of preprocessing."""
        return RecipeOptions(
            self.recipe, self.size, self.mean, self.std, self.value_range, self.bgr, self.resize, self.activation
        )
