"""One record for every input, in order, to an output that can be gone on with: what predicting and embedding share."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from vggcli.classifier import Classifier
from vggcli.commands.console import Console, Progress
from vggcli.commands.interruption import Interruption
from vggcli.commands.named import access_of, exhaust, nothing_to, say_nothing, say_skipped
from vggcli.commands.provenance import Computing
from vggcli.commands.request import RecordingRequest
from vggcli.engines import choice
from vggcli.errors import StoppedError
from vggcli.images import discover
from vggcli.images.decode import ImageLoader
from vggcli.images.recipe import RECIPES
from vggcli.output.stream import check_file
from vggcli.records import Failure
from vggcli.run.batches import Result
from vggcli.weights.locate import DEMO_FILE

if TYPE_CHECKING:
    from vggcli.output.resume import ResumableOutput

_TICK_SECONDS = 0.5  # how often a waiting thread looks for interruptions


class _InterruptedError(Exception):
    """SIGINT or SIGTERM came."""


class Outcome(Protocol):
    """What all records say of their input."""

    @property
    def path(self) -> str | None: ...

    @property
    def failure(self) -> Failure | None: ...


R = TypeVar("R", bound=Outcome)


class Recording(ABC, Generic[R]):
    """One run: the pipeline's results as records of one kind to the output, and the counts.

    Args:
        request: what is asked for.
        console: for people.

    Attributes:
        verb: what it does to an image, for messages.
        keeps: see `Access.keeps`.
        shows_failures: the results on the terminal say what failed.
        shows_progress: nothing else is drawn where the bar would be.
    """

    verb: str
    keeps = False
    shows_failures = False
    shows_progress = True

    def __init__(self, request: RecordingRequest, console: Console) -> None:
        self._request, self._console = request, console
        self._say = say_nothing if request.quiet else console.note
        self._hints: dict[str, str] = {}  # by what may have been meant, the first path that it was said of
        self._output: ResumableOutput[R] | None = None
        self._output_is_open = threading.Event()
        self._is_over = False
        self._failures: Counter[str] = Counter()
        self._done = 0
        self._interruption = Interruption(console, self._say_interrupted)

    # What the kinds of runs say.

    @abstractmethod
    def _choose_format(self) -> None:
        """Settle what the records are written as; UsageError for what cannot be."""

    def _prepare(self) -> None:
        """Refuse what else cannot be, before weights are opened; UsageError or OutputError."""

    @abstractmethod
    def _check_classifier(self) -> tuple[str, ...]:
        """Refuse weights that cannot do it with a VggError.

        Returns:
            Names of the layers whose outputs the records take; none for the logits.
        """

    @abstractmethod
    def _open_output(self, computing: Computing) -> ResumableOutput[R]:
        """Where the records go."""

    @abstractmethod
    def _record(self, result: Result) -> R:
        """The record of a result; whatever else is done for an input is done here, since a row says that all is."""

    def _loader(self) -> ImageLoader | None:
        """What decodes instead of the classifier's own."""
        return None

    def _see_kept(self, item: discover.Input, label: str) -> None:
        """An input whose record is kept from before, and its best class."""

    def _finish(self) -> None:
        """Every record is written."""

    def _close(self) -> None:
        """The run is over, however it ended."""

    def _more_counts(self) -> str:
        """What the last line says besides, from a comma on."""
        return ""

    # What they share.

    def carry_out(self) -> int:
        """Make a record of every input.

        Returns:
            The exit code: 0 all done, 1 some failed, 130 or 143 interrupted.

        Raises:
            VggError: the run could not begin, or ended before its last input (`StoppedError` after too many failures).
        """
        request, console = self._request, self._console
        request.check_named()
        choice.check(request.settings.engine, request.settings.device)
        self._choose_format()
        if request.output is not None:
            check_file(request.output, replace=request.resume or request.overwrite)
            self._check_sources(request.output, request.settings.weights)
        self._prepare()
        skipped = discover.Skipped()
        found = request.find(skipped, access_of(request.settings, keeps=self.keeps))
        if request.fetch_would_be_vain(request.settings):
            exhaust(found)
            say_skipped(skipped, console.note, self._say)
            console.note(nothing_to(self.verb))
            return 1
        if request.quiet:
            logging.getLogger("vggcli").setLevel(logging.WARNING)
        self._classifier = Classifier(request.settings, progress=None if request.quiet else console.transfer)
        layers = self._check_classifier()
        model = self._classifier.model
        if request.output is not None:
            self._check_sources(request.output, model.path)
        for text in self._classifier.notes:
            # What is known of these weights is said in any case, but not what every run with the demo begins with.
            if not (request.quiet and model.path == DEMO_FILE):
                console.note(text)
        self._began = monotonic()
        # Images decode from here on.
        self._pipeline = self._classifier.pipeline(self._todo(found), layers, keeps=self.keeps, loader=self._loader())
        code = self._guarded()
        say_skipped(skipped, console.note, self._say)
        for hint, path in self._hints.items():
            console.note(f"there is no {path}: {hint}")
        kept = self._output.kept if self._output is not None else 0
        if not (self._done or self._failures or kept) and not request.allow_empty and code == 0:
            console.note(nothing_to(self.verb))
            return 1
        return code

    def _check_sources(self, output: Path, weights: str | Path | None) -> None:
        from vggcli.output.sources import check_output_is_no_source
        from vggcli.weights import neighbours

        s = self._request.settings
        beside = neighbours.paths(weights) if isinstance(weights, Path) else ()
        recipe = s.recipe if isinstance(s.recipe, str) and s.recipe not in RECIPES else None
        sources = (weights, *beside, recipe, s.labels, s.calibration, self._request.files_from)
        check_output_is_no_source(output, self._request.inputs, sources)

    def _guarded(self) -> int:
        """All records out; the exit code."""
        try:
            with self._interruption.watching(self._pipeline):
                self._run()
            self._finish()
        except _InterruptedError:
            # The process is about to end, and closing would wait for what runs on the engine.
            self._say_interrupted()
            return self._interruption.exit_code
        except BaseException:
            self._pipeline.stop()
            raise
        finally:
            self._is_over = True
            self._close()
        self._classifier.close()
        return 1 if self._failures else 0

    def _run(self) -> None:
        request = self._request
        engine = self._pipeline.wait_for_engine()
        if engine is None:
            raise _InterruptedError
        why = choice.why(request.settings.precision, self._classifier.model, engine)
        self._output = self._open_output(Computing.of(engine, why))
        self._output_is_open.set()
        try:
            has_room = request.output is not None or not self._console.shares_terminal
            leaves_room = self.shows_progress and not request.quiet and has_room
            with self._console.progress(leaves_room, request.count()) as progress, self._output as output:
                self._write(output, progress)
                if self._interruption.signal is not None:
                    raise _InterruptedError  # through the output, so that it knows that it is not complete
        finally:
            self._say_counts()

    def _write(self, output: ResumableOutput[R], progress: Progress) -> None:
        for result in self._pipeline.results():
            record = self._record(result)
            output.write(record)
            if record.failure is None:
                self._done += 1
            else:
                self._failures[record.failure.kind] += 1
                self._say_failure(record.path or "", record.failure)
            progress.advance(self._done, self._failures.total(), output.kept)
            if record.failure is not None:
                self._stop_after_failures(record.path or "")

    def _say_failure(self, path: str, failure: Failure) -> None:
        if failure.kind == "missing" and path and (hint := discover.hint(path)):
            self._hints.setdefault(hint, path)
        if not self.shows_failures:
            self._console.note(f"cannot {self.verb} {path or chr(39) * 2}: {failure.message}")

    def _stop_after_failures(self, path: str) -> None:
        limit, failed = self._request.max_errors, self._failures.total()
        if limit is None or failed <= limit:
            return
        why = f"{failed} input{'s' * (failed > 1)} failed and {limit} may"
        step = f", and the same command {self._how_to_resume()} from them" if self._is_resumable() else ""
        raise StoppedError("stopped at", path, why, f"The rows so far are written{step}")

    def _todo(self, found: Iterator[discover.Input]) -> Iterator[discover.Input]:
        """The inputs to do; a resumed run must know its output first, any other starts decoding at once."""
        if not self._request.resume:
            yield from found
            return
        # A signal handler sets no event: it may run inside the very `set` of the thread that it interrupts.
        while not self._output_is_open.wait(_TICK_SECONDS):
            if self._is_over or self._interruption.signal is not None:
                return
        if self._output is not None:
            yield from self._output.inputs(found, self._see_kept)

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
        total = self._done + failed
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self._failures.items()))
        kept = f", {self._output.kept} kept from before" if self._output is not None and self._output.kept else ""
        failures = f", {failed} failed ({kinds})" if failed else ""
        rate = f", {total / seconds:.1f} images/s" if total else ""
        self._say(f"{self._done} ok{failures}{kept}{self._more_counts()}, {seconds:.1f} s{rate}")
