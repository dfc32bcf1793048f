"""Weights in int8: eight bits a weight, and one scale for each output channel."""

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
    """The weights of a layer.

    Attributes:
        values: int8, in the network's shape; of a file, a view of its map.
        weight_scale: (out,) float32, above zero.
        input_scale: () float32, above zero.
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
        """What the weights of each output channel are multiplied by, (out,)."""
        array: NDArray[np.float32] = self.weight_scale.numpy()
        return array

    def step(self) -> float:
        """What an integer of the layer's input is multiplied by."""
        return float(self.input_scale.numpy())

    def with_step(self, step: float) -> Int8Tensor:
        """The same behind an input whose integers stand for so much."""
        import numpy as np

        return replace(self, input_scale=InMemory(np.array(step, np.float32)))

    def float32(self) -> NDArray[np.float32]:
        """The weights multiplied by their scales, computed anew at each call."""
        import numpy as np

        scales = self.scales().reshape(-1, *[1] * (len(self.shape) - 1))
        array: NDArray[np.float32] = np.multiply(self.values.numpy(), scales, dtype=np.float32)
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


def quantized(
    architecture: Architecture,
    array: Callable[[str], NDArray[np.float32]],
    means: Mapping[str, NDArray[np.float32]],
) -> tuple[dict[str, Int8Tensor], dict[str, InMemory]]:
    """Weights in int8, each channel's largest being 127 or -127; the inputs' scales are 1 as yet.

    What rounding them adds to the mean of each output channel is taken from its bias, where there is one.

    Args:
        architecture: the network.
        array: gives its tensors by their keys.
        means: key of a layer to the mean of its input, (in,).

    Returns:
        The weights by the layer's key, and the biases by their own.
    """
    layers, biases = {}, {}
    for layer in architecture.layers():
        if not isinstance(layer, Conv2d | Linear):
            continue
        layers[layer.key], added = _rounded(array(f"{layer.key}.weight"), means[layer.key])
        if layer.bias:
            key = f"{layer.key}.bias"
            biases[key] = InMemory(array(key) - added)
    return layers, biases


def _rounded(weight: NDArray[np.float32], mean: NDArray[np.float32]) -> tuple[Int8Tensor, NDArray[np.float32]]:
    """A layer's weights, and what their rounding adds to the mean of each output channel, (out,)."""
    import numpy as np

    flat = weight.reshape(len(weight), -1)
    scales = np.maximum(flat.max(1), -flat.min(1)) / np.float32(LARGEST_LEVEL)
    # Weights of nothing but zeros are zeros at any scale.
    scales[scales < np.finfo(np.float32).tiny] = 1
    values, added = np.empty(flat.shape, np.int8), np.empty_like(scales)
    for place, (row, scale) in enumerate(zip(flat, scales, strict=True)):  # rows: of fc6 all take 0.4 GB
        integers = np.rint(row / scale)
        values[place] = integers
        added[place] = (integers * scale - row).reshape(len(mean), -1).sum(1) @ mean
    one = np.ones((), np.float32)
    return Int8Tensor(InMemory(values.reshape(weight.shape)), InMemory(scales), InMemory(one)), added
