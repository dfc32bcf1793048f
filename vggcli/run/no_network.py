"""An engine that computes nothing: a pipeline with it decodes images, in order, bounded and with its deadlines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class NoNetwork:
    """See `vggcli.engines.Engine`."""

    name, device, precision, fast_precision = "none", "cpu", "fp32", "fp32"
    batch_size, depth = 8, 1

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], dict[str, NDArray[np.float32]]]:
        """No outputs."""
        return dict

    def close(self) -> None:
        """Nothing is held."""
