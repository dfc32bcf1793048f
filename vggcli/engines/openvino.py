"""The fast engine on CPUs: an OpenVINO graph from the layer list and views of the mapped weights, without torch."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vggcli.engines import folding
from vggcli.engines.pages import PageDropper
from vggcli.errors import DeviceError
from vggcli.network.layers import AdaptiveAvgPool, Conv2d, Linear, MaxPool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vggcli.weights.model import Model

# Measured on 2 and 4 cores: larger batches cost memory (13 MB of activations an image in fp32) and win nothing.
BATCH_SIZE = 8
INSTALL = "pip install openvino"
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def installed() -> bool:
    """Whether the package is there, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> Any:
    """The package without its model converter, which nothing here uses and whose import costs 0.2 of 0.25 s."""
    converter = "openvino.tools.ovc"
    if "openvino" in sys.modules or converter in sys.modules:
        return importlib.import_module("openvino")
    sys.modules[converter] = None  # type: ignore[assignment]  # openvino takes its absence as not installed
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[converter]


class OpenVINOEngine:
    """A model compiled for this machine's CPU.

    Args:
        model: weights and architecture.
        precision: "auto" takes bf16 where the CPU computes in it, else fp32.

    Raises:
        DeviceError: the package is absent, or the model cannot be compiled on this CPU.
    """

    name = "openvino"
    device = "cpu"
    depth = 2

    def __init__(self, model: Model, precision: str = "auto") -> None:
        if not installed():
            raise DeviceError("cannot use the engine", "openvino", "it is not installed", f"Run {INSTALL}")
        try:
            core = import_openvino().Core()
            capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            self.precision = _precision(precision, capabilities)
            self._page_dropper = PageDropper(
                model.forget_pages
            )  # until the first answer: the weights are laid out in it
            try:
                compiled = core.compile_model(_graph(model), "CPU", _config(self.precision))
                self._free: list[Any] = [compiled.create_infer_request() for _ in range(self.depth)]
            except BaseException:
                self._page_dropper.stop()  # another engine may read the pages in place
                raise
        except DeviceError:
            raise
        except Exception as error:
            raise DeviceError(
                "cannot use the engine", "openvino", _first_line(error), "Run with --engine torch"
            ) from error
        self._compiled = compiled
        self.batch_size = BATCH_SIZE

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """See `Engine.start`."""
        request = self._free.pop() if self._free else self._compiled.create_infer_request()
        try:
            request.start_async({0: batch}, share_inputs=True)
        except RuntimeError as error:
            raise _failed(error) from error

        def result(shared: NDArray[np.uint8] = batch) -> NDArray[np.float32]:
            # `shared` keeps the batch alive: the request reads it in place.
            try:
                request.wait()
            except RuntimeError as error:
                raise _failed(error) from error
            logits: NDArray[np.float32] = request.get_output_tensor(0).data.copy()
            self._free.append(request)
            self._page_dropper.stop()
            return logits

        return result

    def close(self) -> None:
        """See `Engine.close`."""
        self._page_dropper.stop()
        self._free.clear()
        del self._compiled


def _precision(asked: str, capabilities: list[str]) -> str:
    if asked == "auto":
        return "bf16" if "BF16" in capabilities else "fp32"
    if asked == "fp16" and "FP16" not in capabilities:
        raise DeviceError(
            "cannot compute in", "fp16", "this CPU has no half-precision arithmetic", "Use --precision auto or fp32"
        )
    return asked


def _config(precision: str) -> dict[str, Any]:
    return {
        # One stream: all cores work on one batch, and the weights are laid out once.
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        # Left to the scheduler, cores go to whoever has work: the decoders share them.
        "ENABLE_CPU_PINNING": False,
    }


def _graph(model: Model) -> Any:
    """images (N, size, size, 3) uint8 to logits (N, num_classes) float32, with any N."""
    import numpy as np
    from openvino import Model as Graph
    from openvino import opset13 as op

    recipe = model.recipe
    images = op.parameter([-1, recipe.size, recipe.size, 3], np.uint8, name="images")
    # (x / 255 - mean) / std, as one multiplication and one addition.
    scale = (1 / (255 * np.array(recipe.std))).astype(np.float32)
    shift = (-np.array(recipe.mean) / np.array(recipe.std)).astype(np.float32)
    node = op.add(op.multiply(op.convert(images, "f32"), op.constant(scale)), op.constant(shift))
    node = op.transpose(node, op.constant(np.array([0, 3, 1, 2])))
    flat = False
    for step in folding.steps(model):
        if isinstance(step.layer, Linear) and not flat:
            node, flat = _padded_rows(op.reshape(node, op.constant(np.array([0, -1])), special_zero=True)), True
        node = _node(step, node)
    # The rows that were filled up are no images.
    count = op.gather(op.shape_of(images), op.constant(np.array([0])), op.constant(np.array(0)))
    first, step = op.constant(np.array([0])), op.constant(np.array([1]))
    node = op.slice(node, first, count, step, op.constant(np.array([0])))
    return Graph([op.result(node)], [images], model.variant)


def _padded_rows(node: Any) -> Any:
    """(N, features) to (N rounded up to a multiple of `folding.ROWS`, features), with zeros."""
    import numpy as np
    from openvino import opset13 as op

    count = op.gather(op.shape_of(node), op.constant(np.array([0])), op.constant(np.array(0)))
    missing = op.floor_mod(op.negative(count), op.constant(np.array([folding.ROWS])))
    end = op.concat([missing, op.constant(np.array([0]))], 0)
    return op.pad(node, op.constant(np.array([0, 0])), end, "constant")


def _node(step: folding.Step, node: Any) -> Any:
    import numpy as np
    from openvino import op as core_op
    from openvino import opset13 as op

    layer = step.layer
    if isinstance(layer, MaxPool):
        return op.max_pool(node, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
    if isinstance(layer, AdaptiveAvgPool):
        return op.adaptive_avg_pool(node, op.constant(np.array([layer.size, layer.size])))
    # Shared with the map, not copied: OpenVINO reads the file's pages straight into its own layout.
    if isinstance(layer, Conv2d):
        weight = core_op.Constant(step.scaled_weight(), shared_memory=True)
        node = op.convolution(node, weight, [1, 1], [1, 1], [1, 1], [1, 1])
        shape: tuple[int, ...] = (1, -1, 1, 1)
    else:
        node = op.matmul(node, core_op.Constant(step.weight, shared_memory=True), False, True)
        shape = (1, -1)
        if step.scale is not None:
            node = op.multiply(node, op.constant(step.scale.reshape(shape)))
    assert step.bias is not None
    node = op.add(node, op.constant(step.bias.reshape(shape)))
    return op.relu(node) if step.relu else node


def _failed(error: RuntimeError) -> Exception:
    text = str(error).lower()
    if "alloc" in text or "memory" in text:
        return MemoryError(_first_line(error))
    return DeviceError("cannot go on with", "openvino", _first_line(error), "Run with --engine torch")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
