"""`vgg evaluate --predictions`: a finished run of `vgg predict` held against the truth, without the network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vggcli.analysis.evaluation import EvaluationCounter, Outcome
from vggcli.analysis.truth import Example, Truth
from vggcli.analysis.truth_table import open_truth
from vggcli.commands import evaluation_files
from vggcli.commands.console import Console
from vggcli.commands.evaluation_listing import About, listing
from vggcli.commands.evaluation_request import EMPTY, EvaluateRequest, count
from vggcli.commands.listing import Listing
from vggcli.errors import UsageError
from vggcli.network import labels
from vggcli.network.class_index import ClassIndex
from vggcli.output import finished
from vggcli.records import Record
from vggcli.weights.locate import DEMO_FILE

_WHAT = "cannot evaluate the predictions"
_WHOSE = "Name that network with --weights, or its classes with --labels"
_ABSENT = "absent"  # the kind of failure of an image that has no row
_SHOWN = ("weights", "variant", "preprocessing", "engine", "device", "precision", "top_k", "min_prob", "temperature")


def evaluate_predictions(request: EvaluateRequest, console: Console) -> tuple[Listing | None, int]:
    """What `commands.evaluate.evaluate` does, from a file of predictions."""
    path = request.predictions
    assert path is not None
    finished.format_of(Path(path))
    kept = finished.settings_of(Path(path))
    classes = ClassIndex(_names(request, path, kept))
    truth = open_truth(request.source, classes)
    if not count(truth, console):
        console.note(EMPTY)
        return None, 1
    run = _Run(path, truth, request.mistakes)
    run.read()
    if not run.matched:
        why = f"none of its {run.unlabelled} paths is one of an image in {request.source}"
        raise UsageError(_WHAT, path, why, "Run both in one folder, or give a table of those paths")
    if run.repeated:
        console.note(f"{run.repeated} rows of {path} are of images that it has a row of already, and do not count")
    if run.unlabelled:
        console.note(f"{run.unlabelled} rows of {path} are of images without a known class, and do not count")
    if run.absent:
        console.note(f"{run.absent} images of {request.source} have no row in {path}, and count as failed")
    found = run.counter.result()
    ran = {name: kept[name] for name in _SHOWN if name in kept}
    text = f"predictions of {path}" + (", {variant}, weights {weights}".format(**ran) if len(ran) > 1 else "")
    about = About(request.source, {"predictions": path, **ran}, text, run.unlabelled)
    result = listing(found, classes, about)
    evaluation_files.write(request, found, classes, result, console)
    return result, 1 if found.failed or truth.contradictions else 0


def _names(request: EvaluateRequest, path: str, kept: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes of the network that made the predictions.

    Raises:
        UsageError: they are those of another network than the one named, or nobody says which they are.
    """
    settings, known = request.settings, kept.get("labels")
    names: tuple[str, ...] | None
    if settings.weights is not None or settings.arch is not None:
        names = _of_weights(request, path, kept)
    elif settings.labels is not None:
        names = labels.read(settings.labels)
    else:
        candidates = map(_shipped, ("imagenet", "demo"))
        names = next((names for names in candidates if known in (None, labels.digest(names))), None)
        if names is None:
            why = f"its classes are those of {kept.get('weights')}, which are not known here"
            raise UsageError(_WHAT, path, why, _WHOSE)
    if known not in (None, labels.digest(names)):
        why = f"they were made with other classes, by {kept.get('weights')}"
        raise UsageError(_WHAT, path, why, _WHOSE)
    return names


def _shipped(which: str) -> tuple[str, ...]:
    """The classes of networks that everybody has."""
    if which == "imagenet":
        return labels.imagenet()
    from vggcli.weights.opening import open_model

    model = open_model(DEMO_FILE)
    model.close()
    return model.labels


def _of_weights(request: EvaluateRequest, path: str, kept: Mapping[str, Any]) -> tuple[str, ...]:
    from vggcli.classifier import Classifier
    from vggcli.weights import store

    with Classifier(request.settings) as classifier:
        model = classifier.model
        if kept.get("weights_fingerprint") not in (None, store.fingerprint(model.path)):
            why = f"they are of another network, {kept.get('weights')}, and not of {model.name}"
            raise UsageError(_WHAT, path, why, "Name that network with --weights, or leave it out")
        return classifier.labels


class _Run:
    """The rows of a file counted.

    Attributes:
        matched: rows of images in the truth; unlabelled: rows of others; repeated: rows of images that had one.
        absent: images without a row.
    """

    def __init__(self, path: str, truth: Truth, mistakes: int) -> None:
        self._path, self._names = path, truth.classes.names
        self._expected: dict[str, list[Example]] = {}
        for example in truth.examples():
            self._expected.setdefault(_key(example.item.path or ""), []).append(example)
        self._done: set[str] = set()
        self._best = min(5, len(self._names))
        self.counter = EvaluationCounter(len(self._names), mistakes)
        self.matched = self.unlabelled = self.repeated = self.absent = 0

    def read(self) -> None:
        """Count every row, and every image without one.

        Raises:
            UsageError: a row of another network's classes, or without its best class.
        """
        for record in finished.read_records(Path(self._path)):
            key = _key(record.path or "")
            if key not in self._expected:
                self.unlabelled += 1
            elif key in self._done:
                self.repeated += 1
            else:
                self.matched += 1
                self._done.add(key)
                for expected in self._expected[key]:
                    self._take(record, expected)
        if self.matched:
            for key in self._expected.keys() - self._done:
                for expected in self._expected[key]:
                    self.absent += 1
                    self.counter.fail(_ABSENT, expected.group)

    def _take(self, record: Record, expected: Example) -> None:
        if record.failure is not None:
            self.counter.fail(record.failure.kind, expected.group)
            return
        for p in record.predictions:
            if not 0 <= p.index < len(self._names) or self._names[p.index] != p.label:
                theirs = repr(self._names[p.index]) if 0 <= p.index < len(self._names) else "none"
                why = f"they are of another network: its class {p.index} is {p.label!r}, and here that is {theirs}"
                raise UsageError(_WHAT, self._path, why, _WHOSE)
        if not record.predictions:
            why = f"the best class of {record.path} is not among them, as it was below --min-prob"
            raise UsageError(_WHAT, self._path, why, "Predict again with --min-prob 0")
        best = record.predictions[0]
        if best.probability != best.probability:
            self.counter.fail("model", expected.group)
            return
        rank = next((p.rank for p in record.predictions if p.index == expected.index), None)
        knows_best = len(record.predictions) >= self._best
        self.counter.add(
            Outcome(record.path or "", expected.index, best.index, best.probability, rank),
            expected.group,
            knows_best=knows_best,
        )


def _key(path: str) -> str:
    """The same for one file, from wherever in its folder it was named."""
    return path if "://" in path else os.path.abspath(path)
