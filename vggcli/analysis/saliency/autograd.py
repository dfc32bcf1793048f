"""Maps by torch's autograd: every layer, every method, every network; always in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from vggcli.analysis.saliency.grad_cam import MAPS, Choose, chosen
from vggcli.engines import devices
from vggcli.engines.precision import full_single_precision
from vggcli.engines.threads import Worker
from vggcli.errors import DeviceError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from vggcli.network.layers import Layer
    from vggcli.weights.model import Model

    Outputs = dict[str, NDArray[np.float32]]

_CPU_BATCH_SIZE = 4  # all maps of an image, with their gradients, are 150 MB in vgg16_bn
_GPU_BATCH_SIZE = 32
_EPSILON = 1e-6  # in the denominator of Grad-CAM++, as its authors' code and pytorch-grad-cam have it


class AutogradEngine:
    """An engine that gives maps beside logits.

    Args:
        model: weights and architecture; int8 and half-precision weights as the float32 numbers that they stand for.
        method: one of `layers.METHODS`.
        target: the layer whose output is weighed; not looked at by the gradient of the image.
        choose: the classes of an image, always as many.
        device: as `devices.torch_devices` takes it; the first of several.
        threads: cores to compute on, on a CPU.

    Raises:
        DeviceError: torch is broken or absent, or the device is.
    """

    name = "torch"
    precision = fast_precision = "fp32"
    depth = 1

    def __init__(
        self, model: Model, method: str, target: Layer, choose: Choose, device: str, threads: int | None
    ) -> None:
        devices.check_threads(threads)
        torch = import_torch(method)
        from vggcli.network.module import with_weights

        where = devices.torch_devices(device)[0]
        self.device = str(where)
        self.batch_size = _CPU_BATCH_SIZE if where.type == "cpu" else _GPU_BATCH_SIZE
        self._method, self._choose, self._logits = method, choose, model.architecture.layers()[-1].name
        network = with_weights(model.architecture, model.arrays()).requires_grad_(False).to(where)
        modules: Any = network.modules()
        for module in modules:
            if hasattr(module, "inplace"):
                module.inplace = False  # in place, a ReLU would overwrite what the gradient is taken at
        rows = [(layer.key, network.get_submodule(layer.key)) for layer in model.architecture.layers()]
        cut = 0 if method == "gradient" else 1 + [key for key, _ in rows].index(target.key)
        self._before, self._behind = rows[:cut], rows[cut:]
        white = 255 // model.recipe.value_range
        self._mean = torch.tensor(model.recipe.mean, device=where).view(1, -1, 1, 1)
        self._std = torch.tensor(model.recipe.std, device=where).view(1, -1, 1, 1)
        self._white, self._where = white, where
        self._worker = Worker(threads) if where.type == "cpu" else None

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], Outputs]:
        """See `Engine.start`."""
        worker = self._worker

        def work() -> Outputs:
            return self._translated(batch)

        return work if worker is None else lambda: worker.run(work)

    def close(self) -> None:
        """See `Engine.close`."""
        if self._worker is not None:
            self._worker.close()

    def _translated(self, batch: NDArray[np.uint8]) -> Outputs:
        """What is found of a batch, with torch's exceptions turned into ours."""
        try:
            return self._explained(batch)
        except RuntimeError as error:
            why = devices.first_line(error)
            if not devices.is_out_of_memory(error):
                raise DeviceError("cannot go on with", self.device, why, "Run again, or with --device cpu") from error
        # Out here torch's exception is gone, and with it the frames that hold the tensors of the batch.
        devices.release_memory(self._where)
        raise MemoryError(why)

    def _explained(self, batch: NDArray[np.uint8]) -> Outputs:
        import torch

        with full_single_precision():
            with torch.no_grad():
                x = torch.from_numpy(batch).to(self._where).permute(0, 3, 1, 2).float()
                images = x.div_(self._white).sub_(self._mean).div_(self._std).contiguous()
                maps = self._run(self._before, images)
            maps = maps.detach().requires_grad_()
            with torch.enable_grad():
                logits = self._run(self._behind, maps)
            scores = logits.detach().cpu().numpy()
            classes, signs = chosen(self._choose, scores)
            found = [self._map(logits, maps, *pair) for pair in zip(classes.T, signs.T, strict=True)]
        return {self._logits: scores.copy(), MAPS: torch.stack(found, 1).cpu().numpy()}

    @staticmethod
    def _run(modules: list[tuple[str, Any]], x: torch.Tensor) -> torch.Tensor:
        for key, module in modules:
            x = module(x.flatten(1) if key.startswith("classifier.") else x)
        return x

    def _map(
        self, logits: torch.Tensor, maps: torch.Tensor, classes: NDArray[np.intp], signs: NDArray[np.float32]
    ) -> torch.Tensor:
        """The map of one class of each image, (N, height, width)."""
        import torch

        places = torch.from_numpy(classes).to(self._where)[:, None]
        score = (logits.gather(1, places)[:, 0] * torch.from_numpy(signs).to(self._where)).sum()
        (gradient,) = torch.autograd.grad(score, maps, retain_graph=True)
        values = maps.detach()
        if self._method == "gradient":
            return gradient.abs().amax(1)
        weights = gradient.mean((2, 3)) if self._method == "grad-cam" else _plus_plus(gradient, values)
        return (weights[:, :, None, None] * values).sum(1).relu()


def import_torch(method: str) -> Any:
    """The torch package.

    Raises:
        DeviceError: it cannot be imported; what needs none is told.
    """
    try:
        return devices.import_torch()
    except DeviceError as error:
        what = f"explain with {method}" if method != "grad-cam" else "explain by this layer or network"
        step = "Run pip install torch; grad-cam at the last convolution of a network with ReLUs needs none"
        raise DeviceError("cannot", what, f"it takes torch, and {error.why}", step) from error


def _plus_plus(gradient: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """The weights of the channels in Grad-CAM++, (N, channels).

    Source: Chattopadhyay et al., "Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks", WACV 2018,
    equations 5 and 19, for a score that is the exponential of the logit, whose own factor is the same everywhere.
    """
    import torch

    square, cube = gradient**2, gradient**3
    shares = square / (2 * square + maps.sum((2, 3), keepdim=True) * cube + _EPSILON)
    shares = torch.where(gradient != 0, shares, torch.zeros_like(shares))
    return (gradient.relu() * shares).sum((2, 3))
