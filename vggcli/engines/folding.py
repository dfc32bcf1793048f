"""Batch norm folded into the layer before it.

With g = gamma / sqrt(var + eps), the weight becomes w * g and the bias (b - mean) * g + beta.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vggcli.network.layers import BATCH_NORM_EPS, AdaptiveAvgPool, BatchNorm, Conv2d, Linear, MaxPool, ReLU

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vggcli.weights.model import Model

# The linear layers see their batch filled up to a multiple of this many rows.  Matrix products pick their blocking, and
# with it the order of their sums, by the number of rows; filled up, an image has the same logits to the bit in whatever
# batch it lands, so that a resumed run repeats an uninterrupted one.  A multiple of the row blocks in use (6, 8, 12);
# the linear layers are bound by reading their weights, so the rows cost next to nothing.
ROWS = 24


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of the network at inference.

    Attributes:
        layer: the convolution, linear layer or pool that gives the step its shape.
        weight: (out, in, 3, 3) or (out, in), float32, batch norm not applied; None for pools.  A view of the mapped
            file where the file allows it.
        scale: (out,) float32 factor on the outputs, from batch norm; None for 1.
        bias: (out,) float32, added after the scale; None for pools.
        relu: whether max(x, 0) follows.
    """

    layer: Conv2d | Linear | MaxPool | AdaptiveAvgPool
    weight: NDArray[np.float32] | None = None
    scale: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    relu: bool = False

    def scaled_weight(self) -> NDArray[np.float32]:
        """The weight with the scale applied: a new array, or the view itself when there is no scale."""
        assert self.weight is not None
        if self.scale is None:
            return self.weight
        return self.weight * self.scale.reshape(-1, *[1] * (self.weight.ndim - 1))


def steps(model: Model) -> Iterator[Step]:
    """The network as the engines run it, in order: dropout gone, batch norm and ReLU joined to what they follow."""
    layers = model.architecture.layers()
    for position, layer in enumerate(layers):
        if isinstance(layer, MaxPool | AdaptiveAvgPool):
            yield Step(layer)
        elif isinstance(layer, Conv2d | Linear):
            after = layers[position + 1 : position + 3]
            norm = next((item for item in after[:1] if isinstance(item, BatchNorm)), None)
            relu = any(isinstance(item, ReLU) for item in after[: 2 if norm else 1])
            scale, bias = _affine(model, layer, norm)
            yield Step(layer, model.array(f"{layer.key}.weight"), scale, bias, relu)


def _affine(
    model: Model, layer: Conv2d | Linear, norm: BatchNorm | None
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32]]:
    has_bias = isinstance(layer, Linear) or layer.bias
    width = layer.out_features if isinstance(layer, Linear) else layer.out_channels
    # In double precision, so that folding itself adds no error to speak of.
    bias = model.array(f"{layer.key}.bias").astype(np.float64) if has_bias else np.zeros(width)
    if norm is None:
        return None, bias.astype(np.float32)
    gamma, beta, mean, variance = (
        model.array(f"{norm.key}.{name}").astype(np.float64)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPS)
    return scale.astype(np.float32), ((bias - mean) * scale + beta).astype(np.float32)
