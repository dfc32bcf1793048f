"""The last layer alone, trained on features that are on the disk: seconds instead of hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vggcli.training.observer import Observer
from vggcli.training.plan import Plan, seeded
from vggcli.training.split import Labelled, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vggcli.engines.threads import Worker
    from vggcli.training.fit import Fitted

_BLOCK = 1024  # rows that are in memory at a time where none are drawn


@dataclass(frozen=True)
class Head:
    """A trained last layer.

    Attributes:
        weight: (classes, width) float32.
        bias: (classes,) float32.
        fitted: how it went.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    fitted: Fitted


class Features:
    """Features as data for `fit`; see `fit.Data`.  Only the rows of a batch are in memory."""

    def __init__(self, matrix: NDArray[np.float32], split: Split, num_classes: int, plan: Plan) -> None:
        self._matrix, self._plan, self.num_classes = matrix, plan, num_classes
        self._train, self._val = _rows(split.train), _rows(split.val)
        self._targets, self._val_targets = _labels(split.train), _labels(split.val)
        self.labels = self._targets.tolist()
        self.images = len(self.labels)
        self.steps = len(order(self.images, plan.batch_size, 0))
        self.scale = self._root_mean_square()

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `fit.Data`."""
        for batch in order(self.images, self._plan.batch_size, seeded(self._plan.seed, epoch, -1)):
            yield self._batch(self._train[batch], self._targets[batch])

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """See `fit.Data`."""
        for start in range(0, len(self._val), _BLOCK):
            part = slice(start, start + _BLOCK)
            yield self._batch(self._val[part], self._val_targets[part])

    def _batch(self, rows: NDArray[np.int64], targets: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        import torch

        return torch.from_numpy(self._matrix[rows]) / self.scale, torch.from_numpy(targets)

    def _root_mean_square(self) -> float:
        """Of the training rows: divided by it, features of every network suit one learning rate."""
        blocks = (self._train[start : start + _BLOCK] for start in range(0, len(self._train), _BLOCK))
        total = sum(float(np.square(self._matrix[rows], dtype=np.float64).sum()) for rows in blocks)
        return float(np.sqrt(total / (len(self._train) * self._matrix.shape[1]))) or 1.0


def train(
    data: Features, width: int, plan: Plan, dropout: float, *, has_bias: bool, worker: Worker, observer: Observer
) -> Head:
    """Train a last layer that sees `width` numbers.

    It starts from zeros, as a single layer may, so that nothing of it is drawn.

    Args:
        dropout: in front of it.

    Raises:
        InterruptedError: it was told to stop.
    """
    import torch
    from torch import nn

    from vggcli.training.fit import Fit, Numbers

    last = nn.Linear(width, data.num_classes, has_bias)
    module = nn.Sequential(nn.Dropout(dropout), last)
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    fit = Fit(module, data, plan, Numbers(torch.device("cpu")), observer.say)
    with observer.watching(fit.flag, fit.images) as progress:
        fitted: Fitted = worker.run(lambda: fit.run(progress))
    weights: dict[str, Any] = {key: tensor.numpy() for key, tensor in fitted.weights.items()}
    bias = weights.get("1.bias", np.zeros(data.num_classes, np.float32))
    weight = weights.get("1.weight", np.zeros((data.num_classes, width), np.float32))
    return Head(weight / np.float32(data.scale), bias, fitted)


def order(images: int, batch_size: int, seed: int) -> list[NDArray[np.int64]]:
    """The batches of an epoch; none is of a single image, of which batch norm can say nothing, unless there is one."""
    import torch

    drawn = torch.randperm(images, generator=torch.Generator().manual_seed(seed)).numpy()
    starts = list(range(0, images, batch_size))
    if len(starts) > 1 and images - starts[-1] == 1:
        del starts[-1]
    return np.split(drawn, starts[1:])


def _rows(images: Sequence[Labelled]) -> NDArray[np.int64]:
    return np.array([image.row for image in images], np.int64)


def _labels(images: Sequence[Labelled]) -> NDArray[np.int64]:
    return np.array([image.label for image in images], np.int64)
