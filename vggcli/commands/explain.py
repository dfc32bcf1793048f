"""Where in each image the network finds its classes, as pictures in a folder and a row for each."""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import numpy as np

from vggcli.classifier import Classifier
from vggcli.commands.console import Console
from vggcli.commands.interruption import Interruption
from vggcli.commands.named import NamedImages, access_of, exhaust, nothing_to, say_nothing, say_skipped
from vggcli.engines import choice, devices
from vggcli.errors import StoppedError
from vggcli.images import discover
from vggcli.library.explaining import Explainer
from vggcli.library.settings import Settings
from vggcli.output import heat_map
from vggcli.output.explanations import Explained, ExplanationCodec, Picture
from vggcli.output.formats import choose_format
from vggcli.output.pictures import PictureFolder
from vggcli.output.sinks import Sink, open_sink
from vggcli.records import Explanation
from vggcli.run.batches import Result
from vggcli.run.in_order import in_order
from vggcli.weights.locate import DEMO_FILE

FOLDER = Path("explained")


@dataclass(frozen=True)
class ExplainRequest(NamedImages):
    """The options of one run; the fields have the names of the options.

    Attributes:
        settings: those of the classifier.
        top_k, classes, layer, method: see `Classifier.explain`.
        output: the folder of the pictures.
        overwrite: replace pictures that lie there under the same names.
        raw: leave each map as computed beside its picture.
        max_errors: failed inputs after which the run stops; None for never.
    """

    settings: Settings = field(default_factory=Settings)
    top_k: int | None = None
    classes: tuple[str, ...] = ()
    layer: str | None = None
    method: str = "grad-cam"
    format: str = "auto"
    output: Path = FOLDER
    overwrite: bool = False
    raw: bool = False
    max_errors: int | None = None
    quiet: bool = False


def explain(request: ExplainRequest, console: Console) -> int:
    """Explain every input of a request.

    Returns:
        The exit code: 0 all explained, 1 some failed, or there were none, 130 or 143 interrupted.

    Raises:
        VggError: the run could not begin, or ended before its last input.
    """
    request.check_named()
    choice.check(request.settings.engine, request.settings.device, request.settings.precision)
    format = choose_format(request.format, None, console.shows_results, ExplanationCodec.formats)
    folder = PictureFolder(request.output, overwrite=request.overwrite)
    folder.check(request.inputs, request.recursive)
    say = say_nothing if request.quiet else console.note
    skipped = discover.Skipped()
    found = request.find(skipped, access_of(request.settings))
    if request.fetch_would_be_vain(request.settings):
        exhaust(found)
        say_skipped(skipped, console.note, say)
        console.note(nothing_to("explain"))
        return 1
    if request.quiet:
        logging.getLogger("vggcli").setLevel(logging.WARNING)
    classifier = Classifier(request.settings, progress=None if request.quiet else console.transfer)
    explainer = Explainer(
        classifier, top_k=request.top_k, classes=request.classes, layer=request.layer, method=request.method
    )
    for text in classifier.notes:
        if not (request.quiet and classifier.model.path == DEMO_FILE):
            console.note(text)
    if request.top_k is not None and request.top_k > explainer.count:
        say(f"the network has {explainer.count} classes, so every image has {explainer.count} pictures")
    if explainer.takes_torch:
        say(f"{explainer.method} at {explainer.layer} is computed by torch in fp32")
    run = _Explaining(request, classifier, explainer, folder, console)
    code = run.run(found, format)
    if code > 1:  # the process is about to end, and closing would wait for what runs on the engine
        return code
    classifier.close()
    say_skipped(skipped, console.note, say)
    if run.is_empty:
        console.note(nothing_to("explain"))
        return 0 if request.allow_empty else 1
    return code


class _Explaining:
    """One run: the pipeline's results drawn by several threads, placed and written in order."""

    def __init__(
        self,
        request: ExplainRequest,
        classifier: Classifier,
        explainer: Explainer,
        folder: PictureFolder,
        console: Console,
    ) -> None:
        self._request, self._classifier, self._explainer = request, classifier, explainer
        self._folder, self._console = folder, console
        self._say = say_nothing if request.quiet else console.note
        self._began = monotonic()
        self._explained = 0
        self._failures: Counter[str] = Counter()
        self._interruption = Interruption(console, self._say_interrupted)

    @property
    def is_empty(self) -> bool:
        """Whether there was no input at all."""
        return not (self._explained or self._failures)

    def run(self, found: Iterator[discover.Input], format: str) -> int:
        """All pictures made; the exit code."""
        request, console = self._request, self._console
        pipeline = self._explainer.pipeline(found, keeps_picture=True)
        shows_progress = not request.quiet and not console.shares_terminal
        try:
            with self._interruption.watching(pipeline), console.progress(shows_progress, request.count()) as progress:
                pipeline.wait_for_engine()
                sink = open_sink(format, None, ExplanationCodec(self._explainer.count))
                with closing(in_order(pipeline.results(), self._drawn, devices.cores())) as drawn:
                    try:
                        for explained, contents in drawn:
                            self._take(explained, contents, sink)
                            progress.advance(self._explained, self._failures.total())
                    except BaseException:
                        pipeline.stop()  # or the threads that draw would wait for all its results
                        raise
                if self._interruption.signal is None:
                    sink.close()
        finally:
            pipeline.stop()
            self._say_counts()
        if self._interruption.signal is not None:
            self._say_interrupted()
            return self._interruption.exit_code
        return 1 if self._failures else 0

    def _drawn(self, result: Result) -> tuple[tuple[Explanation, ...], list[dict[str, bytes]]]:
        """What there is of one input, and for each class the contents of its files, by ending; in any thread."""
        explanations = self._explainer.explanations(result)
        contents = []
        for item in explanations:
            if item.map is None or result.picture is None:
                continue
            height, width = result.picture.shape[:2]
            box = self._classifier.loader.input_box(width, height)
            title = f"{item.label}  {item.probability:.2%}"
            facts = f"class {item.index}, {self._explainer.method} at {self._explainer.layer}"
            files = {".npy": _npy(item)} if self._request.raw else {}
            contents.append(files | {".png": heat_map.picture(result.picture, item.map, box, title, facts)})
        return explanations, contents

    def _take(
        self, explanations: tuple[Explanation, ...], contents: list[dict[str, bytes]], sink: Sink[Explained]
    ) -> None:
        first = explanations[0]
        path = first.path or ""
        if first.failure is not None:
            self._failures[first.failure.kind] += 1
            sink.write(Explained(path, failure=first.failure))
            self._console.note(f"cannot explain {path or chr(39) * 2}: {first.failure.message}")
            self._stop_after_failures(path)
            return
        pictures = []
        for item, files in zip(explanations, contents, strict=True):
            placed = self._folder.place(path, item.index, files)  # before its row, which says that it is there
            pictures.append(
                Picture(item.rank, item.index, item.label, item.probability, placed[".png"], placed.get(".npy", ""))
            )
        sink.write(Explained(path, tuple(pictures), truncated=first.truncated))
        self._explained += 1

    def _stop_after_failures(self, path: str) -> None:
        limit, failed = self._request.max_errors, self._failures.total()
        if limit is not None and failed > limit:
            why = f"{failed} input{'s' * (failed > 1)} failed and {limit} may"
            raise StoppedError("stopped at", path, why, "The rows and pictures so far are written")

    def _say_interrupted(self) -> None:
        self._console.note("interrupted: the rows and pictures so far are written")

    def _say_counts(self) -> None:
        failed, seconds = self._failures.total(), monotonic() - self._began
        total = self._explained + failed
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self._failures.items()))
        failures = f", {failed} failed ({kinds})" if failed else ""
        placed = self._folder.placed
        pictures = f", {placed} picture{'s' * (placed > 1)} in {self._request.output}" if placed else ""
        rate = f", {total / seconds:.1f} images/s" if total else ""
        self._say(f"{self._explained} ok{failures}{pictures}, {seconds:.1f} s{rate}")


def _npy(item: Explanation) -> bytes:
    """The map as NumPy keeps arrays."""
    file = io.BytesIO()
    assert item.map is not None
    np.save(file, item.map)
    return file.getvalue()
