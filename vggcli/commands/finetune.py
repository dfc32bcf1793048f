"""A network of one's own classes: trained, measured on what was held out, and written whole or not at all."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vggcli import files
from vggcli.commands.console import Console, Progress
from vggcli.commands.interruption import Interruption, Stoppable
from vggcli.commands.listing import Cell, Listing
from vggcli.engines import choice
from vggcli.errors import OutputError, StoppedError, UsageError
from vggcli.library.settings import Settings
from vggcli.output.sources import check_output_is_no_source
from vggcli.output.stream import cannot_write, check_file
from vggcli.training import checkpoint, dataset, features
from vggcli.training.finetuning import finetune as train
from vggcli.training.observer import InterruptedError
from vggcli.training.plan import DEEPER, FROM_SCRATCH, LAST_LAYER, Depth
from vggcli.training.task import Finetuned, Start, Task

COLUMNS = ("class", "train", "held out", "right", "accuracy", "at least", "at most")
_ENDINGS = (".pth", ".pt")


@dataclass(frozen=True)
class Request:
    """What `vgg finetune` was asked to do.

    Attributes:
        source: a folder or csv of labelled images.
        output: the file to write.
        settings: of the classifier that it starts from; and device, precision, threads.
        depth: the part that is trained; None for the last layer, and for all of it from scratch.
        start: what it starts from without weights; None for the weights of the settings.
        numbers: those of the plan that were given, by name; None for the default.
        cache: folder of features; None for the user's cache.
    """

    source: str
    output: Path
    settings: Settings
    depth: Depth | None
    start: Start | None
    numbers: dict[str, Any]
    cache: Path | None
    resume: bool
    overwrite: bool
    quiet: bool


def finetune(request: Request, console: Console) -> tuple[Listing | None, int]:
    """Train and write a file.

    Returns:
        What it came to, None when it was interrupted or had been finished before; and the exit code: 0 written, 1
        written, but some images could not be read, 4 written, but the loss diverged, 130 or 143 interrupted.

    Raises:
        UsageError: it was asked for something that cannot be.
        WeightsError: the weights or the checkpoint cannot be used.
        DeviceError: torch or the device cannot be used.
        StoppedError: nothing was written.
    """
    if _is_finished(request):
        console.note(f"{request.output} is there and no checkpoint beside it: nothing to resume")
        return None, 0
    task = _checked(request)
    found = dataset.read(request.source)
    observer = _Observer(console, request.quiet)
    for text in found.notes:
        console.note(text)
    try:
        done = train(task, found, observer, None if request.quiet else console.transfer)
        content = done.content(task)
    except InterruptedError:
        observer.say_interrupted()
        return None, observer.exit_code
    _write(request, content)
    checkpoint.CheckpointFile(task.checkpoint, {}).remove()
    if done.diverged:
        epoch = content["metrics"]["epoch"]
        console.note(f"the loss was no finite number any more: epoch {epoch} is kept. Use a smaller --lr.")
    code = StoppedError.exit_code if done.diverged else 1 if done.surveyed.failures else 0
    if done.surveyed.failures:
        count = len(done.surveyed.failures)
        console.note(f"{count} of {count + len(done.surveyed.images)} images could not be read and were left out")
    return _listing(request.output, done, content), code


def _is_finished(request: Request) -> bool:
    is_whole = os.path.lexists(request.output) and not checkpoint.path_of(request.output).exists()
    return request.resume and not request.overwrite and is_whole


def _checked(request: Request) -> Task:
    """Refuse what cannot be before anything is read; what is to be done otherwise."""
    output, settings, depth = request.output, request.settings, request.depth or "last"
    if output.suffix not in _ENDINGS:
        raise UsageError("cannot write", str(output), f"the name of such a file ends in {' or '.join(_ENDINGS)}")
    kept = checkpoint.path_of(output)
    if request.resume and request.overwrite:
        raise UsageError("--resume and --overwrite", "", "they contradict each other", "Choose one")
    if kept.exists() and not (request.resume or request.overwrite):
        why = "an interrupted training left it"
        raise UsageError("will not overwrite", str(kept), why, "Add --resume to go on, or --overwrite to begin anew")
    if os.path.lexists(output) and not (request.overwrite or request.resume):
        raise UsageError("will not overwrite", str(output), "the file exists", "Add --overwrite to replace it")
    scale = {} if request.start is None else {"width": request.start.width}
    for name, value in (request.numbers | scale).items():  # NaN is in no range, which a range of options lets pass
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"cannot use {name.replace('_', ' ')}", f"{value:g}", "it must be a finite number")
    check_file(output, replace=True)
    check_output_is_no_source(output, (), (settings.weights, request.source))
    choice.check(settings.engine, settings.device, settings.precision)
    if request.start is not None:
        _check_start(request)
        depth = "all"
    if depth != "last" and settings.precision == "int8":
        raise UsageError("cannot train in", "int8", "it is for predictions", "Leave --precision out")
    plan = (FROM_SCRATCH if request.start else LAST_LAYER if depth == "last" else DEEPER).with_options(request.numbers)
    cache = request.cache or features.cache_folder()
    return Task(request.source, settings, depth, plan, cache, kept, request.start, request.resume)


def _check_start(request: Request) -> None:
    if request.settings.weights is not None:
        raise UsageError("--from-scratch and --weights", "", "they contradict each other", "Choose one")
    if request.depth not in (None, "all"):
        raise UsageError(
            "--from-scratch and --unfreeze", request.depth, "drawn weights are no use unless all are trained"
        )


class _Observer:
    """Tells a person, and stops at a signal; see `vggcli.training.observer.Observer`."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._interruption: Interruption | None = None

    @property
    def exit_code(self) -> int:
        """Of a run that a signal ended."""
        return self._interruption.exit_code if self._interruption is not None else 130

    def say(self, text: str) -> None:
        """One line, unless --quiet."""
        if not self._quiet:
            self._console.note(text)

    def warn(self, text: str) -> None:
        """One line."""
        self._console.note(text)

    @contextmanager
    def watching(self, work: Stoppable, images: int) -> Iterator[Progress]:
        """Show how far it is, and stop it when a signal comes."""
        self._interruption = interruption = Interruption(self._console, self.say_interrupted)
        with interruption.watching(work), self._console.progress(not self._quiet, (images,)) as progress:
            yield progress
        if interruption.signal is not None:
            raise InterruptedError

    def say_interrupted(self) -> None:
        """The last words."""
        self._console.note(
            "interrupted: what was computed is kept; the same command with --resume goes on where it was"
        )


def _write(request: Request, content: dict[str, Any]) -> None:
    output = request.output
    # A run that was killed between writing this file and removing its checkpoint goes on as well.
    put = files.replace_file if request.overwrite or request.resume else files.create_file
    try:
        checkpoint.write(content, output, put)
    except FileExistsError as error:
        raise OutputError("will not overwrite", str(output), "the file was made meanwhile") from error
    except OSError as error:
        raise cannot_write(output, error) from error


def _listing(output: Path, done: Finetuned, content: dict[str, Any]) -> Listing:
    metrics = content["metrics"]
    rows = [
        _row(entry["name"], entry["train"], entry["held_out"], entry["right"], entry["interval"])
        for entry in metrics["by_class"]
    ]
    train = len(done.split.train)
    total = _row("all", train, metrics["held_out"], metrics["right"], metrics["interval"])
    facts = {"file": str(output), "trained": _trained(metrics)}
    data = {"path": str(output), **{name: content[name] for name in ("settings", "metrics", "data")}}
    data["split"] = {name: value for name, value in content["split"].items() if name not in ("train", "val")}
    return Listing(COLUMNS, rows, data, plain=[*rows, total], facts=facts, totals=total)


def _trained(metrics: dict[str, Any]) -> str:
    """In one line."""
    epochs = f"epoch {metrics['epoch']} of {metrics['epochs']} is the best"
    return f"{epochs}, loss {metrics['train_loss']:.4f}" + (
        f", held out {metrics['loss']:.4f}" if metrics["loss"] is not None else ", nothing held out"
    )


def _row(name: str, train: int, held_out: int, right: int, interval: list[float]) -> tuple[Cell, ...]:
    shares = [f"{share:.4f}" for share in (right / held_out, *interval)] if held_out else ["", "", ""]
    return (name, train, held_out, right, *shares)
