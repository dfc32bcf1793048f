"""From logits to the most probable classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vggcli.records import Failure, Prediction, Record
from vggcli.run.batches import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_record(result: Result, output: str, names: tuple[str, ...], top_k: int) -> Record:
    """The record of one result: softmax over all classes, the best `top_k` of them.

    Args:
        result: with the logits (num_classes,) among its outputs, or an error.
        output: name of the last layer.
        names: of the classes, in index order.
    """
    path = result.item.path
    if result.error is not None:
        return Record(path, failure=Failure(result.error.kind, result.error.why))
    assert result.outputs is not None
    logits = result.outputs[output]
    if not np.isfinite(logits).all():
        why = "the network's output is not a number; the weights may hold NaN or infinite values"
        return Record(path, failure=Failure("model", why))
    return Record(path, best(logits, names, top_k), truncated=result.truncated)


def best(logits: NDArray[np.float32], names: tuple[str, ...], top_k: int) -> tuple[Prediction, ...]:
    """The most probable classes, best first; equal ones in index order."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = exponentials / exponentials.sum()
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    return tuple(
        Prediction(rank, int(index), names[index], float(probabilities[index])) for rank, index in enumerate(order, 1)
    )
