"""What verbs that write a record for every input were asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vggcli.commands.named import NamedImages
from vggcli.library.settings import Settings


@dataclass(frozen=True)
class RecordingRequest(NamedImages):
    """What they share; the fields have the names of the options.

    Attributes:
        settings: those of the classifier.
        max_errors: failed inputs after which the run stops; None for never.
    """

    settings: Settings = field(default_factory=Settings)
    format: str = "auto"
    output: Path | None = None
    resume: bool = False
    overwrite: bool = False
    max_errors: int | None = None
    quiet: bool = False


@dataclass(frozen=True)
class Request(RecordingRequest):
    """The options of one run of `vgg predict`.

    Attributes:
        top_k, min_prob: see `Classifier.selection`.
        link: make links in `sort_into` instead of copies.
        report: a page of the run, see `commands.reporting`.
        show: draw a preview of each image on the terminal.
    """

    top_k: int | None = None
    min_prob: float | None = None
    sort_into: Path | None = None
    link: bool = False
    dry_run: bool = False
    report: Path | None = None
    show: bool = False
