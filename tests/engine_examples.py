"""Engines opened for tests, and what they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import networks
import numpy as np
import torch
from numpy.typing import NDArray

from vggcli.engines import Engine
from vggcli.engines.openvino import OpenVINOEngine
from vggcli.engines.torch import TorchEngine
from vggcli.network.module import VGG
from vggcli.weights.model import Model

# How far each engine may be from the network in fp32, by the largest difference over the largest value.
TOLERANCE = {"torch": 1e-5, "openvino": 1e-4}
SIZE = 64  # of the narrow network's images
Array = NDArray[np.float32]


def opened(
    kind: str, model: Model, precision: str = "fp32", outputs: Sequence[str] = ("fc8",), threads: int | None = None
) -> Any:
    """An engine of that kind on the CPU."""
    if kind == "openvino":
        return OpenVINOEngine(model, precision, outputs, threads)
    return TorchEngine(model, "cpu", precision, outputs, threads)


def logits(engine: Engine, pixels: NDArray[np.uint8]) -> Array:
    """One batch, to its end."""
    return engine.start(pixels)()["fc8"]


def reference(model: Model) -> VGG:
    """The reference network with the model's weights."""
    network = VGG(model.architecture, initialise=False).eval()
    keys = [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]
    state = {key: torch.from_numpy(model.array(key).copy()) for key in keys}
    assert network.load_state_dict(state, strict=False).unexpected_keys == []
    return network


def eager(model: Model, pixels: NDArray[np.uint8]) -> Array:
    """What the reference network says."""
    return networks.logits_of(reference(model), pixels)


def distance(got: Array, expected: Array) -> float:
    """The largest difference over the largest value."""
    return float(np.abs(got - expected).max() / np.abs(expected).max())
