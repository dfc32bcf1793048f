"""The engine that is always there: PyTorch on CPU, CUDA or MPS, with batch norm folded and channels last."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from vggcli.engines import devices, folding
from vggcli.errors import DeviceError
from vggcli.network.layers import AdaptiveAvgPool, Conv2d, MaxPool

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from vggcli.weights.model import Model

# Measured: on a CPU the activations of 4 to 8 images stay in its caches and 32 do not; a GPU wants to be full.
CPU_BATCH_SIZE = 8
GPU_BATCH_SIZE = 128
# On CPUs torch convolves a single input of up to 20,480 numbers with other code than several, which sums in another
# order (`use_mkldnn` in ATen's Convolution.cpp).
_SMALL = 1 << 15


class TorchEngine:
    """A model on one device or on several CUDA devices in turn.

    Args:
        model: weights and architecture.
        device: "auto", "cpu", "mps", "cuda", "cuda:N" or "cuda:N,M,...".
        precision: "auto" takes the device's fast type: bf16 where the hardware has it, fp16 on older GPUs, else fp32.

    Raises:
        DeviceError: torch is broken or absent, the device is absent, or it does not compute in that precision.
    """

    name = "torch"

    def __init__(self, model: Model, device: str = "auto", precision: str = "auto") -> None:
        devices.import_torch()
        targets = devices.torch_devices(device)
        on_gpu = targets[0].type != "cpu"
        self.precision = devices.torch_precision(precision, targets)
        self.device = ",".join(str(target) for target in targets)
        self.batch_size = GPU_BATCH_SIZE if on_gpu else CPU_BATCH_SIZE
        self.depth = 2 * len(targets) if on_gpu else 1
        if targets[0].type == "cuda" and self.precision == "fp32":
            devices.forbid_tf32()
        try:
            self._replicas = [Replica(model, target, self.precision) for target in targets]
        except (RuntimeError, MemoryError) as error:
            raise DeviceError(
                "cannot put the model on", self.device, devices.first_line(error), "Run with --device cpu"
            ) from error
        self._turn = itertools.cycle(self._replicas)

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """See `Engine.start`."""
        return next(self._turn).start(batch)

    def close(self) -> None:
        """See `Engine.close`."""
        self._replicas.clear()


class Replica:
    """The network on one device: a list of operations over tensors that are already laid out for it."""

    def __init__(self, model: Model, device: torch.device, precision: str) -> None:
        import torch

        self.device = device
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self._mean = torch.tensor(model.recipe.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(model.recipe.std, device=device).view(1, 3, 1, 1)
        with torch.inference_mode():
            self._steps = [self._operation(step) for step in folding.steps(model)]
        # Copies run beside the kernels of the batch before.
        cuda: Any = torch.cuda  # torch annotates streams and events only in part
        self._copies = cuda.Stream(device) if device.type == "cuda" else None

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """Begin a batch; on a CPU the work is done when the result is asked for."""
        if self._copies is None:
            return lambda: self._translated(lambda: self._finish(self._run(batch)))
        done, logits = self._translated(lambda: self._launch(batch))

        def result() -> NDArray[np.float32]:
            self._translated(done.synchronize)
            array: NDArray[np.float32] = logits.numpy()
            return array

        return result

    def _launch(self, batch: NDArray[np.uint8]) -> tuple[Any, torch.Tensor]:
        """Queue copy, network and copy back on a CUDA device; the event says when the logits are here."""
        import torch

        cuda: Any = torch.cuda
        with torch.inference_mode(), cuda.device(self.device):
            host = torch.from_numpy(batch).pin_memory()
            with cuda.stream(self._copies):
                images = host.to(self.device, non_blocking=True)
            compute = cuda.current_stream()
            compute.wait_stream(self._copies)
            images.record_stream(compute)
            logits = self._forward(images)
            back = torch.empty(logits.shape, dtype=torch.float32, pin_memory=True)
            back.copy_(logits, non_blocking=True)
            done = cuda.Event()
            done.record(compute)
        return done, back

    def _run(self, batch: NDArray[np.uint8]) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            return self._forward(torch.from_numpy(batch).to(self.device))

    def _finish(self, logits: torch.Tensor) -> NDArray[np.float32]:
        array: NDArray[np.float32] = logits.cpu().numpy()
        return array

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, size, size, 3) uint8 to (N, num_classes) float32."""
        # A view: the bytes are in channels-last order already.
        x = images.permute(0, 3, 1, 2).float().div_(255).sub_(self._mean).div_(self._std).to(self._dtype)
        for operation in self._steps:
            x = operation(x)
        return x[: len(images)].float()

    def _operation(self, step: folding.Step) -> Callable[[torch.Tensor], torch.Tensor]:
        import torch
        from torch.nn import functional

        layer = step.layer
        if isinstance(layer, MaxPool):
            return lambda x: functional.max_pool2d(x, 2)
        if isinstance(layer, AdaptiveAvgPool):
            size = layer.size
            return lambda x: x if x.shape[-1] == x.shape[-2] == size else functional.adaptive_avg_pool2d(x, size)
        bias = self._tensor(step.bias)
        if isinstance(layer, Conv2d):
            kernel = self._tensor(step.scaled_weight()).contiguous(memory_format=torch.channels_last)
            after = functional.relu_ if step.relu else _identity
            return lambda x: after(functional.conv2d(_doubled_if_small(x), kernel, bias, padding=1)[: len(x)])
        linear = self._linear(step, bias)
        return linear if step.layer.name != "fc6" else lambda x: linear(_padded_rows(x.flatten(1)))

    def _linear(self, step: folding.Step, bias: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        from torch.nn import functional

        matrix = self._tensor(step.weight)
        after = functional.relu_ if step.relu else _identity
        if step.scale is None:
            return lambda x: after(functional.linear(x.flatten(1), matrix, bias))
        scale = self._tensor(step.scale)
        return lambda x: after(functional.linear(x.flatten(1), matrix).mul_(scale).add_(bias))

    def _tensor(self, array: NDArray[np.float32] | None) -> torch.Tensor:
        """On the device in the engine's type; on a CPU in fp32 it stays a view of the mapped file."""
        import torch

        assert array is not None
        if not array.flags.aligned:
            array = np.require(array, requirements="A")
        return torch.from_numpy(array).to(self.device, self._dtype)

    def _translated(self, work: Callable[[], Any]) -> Any:
        """Run device work with torch's exceptions turned into ours."""
        try:
            return work()
        except RuntimeError as error:
            why = devices.first_line(error)
            if not devices.is_out_of_memory(error):
                raise DeviceError(
                    "cannot go on with", str(self.device), why, "Run again, or with --device cpu"
                ) from error
        # Out here torch's exception is gone, and with it the frames that hold the tensors of the batch.
        devices.release_memory(self.device)
        raise MemoryError(why)


def _doubled_if_small(x: torch.Tensor) -> torch.Tensor:
    """The input (N, C, H, W); twice where it is a single small one on a CPU, so that it is treated like several."""
    import torch

    return torch.cat([x, x]) if len(x) == 1 and x.numel() <= _SMALL and x.device.type == "cpu" else x


def _padded_rows(x: torch.Tensor) -> torch.Tensor:
    """(N, features) to (N rounded up to a multiple of `folding.ROWS`, features), with zeros."""
    from torch.nn import functional

    return functional.pad(x, (0, 0, 0, -len(x) % folding.ROWS))


def _identity(x: torch.Tensor) -> torch.Tensor:
    return x
