"""Classify images with the VGG networks of Simonyan and Zisserman, from the command line and from Python.

Examples:
    >>> import vggcli
    >>> with vggcli.load("demo") as vgg:
    ...     vgg.variant, len(vgg.labels)
    ('demo', 10)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vggcli.analysis.inspection import Inspection, inspect
    from vggcli.classifier import Classifier
    from vggcli.errors import (
        CheckpointError,
        DeviceError,
        DownloadError,
        ForbiddenError,
        InputError,
        MismatchError,
        UsageError,
        VggError,
        WeightsError,
    )
    from vggcli.images.recipe import Recipe
    from vggcli.library.loading import load
    from vggcli.library.paired import Compared, compare
    from vggcli.records import Activations, Explanation, Failure, Prediction, Record

__version__ = "0.1.0"

__all__ = [
    "Activations",
    "CheckpointError",
    "Classifier",
    "Compared",
    "DeviceError",
    "DownloadError",
    "Explanation",
    "Failure",
    "ForbiddenError",
    "InputError",
    "Inspection",
    "MismatchError",
    "Prediction",
    "Recipe",
    "Record",
    "UsageError",
    "VggError",
    "WeightsError",
    "__version__",
    "compare",
    "inspect",
    "load",
]

_HOMES = {
    "vggcli.analysis.inspection": ("Inspection", "inspect"),
    "vggcli.classifier": ("Classifier",),
    "vggcli.images.recipe": ("Recipe",),
    "vggcli.library.loading": ("load",),
    "vggcli.library.paired": ("Compared", "compare"),
    "vggcli.records": ("Activations", "Explanation", "Failure", "Prediction", "Record"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `import vggcli` itself costs nothing."""
    from importlib import import_module

    if name in __all__:
        home = next((home for home, names in _HOMES.items() if name in names), "vggcli.errors")
        return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
