"""The passes over images that int8 needs: engines that look at images instead of giving their outputs.

Each takes the place of an engine in a pipeline, which decodes, keeps the order and makes rows of failures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from vggcli.engines import Engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vggcli.analysis.calibration import Calibration, Extents

    Outputs = dict[str, NDArray[np.float32]]

DIGEST = "digest"
# Of images on their way: what layers give is copied, 54 MB per image of vgg16.
_BATCH_SIZE = 4


class Digests:
    """Gives the SHA-256 of each image's pixels as the network sees them: 32 bytes, which pass for 8 numbers."""

    name, device, precision, fast_precision, batch_size, depth = "digests", "cpu", "", "", 16, 1

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], Outputs]:
        """See `Engine.start`."""
        digests = b"".join(hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in batch)
        return lambda: {DIGEST: np.frombuffer(digests, np.float32).reshape(len(batch), -1)}

    def close(self) -> None:
        """Nothing is held."""


class Counting:
    """Counts what layers give, and gives nothing.

    Args:
        engine: opened for the `outputs` of the calibration.
    """

    name, batch_size = "counting", _BATCH_SIZE

    def __init__(self, engine: Engine, calibration: Calibration | Extents) -> None:
        self._engine, self._calibration = engine, calibration
        self.device, self.precision, self.depth = engine.device, engine.precision, engine.depth
        self.fast_precision = engine.fast_precision

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], Outputs]:
        """See `Engine.start`; the function that it gives raises ValueError where values are not finite."""
        pending = self._engine.start(batch)

        def result() -> Outputs:
            self._calibration.add(batch, pending())
            return {}

        return result

    def close(self) -> None:
        """The engine belongs to whoever gave it."""
