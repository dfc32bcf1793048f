"""What `vgg predict` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vggcli.settings import Settings


@dataclass(frozen=True)
class Request:
    """The options of one run; the fields have the names of the options.

    Attributes:
        settings: those of the classifier.
        top_k, min_prob: see `Classifier.selection`.
        max_errors: failed inputs after which the run stops; None for never.
        link: make links in `sort_into` instead of copies.
        report: a page of the run, see `commands.reporting`.
        show: draw a preview of each image on the terminal.
    """

    inputs: tuple[str, ...] = ()
    recursive: bool = False
    files_from: str | None = None
    null: bool = False
    column: str | None = None
    settings: Settings = field(default_factory=Settings)
    top_k: int | None = None
    format: str = "auto"
    output: Path | None = None
    resume: bool = False
    overwrite: bool = False
    max_errors: int | None = None
    allow_empty: bool = False
    min_prob: float | None = None
    sort_into: Path | None = None
    link: bool = False
    dry_run: bool = False
    report: Path | None = None
    show: bool = False
    quiet: bool = False
