"""The gradient of a class's logit at the last maps, through the classifier alone: a few matrix products, in NumPy.

Grad-CAM (Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV
2017, equation 1) asks for no more of that gradient than its mean over the positions of each channel.  Between the last
maps and the classifier there are only pools, and a pool hands all of what it is given back to the positions that it
looked at: a maximum to one of them, an average in equal parts.  So the sum over the positions of the maps is the sum
over the positions that the classifier sees, whichever of them won, and the first linear layer can be summed over its
positions once and for all: 4096 x 25088 numbers become 4096 x 512.

        logits ── last linear layer's row of the class ── ReLU's mask ── fc7 ── ReLU's mask ── fc6, summed ── channels
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from vggcli.engines.folding import scale_and_bias
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
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vggcli.weights.model import Model

_Step = Linear | BatchNorm | Activation
_ROWS = 64  # of a matrix that are taken together: 1 MB of 4096 columns, which stays in a core's cache
_INT8_ROWS = 32  # of a matrix in int8 that are float32 at once: 3 MB of 25088 columns


class Head:
    """The classifier behind a network's last maps, backwards.

    Args:
        model: weights and architecture; reading them takes about 0.1 s for half a GB in the page cache.
        target: the layer that gives the maps; `steps_behind` must know what follows it.
    """

    def __init__(self, model: Model, target: Layer) -> None:
        steps = steps_behind(model.architecture, target)
        assert steps is not None
        first = next(number for number, step in enumerate(steps) if isinstance(step, Linear))
        self._steps = steps[first + 1 :]
        linears = [step for step in self._steps if isinstance(step, Linear)]
        self._weights = {step.key: model.array(f"{step.key}.weight") for step in linears}
        self._scales = {step.key: _scale(model, step) for step in steps if isinstance(step, BatchNorm)}
        linear = steps[first]
        assert isinstance(linear, Linear)
        norms = [step for step in steps[:first] if isinstance(step, BatchNorm)]
        flat = [self._scales[norm.key] for norm in norms if not norm.spatial]
        self._summed = np.concatenate([_over_positions(model, block, flat) for block in _blocks(model, linear)])
        for norm in norms:
            if norm.spatial:  # of the maps themselves, where batch norm stands behind the ReLU
                self._summed = self._summed * self._scales[norm.key]

    def channel_gradients(
        self, outputs: Mapping[str, NDArray[np.float32]], place: int, sign: float
    ) -> NDArray[np.float32]:
        """The gradient of one logit of one image, summed over the positions of each channel of the maps.

        Args:
            outputs: of the layers of `outputs_needed`, (features,) each.
            place: of the logit.
            sign: 1 or -1 times the logit.

        Returns:
            (channels,) float32.
        """
        if not self._steps:
            only: NDArray[np.float32] = self._summed[place] * np.float32(sign)
            return only
        *before, last = self._steps
        gradient = self._weights[last.key][place] * np.float32(sign)
        for step in reversed(before):
            if isinstance(step, Linear):
                gradient = product(gradient, self._weights[step.key])
            elif isinstance(step, BatchNorm):
                gradient = gradient * self._scales[step.key]
            else:
                gradient = gradient * (outputs[step.name] > 0)
        return product(gradient, self._summed)


def product(vector: NDArray[np.float32], matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """(in,) times (in, out), for a vector of which the most numbers may be zero, as behind ReLUs.

    Not by NumPy's own product: that reads the rows of the zeros too, and its threads wait in a loop that takes the
    cores from the engine.  Measured for 4096 x 4096: where half the numbers are zero 5 ms of CPU time instead of 8,
    where most are 1.4; and a sum comes out the same to the bit whatever else is computed.
    """
    total = np.zeros(matrix.shape[1], np.float32)
    rows = np.flatnonzero(vector)
    for start in range(0, len(rows), _ROWS):
        block = rows[start : start + _ROWS]
        total += np.einsum("i,ij->j", vector[block], matrix[block])
    return total


def outputs_needed(architecture: Architecture, target: Layer) -> tuple[str, ...] | None:
    """The layers whose outputs the gradient takes, the logits last; None where `Head` does not know what follows."""
    steps = steps_behind(architecture, target)
    if steps is None:
        return None
    first = next(number for number, step in enumerate(steps) if isinstance(step, Linear))
    masks = tuple(step.name for step in steps[first:] if isinstance(step, Activation))
    return (*masks, steps[-1].name)


def steps_behind(architecture: Architecture, target: Layer) -> tuple[_Step, ...] | None:
    """What stands between the maps and the logits, pools and dropout apart; None where that is not a few products."""
    layers = architecture.layers()
    steps: list[_Step] = []
    for layer in layers[layers.index(target) + 1 :]:
        if isinstance(layer, Pool | AdaptiveAvgPool | ConcatPool | Dropout):
            continue
        begins = not any(isinstance(step, Linear) for step in steps)
        if isinstance(layer, Conv2d) or (isinstance(layer, Activation) and (begins or layer.function != "relu")):
            return None
        steps.append(layer)
    return tuple(steps) if steps and isinstance(steps[-1], Linear) else None


def _blocks(model: Model, linear: Linear) -> Iterator[NDArray[np.float32]]:
    """A layer's weights (out, in), some rows at a time: in int8 all of them would take four times the file's memory."""
    key = f"{linear.key}.weight"
    tensor = None if model.quantization is None else model.quantization.layers.get(linear.key)
    rows = linear.out_features if tensor is None else _INT8_ROWS
    for start in range(0, linear.out_features, rows):
        if tensor is None:
            yield model.array(key)
        else:
            integers = tensor.values.numpy()[start : start + rows]
            yield integers * tensor.scales()[start : start + rows, None] / tensor.input_scales()


def _over_positions(
    model: Model, weight: NDArray[np.float32], scales: Iterable[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """(out, channels * positions) to (out, channels); of a pool's maxima and averages both belong to one channel."""
    for scale in scales:
        weight = weight * scale
    channels = model.architecture.convolutions[-1].out_channels
    concatenates = any(isinstance(layer, ConcatPool) for layer in model.architecture.layers())
    shape = (len(weight), 2, channels) if concatenates else (len(weight), channels, -1)
    summed: NDArray[np.float32] = np.einsum("ojc->oc" if concatenates else "ocp->oc", weight.reshape(shape))
    return summed


def _scale(model: Model, norm: BatchNorm) -> NDArray[np.float32]:
    scale, _ = scale_and_bias(model, norm, norm)
    assert scale is not None
    return scale
