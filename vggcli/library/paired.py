"""Two classifiers on the same images, side by side: how far they agree, whatever the images show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vggcli.analysis.agreement import Agreement, AgreementCounter, Difference, difference, labels_of
from vggcli.engines import Engine
from vggcli.errors import MismatchError, UsageError
from vggcli.images.discover import Input
from vggcli.images.inputs import expand
from vggcli.records import Failure
from vggcli.run.ranking import NO_NUMBER, to_probabilities
from vggcli.run.side_by_side import Side, SideBySideEngines, SideBySideLoader
from vggcli.weights.opening import check_classifies

if TYPE_CHECKING:
    from vggcli.classifier import Classifier
    from vggcli.images.inputs import Source
    from vggcli.run.batches import Result
    from vggcli.run.pipeline import Pipeline

_MOST_DIFFERING = 10  # images that are named, of those whose labels differ
_OURS, _THEIRS = "ours", "theirs"


@dataclass(frozen=True, slots=True)
class Pair:
    """What both sides say of one image.

    Attributes:
        path: as in a `Record`.
        labels, against_labels: the best class of each side; of labels that do not exclude each other, those of at least
            0.5, perhaps none.
        probability, against_probability: on each side, of the class that the side held against finds best.
        difference: between the sides; None when the image failed.
        failure: None when both sides classified it.
    """

    path: str | None
    labels: tuple[str, ...] = ()
    against_labels: tuple[str, ...] = ()
    probability: float = math.nan
    against_probability: float = math.nan
    difference: Difference | None = None
    failure: Failure | None = None

    def to_json(self) -> dict[str, Any]:
        """An image whose labels differ, as JSON holds it."""
        sides = {"labels": list(self.labels), "against_labels": list(self.against_labels)}
        numbers = {"probability": self.probability, "against_probability": self.against_probability}
        return {"path": self.path, **sides, **numbers}


@dataclass(frozen=True, slots=True)
class Compared:
    """How far two classifiers agree.

    Attributes:
        agreement: of the images that both classified.
        largest_at: path of the image with the largest change; None where it has no path, or there was no image.
        differing: images whose labels differ, the ten with the largest changes at most, the largest first.
        failures: how many inputs failed, by kind.
    """

    agreement: Agreement
    largest_at: str | None = None
    differing: tuple[Pair, ...] = ()
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Inputs that could not be classified."""
        return sum(self.failures.values())

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        return {
            **self.agreement.to_json(),
            "largest_change_path": self.largest_at,
            "differing": [pair.to_json() for pair in self.differing],
            "failures": dict(self.failures),
        }


def compare(
    classifier: Classifier, against: Classifier, inputs: Source | Iterable[Source], *, recursive: bool = False
) -> Compared:
    """How far a classifier agrees with another on the same images, e.g. bf16 with fp32, or int8 with its origin.

    The images need no labels.  Each is decoded once, or once for each side where their recipes differ; memory does not
    grow with their number.

    Args:
        classifier: the one in question.
        against: the reference.
        inputs: as `Classifier.predict` takes them.
        recursive: descend into subfolders.

    Raises:
        MismatchError: they have other classes, or one has none.
        UsageError: the labels of one exclude each other and those of the other do not.
        DeviceError: the device or an engine cannot be used.
        TypeError, ValueError: something among the inputs is no image.

    Examples:
        >>> import numpy as np, vggcli
        >>> with vggcli.load("demo") as fast, vggcli.load("demo", precision="fp32") as reference:
        ...     found = vggcli.compare(fast, reference, [np.zeros((28, 28, 3), np.uint8)])
        >>> found.agreement.images, found.failed
        (1, 0)
    """
    both = Paired(classifier, against)
    pipeline, tally = both.pipeline(expand(inputs, recursive=recursive)), Tally()
    try:
        for pair in map(both.pair, pipeline.results()):
            tally.add(pair)
    finally:
        pipeline.stop()
    return tally.result()


class Tally:
    """Counts pairs as they come."""

    def __init__(self) -> None:
        self._counter = AgreementCounter()
        self._failures: Counter[str] = Counter()
        self._largest: tuple[float, str | None] = (-1.0, None)
        self._differing: list[Pair] = []
        self.counted = 0

    @property
    def failed(self) -> int:
        """Inputs that could not be classified, so far."""
        return self._failures.total()

    def add(self, pair: Pair) -> None:
        """Count an image."""
        if pair.failure is not None:
            self._failures[pair.failure.kind] += 1
        if pair.difference is None:
            return
        self.counted += 1
        self._counter.count(pair.difference)
        if pair.difference.change > self._largest[0]:
            self._largest = pair.difference.change, pair.path
        if not pair.difference.is_equal:
            self._differing = sorted([*self._differing, pair], key=_change, reverse=True)[:_MOST_DIFFERING]

    def result(self) -> Compared:
        """What the images so far say."""
        return Compared(self._counter.result(), self._largest[1], tuple(self._differing), dict(self._failures))


def _change(pair: Pair) -> float:
    return pair.difference.change if pair.difference is not None else 0.0


class Paired:
    """Two classifiers that see the same images; they stay their owner's.

    Raises:
        MismatchError, UsageError: as `compare`.
    """

    def __init__(self, classifier: Classifier, against: Classifier) -> None:
        self._ours, self._theirs = sides = classifier, against
        for side in sides:
            check_classifies(side.model.reading, side.model.path, "cannot compare", has_names=side.model.has_names)
        _check_classes(classifier, against)
        self._exclusive = not against.model.has_independent_labels
        self._labels = (classifier if classifier.model.has_names else against).labels
        self._is_shared = classifier.loader.decoding == against.loader.decoding

    def pipeline(self, inputs: Iterator[Input]) -> Pipeline:
        """The machinery: results whose `outputs` are for `pair`."""
        loader = self._ours.loader if self._is_shared else SideBySideLoader(self._ours.loader, self._theirs.loader)
        return self._ours.pipeline(inputs, loader=loader, open_engine=self._open)

    def pair(self, result: Result) -> Pair:
        """What both sides say of one image."""
        path = result.item.path
        if result.error is not None:
            return Pair(path, failure=Failure(result.error.kind, result.error.why))
        assert result.outputs is not None
        if not all(np.isfinite(logits).all() for logits in result.outputs.values()):
            return Pair(path, failure=Failure("model", NO_NUMBER))
        ours, theirs = (
            to_probabilities(result.outputs[name], len(self._labels), side.recipe.activation, side.temperature)
            for name, side in ((_OURS, self._ours), (_THEIRS, self._theirs))
        )
        best = int(theirs.argmax())
        ours_labels, theirs_labels = (
            tuple(self._labels[index] for index in labels_of(side, exclusive=self._exclusive))
            for side in (ours, theirs)
        )
        found = difference(theirs, ours, exclusive=self._exclusive)
        return Pair(path, ours_labels, theirs_labels, float(ours[best]), float(theirs[best]), found)

    def _open(self) -> Engine:
        sides = {_OURS: self._ours, _THEIRS: self._theirs}
        return SideBySideEngines(
            [_side(name, classifier) for name, classifier in sides.items()], shared=self._is_shared
        )


def _side(name: str, classifier: Classifier) -> Side:
    recipe, logits = classifier.recipe, classifier.architecture.layers()[-1].name
    return Side(name, classifier.open_engine(), logits, (recipe.size, recipe.size, recipe.channels))


def _check_classes(ours: Classifier, theirs: Classifier) -> None:
    what, where = f"cannot compare {ours.model.name} with", theirs.model.name
    if len(ours.labels) != len(theirs.labels):
        why = f"the first has {len(ours.labels)} classes and the second {len(theirs.labels)}"
        raise MismatchError(what, where, why, "Compare networks of the same classes")
    if ours.model.has_names and theirs.model.has_names and ours.labels != theirs.labels:
        pairs = enumerate(zip(ours.labels, theirs.labels, strict=True))
        index, (mine, other) = next((i, names) for i, names in pairs if names[0] != names[1])
        why = f"class {index} is {mine!r} in the first and {other!r} in the second"
        raise MismatchError(what, where, why, "If they are the same classes, name them with --labels FILE")
    if ours.model.has_independent_labels != theirs.model.has_independent_labels:
        why = "the labels of one exclude each other and those of the other do not"
        raise UsageError(what, where, why, "Say --activation softmax or sigmoid for both")
