"""How right a network is on images whose classes are known: accuracy, each class, calibration, the worst mistakes.

What is kept of an image is its true and predicted class and one probability, 16 bytes; its path only while it is among
the mistakes to be named.  Precision, recall and F1 are those of scikit-learn with `zero_division=0`, which the tests
hold them against; computing them from the counts here spares every run its import, which takes a second.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vggcli.analysis.agreement import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 15  # of equal width, in which confidence is held against accuracy (Guo et al. 2017)
BEST = 5  # classes among which the true one is looked for, beside the first
_LEAST = float(np.finfo(np.float64).tiny)  # probability in a logarithm: an underflow is no infinite loss


class Outcome(NamedTuple):
    """What a network said of one image.

    Attributes:
        path: of the image.
        true, predicted: indices of classes; of equally probable ones the first is predicted.
        probability: of the predicted class.
        rank: of the true class, from 1; None where it is not known.
        loss: the negative logarithm of the true class's probability, nats; NaN where it is not known.
        brier: the sum over all classes of the squared difference to 0 or 1, in [0, 2]; NaN where it is not known.
    """

    path: str
    true: int
    predicted: int
    probability: float
    rank: int | None
    loss: float = math.nan
    brier: float = math.nan


def outcome(path: str, true: int, probabilities: NDArray[np.float64], *, exclusive: bool = True) -> Outcome:
    """What the probabilities of all classes say of an image; loss and Brier score only where classes are exclusive."""
    predicted, ours = int(probabilities.argmax()), float(probabilities[true])
    # Equal ones rank in index order, as in a record.
    rank = 1 + int((probabilities > ours).sum()) + int((probabilities[:true] == ours).sum())
    most = float(probabilities[predicted])
    if not exclusive:
        return Outcome(path, true, predicted, most, rank)
    brier = float(probabilities @ probabilities) - 2 * ours + 1
    return Outcome(path, true, predicted, most, rank, -math.log(max(ours, _LEAST)), brier)


class Bin(NamedTuple):
    """Images whose best class has a probability in (low, high], their number, mean probability and accuracy.

    The means are NaN of no image.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class that is true or predicted of any image; shares that have nothing to be one of are 0.

    Attributes:
        index: of the class.
        precision, recall, f1: in [0, 1].
        support: images that show it.
        predicted: images that are said to show it.
    """

    index: int
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


@dataclass(slots=True)
class Slice:
    """The images of one folder: classified, right, and failed."""

    images: int = 0
    right: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """What all images say; shares in [0, 1], and None where there is no image, or nothing that would tell.

    Attributes:
        images: that were classified.
        top1, top5: share whose true class is the best one, or among the `best` best.
        top1_interval, top5_interval: where the share lies with 95 % confidence (Wilson's interval).
        best: 5, or the number of classes where there are fewer.
        ece: expected calibration error, the mean distance of confidence and accuracy over `bins`.
        loss: mean negative log-likelihood in nats; brier: mean Brier score over all classes, in [0, 2].
        classes: those that occur, in index order; `confusion` (true, predicted) counts images in the same order.
        mistakes: the most confident first.
        slices: by folder; failures: by kind.
    """

    images: int
    top1: float | None
    top1_interval: tuple[float, float] | None
    top5: float | None
    top5_interval: tuple[float, float] | None
    best: int
    ece: float | None
    loss: float | None
    brier: float | None
    bins: tuple[Bin, ...]
    classes: tuple[ClassFigures, ...]
    confusion: NDArray[np.int64]
    mistakes: tuple[Outcome, ...]
    slices: Mapping[str, Slice]
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Images that could not be classified."""
        return sum(self.failures.values())


class EvaluationCounter:
    """Counts images one by one.

    Args:
        classes: of the network.
        most_mistakes: that are kept by name.
    """

    def __init__(self, classes: int, most_mistakes: int = 20) -> None:
        self._best, self._most = min(BEST, classes), most_mistakes
        self._true, self._predicted, self._confidence = array("i"), array("i"), array("d")
        self._within: int | None = 0  # images whose true class is among the best; None as soon as one cannot tell
        self._loss = self._brier = 0.0
        self._mistakes: list[tuple[float, int, Outcome]] = []  # a heap, the least confident and latest first
        self._slices: dict[str, Slice] = {}
        self._failures: Counter[str] = Counter()

    @property
    def counted(self) -> int:
        """Images that were classified, so far."""
        return len(self._true)

    @property
    def failed(self) -> int:
        """Images that could not be classified, so far."""
        return self._failures.total()

    def add(self, image: Outcome, group: str = ".", *, knows_best: bool = True) -> None:
        """Count an image.

        Args:
            image: what was said of it.
            group: its folder.
            knows_best: a rank that is None means that the true class is not among the best.
        """
        is_right = image.predicted == image.true
        found = self._slices.setdefault(group, Slice())
        found.images += 1
        found.right += is_right
        if not is_right:
            entry = (image.probability, -self.counted, image)
            (heapq.heappush if len(self._mistakes) < self._most else heapq.heappushpop)(self._mistakes, entry)
        if image.rank is None and not knows_best:
            self._within = None
        if self._within is not None:
            self._within += image.rank is not None and image.rank <= self._best
        self._true.append(image.true)
        self._predicted.append(image.predicted)
        self._confidence.append(image.probability)
        self._loss += image.loss
        self._brier += image.brier

    def fail(self, kind: str, group: str = ".") -> None:
        """Count an image that could not be classified."""
        self._failures[kind] += 1
        self._slices.setdefault(group, Slice()).failed += 1

    def result(self) -> Evaluation:
        """What the images so far say."""
        images = self.counted
        true, predicted = np.array(self._true, np.int32), np.array(self._predicted, np.int32)
        confidence = np.array(self._confidence, np.float64)
        right, within = int((true == predicted).sum()), self._within
        bins = reliability(confidence, true == predicted)
        classes, confusion = per_class(true, predicted)
        return Evaluation(
            images=images,
            top1=right / images if images else None,
            top1_interval=wilson(right, images) if images else None,
            top5=within / images if images and within is not None else None,
            top5_interval=wilson(within, images) if images and within is not None else None,
            best=self._best,
            ece=calibration_error(bins) if images else None,
            loss=_known(self._loss, images),
            brier=_known(self._brier, images),
            bins=bins,
            classes=classes,
            confusion=confusion,
            mistakes=tuple(entry[2] for entry in sorted(self._mistakes, key=lambda e: (-e[0], -e[1]))),
            slices=dict(sorted(self._slices.items())),
            failures=dict(self._failures),
        )


def _known(total: float, images: int) -> float | None:
    return total / images if images and math.isfinite(total) else None


def reliability(confidence: NDArray[np.float64], is_right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Confidence and accuracy of images in 15 bins of equal width, the first with 0."""
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    sure, right = (np.bincount(place, weights=of, minlength=BINS) for of in (confidence, is_right))
    return tuple(
        Bin(
            low=number / BINS,
            high=(number + 1) / BINS,
            images=int(count),
            confidence=float(sure[number] / count) if count else math.nan,
            accuracy=float(right[number] / count) if count else math.nan,
        )
        for number, count in enumerate(counts)
    )


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """The expected calibration error: the distance of confidence and accuracy, weighted by the images of each bin."""
    images = sum(found.images for found in bins)
    return sum(found.images * abs(found.confidence - found.accuracy) for found in bins if found.images) / images


def per_class(
    true: NDArray[np.int32], predicted: NDArray[np.int32]
) -> tuple[tuple[ClassFigures, ...], NDArray[np.int64]]:
    """The figures of every class that occurs, in index order, and the confusion (true, predicted) among them."""
    indices, places = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    size = len(indices)
    rows, columns = places[: len(true)], places[len(true) :]
    confusion = np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)
    right, support, said = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    shares = _share(right, said), _share(right, support), _share(2 * right, said + support)
    figures = zip(*(column.tolist() for column in (indices, *shares, support, said)), strict=True)
    return tuple(ClassFigures(*row) for row in figures), confusion


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
