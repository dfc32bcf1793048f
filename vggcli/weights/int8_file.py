"""The file of `vgg quantize`: weights in int8, with a scale for each channel, and what they were made from.

The file is plain safetensors, told by its metadata.  The keys are torchvision's; a layer with weights has

    features.0.weight        int8 (out, in, k, k) or (out, in), from -127 to 127
    features.0.weight_scale  float32 (out,): what sums of integers are multiplied by
    features.0.input_scale   float32 (in,): what an integer of the layer's input is multiplied by; a weight is the
                             integer times its weight_scale, divided by its input_scale

and everything else is float32.  Batch norm stays as it is: with a scale for each channel, folding it changes the
scales only, so that the engine folds it without another rounding and the network keeps its layers.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vggcli.errors import CheckpointError
from vggcli.json_reader import MOST_BYTES_WITH_NAMES, parse_json
from vggcli.network.architecture import Architecture
from vggcli.network.layers import Shape
from vggcli.weights import layer_list
from vggcli.weights.checkpoint import Checkpoint, Tensor
from vggcli.weights.checkpoint.source import WHAT
from vggcli.weights.int8 import InMemory, Int8Tensor, Quantization, layer_keys
from vggcli.weights.reading.layout import TORCHVISION
from vggcli.weights.reading.reading import OPTIONAL, Reading
from vggcli.weights.reading.size import LARGEST, Size
from vggcli.weights.state_dict import INT8

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vggcli.images.recipe import Recipe

CHECKSUM = "vgg_int8_crc32"  # in the metadata, beside `INT8`
VERSION = 1
WEIGHT_SCALE, INPUT_SCALE = "weight_scale", "input_scale"
_AGAIN = "Make it again with vgg quantize"
_ABOUT = "weights in int8, made by vgg quantize; everything else is float32"


def read(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor | Int8Tensor], Reading, Quantization]:
    """The network of a file of `vgg quantize`; its numbers are not looked at.

    Raises:
        CheckpointError: it is damaged, or of a version to come.
    """
    path = checkpoint.path
    document = _document(path, checkpoint.metadata[INT8])
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


def content(
    architecture: Architecture,
    recipe: Recipe,
    labels: Sequence[str] | None,
    layers: Mapping[str, Int8Tensor],
    array: Callable[[str], NDArray[np.float32]],
    report: Mapping[str, Any],
) -> bytes:
    """The bytes of the file.

    Args:
        architecture, recipe: of the network.
        labels: names of its classes; None where nothing names them.
        layers: by their keys.
        array: gives the other tensors by their keys.
        report: what it was made from and of which images, and how far it agrees with that.
    """
    import numpy as np
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {}
    for key, layer in layers.items():
        tensors[f"{key}.weight"] = np.ascontiguousarray(layer.values.numpy())
        tensors[f"{key}.{WEIGHT_SCALE}"] = layer.scales()
        tensors[f"{key}.{INPUT_SCALE}"] = layer.input_scales()
    expected = layout(architecture)
    tensors |= {key: array(key) for key in expected if key not in tensors}
    document = {
        "version": VERSION,
        "pixels": recipe.size,
        "layers": layer_list.write(architecture),
        "recipe_source": recipe.source,
        **report,
    }
    metadata = {"description": _ABOUT, "recipe": json.dumps(recipe.to_json())}
    metadata |= {"labels": json.dumps(list(labels))} if labels is not None else {}
    metadata[INT8] = json.dumps(document, allow_nan=False)
    held = {key: InMemory(array) for key, array in tensors.items()}
    checksums = head_checksum(metadata, held), weights_checksum(layers)
    data: bytes = save(tensors, metadata | {CHECKSUM: " ".join(checksums)})
    return data


def layout(architecture: Architecture) -> dict[str, tuple[str, Shape]]:
    """Key to dtype and shape of every tensor that a file of this network has."""
    found: dict[str, tuple[str, Shape]] = {}
    weights = {f"{key}.weight": key for key in layer_keys(architecture)}
    for key, shape in architecture.tensors().items():
        if key in weights:
            found[key] = "int8", shape
            found[f"{weights[key]}.{WEIGHT_SCALE}"] = "float32", shape[:1]
            found[f"{weights[key]}.{INPUT_SCALE}"] = "float32", shape[1:2]
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
            why = f"{key} holds {_offending(array, is_scale)}, and its numbers must be {wants}"
            raise damaged(checkpoint.path, why)
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


def _document(path: str, text: str) -> Mapping[str, Any]:
    try:
        document = parse_json(text, MOST_BYTES_WITH_NAMES)
    except ValueError:
        document = None
    if not isinstance(document, dict) or type(document.get("version")) is not int:
        raise damaged(path, f"its metadata {INT8} is not what vgg quantize writes")
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
