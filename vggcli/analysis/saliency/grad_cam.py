"""Grad-CAM at the last maps, by any engine that gives them by name: no torch is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from vggcli.analysis.saliency.head import Head, product
from vggcli.engines import Engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Outputs = dict[str, NDArray[np.float32]]

MAPS = "maps"  # beside the logits, under which the maps of the chosen classes are given: (N, k, height, width)

# From the logits of one image to the places of the chosen ones, (k,), and to 1 or -1, what each is multiplied by.
Choose = Callable[["NDArray[np.float32]"], "tuple[NDArray[np.intp], NDArray[np.float32]]"]


class GradCamEngine:
    """An engine that gives maps beside logits.

    Args:
        engine: opened for the target and for what `head.outputs_needed` names; it stays its owner's.
        head: of the same network.
        target: name of the layer whose output is weighed.
        logits: name of the last layer.
        choose: the classes of an image, always as many.
    """

    def __init__(self, engine: Engine, head: Head, target: str, logits: str, choose: Choose) -> None:
        self._engine, self._head, self._target, self._logits, self._choose = engine, head, target, logits, choose
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision
        self.fast_precision, self.batch_size, self.depth = engine.fast_precision, engine.batch_size, engine.depth

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], Outputs]:
        """See `Engine.start`."""
        pending = self._engine.start(batch)
        return lambda: self._explained(pending())

    def close(self) -> None:
        """Nothing to do: what computes belongs to another."""

    def _explained(self, outputs: Outputs) -> Outputs:
        logits, maps = outputs[self._logits], outputs[self._target]
        classes, signs = chosen(self._choose, logits)
        found = np.empty((*classes.shape, *maps.shape[2:]), np.float32)
        for image, rank in np.ndindex(classes.shape):
            own = {name: output[image] for name, output in outputs.items()}
            found[image, rank] = self._map(maps[image], own, classes[image, rank], signs[image, rank])
        return {self._logits: logits, MAPS: found}

    def _map(self, maps: NDArray[np.float32], outputs: Outputs, place: int, sign: float) -> NDArray[np.float32]:
        """The map of one class of one image, (height, width)."""
        channels, height, width = maps.shape
        gradients = self._head.channel_gradients(outputs, place, sign)
        weights = gradients / np.float32(height * width)  # equation 1
        combined = product(weights, maps.reshape(channels, -1))
        return np.maximum(combined, 0).reshape(height, width)  # equation 2


def chosen(choose: Choose, logits: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The chosen classes of several images, (N, k), and their signs."""
    classes, signs = zip(*map(choose, logits), strict=True)
    return np.stack(classes), np.stack(signs)
