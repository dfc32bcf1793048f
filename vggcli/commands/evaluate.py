"""How right a network is: images whose classes are known, classified and counted."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vggcli.analysis.evaluation import EvaluationCounter, outcome
from vggcli.analysis.truth import Example
from vggcli.analysis.truth_table import open_truth
from vggcli.classifier import Classifier
from vggcli.commands import evaluation_files
from vggcli.commands.console import Console
from vggcli.commands.evaluation_listing import About, listing
from vggcli.commands.evaluation_request import EMPTY, EvaluateRequest, count
from vggcli.commands.interruption import Interruption
from vggcli.commands.listing import Listing
from vggcli.commands.named import access_of
from vggcli.commands.provenance import Computing, provenance_of
from vggcli.engines import choice
from vggcli.images.discover import Input
from vggcli.network.class_index import ClassIndex
from vggcli.run.ranking import NO_NUMBER, to_probabilities
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.opening import check_classifies
from vggcli.weights.origin import published_variant

if TYPE_CHECKING:
    from vggcli.analysis.temperature import Logits
    from vggcli.records import Provenance
    from vggcli.run.batches import Result

_TAKEN = Input(None)


def evaluate(request: EvaluateRequest, console: Console) -> tuple[Listing | None, int]:
    """Evaluate what a request names.

    Returns:
        What was found, None when there was nothing or it was interrupted; and the exit code: 0 however right the
        network is, 1 when inputs failed or contradict each other, there were none, or no calibration could be fitted,
        130 or 143 interrupted.

    Raises:
        VggError: the run could not begin, or ended before its last input.
    """
    evaluation_files.check(request)
    if request.predictions is not None:
        from vggcli.commands.evaluate_predictions import evaluate_predictions

        return evaluate_predictions(request, console)
    choice.check(request.settings.engine, request.settings.device, request.settings.precision)
    open_truth(request.source, ClassIndex(()))  # what is no truth is said before weights are fetched
    if request.quiet:
        logging.getLogger("vggcli").setLevel(logging.WARNING)
    classifier = Classifier(request.settings, progress=None if request.quiet else console.transfer)
    model = classifier.model
    check_classifies(model.reading, model.path, "cannot evaluate", has_names=model.has_names)
    for text in (model.warning,) if request.quiet else classifier.notes:
        if text:
            console.note(text)
    classes = ClassIndex(classifier.labels)
    truth = open_truth(request.source, classes, access_of(request.settings))
    images = count(truth, console)
    if not images:
        console.note(EMPTY)
        return None, 1
    published = None if model.path == DEMO_FILE else published_variant(model.path)
    with _logits(request, classifier) as logits:
        run = _Evaluation(request, classifier, logits, console)
        code = run.run(truth.examples(), images)
        if code > 1:  # the process is about to end, and closing would wait for what runs on the engine
            return None, code
        code = code or int(truth.contradictions > 0)
        found, fitted = run.counter.result(), None
        provenance = run.provenance()
        if logits is not None and request.calibrate is not None:
            fitted = evaluation_files.calibrate(request, classifier, logits, provenance, console)
            code = code or int(fitted is None)
    ran = {name: value for name, value in asdict(provenance).items() if value != ""}
    about = About(
        source=request.source,
        ran=ran,
        ran_text=provenance.describe(),
        published=published,
        recipe=classifier.recipe,
        calibration=fitted,
    )
    result = listing(found, classes, about)
    evaluation_files.write(request, found, classes, result, console)
    classifier.close()
    return result, code


def _logits(request: EvaluateRequest, classifier: Classifier) -> Any:
    """A place for the logits where they are needed once more."""
    if request.calibrate is None:
        return nullcontext()
    from vggcli.analysis.temperature import Logits

    return Logits("sigmoid" if classifier.model.has_independent_labels else "softmax")


class _Evaluation:
    """One run: the pipeline's results counted."""

    def __init__(
        self, request: EvaluateRequest, classifier: Classifier, logits: Logits | None, console: Console
    ) -> None:
        self._request, self._classifier, self._logits, self._console = request, classifier, logits, console
        self._output = classifier.architecture.layers()[-1].name
        self._pending: deque[Example] = deque()  # of the images that are on their way, in their order
        self.counter = EvaluationCounter(len(classifier.labels), request.mistakes)
        self._interruption = Interruption(console, self._say_interrupted)

    def run(self, examples: Iterator[Example], images: int) -> int:
        """All images counted; the exit code."""
        pipeline = self._classifier.pipeline(self._inputs(examples), (self._output,))
        try:
            # Nothing is printed before the end, so that the terminal is the bar's until then.
            with (
                self._interruption.watching(pipeline),
                self._console.progress(not self._request.quiet, (images,)) as progress,
            ):
                for result in pipeline.results():
                    self._take(result)
                    progress.advance(self.counter.counted, self.counter.failed)
        finally:
            pipeline.stop()
        if self._interruption.signal is not None:
            self._say_interrupted()
            return self._interruption.exit_code
        return 1 if self.counter.failed else 0

    def provenance(self) -> Provenance:
        """What ran."""
        classifier = self._classifier
        engine = classifier.open_engine((self._output,))
        computing = Computing.of(engine, choice.why(self._request.settings.precision, classifier.model, engine))
        return provenance_of(classifier, classifier.selection(), computing, is_kept=False)

    def _inputs(self, examples: Iterator[Example]) -> Iterator[Input]:
        for example in examples:
            # Results come in the order of their inputs, one for each, so nothing but that order joins the two.
            self._pending.append(replace(example, item=_TAKEN))
            yield example.item

    def _take(self, result: Result) -> None:
        example, classifier = self._pending.popleft(), self._classifier
        path = result.item.path or ""
        if result.error is not None:
            self._fail(path, result.error.kind, result.error.why, example.group)
            return
        assert result.outputs is not None
        logits = result.outputs[self._output]
        if not np.isfinite(logits).all():
            self._fail(path, "model", NO_NUMBER, example.group)
            return
        activation, temperature = classifier.recipe.activation, classifier.temperature
        probabilities = to_probabilities(logits, len(classifier.labels), activation, temperature)
        exclusive = not classifier.model.has_independent_labels
        self.counter.add(outcome(path, example.index, probabilities, exclusive=exclusive), example.group)
        if self._logits is not None:
            self._logits.add(logits, example.index)

    def _fail(self, path: str, kind: str, why: str, group: str) -> None:
        self.counter.fail(kind, group)
        self._console.note(f"cannot evaluate on {path or chr(39) * 2}: {why}")

    def _say_interrupted(self) -> None:
        self._console.note(f"interrupted after {self.counter.counted} images: nothing is printed")
