"""The network on one device of torch's, with batch norm folded and channels last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from vggcli.engines import devices, folding
from vggcli.engines.precision import conv2d_without_tf32, full_single_precision
from vggcli.errors import DeviceError
from vggcli.network.layers import Activation, AdaptiveAvgPool, BatchNorm, ConcatPool, Conv2d, Pool

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from vggcli.weights.model import Model

# On CPUs torch convolves a single input of up to 20,480 numbers with other code than several, which sums in another
# order (`use_mkldnn` in ATen's Convolution.cpp).
_SMALL = 1 << 15


class Replica:
    """The network on one device: a list of operations over tensors that are already laid out for it."""

    def __init__(self, model: Model, device: torch.device, precision: str, outputs: Sequence[str]) -> None:
        import torch

        self.device = device
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self._white = 255 // model.recipe.value_range  # what a byte is divided by
        self._mean = torch.tensor(model.recipe.mean, device=device).view(1, -1, 1, 1)
        self._std = torch.tensor(model.recipe.std, device=device).view(1, -1, 1, 1)
        self._outputs = outputs
        self._rules = full_single_precision if precision == "fp32" else nullcontext
        self._conv2d = conv2d_without_tf32 if (device.type, precision) == ("cuda", "fp32") else _conv2d
        # Folding rounds the weights once more.  By the depth of vgg16_bn's fc7 that comes to 2e-5 of the largest value,
        # measured on photos, and to 3e-6 in the logits.
        fold = precision != "fp32" or set(outputs) == {model.architecture.layers()[-1].name}
        with torch.inference_mode():
            self._steps = list(self._operations(model, folding.steps(model, outputs, fold=fold)))
        # Copies run beside the kernels of the batch before.
        cuda: Any = torch.cuda  # torch annotates streams and events only in part
        self._copies = cuda.Stream(device) if device.type == "cuda" else None

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], dict[str, NDArray[np.float32]]]:
        """Begin a batch; on a CPU the work is done when the result is asked for."""
        if self._copies is None:
            return lambda: self._translated(lambda: self._arrays(self._run(batch)))
        done, outputs = self._translated(lambda: self._launch(batch))

        def result() -> dict[str, NDArray[np.float32]]:
            self._translated(done.synchronize)
            return self._arrays(outputs)

        return result

    def _launch(self, batch: NDArray[np.uint8]) -> tuple[Any, dict[str, torch.Tensor]]:
        """Queue copy, network and copies back on a CUDA device; the event says when the outputs are here."""
        import torch

        cuda: Any = torch.cuda
        with torch.inference_mode(), cuda.device(self.device):
            host = torch.from_numpy(batch).pin_memory()
            with cuda.stream(self._copies):
                images = host.to(self.device, non_blocking=True)
            compute = cuda.current_stream()
            compute.wait_stream(self._copies)
            images.record_stream(compute)
            outputs = self._forward(images)
            done = cuda.Event()
            done.record(compute)
        return done, outputs

    def _run(self, batch: NDArray[np.uint8]) -> dict[str, torch.Tensor]:
        import torch

        with torch.inference_mode():
            return self._forward(torch.from_numpy(batch).to(self.device))

    def _arrays(self, outputs: dict[str, torch.Tensor]) -> dict[str, NDArray[np.float32]]:
        return {name: outputs[name].numpy() for name in self._outputs}

    def _forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """(N, size, size, channels) uint8 to the outputs, float32, on the host (on CUDA once the stream is there)."""
        # A view: the bytes are in channels-last order already.
        x = images.permute(0, 3, 1, 2).float().div_(self._white).sub_(self._mean).div_(self._std).to(self._dtype)
        outputs: dict[str, torch.Tensor] = {}
        with self._rules():
            for operation, names in self._steps:
                x = operation(x)
                outputs |= {name: self._on_host(x[: len(images)]) for name in names}
        return outputs

    def _on_host(self, x: torch.Tensor) -> torch.Tensor:
        """A copy in float32 and in the order of its axes."""
        import torch

        on_cuda = x.device.type == "cuda"
        if on_cuda:  # there first: a copy that must convert would not run beside the kernels
            x = x.to(torch.float32, memory_format=torch.contiguous_format)
        return torch.empty(x.shape, dtype=torch.float32, pin_memory=on_cuda).copy_(x, non_blocking=on_cuda)

    def _operations(
        self, model: Model, steps: Iterable[folding.Step]
    ) -> Iterator[tuple[Callable[[torch.Tensor], torch.Tensor], tuple[str, ...]]]:
        """What is done in order, and the names under which each result was asked for."""
        flat = False
        for step in steps:
            if step.is_flat and not flat:
                yield _padded_rows, ()
                flat = True
            yield self._operation(model, step), step.outputs

    def _operation(self, model: Model, step: folding.Step) -> Callable[[torch.Tensor], torch.Tensor]:
        from torch.nn import functional

        layer = step.layer
        if isinstance(layer, Pool):
            pool2d = functional.avg_pool2d if layer.average else functional.max_pool2d
            return lambda x: pool2d(x, 2)
        if isinstance(layer, AdaptiveAvgPool):
            size = layer.size
            return lambda x: x if x.shape[-1] == x.shape[-2] == size else functional.adaptive_avg_pool2d(x, size)
        if isinstance(layer, ConcatPool):
            return _concat_pool
        if isinstance(layer, Activation):
            return _activation(layer)
        if isinstance(layer, BatchNorm):
            return self._norm(model, layer, step)
        return self._convolution(step) if isinstance(layer, Conv2d) else self._linear(step)

    def _convolution(self, step: folding.Step) -> Callable[[torch.Tensor], torch.Tensor]:
        import torch

        kernel = self._tensor(step.scaled_weight()).contiguous(memory_format=torch.channels_last)
        bias, after, conv2d = self._tensor(step.bias), _end_of(step), self._conv2d
        return lambda x: after(conv2d(_doubled_if_small(x), kernel, bias)[: len(x)])

    def _linear(self, step: folding.Step) -> Callable[[torch.Tensor], torch.Tensor]:
        from torch.nn import functional

        matrix, bias, after = self._tensor(step.weight), self._tensor(step.bias), _end_of(step)
        scale = None if step.scale is None else self._tensor(step.scale)

        def linear(x: torch.Tensor) -> torch.Tensor:
            if scale is None:
                return after(functional.linear(x, matrix, bias))
            return after(functional.linear(x, matrix).mul_(scale).add_(bias))

        return linear

    def _norm(self, model: Model, layer: BatchNorm, step: folding.Step) -> Callable[[torch.Tensor], torch.Tensor]:
        """Batch norm by itself, with the network's own sums."""
        from torch.nn import functional

        mean, variance = (self._tensor(model.array(f"{layer.key}.running_{name}")) for name in ("mean", "var"))
        names = ("weight", "bias") if layer.affine else ()
        gamma, beta = [self._tensor(model.array(f"{layer.key}.{name}")) for name in names] or (None, None)
        after = _end_of(step)
        return lambda x: after(functional.batch_norm(x, mean, variance, gamma, beta, eps=layer.eps))

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


def _end_of(step: folding.Step) -> Callable[[torch.Tensor], torch.Tensor]:
    """The end of a step, in place where it can be: what it works on was made by the step itself."""
    from torch.nn import functional

    if step.activation is None:
        return _identity
    return functional.relu_ if step.activation.function == "relu" else _activation(step.activation)


def _activation(layer: Activation) -> Callable[[torch.Tensor], torch.Tensor]:
    from torch.nn import functional

    function: Callable[..., torch.Tensor] = getattr(functional, layer.function)
    if layer.function in ("leaky_relu", "elu"):
        return lambda x: function(x, layer.alpha)
    return function


def _concat_pool(x: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat((x.amax((2, 3), keepdim=True), x.mean((2, 3), keepdim=True)), 1)


def _conv2d(x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    return functional.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)


def _doubled_if_small(x: torch.Tensor) -> torch.Tensor:
    """The input (N, C, H, W); twice where it is a single small one on a CPU, so that it is treated like several."""
    import torch

    return torch.cat([x, x]) if len(x) == 1 and x.numel() <= _SMALL and x.device.type == "cpu" else x


def _padded_rows(x: torch.Tensor) -> torch.Tensor:
    """(N, ...) to (N rounded up to a multiple of `folding.ROWS`, features), with zeros."""
    from torch.nn import functional

    x = x.flatten(1)
    return functional.pad(x, (0, 0, 0, -len(x) % folding.ROWS))


def _identity(x: torch.Tensor) -> torch.Tensor:
    return x
