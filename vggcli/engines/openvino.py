"""The fast engine on CPUs: an OpenVINO graph from the layer list and views of the mapped weights, without torch."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vggcli.engines import cpu, devices, folding
from vggcli.engines.openvino_import import import_openvino
from vggcli.engines.pages import PageDropper
from vggcli.errors import DeviceError
from vggcli.network.layers import Activation, AdaptiveAvgPool, ConcatPool, Conv2d, Linear, Pool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vggcli.engines.int8 import Int8
    from vggcli.weights.model import Model

INSTALL = "pip install openvino"
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}  # int8: of what little is left
# How the CPU plugin, oneDNN in it, the C++ library and the system say that memory was refused.  The plugin also fails
# "to allocate required number of vector registers", and has dozens of faults about memory descriptors.
_OUT_OF_MEMORY = re.compile(
    r"failed to allocate \d+ bytes|(cannot|could not) allocate memory|could not create a memory object"
    r"|std::bad_alloc|bad allocation"
)


def installed() -> bool:
    """Whether the package is there, without importing it."""
    return importlib.util.find_spec("openvino") is not None


class OpenVINOEngine:
    """A model compiled for this machine's CPU.

    Args:
        model: weights and architecture.
        precision: "auto" takes bf16 where the CPU has AMX for it, else fp32; "int8" is for files of `vgg quantize`.
        outputs: names of layers; only what they need is computed, and only they are copied.
        threads: cores to compute on; None for those that this process may use.  OpenVINO takes no more than there are.

    Raises:
        UsageError: the network has no such layer, or fewer threads than one.
        DeviceError: the package is absent, or the model cannot be compiled on this CPU.
    """

    name = "openvino"
    device = "cpu"
    depth = 2

    def __init__(
        self,
        model: Model,
        precision: str = "auto",
        outputs: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        self._outputs = folding.check(outputs, model.architecture)
        devices.check_threads(threads)
        if not installed():
            raise DeviceError("cannot use the engine", "openvino", "it is not installed", f"Run {INSTALL}")
        try:
            core = import_openvino().Core()
            capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            self.precision = _precision(precision, capabilities)
            self.fast_precision = _precision("auto", capabilities)
            self.batch_size = cpu.batch_size(self.precision, cpu.has_amx())
            # Until the first answer: the weights are laid out in it.
            self._page_dropper = PageDropper(model.forget_pages)
            try:
                graph, self._positions = _graph(model, self._outputs, self.batch_size, self._int8(core, model))
                compiled = core.compile_model(graph, "CPU", _config(self.precision, threads or devices.cores()))
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
        self._compiled: Any = compiled

    def _int8(self, core: Any, model: Model) -> Int8 | None:
        """What makes the graph one of integers; None at other precisions."""
        if self.precision != "int8":
            return None
        from vggcli.engines import int8

        return int8.Int8(model, self._outputs, is_narrow=int8.saturates(core))

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], dict[str, NDArray[np.float32]]]:
        """See `Engine.start`; what is larger than the engine's own batch is computed in such batches."""
        if len(batch) <= self.batch_size:
            return self._start(batch)
        parts = [self._start(batch[at : at + self.batch_size]) for at in range(0, len(batch), self.batch_size)]
        return lambda: _joined([part() for part in parts])

    def _start(self, batch: NDArray[np.uint8]) -> Callable[[], dict[str, NDArray[np.float32]]]:
        if self._compiled is None:
            raise devices.closed(self.name)
        try:
            request = self._free.pop()  # at once: between a look and the taking another thread may come
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            request.start_async({0: batch}, share_inputs=True)
        except RuntimeError as error:
            raise _failed(error) from error

        def result(shared: NDArray[np.uint8] = batch) -> dict[str, NDArray[np.float32]]:
            # `shared` keeps the batch alive: the request reads it in place.
            try:
                request.wait()
            except RuntimeError as error:
                raise _failed(error) from error
            outputs = {name: request.get_output_tensor(self._positions[name]).data.copy() for name in self._outputs}
            self._free.append(request)
            self._page_dropper.stop()
            return outputs

        return result

    def close(self) -> None:
        """See `Engine.close`."""
        self._page_dropper.stop()
        self._free.clear()
        self._compiled = None


def _precision(asked: str, capabilities: list[str]) -> str:
    if asked == "auto":
        return "bf16" if "BF16" in capabilities and cpu.has_amx() else "fp32"
    if asked == "fp16" and "FP16" not in capabilities:
        raise DeviceError(
            "cannot compute in", "fp16", "this CPU has no half-precision arithmetic", "Use --precision auto or fp32"
        )
    return asked


def _config(precision: str, threads: int) -> dict[str, Any]:
    return {
        # A container's quota shows in no list of cores; more threads than it has would wait for each other.
        "INFERENCE_NUM_THREADS": threads,
        # One stream: all cores work on one batch, and the weights are laid out once.
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        # Left to the scheduler, cores go to whoever has work: the decoders share them.
        "ENABLE_CPU_PINNING": False,
    }


def _joined(parts: list[dict[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    import numpy as np

    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _graph(model: Model, outputs: tuple[str, ...], rows: int, int8: Int8 | None = None) -> tuple[Any, dict[str, int]]:
    """From images (N, size, size, channels) uint8, N up to `rows`, to the outputs, float32; and the place of each."""
    import numpy as np
    from openvino import Model as Graph
    from openvino import opset13 as op

    recipe = model.recipe
    images = op.parameter([-1, recipe.size, recipe.size, recipe.channels], np.uint8, name="images")
    # Channel after channel first, while they are bytes: arithmetic on three neighbours takes ten times as long.
    node = op.transpose(images, op.constant(np.array([0, 3, 1, 2])))
    # (x / 255 - mean) / std, as one multiplication and one addition; without the 255 where values go that far.
    scale = (1 / (255 // recipe.value_range * np.array(recipe.std))).astype(np.float32)
    shift = (-np.array(recipe.mean) / np.array(recipe.std)).astype(np.float32)
    scale, shift = scale.reshape(1, -1, 1, 1), shift.reshape(1, -1, 1, 1)
    node = op.add(op.multiply(op.convert(node, "f32"), op.constant(scale)), op.constant(shift))
    flat = False
    results: list[Any] = []
    positions: dict[str, int] = {}
    if int8 is not None:
        node = int8.image(node)
    for step in folding.steps(model, outputs) if int8 is None else int8.steps:
        if step.is_flat and not flat:
            node, flat = op.reshape(node, op.constant(np.array([0, -1])), special_zero=True), True
            node = _padded_rows(node, rows) if int8 is None else int8.flattened(node)  # sums of integers have no order
        node = _node(step, node, int8)
        if step.outputs:
            positions |= dict.fromkeys(step.outputs, len(results))
            results.append(op.result(_without_padding(node, images) if flat and int8 is None else node))
        if int8 is not None:
            node = int8.quantized(step, node)
    return Graph(results, [images], model.variant), positions


def _padded_rows(node: Any, rows: int) -> Any:
    """(N, features) to (`rows`, features), with zeros: see `folding.ROWS`."""
    import numpy as np
    from openvino import opset13 as op

    count = op.gather(op.shape_of(node), op.constant(np.array([0])), op.constant(np.array(0)))
    missing = op.subtract(op.constant(np.array([rows])), count)
    end = op.concat([missing, op.constant(np.array([0]))], 0)
    return op.pad(node, op.constant(np.array([0, 0])), end, "constant")


def _without_padding(node: Any, images: Any) -> Any:
    """As many rows as there are images: those that were filled up are none."""
    import numpy as np
    from openvino import opset13 as op

    count = op.gather(op.shape_of(images), op.constant(np.array([0])), op.constant(np.array(0)))
    first, step = op.constant(np.array([0])), op.constant(np.array([1]))
    return op.slice(node, first, count, step, op.constant(np.array([0])))


def _node(step: folding.Step, node: Any, int8: Int8 | None) -> Any:
    import numpy as np
    from openvino import opset13 as op

    layer = step.layer
    if isinstance(layer, Pool):
        return _pooled(layer, node)
    if isinstance(layer, AdaptiveAvgPool):
        return op.adaptive_avg_pool(node, op.constant(np.array([layer.size, layer.size])))
    if isinstance(layer, ConcatPool):
        axes = op.constant(np.array([2, 3]))
        return op.concat([op.reduce_max(node, axes, True), op.reduce_mean(node, axes, True)], 1)
    if isinstance(layer, Activation):
        return _activated(layer, node)
    shape, scale, bias = (1, -1) if step.is_flat else (1, -1, 1, 1), step.scale, step.bias
    if isinstance(layer, Conv2d | Linear):
        weight, scale, bias = _constants(step) if int8 is None else int8.constants(step)
        if isinstance(layer, Conv2d):
            padding = [layer.kernel // 2] * 2
            node = op.convolution(node, weight, [1, 1], padding, padding, [1, 1])
        else:
            node = op.matmul(node, weight, False, True)
    if scale is not None:
        node = op.multiply(node, op.constant(scale.reshape(shape)))
    if bias is not None:
        node = op.add(node, op.constant(bias.reshape(shape)))
    return node if step.activation is None else _activated(step.activation, node)


def _constants(step: folding.Step) -> tuple[Any, NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """The weight as a node, and what the result is multiplied by and what is added to it."""
    from openvino import op as core_op

    is_folded = isinstance(step.layer, Conv2d)
    weight = step.scaled_weight() if is_folded else step.weight
    # Shared with the map, not copied: OpenVINO reads the file's pages straight into its own layout.
    return core_op.Constant(weight, shared_memory=True), None if is_folded else step.scale, step.bias


def _pooled(layer: Pool, node: Any) -> Any:
    from openvino import opset13 as op

    if layer.average:
        return op.avg_pool(node, [2, 2], [0, 0], [0, 0], [2, 2], True)
    return op.max_pool(node, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)


def _activated(layer: Activation, node: Any) -> Any:
    import numpy as np
    from openvino import opset13 as op

    match layer.function:
        case "leaky_relu":
            return op.prelu(node, op.constant(np.array([layer.alpha], np.float32)))
        case "elu":
            return op.elu(node, layer.alpha)
        case "gelu":
            return op.gelu(node, "erf")
        case "silu":
            return op.swish(node)
        case "relu6":
            return op.clamp(node, 0.0, 6.0)
        case "tanh":
            return op.tanh(node)
        case "sigmoid":
            return op.sigmoid(node)
    return op.relu(node)


def _failed(error: RuntimeError) -> Exception:
    if _OUT_OF_MEMORY.search(str(error).lower()):
        return MemoryError(_first_line(error))
    return DeviceError("cannot go on with", "openvino", _first_line(error), "Run with --engine torch")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
