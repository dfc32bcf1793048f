"""The passes of `vgg quantize` over its images: which can be read, what layers see, which criterion, how good it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from vggcli import __version__
from vggcli.analysis.agreement import Agreement, AgreementCounter
from vggcli.analysis.calibration import CRITERIA, Calibration, Extents, Split, split
from vggcli.analysis.quantization import DIGEST, Counting, Digests
from vggcli.classifier import Classifier
from vggcli.commands.console import Console, Progress
from vggcli.commands.interruption import Interruption
from vggcli.engines import Engine, choice
from vggcli.errors import MismatchError
from vggcli.images import discover
from vggcli.run.ranking import to_probabilities
from vggcli.run.side_by_side import Side, SideBySideEngines
from vggcli.weights import int8, store
from vggcli.weights.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WHAT = "cannot quantize"
LEAST = 10  # images: 6, 2 and 2
_FIRST = 32  # of the images that calibrate, which tell how the channels of inputs compare
_REFERENCE = "fp32"


class InterruptedError(Exception):
    """SIGINT or SIGTERM came."""


@dataclass
class Score:
    """How far one criterion agrees with the original.

    Attributes:
        counter: of what is reported.
    """

    counter: AgreementCounter
    _sum: float = 0.0
    _images: int = 0

    def add(self, reference: NDArray[np.float64], other: NDArray[np.float64]) -> None:
        """Count an image."""
        self.counter.add(reference, other)
        self._sum += float(abs(reference - other).sum()) / 2
        self._images += 1

    @property
    def distance(self) -> float:
        """By which criteria are chosen: half the sum of the changes of all probabilities, on average per image.

        Unlike the number of equal labels it tells apart what gives all images the same ones.
        """
        return self._sum / max(self._images, 1)


@dataclass(frozen=True)
class Quantized:
    """What came of it.

    Attributes:
        model: in int8.
        report: for the file.
        choice: agreement on the images that chose, by criterion.
        held_out: agreement on the images that had no part in anything.
    """

    model: Model
    report: dict[str, Any]
    choice: dict[str, Agreement]
    held_out: Agreement


@dataclass
class Quantizing:
    """One run.

    Args:
        classifier: of the weights; decodes the images.
        where: the images as the user named them.

    Attributes:
        failures: how many images could not be read, by kind.
        interruption: what SIGINT and SIGTERM do to the pass that runs.
    """

    classifier: Classifier
    console: Console
    where: str
    failures: Counter[str] = field(default_factory=Counter)
    _inputs: dict[int, discover.Input] = field(default_factory=dict)  # those that can be read, by their place
    _done: int = 0
    _progress: Progress | None = None

    def __post_init__(self) -> None:
        self.model = self.classifier.model
        self.logits = self.model.architecture.layers()[-1].name
        self.interruption = Interruption(self.console, self.say_interrupted)

    def run(self, taken: list[discover.Input], progress: Progress) -> Quantized:
        """All passes; an image is told to the progress twice, when it is looked at and when it is computed.

        Raises:
            InterruptedError: a signal came.
            MismatchError: the images or the weights are not fit for it.
        """
        self._progress = progress
        parts = split(self._digests(taken))
        self._check_enough(parts)
        candidates = self._candidates(self._calibrated(parts.calibrate))
        scores = self._compared(candidates, parts.choose)
        best = min(CRITERIA, key=lambda name: scores[name].distance)
        held_out = self._compared({best: candidates[best]}, parts.report)[best].counter.result()
        report = self._report(parts, best, scores, held_out)
        chosen = {name: score.counter.result() for name, score in scores.items()}
        return Quantized(candidates[best], report, chosen, held_out)

    def say_interrupted(self) -> None:
        """The last words of a run that a signal ended."""
        self.console.note("interrupted: nothing was written")

    def _digests(self, taken: list[discover.Input]) -> dict[int, bytes]:
        """Every image once: which can be read, and which are the same."""
        digests = {}
        for place, result in enumerate(self._results(taken, Digests())):
            if result.error is not None:
                self.failures[result.error.kind] += 1
                self.console.note(f"cannot read {result.item.name}: {result.error.why}")
            elif result.outputs is not None:
                self._inputs[place] = result.item
                digests[place] = result.outputs[DIGEST].tobytes()
        return digests

    def _check_enough(self, parts: Split) -> None:
        count, distinct = len(self._inputs), parts.count
        if distinct >= LEAST:
            return
        if count >= LEAST:
            why = f"its {count} images are all alike" if distinct == 1 else f"only {distinct} of its images differ"
        else:
            left = " left" if self.failures else ""
            why = f"{count} image{' is' if count == 1 else 's are'}{left} to calibrate with"
        wanted = f"at least {LEAST} that differ are wanted, and a hundred or more are better"
        raise MismatchError(WHAT, f"with {self.where}", f"{why}; {wanted}", "Name more images")

    def _calibrated(self, places: Sequence[int]) -> Calibration:
        """What the layers see of these images."""
        model, extents = self.model, Extents(self.model.architecture)
        try:
            with self._engine(model, extents.outputs, _REFERENCE) as engine:
                for _ in self._results(self._named(places[:_FIRST]), Counting(engine, extents), is_told=False):
                    pass
                factors = extents.factors(model.array)
                calibration = Calibration(model.architecture, model.recipe, factors, extents.limits(factors))
                for _ in self._results(self._named(places), Counting(engine, calibration)):
                    pass
        except ValueError as error:
            why = "its layers give infinite values or NaN for these images"
            raise MismatchError(WHAT, str(self.model.path), why) from error
        return calibration

    def _candidates(self, calibration: Calibration) -> dict[str, Model]:
        """The model in int8 by each criterion; the integers of its weights are the same."""
        model = self.model
        try:
            steps = {name: calibration.steps(name) for name in CRITERIA}
        except ValueError as error:
            why = f"{error} sees nothing but zeros of these images"
            raise MismatchError(WHAT, str(model.path), why, "Calibrate with images that the network is for") from error
        layers, biases = int8.quantized(model.architecture, model.array, calibration.means(), calibration.input_factors)
        found = {}
        for name in CRITERIA:
            scaled = {key: layer.with_step(steps[name][key]) for key, layer in layers.items()}
            found[name] = model.quantized(int8.Quantization({}, scaled), biases)
        model.forget_pages()
        return found

    def _compared(self, candidates: dict[str, Model], places: Sequence[int]) -> dict[str, Score]:
        """How far each agrees with the original in fp32."""
        model = self.model
        scores = {name: Score(AgreementCounter(exclusive=not model.has_independent_labels)) for name in candidates}
        of = partial(to_probabilities, classes=len(model.labels), activation=model.recipe.activation)
        with ExitStack() as stack:
            engines = {_REFERENCE: stack.enter_context(self._engine(model, (self.logits,), _REFERENCE))}
            for name, candidate in candidates.items():
                engines[name] = stack.enter_context(self._engine(candidate, (self.logits,), "int8"))
            size, channels = model.recipe.size, model.recipe.channels
            sides = [Side(name, engine, self.logits, (size, size, channels)) for name, engine in engines.items()]
            for result in self._results(self._named(places), SideBySideEngines(sides, shared=True)):
                if result.outputs is None:  # it could be read a moment ago
                    continue
                for name, score in scores.items():
                    score.add(of(result.outputs[_REFERENCE]), of(result.outputs[name]))
        return scores

    @contextmanager
    def _engine(self, model: Model, outputs: tuple[str, ...], precision: str) -> Iterator[Engine]:
        threads = self.classifier.settings.threads
        engine = choice.open_engine(model, outputs, engine="openvino", precision=precision, threads=threads)
        try:
            yield engine
        finally:
            engine.close()

    def _named(self, places: Sequence[int]) -> list[discover.Input]:
        """In the order of the split, so that sums are the same to the bit however the images are named."""
        return [self._inputs[place] for place in places]

    def _results(self, inputs: Sequence[discover.Input], engine: Engine, *, is_told: bool = True) -> Iterator[Any]:
        """The results of one pass over these images, which the progress is told of."""
        pipeline = self.classifier.pipeline(iter(inputs), open_engine=lambda: engine)
        interruption = self.interruption = Interruption(self.console, self.say_interrupted)
        try:
            with interruption.watching(pipeline):
                for result in pipeline.results():
                    self._done += is_told
                    if self._progress is not None and is_told:
                        self._progress.advance(self._done - self.failures.total(), self.failures.total())
                    yield result
            if interruption.signal is not None:
                raise InterruptedError
        finally:
            pipeline.stop()
            if interruption.signal is None:  # else the process is about to end
                pipeline.wait_for_inference()

    def _report(self, parts: Split, best: str, scores: dict[str, Score], held_out: Agreement) -> dict[str, Any]:
        model = self.model
        found = {
            name: score.counter.result().to_json() | {"distance": score.distance} for name, score in scores.items()
        }
        return {
            "made_by": f"vgg {__version__}",
            "made_from": {
                "name": model.name,
                "bytes": model.path.stat().st_size,
                "sha256": store.verify(model.path),
            },
            "images": {
                "calibrate": len(parts.calibrate),
                "choose": len(parts.choose),
                "report": len(parts.report),
                "unreadable": self.failures.total(),
                "copies": len(self._inputs) - parts.count,
            },
            "criterion": best,
            "choice": found,
            "agreement": held_out.to_json(),
        }
