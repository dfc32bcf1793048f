"""The main verb: inputs in, one record each out, whatever happens in between."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from vggcli import __version__
from vggcli.classifier import Classifier
from vggcli.commands.console import Console, Progress
from vggcli.commands.interruption import Interruption
from vggcli.engines import Engine, choice
from vggcli.errors import StoppedError
from vggcli.images import counting, discover
from vggcli.network import labels
from vggcli.output.formats import choose_format
from vggcli.output.predictions import PredictionCodec
from vggcli.output.resume import ResumableOutput, open_output
from vggcli.output.sources import check_output_is_no_source
from vggcli.output.stream import check_file
from vggcli.records import Provenance, Record
from vggcli.settings import Settings
from vggcli.weights import store

_TICK_SECONDS = 0.5  # how often a waiting thread looks for interruptions


@dataclass(frozen=True)
class Request:
    """What `vgg predict` was asked to do; the fields are the options of the same names.

    Attributes:
        settings: those of the classifier.
        max_errors: failed inputs after which the run stops; None for never.
    """

    inputs: tuple[str, ...] = ()
    recursive: bool = False
    files_from: str | None = None
    null: bool = False
    settings: Settings = field(default_factory=Settings)
    top_k: int = 5
    format: str = "auto"
    output: Path | None = None
    resume: bool = False
    overwrite: bool = False
    max_errors: int | None = None


class _InterruptedError(Exception):
    """SIGINT or SIGTERM came."""


def predict(request: Request, console: Console) -> int:
    """Classify every input of a request.

    Returns:
        The exit code: 0 all classified, 1 some failed, 130 or 143 interrupted.

    Raises:
        VggError: the run could not begin, or ended before its last input (`StoppedError` after too many failures).
    """
    discover.check(request.inputs, request.files_from, request.null)
    choice.check(request.settings.engine, request.settings.device)
    format = choose_format(request.format, request.output, console.shows_results)
    if request.output is not None:
        check_file(request.output, replace=request.resume or request.overwrite)
        _check_sources(request, request.output, request.settings.weights)
    skipped = discover.Skipped()
    found = discover.discover(
        request.inputs, skipped, recursive=request.recursive, files_from=request.files_from, null=request.null
    )
    classifier = Classifier(request.settings, progress=console.transfer)
    if request.output is not None:
        _check_sources(request, request.output, classifier.model.path)
    for text in classifier.notes:
        (console.warn if text == classifier.warning else console.note)(text)
    code = _Prediction(request, classifier, format, found, console).run()
    _say_skipped(skipped, console)
    return code


def _check_sources(request: Request, output: Path, weights: str | Path | None) -> None:
    check_output_is_no_source(output, request.inputs, (weights, request.settings.labels, request.files_from))


class _Prediction:
    """One run: the pipeline's results to the output, and the counts."""

    def __init__(
        self, request: Request, classifier: Classifier, format: str, found: Iterator[discover.Input], console: Console
    ) -> None:
        self._request, self._classifier, self._format, self._console = request, classifier, format, console
        self._began = monotonic()
        self._output: ResumableOutput[Record] | None = None
        self._output_is_open = threading.Event()
        self._is_over = False
        self._failures: Counter[str] = Counter()
        self._classified = 0
        self._interruption = Interruption(console, self._say_interrupted)
        self._pipeline = classifier.pipeline(self._todo(found))  # images decode from here on

    def run(self) -> int:
        """All records out; the exit code."""
        try:
            with self._interruption.watching(self._pipeline):
                self._run()
        except _InterruptedError:
            # The process is about to end, and closing would wait for what runs on the engine.
            self._say_interrupted()
            return self._interruption.exit_code
        except BaseException:
            self._pipeline.stop()
            raise
        finally:
            self._is_over = True
        self._classifier.close()
        return 1 if self._failures else 0

    def _run(self) -> None:
        request = self._request
        engine = self._pipeline.wait_for_engine()
        if engine is None:
            raise _InterruptedError
        provenance = self._provenance(engine)
        self._output = open_output(
            self._format,
            request.output,
            PredictionCodec(provenance.top_k),
            provenance,
            resume=request.resume,
            overwrite=request.overwrite,
        )
        self._output_is_open.set()
        try:
            leaves_room = request.output is not None or not self._console.shares_terminal
            counts = counting.count(request.inputs, request.files_from, recursive=request.recursive, null=request.null)
            with self._console.progress(leaves_room, counts) as progress, self._output as output:
                self._write(output, progress)
                if self._interruption.signal is not None:
                    raise _InterruptedError  # through the output, so that it knows that it is not complete
        finally:
            self._say_counts()

    def _write(self, output: ResumableOutput[Record], progress: Progress) -> None:
        for result in self._pipeline.results():
            record = self._classifier.record(result, self._request.top_k)
            output.write(record)
            if record.failure is None:
                self._classified += 1
            else:
                self._failures[record.failure.kind] += 1
                self._say_failure(record)
            progress.advance(self._classified, self._failures.total(), output.kept)
            self._stop_after_failures(record)

    def _say_failure(self, record: Record) -> None:
        console = self._console
        # On one terminal the table's row has said it already.
        is_shown = self._format == "table" and self._request.output is None and console.shows_results
        if record.failure is not None and not (is_shown and console.is_terminal):
            shown = record.path or "''"
            console.note(f"cannot classify {shown}: {record.failure.message}")

    def _stop_after_failures(self, record: Record) -> None:
        limit = self._request.max_errors
        if record.failure is None or limit is None or self._failures.total() <= limit:
            return
        failed = self._failures.total()
        raise StoppedError(
            "stopped at",
            record.path or "",
            f"{failed} input{'s' * (failed > 1)} failed and {limit} may",
            "The rows so far are written" + (", and --resume goes on from them" if self._is_resumable() else ""),
        )

    def _todo(self, found: Iterator[discover.Input]) -> Iterator[discover.Input]:
        """The inputs to classify; a resumed run must know its output first, any other starts decoding at once."""
        if not self._request.resume:
            yield from found
            return
        # A signal handler sets no event: it may run inside the very `set` of the thread that it interrupts.
        while not self._output_is_open.wait(_TICK_SECONDS):
            if self._is_over or self._interruption.signal is not None:
                return
        if self._output is not None:
            yield from self._output.inputs(found)

    def _provenance(self, engine: Engine) -> Provenance:
        classifier, model = self._classifier, self._classifier.model
        # Only a file can be resumed, so only then is the fingerprint worth its time.
        fingerprint = store.fingerprint(model.path) if self._request.output is not None else ""
        return Provenance(
            version=__version__,
            weights=model.name,
            weights_fingerprint=fingerprint,
            variant=model.variant,
            dialect=model.mapping.dialect.name,
            preprocessing=classifier.preprocessing,
            labels=labels.digest(model.labels),
            engine=engine.name,
            device=engine.device,
            precision=engine.precision,
            top_k=min(self._request.top_k, len(model.labels)),
            recipe_source=model.recipe.source,
        )

    def _say_interrupted(self) -> None:
        how = "the same command with --resume goes on" if self._is_resumable() else "the rows so far are written"
        self._console.note(f"interrupted: {how}")

    def _is_resumable(self) -> bool:
        return self._request.resume if self._output is None else self._output.is_resumable

    def _say_counts(self) -> None:
        failed, seconds = self._failures.total(), monotonic() - self._began
        total = self._classified + failed
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self._failures.items()))
        kept = f", {self._output.kept} kept from before" if self._output is not None and self._output.kept else ""
        failures = f", {failed} failed ({kinds})" if failed else ""
        rate = f", {total / seconds:.1f} images/s" if total else ""
        self._console.note(f"{self._classified} ok{failures}{kept}, {seconds:.1f} s{rate}")


def _say_skipped(skipped: discover.Skipped, console: Console) -> None:
    files, folders = skipped.files, skipped.folders
    if files.count:
        count = f"{files.count} file{'s' * (files.count > 1)}"
        console.note(
            f"passed over {count} not named as images and without an image's first bytes, e.g. {files.example}"
        )
    if folders.count:
        count = f"{folders.count} folder{'s' * (folders.count > 1)}"
        console.note(f"passed over {count} inside those named, e.g. {folders.example}; --recursive descends into them")
    for folder in skipped.empty_folders:
        console.note(f"no images in {folder}")
