"""The temperature under which a network is as sure as it is right, fitted on images whose classes are known.

One number T > 0 that all logits are divided by, so that the likelihood of the true classes is greatest (Guo et al.,
On Calibration of Modern Neural Networks, ICML 2017).  No order of classes changes.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vggcli.analysis.evaluation import calibration_error, reliability

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST, MOST = 0.02, 50.0  # what is searched
_GOLDEN = (math.sqrt(5) - 1) / 2
_ACCURACY = 1e-3  # of the logarithm
_CHUNK_NUMBERS = 1 << 20  # logits in memory at a time, as float64
_LEAST_IMAGES = 2
_TOO_RIGHT = "the lower the temperature the better, as the network is right wherever it is unsure; take other images"
_TOO_WRONG = "the higher the temperature the better, as the network is no better than chance on these images"


class UnfitError(ValueError):
    """There is no best temperature; the message says why, a clause."""


class Fitted(NamedTuple):
    """A temperature and what it does.

    Attributes:
        temperature: fitted on all images.
        images: how many.
        ece_before, loss_before: of the logits as they are: calibration error and mean negative log-likelihood.
        ece_after, loss_after: of each half of the images at the temperature of the other half, so that no image is
            judged by what was fitted on it.
        seed: of the halves.
    """

    temperature: float
    images: int
    ece_before: float
    ece_after: float
    loss_before: float
    loss_after: float
    seed: int


class Logits:
    """Logits of any number of images with their true classes, kept in a temporary file.

    Args:
        activation: "softmax" or "sigmoid"; of a sigmoid's labels the true one alone is taken to be the image's.

    As a context it removes the file.
    """

    def __init__(self, activation: str = "softmax") -> None:
        self._is_sigmoid = activation == "sigmoid"
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._true: list[int] = []
        self._width = 0

    def __enter__(self) -> Logits:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, logits: NDArray[np.float32], true: int) -> None:
        """Keep those of an image, float32 (num_classes,).

        A single logit of two classes is the second's against the first's.

        Raises:
            OSError: no room.
        """
        if len(logits) == 1:
            logits, self._is_sigmoid = np.array([0, logits[0]], np.float32), False
        self._width = len(logits)
        self._file.write(np.ascontiguousarray(logits, np.float32).tobytes())
        self._true.append(true)

    def fit(self, seed: int) -> Fitted:
        """The best temperature, and what it does, by halves.

        Raises:
            UnfitError: there are too few images, or the likelihood only grows towards an end of what can be.
            OSError: no room.
        """
        if len(self._true) < _LEAST_IMAGES:
            raise UnfitError("it takes two images at least")
        self._file.flush()
        true = np.array(self._true)
        half = np.random.default_rng(seed).permutation(len(true)) % 2 == 0
        everything = np.ones(len(true), bool)
        best = self._best(true, everything)
        if not LEAST * 1.01 < best < MOST / 1.01:
            raise UnfitError(_TOO_RIGHT if best < 1 else _TOO_WRONG)
        before = self._judged(true, everything, 1.0)
        after = [self._judged(true, part, self._best(true, ~part)) for part in (half, ~half)]
        (ece_before, loss_before), (ece, loss) = _figures([before]), _figures(after)
        return Fitted(best, len(true), ece_before, ece, loss_before, loss, seed)

    def _best(self, true: NDArray[np.int64], wanted: NDArray[np.bool_]) -> float:
        """The temperature of the greatest likelihood, by golden sections: the loss is convex in 1/T."""

        def loss(log: float) -> float:
            return float(self._judged(true, wanted, math.exp(log))[2].mean())

        low, high = math.log(LEAST), math.log(MOST)
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        at_left, at_right = loss(left), loss(right)
        while high - low > _ACCURACY:
            if at_left <= at_right:
                high, right, at_right = right, left, at_left
                left = high - _GOLDEN * (high - low)
                at_left = loss(left)
            else:
                low, left, at_left = left, right, at_right
                right = low + _GOLDEN * (high - low)
                at_right = loss(right)
        return math.exp((low + high) / 2)

    def _judged(
        self, true: NDArray[np.int64], wanted: NDArray[np.bool_], temperature: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
        """Of the wanted images at a temperature: confidence, whether they are right, negative log-likelihood."""
        parts = [
            _judge(logits[mask] / temperature, true[start : start + len(logits)][mask], is_sigmoid=self._is_sigmoid)
            for start, logits in self._chunks()
            if (mask := wanted[start : start + len(logits)]).any()
        ]
        confidence, is_right, loss = (np.concatenate(column) for column in zip(*parts, strict=True))
        return confidence, is_right, loss

    def _chunks(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        rows = max(1, _CHUNK_NUMBERS // self._width)
        stored = np.memmap(self._file, np.float32, "r", shape=(len(self._true), self._width))
        for start in range(0, len(stored), rows):
            yield start, stored[start : start + rows].astype(np.float64)


def _judge(
    logits: NDArray[np.float64], true: NDArray[np.int64], *, is_sigmoid: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    rows = np.arange(len(logits))
    best = logits.argmax(1)
    if is_sigmoid:
        positive = np.logaddexp(0, logits)  # the loss of each label that is not the image's
        loss = positive.sum(1) - logits[rows, true]
        confidence = np.exp(logits[rows, best] - positive[rows, best])
    else:
        most = logits.max(1)
        total = most + np.log(np.exp(logits - most[:, None]).sum(1))
        loss, confidence = total - logits[rows, true], np.exp(most - total)
    return confidence, best == true, loss


def _figures(
    judged: list[tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]],
) -> tuple[float, float]:
    confidence, is_right, loss = (np.concatenate(column) for column in zip(*judged, strict=True))
    return calibration_error(reliability(confidence, is_right)), float(loss.mean())
