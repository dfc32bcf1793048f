"""The options that many verbs take together, each list of them as one parameter of a verb."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from vggcli.cli.options import images, network
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from vggcli.library.settings import Settings


@dataclass(frozen=True)
class NamedImages:
    """Which images."""

    inputs: images.Inputs = None
    recursive: images.Recursive = False
    files_from: images.FilesFrom = None
    null: images.Null = False
    column: images.Column = None
    allow_empty: images.AllowEmpty = False


@dataclass(frozen=True)
class Opening:
    """How images are read, which network, and where and how it computes."""

    recipe: images.Recipe = None
    size: images.Size = None
    mean: images.Mean = None
    std: images.Std = None
    value_range: images.ValueRange = None
    bgr: images.Bgr = None
    resize: images.Resize = None
    no_exif: images.NoExif = False
    allow_truncated: images.AllowTruncated = False
    max_pixels: images.MaxPixels = DEFAULT_MAX_PIXELS
    max_bytes: images.MaxBytes = DEFAULT_MAX_BYTES
    fast_decode: images.FastDecode = False
    timeout: images.Timeout = DEFAULT_TIMEOUT
    allow_private: images.AllowPrivate = False
    arch: network.Arch = None
    weights: network.Weights = None
    offline: network.Offline = False
    mirror: network.Mirror = None
    device: network.Device = "auto"
    engine: network.Engine = "auto"
    precision: network.Precision = "auto"
    threads: network.Threads = None
    batch_size: network.BatchSize = None
    workers: network.Workers = None

    @property
    def settings(self) -> Settings:
        """What a classifier is opened with."""
        from vggcli.cli import options

        return options.settings(vars(self))


@dataclass(frozen=True)
class Classifying(Opening):
    """The same, and what its classes are called and how probable they are."""

    labels: network.Labels = None
    activation: network.Activation = None
    calibration: network.Calibration = None


def one_by_one(command: Callable[..., None]) -> Callable[..., None]:
    """The function of a verb with single options for parameters, as Typer wants it.

    A parameter whose type is one of the dataclasses above stands for its fields.
    """
    types = get_type_hints(command, include_extras=True)
    lists: dict[str, Any] = {}
    single: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = types[parameter.name]
        if is_dataclass(kind):
            lists[parameter.name] = kind
            inner = get_type_hints(kind, include_extras=True)
            single += [_keyword(field.name, field.default, inner[field.name]) for field in fields(kind)]
        else:
            single.append(_keyword(parameter.name, parameter.default, kind))

    def run(**given: Any) -> None:
        taken = {name: kind(**{f.name: given.pop(f.name) for f in fields(kind)}) for name, kind in lists.items()}
        command(**given, **taken)

    run.__doc__ = command.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in single}
    run.__signature__ = inspect.Signature(single)  # type: ignore[attr-defined]
    return run


def _keyword(name: str, default: Any, kind: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
