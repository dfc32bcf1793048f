"""How far two ways of computing the same network agree, told from their probabilities, image by image."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BEST = 5  # classes whose overlap is counted
_NORMAL_95 = 1.959964  # standard deviations that hold 95 % of a normal distribution
_LABEL_PROBABILITY = 0.5  # from which a label that excludes no other is one of the image's


@dataclass(frozen=True, slots=True)
class Difference:
    """What one image says.

    Attributes:
        is_equal: whether both sides give it the same label; of independent labels, the same set of them.
        change: of the probability of the reference's best class, absolute, in [0, 1].
        overlap: share of the reference's 5 best classes (or all, where there are fewer) among the other side's.
    """

    is_equal: bool
    change: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """What all images say together; see `Difference` for what is counted of each.

    Attributes:
        images: how many were counted.
        equal_labels: for how many of them both sides gave the same label.
        interval: where the share of equal labels lies with 95 % confidence (Wilson's interval); (0, 1) of no image.
        mean_change, largest_change: of the probability of the reference's best class; NaN of no image.
        top5_overlap: mean share of the 5 best classes (or all, where there are fewer) in common; NaN of no image.
    """

    images: int
    equal_labels: int
    interval: tuple[float, float]
    mean_change: float
    largest_change: float
    top5_overlap: float

    @property
    def equal_share(self) -> float:
        """Share of the images with equal labels; NaN of no image."""
        return self.equal_labels / self.images if self.images else math.nan

    def to_json(self) -> dict[str, Any]:
        """The attributes by name, as JSON holds them: the interval is a list, and what no image tells is None."""
        values = {**asdict(self), "interval": list(self.interval)}
        return {name: None if value != value else value for name, value in values.items()}


class AgreementCounter:
    """Counts images one by one; takes the same memory for any number of them.

    Args:
        exclusive: an image has one label, the most probable class (equal ones in index order).  False for labels that
            do not exclude each other (sigmoid): then it has all of at least 0.5, which may be none.
    """

    def __init__(self, *, exclusive: bool = True) -> None:
        self._exclusive = exclusive
        self._images = self._equal = 0
        self._change = self._largest = self._overlap = 0.0

    def add(self, reference: NDArray[np.float64], other: NDArray[np.float64]) -> None:
        """Count an image.

        Args:
            reference: probabilities (classes,), float64, of the side that the other is held against.
            other: the same of the other side.

        Raises:
            ValueError: they are of different shapes or empty, or hold NaN or infinite values.
        """
        self.count(difference(reference, other, exclusive=self._exclusive))

    def count(self, image: Difference) -> None:
        """Count an image whose difference is known."""
        self._images += 1
        self._equal += image.is_equal
        self._change += image.change
        self._largest = max(self._largest, image.change)
        self._overlap += image.overlap

    def result(self) -> Agreement:
        """What the images so far say."""
        images = self._images
        return Agreement(
            images=images,
            equal_labels=self._equal,
            interval=wilson(self._equal, images),
            mean_change=self._change / images if images else math.nan,
            largest_change=self._largest if images else math.nan,
            top5_overlap=self._overlap / images if images else math.nan,
        )


def difference(reference: NDArray[np.float64], other: NDArray[np.float64], *, exclusive: bool = True) -> Difference:
    """What one image says; the arguments and errors are those of `AgreementCounter`."""
    if reference.shape != other.shape or reference.ndim != 1 or not reference.size:
        raise ValueError(f"probabilities of shapes {reference.shape} and {other.shape} cannot be compared")
    if not (np.isfinite(reference).all() and np.isfinite(other).all()):
        raise ValueError("probabilities must be finite")
    # Stable, so that of equally probable classes the first is the better one, as in a record.
    mine, others = (np.argsort(-side, kind="stable")[:_BEST] for side in (reference, other))
    best = mine[0]
    is_equal = labels_of(reference, exclusive=exclusive) == labels_of(other, exclusive=exclusive)
    change = abs(float(other[best]) - float(reference[best]))
    return Difference(is_equal, change, len(np.intersect1d(mine, others)) / len(mine))


def labels_of(probabilities: NDArray[np.float64], *, exclusive: bool = True) -> tuple[int, ...]:
    """The indices of an image's labels: the best class, or all of at least 0.5 where they do not exclude each other."""
    if exclusive:
        return (int(probabilities.argmax()),)  # the first of equal ones
    return tuple(np.flatnonzero(probabilities >= _LABEL_PROBABILITY).tolist())


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's score interval of 95 % for a share; unlike the plain one it says something of 100 out of 100.

    E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22 (1927).
    """
    if not trials:
        return 0.0, 1.0
    share, z2 = successes / trials, _NORMAL_95**2
    middle = share + z2 / (2 * trials)
    reach = _NORMAL_95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    low, high = ((middle + side * reach) / (1 + z2 / trials) for side in (-1, 1))
    # Rounding must not let the bounds of all or none miss their ends.
    return (0.0 if successes == 0 else low), (1.0 if successes == trials else high)
