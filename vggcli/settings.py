"""What a classifier is opened with."""

from __future__ import annotations

from dataclasses import dataclass

from vggcli.engines import ENGINES, PRECISIONS, choice
from vggcli.errors import UsageError
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS
from vggcli.images.recipe import RESIZES

_CHOICES = {"resize": RESIZES, "engine": ENGINES, "precision": PRECISIONS}
_TEXTS = ("weights", "arch", "labels", "device", "mirror")
_NUMBERS = ("max_pixels", "max_bytes", "threads", "batch_size", "workers")


@dataclass(frozen=True, slots=True)
class Settings:
    """The keywords of `vggcli.load` (described there) and the options of the commands that run a network."""

    weights: str | None = None
    arch: str | None = None
    labels: str | None = None
    resize: str = "squash"
    exif: bool = True
    allow_truncated: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    max_bytes: int = DEFAULT_MAX_BYTES
    fast_decode: bool = False
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
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UsageError(f"unknown {name}", getattr(self, name), "", f"Known are {', '.join(choices)}")
        choice.check(self.engine, self.device)
