"""The engine that is always there: PyTorch on CPU, CUDA or MPS."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vggcli.engines import devices, folding
from vggcli.engines.replica import Replica
from vggcli.engines.threads import Worker
from vggcli.errors import DeviceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vggcli.weights.model import Model

# Measured: on a CPU the activations of 4 to 8 images stay in its caches and 32 do not; a GPU wants to be full.
CPU_BATCH_SIZE = 8
GPU_BATCH_SIZE = 128


class TorchEngine:
    """A model on one device or on several CUDA devices in turn.

    Args:
        model: weights and architecture.
        device: "auto", "cpu", "mps", "cuda", "cuda:N" or "cuda:N,M,...".
        precision: "auto" takes the device's fast type: bf16 where the hardware has it, fp16 on older GPUs, else fp32.
        outputs: names of layers; only what they need is computed, and only they are copied.
        threads: cores to compute on, on a CPU; None for what torch takes by itself within `devices.cores`.

    Raises:
        UsageError: the network has no such layer, or fewer threads than one.
        DeviceError: torch is broken or absent, the device is absent, or it does not compute in that precision.
    """

    name = "torch"

    def __init__(
        self,
        model: Model,
        device: str = "auto",
        precision: str = "auto",
        outputs: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        outputs = folding.check(outputs, model.architecture)
        devices.check_threads(threads)
        devices.import_torch()
        targets = devices.torch_devices(device)
        on_gpu = targets[0].type != "cpu"
        self.precision = devices.torch_precision(precision, targets)
        self.fast_precision = devices.torch_precision("auto", targets)
        self.device = ",".join(str(target) for target in targets)
        self.batch_size = GPU_BATCH_SIZE if on_gpu else CPU_BATCH_SIZE
        self.depth = 2 * len(targets) if on_gpu else 1
        try:
            replicas = [Replica(model, target, self.precision, outputs) for target in targets]
        except (RuntimeError, MemoryError) as error:
            raise DeviceError(
                "cannot put the model on", self.device, devices.first_line(error), "Run with --device cpu"
            ) from error
        self._turn = itertools.cycle(replicas)
        self._worker = None if on_gpu else Worker(threads)

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], dict[str, NDArray[np.float32]]]:
        """See `Engine.start`."""
        replica, worker = next(self._turn, None), self._worker
        if replica is None:
            raise devices.closed(self.name)
        result = replica.start(batch)
        return result if worker is None else lambda: worker.run(result)

    def close(self) -> None:
        """See `Engine.close`."""
        self._turn = itertools.cycle(())
        if self._worker is not None:
            self._worker.close()
