"""The OpenVINO graph in integers: sums of int8 weights times 8-bit inputs, with scales of channels before and behind.

    image ─> normalised ─> quantized ─> convolution ─> bias, batch norm, ReLU ─> quantized ─> pool ─> ...

What is quantized and what the integers of a weight stand for is said by operations on float32 (FakeQuantize, and a
conversion with a multiplication behind int8 constants); OpenVINO's low-precision passes make integer kernels of them.
Measured on vgg16_bn beside the other way, FakeQuantize on float32 weights: the same kernels and speed, but 3 s instead
of 0.1 s to compile and 0.7 GB more memory.  The first layer costs 47 ms of CPU time per image in int8 and 51 in
float32 (54 in bf16), as its output is what memory is busiest with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vggcli.engines import folding
from vggcli.network.architecture import Architecture
from vggcli.network.layers import (
    Activation,
    BatchNorm,
    Conv2d,
    Dropout,
    Layer,
    Linear,
    Pool,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vggcli.weights.model import Model

_LEVELS = 256  # of an input's integers: 0..255, or -128..127 where a value may be negative
_NOT_NEGATIVE = ("relu", "relu6", "sigmoid")
_IMAGE, _FLATTENED = -1, -2
_TINY = np.finfo(np.float32).tiny


class Int8:
    """What differs in the graph of a model whose weights are int8.

    Args:
        model: with a `quantization`.
        outputs: names of layers.
        is_narrow: halve the weights' integers, for kernels that `saturates`.

    Attributes:
        steps: as `folding.steps` gives them, with int8 weights.
    """

    def __init__(self, model: Model, outputs: Sequence[str], *, is_narrow: bool) -> None:
        self._model, self._is_narrow = model, is_narrow
        self.steps = list(folding.steps(model, outputs, weight=self._integers))
        self._places = _places(self.steps)
        self._unsigned = unsigned(model.architecture)

    def image(self, node: Any) -> Any:
        """The normalised images, quantized where nothing but a pool comes before the first layer."""
        return self._quantized(self._places.get(_IMAGE), node)

    def flattened(self, node: Any) -> Any:
        """The last maps as features, quantized where a linear layer sees them: each feature has its own scale."""
        return self._quantized(self._places.get(_FLATTENED), node)

    def quantized(self, step: folding.Step, node: Any) -> Any:
        """The result of a step, quantized where it is the next layer's input, whatever pools may lie between.

        In front of a pool of greatest values, which commutes with it: so it is fused into the convolution.  Behind one
        that is an output, as the integers of different channels stand for different steps.
        """
        place = next(place for place, other in enumerate(self.steps) if other is step)
        return self._quantized(self._places.get(place), node)

    def constants(self, step: folding.Step) -> tuple[Any, None, NDArray[np.float32]]:
        """A layer's weight as a node and its bias; the scale of batch norm goes into the weight's."""
        from openvino import op as core_op
        from openvino import opset13 as op

        assert step.weight is not None
        assert step.bias is not None
        scale = self._model.int8_tensor(step.layer.key).scales()
        if step.scale is not None:
            scale = scale * step.scale
        if self._is_narrow:
            scale = scale * np.float32(2)
        shape = (-1, *[1] * (step.weight.ndim - 1))
        integers = core_op.Constant(step.weight, shared_memory=True)
        weight = op.multiply(op.convert(integers, "f32"), op.constant(scale.astype(np.float32).reshape(shape)))
        # Without a bias (OpenVINO takes zeros for none) a layer whose result is an output as well gives zeros to the
        # next one, in OpenVINO 2026.4.
        return weight, None, step.bias if step.bias.any() else np.full_like(step.bias, _TINY)

    def _integers(self, key: str) -> NDArray[np.int8]:
        integers: NDArray[np.int8] = self._model.int8_tensor(key.removesuffix(".weight")).values.numpy()
        return np.rint(integers / np.float32(2)).astype(np.int8) if self._is_narrow else integers

    def _quantized(self, layer: Conv2d | Linear | None, node: Any) -> Any:
        from openvino import opset13 as op

        if layer is None:
            return node
        scales = self._model.int8_tensor(layer.key).input_scales()
        scales = scales.reshape((1, -1) if isinstance(layer, Linear) else (1, -1, 1, 1))
        low, high = (0, _LEVELS - 1) if layer.key in self._unsigned else (-_LEVELS // 2, _LEVELS // 2 - 1)
        ends = op.constant(scales * np.float32(low)), op.constant(scales * np.float32(high))
        return op.fake_quantize(node, *ends, np.float32(low), np.float32(high), _LEVELS)


def _places(steps: Sequence[folding.Step]) -> dict[int, Conv2d | Linear]:
    """Behind which step which layer's input is quantized; `_IMAGE` and `_FLATTENED` are before the first, flat one."""
    places: dict[int, Conv2d | Linear] = {}
    last, flat = _IMAGE, False
    for place, step in enumerate(steps):
        if isinstance(step.layer, Conv2d | Linear):
            places[last if flat or not step.is_flat else _FLATTENED] = step.layer
        flat = flat or step.is_flat
        if not (isinstance(step.layer, Pool) and not step.layer.average) or step.outputs:
            last = place
    return places


def inputs(architecture: Architecture) -> dict[str, str | None]:
    """Key of each layer with weights to the name of the layer whose output it sees; None for the image."""
    found: dict[str, str | None] = {}
    before: Layer | None = None
    for layer in architecture.layers():
        if isinstance(layer, Conv2d | Linear):
            found[layer.key] = None if before is None else before.name
        if not isinstance(layer, Dropout):
            before = layer
    return found


def unsigned(architecture: Architecture) -> frozenset[str]:
    """Keys of the layers whose input cannot be negative."""
    found = set()
    is_positive = False
    for layer in architecture.layers():
        if isinstance(layer, Conv2d | Linear):
            found |= {layer.key} if is_positive else set()
        if isinstance(layer, Conv2d | Linear | BatchNorm | Activation):
            is_positive = isinstance(layer, Activation) and layer.function in _NOT_NEGATIVE
    return frozenset(found)


def saturates(core: Any) -> bool:
    """Whether this CPU's kernels add pairs of products in 16 bits, where 2 * 255 * 127 does not fit.

    CPUs without VNNI do.  Halved weights fit (2 * 255 * 64 does), at one bit less.  Asked of a small convolution, as
    what the kernels take is neither the CPU's list of features nor told by OpenVINO.
    """
    from openvino import Model as Graph
    from openvino import opset13 as op

    channels, largest = 32, 127
    images = op.parameter([1, channels, 4, 4], np.float32)
    node = op.fake_quantize(images, np.float32(0), np.float32(255), np.float32(0), np.float32(255), _LEVELS)
    integers = np.full((channels, channels, 1, 1), largest, np.int8)
    weight = op.multiply(op.convert(op.constant(integers), "f32"), op.constant(np.float32(1)))
    node = op.add(op.convolution(node, weight, [1, 1], [0, 0], [0, 0], [1, 1]), op.constant(np.float32(1)))
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    request = core.compile_model(Graph([op.result(node)], [images]), "CPU", config).create_infer_request()
    request.infer({0: np.full((1, channels, 4, 4), 255, np.float32)})
    expected = 255 * largest * channels + 1
    return bool(np.abs(request.get_output_tensor(0).data - expected).max() > 1e-3 * expected)
