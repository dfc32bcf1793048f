"""Weights in int8: eight bits a weight and one scale for each output channel, read from a file of `vgg quantize`.

The file is plain safetensors, told by its metadata.  The keys are torchvision's; a layer with weights has

    features.0.weight        int8 (out, in, k, k) or (out, in), from -127 to 127
    features.0.weight_scale  float32 (out,): what a weight is multiplied by
    features.0.input_scale   float32 (): what an integer of the layer's input is multiplied by

and everything else is float32.  Batch norm stays as it is: with a scale for each channel, folding it changes the
scales only, so that the engine folds it without another rounding and the network keeps its layers.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from vggcli.errors import CheckpointError
from vggcli.json_reader import MOST_BYTES_WITH_NAMES, parse_json
from vggcli.network.architecture import Architecture
from vggcli.network.layers import Conv2d, Linear, Shape
from vggcli.weights import layer_list
from vggcli.weights.checkpoint import Checkpoint, Tensor
from vggcli.weights.checkpoint.source import WHAT
from vggcli.weights.reading.layout import TORCHVISION
from vggcli.weights.reading.reading import OPTIONAL, Reading
from vggcli.weights.reading.size import LARGEST, Size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DOCUMENT, CHECKSUM = "vgg_int8", "vgg_int8_crc32"  # keys of the metadata
VERSION = 1
WEIGHT_SCALE, INPUT_SCALE = "weight_scale", "input_scale"
LARGEST_LEVEL = 127  # symmetric: 255 levels
_AGAIN = "Make it again with vgg quantize"


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

    @property
    def note(self) -> str:
        """What should be known, one sentence; empty where nothing should."""
        if self.document.get("recipe_source") in ("assumed", "guessed"):
            return "how its images are prepared was assumed when it was quantized"
        return ""


def is_quantized(metadata: Mapping[str, str]) -> bool:
    """Whether a file says that it is one of `vgg quantize`."""
    return DOCUMENT in metadata


def read(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor | Int8Tensor], Reading, Quantization]:
    """The network of a file of `vgg quantize`; its numbers are not looked at.

    Raises:
        CheckpointError: it is damaged, or of a version to come.
    """
    path = checkpoint.path
    document = _document(path, checkpoint.metadata[DOCUMENT])
    try:
        pixels = document["pixels"]
        if type(pixels) is not int or not 1 <= pixels <= LARGEST:
            raise ValueError("pixels")
        architecture = layer_list.read(document["layers"], pixels)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, "its list of layers is none") from error
    expected = layout(architecture)
    for key, (dtype, shape) in expected.items():
        tensor = tensors.get(key)
        if tensor is None or tensor.shape != shape or tensor.dtype != dtype:
            has = "is missing" if tensor is None else f"is {tensor.dtype} {list(tensor.shape)}"
            raise damaged(path, f"{key} {has}, and its list of layers asks for {dtype} {list(shape)}")
    layers = {
        key: Int8Tensor(tensors[f"{key}.weight"], tensors[f"{key}.{WEIGHT_SCALE}"], tensors[f"{key}.{INPUT_SCALE}"])
        for key in layer_keys(architecture)
    }
    whole = dict(tensors) | {f"{key}.weight": layer for key, layer in layers.items()}
    sources = {key: key for key in architecture.tensors() if key in expected}
    outside = tuple(key for key in tensors if key not in expected)
    reading = Reading(TORCHVISION, architecture, sources, outside, Size(pixels), pools_are_said=True)
    return whole, reading, Quantization(document, layers)


def layer_keys(architecture: Architecture) -> tuple[str, ...]:
    """The layers that are in int8: all with weights, batch norm apart."""
    return tuple(layer.key for layer in architecture.layers() if isinstance(layer, Conv2d | Linear))


def layout(architecture: Architecture) -> dict[str, tuple[str, Shape]]:
    """Key to dtype and shape of every tensor that a file of this network has."""
    found: dict[str, tuple[str, Shape]] = {}
    weights = {f"{key}.weight": key for key in layer_keys(architecture)}
    for key, shape in architecture.tensors().items():
        if key in weights:
            found[key] = "int8", shape
            found[f"{weights[key]}.{WEIGHT_SCALE}"] = "float32", shape[:1]
            found[f"{weights[key]}.{INPUT_SCALE}"] = "float32", ()
        elif not key.endswith(OPTIONAL):
            found[key] = "float32", shape
    return found


def check(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> None:
    """Refuse scales that are none, and anything that was changed but the int8 weights, which `check_weights` reads.

    Raises:
        CheckpointError: names the tensor.
    """
    import numpy as np

    small = {key: tensor for key, tensor in tensors.items() if tensor.dtype != "int8"}
    for key, tensor in small.items():
        array = tensor.float32()
        is_scale = key.endswith((WEIGHT_SCALE, INPUT_SCALE))
        if not np.isfinite(array).all() or (is_scale and not (array > 0).all()):
            wants = "finite and above zero" if is_scale else "finite"
            raise damaged(
                checkpoint.path, f"{key} holds {_offending(array, is_scale)}, and its numbers must be {wants}"
            )
    stored = _stored(checkpoint)
    if stored[0] != head_checksum(checkpoint.metadata, tensors):
        raise damaged(checkpoint.path, "it was changed since vgg quantize made it: its checksum differs")


def check_weights(checkpoint: Checkpoint, layers: Mapping[str, Int8Tensor]) -> None:
    """Refuse int8 weights that were changed since; reads every one, 0.04 s for 138 MB.

    Raises:
        CheckpointError: they were.
    """
    if _stored(checkpoint)[1] != weights_checksum(layers):
        raise damaged(checkpoint.path, "its weights were changed since vgg quantize made them: their checksum differs")


def head_checksum(metadata: Mapping[str, str], tensors: Mapping[str, Tensor | InMemory | Int8Tensor]) -> str:
    """CRC-32 of the metadata, of the tensors' shapes and of the float32 numbers, in hex.

    It is there for accidents, as that of a zip file is; a forger could compute it as well.
    """
    texts = sorted((key, value) for key, value in metadata.items() if key != CHECKSUM)
    shapes = sorted((key, list(tensor.shape)) for key, tensor in tensors.items())
    crc = zlib.crc32(json.dumps([texts, shapes]).encode())
    for key, _ in shapes:
        tensor = tensors[key]
        if not isinstance(tensor, Int8Tensor) and tensor.numpy().dtype.itemsize > 1:
            crc = zlib.crc32(tensor.float32().tobytes(), crc)
    return f"{crc:08x}"


def weights_checksum(layers: Mapping[str, Int8Tensor]) -> str:
    """CRC-32 of the int8 weights in the order of the layers, in hex."""
    import numpy as np

    crc = 0
    for layer in layers.values():
        crc = zlib.crc32(np.ascontiguousarray(layer.values.numpy()).data, crc)
    return f"{crc:08x}"


def damaged(path: str, why: str) -> CheckpointError:
    """The error for a file that is not as `vgg quantize` made it."""
    return CheckpointError(WHAT, path, why, _AGAIN)


def quantized(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, Int8Tensor]:
    """Weights in int8, each channel's largest being 127 or -127; the inputs' scale is 1 as yet.

    Args:
        tensors: key of a layer to its float32 weights.
    """
    import numpy as np

    found = {}
    for key, weight in tensors.items():
        flat = weight.reshape(len(weight), -1)
        scales = np.maximum(flat.max(1), -flat.min(1)) / np.float32(LARGEST_LEVEL)
        # Weights of nothing but zeros are zeros at any scale.
        scales[scales < np.finfo(np.float32).tiny] = 1
        values = np.empty(flat.shape, np.int8)
        for row, scale, target in zip(flat, scales, values, strict=True):
            np.rint(row / scale, out=target, casting="unsafe")
        one = np.ones((), np.float32)
        found[key] = Int8Tensor(InMemory(values.reshape(weight.shape)), InMemory(scales), InMemory(one))
    return found


def _document(path: str, text: str) -> Mapping[str, Any]:
    try:
        document = parse_json(text, MOST_BYTES_WITH_NAMES)
    except ValueError:
        document = None
    if not isinstance(document, dict) or type(document.get("version")) is not int:
        raise damaged(path, f"its metadata {DOCUMENT} is not what vgg quantize writes")
    if document["version"] != VERSION:
        why = f"it is of version {document['version']} of vgg's int8 files, and this vgg reads version {VERSION}"
        raise CheckpointError(WHAT, path, why, "Use another version of vgg, or make it again with vgg quantize")
    return document


def _stored(checkpoint: Checkpoint) -> tuple[str, str]:
    first, _, second = checkpoint.metadata.get(CHECKSUM, "").partition(" ")
    return first, second


def _offending(array: NDArray[np.float32], is_scale: bool) -> str:
    import numpy as np

    if np.isnan(array).any():
        return "NaN"
    if np.isinf(array).any():
        return "an infinite value"
    return "a negative number" if is_scale and (array < 0).any() else "zero"
