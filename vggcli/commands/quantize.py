"""Weights in int8: calibrated on images, chosen on others, reported on others again, and written whole or not at all."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vggcli import __version__, files
from vggcli.analysis.agreement import Agreement, AgreementCounter
from vggcli.analysis.calibration import CRITERIA, Calibration, Histogram, Split, observed, split
from vggcli.analysis.quantization import DIGEST, Counting, Digests, SideBySide
from vggcli.classifier import Classifier
from vggcli.commands.console import Console, Progress
from vggcli.commands.interruption import Interruption
from vggcli.commands.listing import Listing
from vggcli.commands.named import say_skipped
from vggcli.engines import Engine, choice
from vggcli.errors import MismatchError, OutputError, UsageError
from vggcli.images import discover
from vggcli.network import zoo
from vggcli.output.sources import check_output_is_no_source
from vggcli.output.stream import cannot_write, check_file
from vggcli.run.ranking import to_probabilities
from vggcli.settings import Settings
from vggcli.weights import int8, int8_file, neighbours, store
from vggcli.weights.model import Model, check_classifies

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIMIT = 500  # of which three fifths, 300, calibrate
LEAST = 10  # images: 6, 2 and 2
_FEW = 100  # with fewer the report's interval is wide
_ENDING = ".safetensors"
_WHAT = "cannot quantize"
_REFERENCE = "fp32"
COLUMNS = (
    *("images for", "criterion", "images", "equal labels", "at least", "at most"),
    *("mean change", "largest change", "top-5 overlap"),
)


class _InterruptedError(Exception):
    """SIGINT or SIGTERM came."""


@dataclass(frozen=True)
class Request:
    """What `vgg quantize` was asked to do.

    Attributes:
        settings: of the classifier; what computes is always OpenVINO.
        images: a folder, an image, or a list of paths, one a line.
        output: the file to write.
        limit: of the images taken.
    """

    settings: Settings
    images: str
    output: Path
    recursive: bool = False
    limit: int = LIMIT
    overwrite: bool = False
    quiet: bool = False


@dataclass
class _Found:
    """What became of the images.

    Attributes:
        named: how many there were; more than the limit are not all taken.
        inputs: those that can be read, by their place.
        digests: of their pixels.
        failures: how many could not be read, by kind.
    """

    named: int = 0
    inputs: dict[int, discover.Input] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)


def quantize(request: Request, console: Console) -> tuple[Listing | None, int]:
    """Write a file with weights in int8.

    Returns:
        The report, None when it was interrupted; and the exit code: 0 all images were read, 1 some could not be, 130 or
        143 interrupted.

    Raises:
        UsageError: it was asked for something that cannot be.
        WeightsError: the weights cannot be used, or there are too few images.
        OutputError: the file cannot be written; nothing is left of it.
    """
    inputs, files_from = _named(request.images)
    discover.check(inputs, files_from, null=False)
    settings = request.settings
    choice.check("openvino", "cpu")
    if request.output.suffix != _ENDING:
        raise UsageError(_WHAT, f"into {request.output}", f"the file's name must end in {_ENDING}")
    if os.path.exists(request.output) and not request.overwrite:
        raise UsageError("will not overwrite", str(request.output), "the file exists", "Add --overwrite to replace it")
    check_file(request.output, replace=True)
    check_output_is_no_source(request.output, inputs, (settings.weights, settings.labels, files_from))
    classifier = Classifier(settings, progress=None if request.quiet else console.transfer)
    with classifier:
        model = classifier.model
        beside = neighbours.paths(model.path)
        check_output_is_no_source(request.output, inputs, (model.path, *beside))
        for text in classifier.notes:
            if not (request.quiet and model.name == zoo.DEMO):
                console.note(text)
        return _Quantizing(request, classifier, console).run(inputs, files_from)


def _named(images: str) -> tuple[tuple[str, ...], str | None]:
    """The folder or image, or the list of paths, that `--images` names."""
    is_list = os.path.isfile(images) and not discover.is_image_like(images)
    return ((), images) if is_list else ((images,), None)


class _Quantizing:
    """One run."""

    def __init__(self, request: Request, classifier: Classifier, console: Console) -> None:
        self._request, self._classifier, self._console = request, classifier, console
        self._model = classifier.model
        self._logits = self._model.architecture.layers()[-1].name
        self._found = _Found()
        self._interruption = Interruption(console, self._say_interrupted)
        self._progress: Progress | None = None
        self._done = self._total = 0

    def run(self, inputs: tuple[str, ...], files_from: str | None) -> tuple[Listing | None, int]:
        """See `quantize`."""
        self._check_model()
        request = self._request
        skipped = discover.Skipped()
        found = discover.discover(inputs, skipped, recursive=request.recursive, files_from=files_from)
        say = (lambda text: None) if request.quiet else self._console.note
        try:
            taken = self._sample(found)
            say_skipped(skipped, self._console.note, say)
            parts, report, model = self._measured(taken, say)
        except _InterruptedError:
            self._say_interrupted()
            return None, self._interruption.exit_code
        self._write(model, report)
        size = request.output.stat().st_size
        say(f"{request.output}: {size / 1e6:.1f} MB, of {self._model.path.stat().st_size / 1e6:.1f} MB")
        failed = self._found.failures
        if failed:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(failed.items()))
            self._console.note(f"{failed.total()} of {len(taken)} images could not be read ({kinds})")
        return _listing(request.output, report, parts), 1 if failed else 0

    def _check_model(self) -> None:
        model = self._model
        check_classifies(model.reading, model.path, _WHAT, has_names=model.has_names)
        if model.quantization is not None:
            raise MismatchError(_WHAT, str(model.path), "its weights are in int8 already", "Start from the original")
        model.check_numbers()

    def _sample(self, found: Iterator[discover.Input]) -> list[discover.Input]:
        """At most so many of the images as the limit says, in their order, by the hash of their paths."""

        def numbered() -> Iterator[tuple[bytes, int, discover.Input]]:
            for number, item in enumerate(found):
                self._found.named = number + 1
                yield hashlib.sha256(os.fsencode(item.name)).digest(), number, item

        chosen = heapq.nsmallest(self._request.limit, numbered())
        return [item for _, _, item in sorted(chosen, key=lambda entry: entry[1])]

    def _measured(self, taken: list[discover.Input], say: Any) -> tuple[dict[str, Agreement], dict[str, Any], Model]:
        """The passes over the images: agreement by what it is of, the report for the file, the model in int8."""
        if self._found.named > len(taken):
            say(f"{len(taken)} of {self._found.named:,} images are taken; --limit says another number")
        self._total = 2 * len(taken)
        with self._console.progress(not self._request.quiet, self._totals()) as self._progress:
            self._look(taken)
            parts = split(self._found.digests)
            self._check_enough(parts)
            calibration = self._calibrated(parts)
            candidates = self._candidates(calibration)
            choose = self._compared(candidates, parts.choose)
            best = min(CRITERIA, key=lambda name: choose[name].distance)
            held_out = self._compared({best: candidates[best]}, parts.report)[best].counter.result()
        agreements = {name: score.counter.result() for name, score in choose.items()} | {"report": held_out}
        report = self._report(parts, best, choose, held_out)
        self._warn(held_out, parts, say)
        return agreements, report, candidates[best]

    def _totals(self) -> Iterator[int]:
        yield self._total

    def _look(self, taken: list[discover.Input]) -> None:
        """Every image once: which can be read, and which are the same."""
        for place, result in enumerate(self._results(taken, Digests())):
            if result.error is not None:
                self._found.failures[result.error.kind] += 1
                self._console.note(f"cannot read {result.item.name}: {result.error.why}")
            elif result.outputs is not None:
                self._found.inputs[place] = result.item
                self._found.digests[place] = result.outputs[DIGEST].tobytes()

    def _check_enough(self, parts: Split) -> None:
        count, distinct = len(self._found.inputs), sum(map(len, parts))
        if distinct >= LEAST:
            return
        wants = f"at least {LEAST} that differ are wanted, and a hundred or more are better"
        if count >= LEAST:
            why = f"its {count} images are all alike" if distinct == 1 else f"only {distinct} of its images differ"
        else:
            left = " left" if self._found.failures else ""
            why = f"{count} image{'s are' if count != 1 else ' is'}{left} to calibrate with"
        raise MismatchError(_WHAT, f"with {self._request.images}", f"{why}; {wants}", "Name more images")

    def _calibrated(self, parts: Split) -> Calibration:
        """What the layers see of the images to calibrate with."""
        architecture = self._model.architecture
        histograms = {name: Histogram() for name in observed(architecture)}
        try:
            with self._engine(self._model, tuple(histograms), _REFERENCE) as engine:
                for _ in self._results(self._inputs(parts.calibrate), Counting(engine, histograms)):
                    pass
        except ValueError as error:
            why = "its layers give infinite values or NaN for these images"
            raise MismatchError(_WHAT, str(self._model.path), why) from error
        return Calibration(architecture, self._model.recipe, histograms)

    def _candidates(self, calibration: Calibration) -> dict[str, Model]:
        """The model in int8 by each criterion; the integers of its weights are the same."""
        model = self._model
        try:
            steps = {name: calibration.steps(name) for name in CRITERIA}
        except ValueError as error:
            why = f"{error} sees nothing but zeros of these images"
            raise MismatchError(_WHAT, str(model.path), why, "Calibrate with images that the network is for") from error
        weights = {key: model.array(f"{key}.weight") for key in int8.layer_keys(model.architecture)}
        layers = int8.quantized(weights)
        found = {}
        for name in CRITERIA:
            scaled = {key: layer.with_step(steps[name][key]) for key, layer in layers.items()}
            found[name] = model.quantized(int8.Quantization({}, scaled))
        model.forget_pages()
        return found

    def _compared(self, candidates: dict[str, Model], places: Sequence[int]) -> dict[str, _Score]:
        """How far each agrees with the original in fp32."""
        model = self._model
        scores = {name: _Score(AgreementCounter(exclusive=not model.has_independent_labels)) for name in candidates}
        of = partial(to_probabilities, classes=len(model.labels), activation=model.recipe.activation)
        with ExitStack() as stack:
            engines = {_REFERENCE: stack.enter_context(self._engine(model, (self._logits,), _REFERENCE))}
            for name, candidate in candidates.items():
                engines[name] = stack.enter_context(self._engine(candidate, (self._logits,), "int8"))
            for result in self._results(self._inputs(places), SideBySide(engines, self._logits)):
                if result.outputs is None:  # it could be read a moment ago
                    continue
                for name, score in scores.items():
                    score.add(of(result.outputs[_REFERENCE]), of(result.outputs[name]))
        return scores

    @contextmanager
    def _engine(self, model: Model, outputs: tuple[str, ...], precision: str) -> Iterator[Engine]:
        threads = self._request.settings.threads
        engine = choice.open_engine(model, outputs, engine="openvino", precision=precision, threads=threads)
        try:
            yield engine
        finally:
            engine.close()

    def _inputs(self, places: Sequence[int]) -> list[discover.Input]:
        return [self._found.inputs[place] for place in sorted(places)]

    def _results(self, inputs: Sequence[discover.Input], engine: Engine) -> Iterator[Any]:
        """The results of one pass over these images."""
        pipeline = self._classifier.pipeline(iter(inputs), engine=engine)
        interruption = self._interruption = Interruption(self._console, self._say_interrupted)
        with interruption.watching(pipeline):
            for result in pipeline.results():
                self._done += 1
                if self._progress is not None:
                    self._progress.advance(self._done, 0)
                yield result
        if interruption.signal is not None:
            raise _InterruptedError
        pipeline.wait_for_inference()

    def _report(self, parts: Split, best: str, choose: dict[str, _Score], held_out: Agreement) -> dict[str, Any]:
        model, unread = self._model, self._found.failures.total()
        images = {name: len(getattr(parts, name)) for name in ("calibrate", "choose", "report")}
        copies = len(self._found.inputs) - sum(map(len, parts))
        source = {"name": model.name, "bytes": model.path.stat().st_size, "sha256": store.verify(model.path)}
        return {
            "made_by": f"vgg {__version__}",
            "made_from": source,
            "images": images | {"unreadable": unread, "copies": copies},
            "criterion": best,
            "choice": {
                name: score.counter.result().to_json() | {"distance": score.distance} for name, score in choose.items()
            },
            "agreement": held_out.to_json(),
        }

    def _warn(self, held_out: Agreement, parts: Split, say: Any) -> None:
        """What of the result should give pause."""
        if held_out.equal_labels < held_out.images:
            differ = held_out.images - held_out.equal_labels
            self._console.note(f"int8 gives {differ} of {held_out.images} held-out images another label than fp32")
        count = sum(map(len, parts))
        if count < _FEW:
            say(f"{count} images are few: with {_FEW} or more both ranges and report are surer")

    def _write(self, model: Model, report: dict[str, Any]) -> None:
        data, output = int8_file.content(model, report), self._request.output
        put = files.replace_file if self._request.overwrite else files.create_file
        try:
            files.remove_stale(output.parent)
            put(output, lambda file: file.write(data))
        except FileExistsError as error:
            raise OutputError("will not overwrite", str(output), "the file was made meanwhile") from error
        except OSError as error:
            raise cannot_write(output, error, resumable=False) from error

    def _say_interrupted(self) -> None:
        self._console.note("interrupted: nothing was written")


@dataclass
class _Score:
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


def _listing(output: Path, report: dict[str, Any], parts: dict[str, Agreement]) -> Listing:
    best, images = report["criterion"], report["images"]
    rows = [
        (
            "report" if name == "report" else "choice",
            best if name == "report" else name,
            found.images,
            found.equal_labels,
            *(round(share, 4) for share in found.interval),
            *(round(value, 6) for value in (found.mean_change, found.largest_change, found.top5_overlap)),
        )
        for name, found in parts.items()
    ]
    facts = {
        "file": str(output),
        "made from": f"{report['made_from']['name']}, sha256 {report['made_from']['sha256']}",
        "calibrated": f"on {images['calibrate']} images, by {best}",
    }
    return Listing(COLUMNS, rows, {"path": str(output), **report}, facts=facts)
