"""Engines: from batches of images to named outputs.  One small interface, so that they are interchangeable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, get_args

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EngineName = Literal["auto", "torch", "openvino"]
PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
ENGINES: tuple[str, ...] = get_args(EngineName)
PRECISIONS: tuple[str, ...] = get_args(PrecisionName)


class Engine(Protocol):
    """A model opened on a device for some of its layers' outputs; any thread may use it, and several at once.

    Attributes:
        name: "torch" or "openvino".
        device: "cpu", "cuda:0", ...
        precision: "fp32", "bf16" or "fp16": what really runs.
        fast_precision: what "auto" takes on this device where nothing speaks against it.
        batch_size: the batch that this device likes, as measured.
        depth: batches that may be in flight at once.
    """

    name: str
    device: str
    precision: str
    fast_precision: str
    batch_size: int
    depth: int

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], dict[str, NDArray[np.float32]]]:
        """Begin a batch.

        Args:
            batch: images (N, size, size, channels), uint8, as the recipe orders them, not normalised; N at will.

        Returns:
            A function that waits and gives each output by the name it was asked for under: (N, C, H, W) for the
            layers up to the classifier and (N, D) for those in it, float32, an array of its own.

        Raises:
            MemoryError: the batch does not fit; smaller ones may (from `start` or from the returned function).
            DeviceError: the device is gone, or the engine is closed.
        """

    def close(self) -> None:
        """Release the device; results that were begun and not asked for may be lost."""
