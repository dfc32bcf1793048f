"""What `vgg evaluate` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vggcli.analysis.truth import Truth
from vggcli.commands.console import Console
from vggcli.library.settings import Settings

EMPTY = "there was nothing to evaluate"


@dataclass(frozen=True)
class EvaluateRequest:
    """The options of one evaluation; the fields have the names of the options.

    Attributes:
        source: a folder with a folder for each class, or a table of path and label.
        settings: those of the classifier.
        predictions: a finished run of `vgg predict`, in place of running the network.
        html, confusion, calibrate: files to write.
        seed: of the halves that `calibrate` is judged by.
        mistakes: how many are named.
        overwrite: replace those files.
    """

    source: str
    settings: Settings = field(default_factory=Settings)
    predictions: str | None = None
    html: Path | None = None
    confusion: Path | None = None
    calibrate: Path | None = None
    seed: int = 0
    mistakes: int = 20
    overwrite: bool = False
    quiet: bool = False


def count(truth: Truth, console: Console) -> int:
    """The number of images of a truth, every one of which was looked at; what should be known of it is said.

    Raises:
        UsageError: see `Truth.check`.
    """
    images = truth.check()
    for text in truth.notes:
        console.note(text)
    return images
