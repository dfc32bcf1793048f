"""The main verb: inputs in, one record each out, whatever happens in between."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from vggcli.classifier import Classifier
from vggcli.commands.console import Console, Progress
from vggcli.commands.interruption import Interruption
from vggcli.commands.named import access_of, must_fetch, nothing_is_there, say_skipped
from vggcli.commands.provenance import Computing, provenance_of
from vggcli.commands.request import Request
from vggcli.commands.sorting import Sorting
from vggcli.engines import choice
from vggcli.errors import StoppedError
from vggcli.images import discover
from vggcli.images.recipe import RECIPES
from vggcli.output.formats import choose_format
from vggcli.output.stream import check_file
from vggcli.records import Record
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.opening import check_classifies

if TYPE_CHECKING:
    from vggcli.output.resume import ResumableOutput

_EMPTY = "there was nothing to classify; with --allow-empty that is no failure"
_TICK_SECONDS = 0.5  # how often a waiting thread looks for interruptions


class _InterruptedError(Exception):
    """SIGINT or SIGTERM came."""


def predict(request: Request, console: Console) -> int:
    """Classify every input of a request.

    Returns:
        The exit code: 0 all classified, 1 some failed, 130 or 143 interrupted.

    Raises:
        VggError: the run could not begin, or ended before its last input (`StoppedError` after too many failures).
    """
    discover.check(request.inputs, request.files_from, request.null, request.column)
    choice.check(request.settings.engine, request.settings.device)
    format = choose_format(request.format, request.output, console.shows_results)
    if request.output is not None:
        check_file(request.output, replace=request.resume or request.overwrite)
        _check_sources(request, request.output, request.settings.weights)
    say = _nothing if request.quiet else console.note
    access = access_of(request.settings, keeps=request.sort_into is not None)
    sorting = Sorting(
        request.sort_into,
        request.inputs,
        request.recursive,
        link=request.link,
        dry_run=request.dry_run,
        access=access,
        note=console.note,
        say=say,
    )
    skipped = discover.Skipped()
    found = discover.discover(
        request.inputs,
        skipped,
        recursive=request.recursive,
        files_from=request.files_from,
        null=request.null,
        column=request.column,
        access=access,
    )
    named = request.inputs, request.recursive, request.files_from, request.null, request.column
    if must_fetch(request.settings) and not request.allow_empty and nothing_is_there(*named):
        deque(found, maxlen=0)  # to its end, which is near, and then it is known what to say
        say_skipped(skipped, console.note, say)
        console.note(_EMPTY)
        return 1
    if request.quiet:
        logging.getLogger("vggcli").setLevel(logging.WARNING)
    classifier = Classifier(request.settings, progress=None if request.quiet else console.transfer)
    check_classifies(classifier.model.reading, classifier.model.path, has_names=classifier.model.has_names)
    if request.output is not None:
        _check_sources(request, request.output, classifier.model.path)
    for text in classifier.notes:
        # What is known of these weights is said in any case, but not what every run with the demo begins with.
        if not (request.quiet and classifier.model.path == DEMO_FILE):
            console.note(text)
    run = _Prediction(request, classifier, format, found, sorting, console)
    code = run.run()
    say_skipped(skipped, console.note, say)
    run.say_hints()
    if run.is_empty and not request.allow_empty and code == 0:
        console.note(_EMPTY)
        return 1
    return code


def _nothing(text: str) -> None:
    """Say it to nobody."""


def _check_sources(request: Request, output: Path, weights: str | Path | None) -> None:
    from vggcli.output.sources import check_output_is_no_source
    from vggcli.weights import neighbours

    recipe, beside = request.settings.recipe, neighbours.paths(weights) if isinstance(weights, Path) else ()
    named = recipe if isinstance(recipe, str) and recipe not in RECIPES else None
    sources = (weights, *beside, named, request.settings.labels, request.files_from)
    check_output_is_no_source(output, request.inputs, sources)


class _Prediction:
    """One run: the pipeline's results to the output, and the counts."""

    def __init__(
        self,
        request: Request,
        classifier: Classifier,
        format: str,
        found: Iterator[discover.Input],
        sorting: Sorting,
        console: Console,
    ) -> None:
        self._request, self._classifier, self._format, self._console = request, classifier, format, console
        self._sorting, self._say = sorting, _nothing if request.quiet else console.note
        self._hints: dict[str, str] = {}  # by what may have been meant, the first path that it was said of
        self._selection = classifier.selection(request.top_k, request.min_prob)
        self._began = monotonic()
        self._output: ResumableOutput[Record] | None = None
        self._output_is_open = threading.Event()
        self._is_over = False
        self._failures: Counter[str] = Counter()
        self._classified = 0
        self._interruption = Interruption(console, self._say_interrupted)
        # Images decode from here on.
        self._pipeline = classifier.pipeline(self._todo(found), keeps=request.sort_into is not None)

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
        return 1 if self._failures or self._sorting.failed else 0

    @property
    def is_empty(self) -> bool:
        """Whether there was no input at all."""
        return not (self._classified or self._failures or (self._output is not None and self._output.kept))

    def say_hints(self) -> None:
        """What may have been meant by paths under which there is nothing."""
        for hint, path in self._hints.items():
            self._console.note(f"there is no {path}: {hint}")

    def _run(self) -> None:
        # Here and not above, while the network is compiled on another thread: nobody waits for these imports.
        from vggcli.images import counting
        from vggcli.output.predictions import PredictionCodec
        from vggcli.output.resume import open_output

        request = self._request
        engine = self._pipeline.wait_for_engine()
        if engine is None:
            raise _InterruptedError
        # Only a file can be resumed, so only then are the fingerprints worth their time.
        is_kept = request.output is not None
        computing = Computing.of(engine, choice.why(request.settings.precision, self._classifier.model, engine))
        provenance = provenance_of(self._classifier, self._selection, computing, is_kept=is_kept)
        self._output = open_output(
            self._format,
            request.output,
            PredictionCodec(provenance.top_k, provenance.min_prob),
            provenance,
            resume=request.resume,
            overwrite=request.overwrite,
        )
        self._output_is_open.set()
        try:
            leaves_room = not request.quiet and (request.output is not None or not self._console.shares_terminal)
            counts = counting.count(
                request.inputs,
                request.files_from,
                recursive=request.recursive,
                null=request.null,
                column=request.column,
            )
            with self._console.progress(leaves_room, counts) as progress, self._output as output:
                self._write(output, progress)
                if self._interruption.signal is not None:
                    raise _InterruptedError  # through the output, so that it knows that it is not complete
        finally:
            self._say_counts()

    def _write(self, output: ResumableOutput[Record], progress: Progress) -> None:
        for result in self._pipeline.results():
            record = self._classifier.record(result, self._selection)
            self._sorting.take(
                record, result.item
            )  # before its row is written: a row says that all is done for its input
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
        if record.failure is not None and record.failure.kind == "missing" and record.path:
            hint = discover.hint(record.path)
            if hint:
                self._hints.setdefault(hint, record.path)
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
            "The rows so far are written"
            + (f", and the same command {self._how_to_resume()} from them" if self._is_resumable() else ""),
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
            yield from self._output.inputs(found, self._see_kept)

    def _see_kept(self, item: discover.Input, label: str) -> None:
        if label:
            self._sorting.take_image(item, label)

    def _say_interrupted(self) -> None:
        how = f"the same command {self._how_to_resume()}" if self._is_resumable() else "the rows so far are written"
        self._console.note(f"interrupted: {how}")

    def _how_to_resume(self) -> str:
        if self._request.resume:
            return "goes on"
        return "with --resume instead of --overwrite goes on" if self._request.overwrite else "with --resume goes on"

    def _is_resumable(self) -> bool:
        return self._request.resume if self._output is None else self._output.is_resumable

    def _say_counts(self) -> None:
        failed, seconds = self._failures.total(), monotonic() - self._began
        total = self._classified + failed
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self._failures.items()))
        kept = f", {self._output.kept} kept from before" if self._output is not None and self._output.kept else ""
        failures = f", {failed} failed ({kinds})" if failed else ""
        rate = f", {total / seconds:.1f} images/s" if total else ""
        self._say(f"{self._classified} ok{failures}{kept}{self._sorting.counts()}, {seconds:.1f} s{rate}")
