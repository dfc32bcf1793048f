"""Weights in int8: eight bits a weight, one scale for each output channel, and one for each channel of the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from vggcli.network.architecture import Architecture
from vggcli.network.layers import Conv2d, Linear, Shape
from vggcli.weights.checkpoint import Tensor
from vggcli.weights.checkpoint.problems import cut

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_GOOD_SHARE = 0.95  # of equal labels; below it a run with the file says so
LARGEST_LEVEL = 127  # symmetric: 255 levels
# What is taken for a channel's largest value at least, as a share of the layer's: a channel that was all but silent so
# far may speak up.
_LEAST_INPUT = 0.01
_LEAST_WEIGHT = 1e-6  # the same of weights


class Numbers(Protocol):
    """Something that has an array: a tensor of a file, or one in memory."""

    def numpy(self) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False, slots=True)
class InMemory:
    """An array that is not of a file."""

    array: NDArray[Any]

    def numpy(self) -> NDArray[Any]:
        """The array itself."""
        return self.array

    def float32(self) -> NDArray[np.float32]:
        """The array itself, which is float32 already."""
        return self.array

    @property
    def shape(self) -> Shape:
        """Sizes."""
        return self.array.shape

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.array.size


@dataclass(frozen=True, eq=False, slots=True)
class Int8Tensor:
    """The weights of a layer: the integers times their output channel's scale, over their input channel's.

    Attributes:
        values: int8, in the network's shape; of a file, a view of its map.
        weight_scale: (out,) float32, above zero.
        input_scale: (in,) float32, above zero.
    """

    values: Tensor | InMemory
    weight_scale: Numbers
    input_scale: Numbers

    @property
    def shape(self) -> Shape:
        """Sizes."""
        return self.values.shape

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.values.numel

    def scales(self) -> NDArray[np.float32]:
        """What the sums of products of integers are multiplied by, (out,)."""
        array: NDArray[np.float32] = self.weight_scale.numpy()
        return array

    def input_scales(self) -> NDArray[np.float32]:
        """What an integer of each channel of the layer's input is multiplied by, (in,)."""
        array: NDArray[np.float32] = self.input_scale.numpy()
        return array

    def with_step(self, step: float) -> Int8Tensor:
        """The same weights behind inputs whose integers stand for so many times as much."""
        import numpy as np

        step = np.float32(step)
        return replace(
            self, weight_scale=InMemory(self.scales() * step), input_scale=InMemory(self.input_scales() * step)
        )

    def float32(self) -> NDArray[np.float32]:
        """The weights as numbers, computed anew at each call."""
        import numpy as np

        ones = [1] * (len(self.shape) - 2)
        array: NDArray[np.float32] = np.multiply(
            self.values.numpy(), self.scales().reshape(-1, 1, *ones), dtype=np.float32
        )
        array /= self.input_scales().reshape(-1, *ones)
        return array


@dataclass(frozen=True, eq=False)
class Quantization:
    """What a file of `vgg quantize` says of itself.

    Attributes:
        document: what it was made from and of which images, the criterion, and how far it agrees with the original.
        layers: key of each layer in int8, e.g. "features.0", to its weights.
    """

    document: Mapping[str, Any]
    layers: Mapping[str, Int8Tensor] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """What it was made from and of which images, the criterion, and the agreement; without the layers."""
        return {key: value for key, value in self.document.items() if key not in ("layers", "pixels")}

    def for_people(self) -> str:
        """The same in one line; what the document does not say, as an older or a foreign one may not, is left out."""
        said = []
        match self.document.get("images"), self.document.get("criterion"):
            case {"calibrate": int(count)}, str(criterion):
                said.append(f"calibrated on {count} images by {criterion}")
        match self.document.get("made_from"):
            case {"name": str(name), "sha256": str(digest)}:
                said.append(f"made from {cut(name)} (sha256 {digest[:16]})")
        match self.document.get("agreement"):
            case {"images": int(images), "equal_labels": int(equal), "interval": [float(low), float(high)]}:
                said.append(f"{equal} of {images} held-out images with the label of fp32 ({low:.1%} to {high:.1%})")
        return "; ".join(said)

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be known, one sentence each."""
        found = []
        if self.document.get("recipe_source") in ("assumed", "guessed"):
            found.append("how its images are prepared was assumed when it was quantized")
        match self.document.get("agreement"):
            case {"images": int(images), "equal_labels": int(equal)} if equal < _GOOD_SHARE * images:
                found.append(f"in int8 {images - equal} of {images} images got another label than in fp32")
        return tuple(found)


def layer_keys(architecture: Architecture) -> tuple[str, ...]:
    """The layers that are in int8: all with weights, batch norm apart."""
    return tuple(layer.key for layer in architecture.layers() if isinstance(layer, Conv2d | Linear))


def factors(weight: NDArray[np.float32], largest: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much an integer of each channel of a layer's input stands for, relative to the others, (in,), at most 1.

    One step for all channels would round those of small values away; values divided by their channel's largest would
    leave weights (which are multiplied by it) uneven instead.  So half of it each, after SmoothQuant (Xiao et al. 2023,
    alpha 0.5): the square root of the channel's largest value over its largest weight.

    Args:
        weight: (out, in, k, k) or (out, in).
        largest: sizes of the largest values seen in each channel, (in,).
    """
    import numpy as np

    weights = np.zeros(len(largest), np.float32)
    for row in weight:  # the sizes of fc6 at once would take 0.4 GB
        np.maximum(weights, np.abs(row.reshape(len(largest), -1)).max(1), out=weights)
    if not (weights.any() and largest.any()):
        return np.ones_like(weights)
    inputs = np.maximum(largest / largest.max(), _LEAST_INPUT)
    found: NDArray[np.float32] = np.sqrt(inputs / np.maximum(weights / weights.max(), _LEAST_WEIGHT))
    found /= found.max()
    return found


def quantized(
    architecture: Architecture,
    array: Callable[[str], NDArray[np.float32]],
    means: Mapping[str, NDArray[np.float32]],
    input_factors: Mapping[str, NDArray[np.float32]],
) -> tuple[dict[str, Int8Tensor], dict[str, InMemory]]:
    """Weights in int8, each output channel's largest being 127 or -127; the inputs' scales are their factors as yet.

    What rounding them adds to the mean of each output channel is taken from its bias, where there is one.

    Args:
        architecture: the network.
        array: gives its tensors by their keys.
        means: key of a layer to the mean of its input, (in,).
        input_factors: the same to its input's `factors`, (in,), which the weights are multiplied by.

    Returns:
        The weights by the layer's key, and the biases by their own.
    """
    layers, biases = {}, {}
    for layer in architecture.layers():
        if not isinstance(layer, Conv2d | Linear):
            continue
        layers[layer.key], added = _rounded(array(f"{layer.key}.weight"), means[layer.key], input_factors[layer.key])
        if layer.bias:
            key = f"{layer.key}.bias"
            biases[key] = InMemory(array(key) - added)
    return layers, biases


def _rounded(
    weight: NDArray[np.float32], mean: NDArray[np.float32], factor: NDArray[np.float32]
) -> tuple[Int8Tensor, NDArray[np.float32]]:
    """A layer's weights, and what their rounding adds to the mean of each output channel, (out,)."""
    import numpy as np

    flat = weight.reshape(len(weight), -1)
    each = np.repeat(factor, flat.shape[1] // len(factor))
    values = np.empty(flat.shape, np.int8)
    scales, added = np.empty(len(flat), np.float32), np.empty(len(flat), np.float32)
    for place, row in enumerate(flat):  # rows: of fc6 all take 0.4 GB
        multiplied = row * each
        scale = np.abs(multiplied).max() / np.float32(LARGEST_LEVEL)
        # Weights of nothing but zeros are zeros at any scale.
        scale = scale if scale >= np.finfo(np.float32).tiny else np.float32(1)
        integers = np.rint(multiplied / scale)
        values[place], scales[place] = integers, scale
        added[place] = ((integers * scale - multiplied) / each).reshape(len(mean), -1).sum(1) @ mean
    return Int8Tensor(InMemory(values.reshape(weight.shape)), InMemory(scales), InMemory(factor)), added
