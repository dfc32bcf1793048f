"""Batch norm folded into the layer before it, and the network cut into steps whose results are the outputs asked for.

With g = gamma / sqrt(var + eps), the weight becomes w * g and the bias (b - mean) * g + beta.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vggcli.errors import UsageError
from vggcli.network.architecture import Architecture
from vggcli.network.layers import (
    Activation,
    AdaptiveAvgPool,
    BatchNorm,
    ConcatPool,
    Conv2d,
    Dropout,
    Layer,
    Linear,
    Pool,
    Shape,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vggcli.weights.model import Model

# The linear layers see their batch filled up to a multiple of this many rows.  Matrix products pick their blocking, and
# with it the order of their sums, by the number of rows; filled up, an image has the same logits to the bit in whatever
# batch it lands, so that a resumed run repeats an uninterrupted one.  A multiple of the row blocks in use (6, 8, 12);
# the linear layers are bound by reading their weights, so the rows cost next to nothing.  OpenVINO's see one number of
# rows only, that of the engine's own batch, so that full batches are not filled up at all: where it was measured 72
# and 96 rows of one image differed, multiples of 24 though they are.
ROWS = 24


class Step(NamedTuple):
    """One operation of the network at inference.

    Attributes:
        layer: what the step begins with; batch norm and ReLU begin a step of their own only where what they are given
            is an output, or where batch norm does not follow a convolution or linear layer.
        weight: (out, in, k, k) or (out, in), float32, batch norm not applied; None for a layer without one.  A view of
            the mapped file where the file allows it.  What else was asked for instead, e.g. int8.
        scale: (out,) float32 factor on the result, from batch norm; None for 1.
        bias: (out,) float32, added after the scale; None for pools and a ReLU.
        activation: what follows, if anything.
        outputs: the names under which the result was asked for; most steps have none.
    """

    layer: Conv2d | Linear | BatchNorm | Activation | Pool | AdaptiveAvgPool | ConcatPool
    weight: NDArray[Any] | None = None
    scale: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    activation: Activation | None = None
    outputs: tuple[str, ...] = ()

    @property
    def is_flat(self) -> bool:
        """Whether the step works on features (N, D), not on maps."""
        return isinstance(self.layer, Linear) or (isinstance(self.layer, BatchNorm) and not self.layer.spatial)

    def scaled_weight(self) -> NDArray[np.float32]:
        """The weight with the scale applied: a new array, or the view itself when there is no scale."""
        assert self.weight is not None
        if self.scale is None:
            return self.weight
        return self.weight * self.scale.reshape(-1, *[1] * (self.weight.ndim - 1))


def check(outputs: Sequence[str] | None, architecture: Architecture) -> tuple[str, ...]:
    """The names of outputs, each once, as they were asked for; None means the last layer's, the logits.

    Raises:
        UsageError: there are none, or the network has no layer of such a name.
        TypeError: a single str, or names that are no str.
    """
    if outputs is None:
        return (architecture.layers()[-1].name,)
    if isinstance(outputs, str):
        raise TypeError(f"outputs are several names, such as ({outputs!r},), not a str")
    for name in outputs:
        architecture.layer(name)
    if not outputs:
        last = architecture.layers()[-1].name
        raise UsageError("cannot compute", "", "no output is asked for", f"{last} is the last layer")
    return tuple(dict.fromkeys(outputs))


def steps(
    model: Model,
    outputs: Sequence[str] | None = None,
    *,
    fold: bool = True,
    weight: Callable[[str], NDArray[Any]] | None = None,
) -> Iterator[Step]:
    """The network as the engines run it, in order, as far as the last output.

    Dropout is gone, batch norm and ReLU are joined to what they follow, except behind an output: so the layer of a
    `conv3-3` keeps its own numbers, while the others stay folded.

    Args:
        model: weights and architecture.
        outputs: names of layers, as `check` takes them.
        fold: join batch norm; without it the sums are those of the network as it was trained.
        weight: gives a layer's weights by their key; None for `model.array`, float32.
    """
    weight = weight or model.array
    group: list[Layer] = []
    points = _points(model, check(outputs, model.architecture))
    for (layer, names), (following, _) in zip(points, [*points[1:], (None, ())], strict=True):
        group.append(layer)
        if names or not _joins(following, group, fold):
            yield _step(model, group, names, weight)
            group = []


def _joins(following: Layer | None, group: list[Layer], fold: bool) -> bool:
    if isinstance(following, BatchNorm):
        return fold and len(group) == 1 and isinstance(group[0], Conv2d | Linear)
    return isinstance(following, Activation) and isinstance(group[-1], Conv2d | Linear | BatchNorm)


def _points(model: Model, outputs: Sequence[str]) -> list[tuple[Layer, tuple[str, ...]]]:
    """The layers up to the last output, each with the names that its result is asked for under."""
    architecture, size = model.architecture, model.recipe.size
    asked = {name: architecture.layer(name) for name in outputs}
    points: list[tuple[Layer, tuple[str, ...]]] = []
    shape: Shape = (architecture.in_channels, size, size)
    for layer in architecture.layers():
        names = tuple(name for name, meant in asked.items() if meant == layer)
        before, shape = shape, layer.output(shape)
        # The identity at inference, and that of maps which have the wanted size.
        if isinstance(layer, Dropout) or (isinstance(layer, AdaptiveAvgPool) and shape == before):
            last, known = points.pop()
            points.append((last, known + names))
        else:
            points.append((layer, names))
    while not points[-1][1]:
        points.pop()
    return points


def _step(model: Model, group: list[Layer], outputs: tuple[str, ...], weight_of: Callable[[str], NDArray[Any]]) -> Step:
    first = group[0]
    assert not isinstance(first, Dropout)
    norm = next((layer for layer in group if isinstance(layer, BatchNorm)), None)
    activation = next((layer for layer in group if isinstance(layer, Activation)), None)
    weight = weight_of(f"{first.key}.weight") if isinstance(first, Conv2d | Linear) else None
    scale, bias = scale_and_bias(model, first, norm)
    return Step(first, weight, scale, bias, activation, outputs)


def scale_and_bias(
    model: Model, layer: Layer, norm: BatchNorm | None
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Scale and bias of a layer and the batch norm that is joined to it."""
    # In double precision, so that folding itself adds no error to speak of.
    bias = None
    if isinstance(layer, Conv2d | Linear):
        if layer.bias:
            bias = model.array(f"{layer.key}.bias").astype(np.float64)
        else:
            bias = np.zeros(layer.out_channels if isinstance(layer, Conv2d) else layer.out_features)
    if norm is None:
        return None, None if bias is None else bias.astype(np.float32)
    mean, variance, *affine = (
        model.array(key).astype(np.float64)
        for key in (f"{norm.key}.running_mean", f"{norm.key}.running_var", f"{norm.key}.weight", f"{norm.key}.bias")
        if norm.affine or ".running_" in key
    )
    gamma, beta = affine or (1.0, 0.0)
    scale = gamma / np.sqrt(variance + norm.eps)
    return scale.astype(np.float32), (((0 if bias is None else bias) - mean) * scale + beta).astype(np.float32)
