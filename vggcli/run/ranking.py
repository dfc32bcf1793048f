"""From logits to the most probable classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vggcli.records import Failure, Prediction, Record
from vggcli.run.batches import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray


NO_NUMBER = "the network's output is not a number; the weights may hold NaN or infinite values"


class Selection(NamedTuple):
    """Which classes a record has: the best `top_k` of those of at least `min_prob`."""

    top_k: int
    min_prob: float = 0.0


def to_record(
    result: Result,
    output: str,
    names: tuple[str, ...],
    selection: Selection,
    activation: str = "softmax",
    temperature: float = 1.0,
) -> Record:
    """The record of one result.

    Args:
        result: with the logits (num_classes,) among its outputs, or an error.
        output: name of the last layer.
        names: of the classes, in index order; two of them share a single logit.
        selection: which of them are wanted.
        activation: "softmax" or "sigmoid".
        temperature: see `to_probabilities`.
    """
    path = result.item.path
    if result.error is not None:
        return Record(path, failure=Failure(result.error.kind, result.error.why))
    assert result.outputs is not None
    logits = result.outputs[output]
    if not np.isfinite(logits).all():
        return Record(path, failure=Failure("model", NO_NUMBER))
    found = best(logits, names, selection.top_k, activation, temperature)
    kept = tuple(prediction for prediction in found if prediction.probability >= selection.min_prob)
    return Record(path, kept, truncated=result.truncated)


def best(
    logits: NDArray[np.float32],
    names: tuple[str, ...],
    top_k: int,
    activation: str = "softmax",
    temperature: float = 1.0,
) -> tuple[Prediction, ...]:
    """The most probable classes, best first; equal ones in index order.

    The order is that without a temperature, whatever becomes equal by it.
    """
    probabilities = to_probabilities(logits, len(names), activation)
    order = _largest(probabilities, top_k)
    if temperature != 1:
        probabilities = to_probabilities(logits, len(names), activation, temperature)
    return tuple(
        Prediction(rank, int(index), names[index], float(probabilities[index])) for rank, index in enumerate(order, 1)
    )


def _largest(values: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """The places of the largest values, largest first; equal ones in order."""
    if count < len(values):
        # Sorting a thousand to show five takes longer than all the rest: only what is not below the fifth is sorted.
        found = np.flatnonzero(values >= np.partition(values, -count)[-count])
    else:
        found = np.arange(len(values))
    return found[np.argsort(-values[found], kind="stable")[:count]]


def to_probabilities(
    logits: NDArray[np.float32], classes: int, activation: str, temperature: float = 1.0
) -> NDArray[np.float64]:
    """Logits (num_classes,) to probabilities (classes,).

    A single logit of two classes is the second's against the first's: its sigmoid is the second's probability.  The
    logits are divided by the temperature, above 0: more than 1 makes a network less sure (Guo et al. 2017).
    """
    values = logits.astype(np.float64)
    if temperature != 1:
        values /= temperature
    if (len(values), classes) == (1, 2):
        values, activation = np.array([0.0, values[0]]), "softmax"
    if activation == "sigmoid":
        # Of the smaller side, whose exponential cannot overflow.
        small = np.exp(-np.abs(values))
        sigmoid: NDArray[np.float64] = np.where(values < 0, small, 1) / (1 + small)
        return sigmoid
    exponentials = np.exp(values - values.max())
    softmax: NDArray[np.float64] = exponentials / exponentials.sum()
    return softmax
