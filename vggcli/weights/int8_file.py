"""A file with weights in int8, as `vgg quantize` writes it; `int8` says what is in it and reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vggcli.weights import int8, layer_list

if TYPE_CHECKING:
    from vggcli.weights.model import Model

_ABOUT = "weights in int8, made by vgg quantize; everything else is float32"


def content(model: Model, report: Mapping[str, Any]) -> bytes:
    """The bytes of the file.

    Args:
        model: with a `quantization`.
        report: what it was made from and of which images, and how far it agrees with that.
    """
    from safetensors.numpy import save

    assert model.quantization is not None
    layers = model.quantization.layers
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for key, layer in layers.items():
        tensors[f"{key}.weight"] = np.ascontiguousarray(layer.values.numpy())
        tensors[f"{key}.{int8.WEIGHT_SCALE}"] = layer.scales()
        tensors[f"{key}.{int8.INPUT_SCALE}"] = np.array(layer.step(), np.float32)
    expected = int8.layout(model.architecture)
    tensors |= {key: model.array(key) for key in expected if key not in tensors}
    document = {
        "version": int8.VERSION,
        "pixels": model.recipe.size,
        "layers": layer_list.write(model.architecture),
        "recipe_source": model.recipe.source,
        **report,
    }
    metadata = {"description": _ABOUT, "recipe": json.dumps(model.recipe.to_json())}
    metadata |= {"labels": json.dumps(list(model.labels))} if model.has_names else {}
    metadata[int8.DOCUMENT] = json.dumps(document, allow_nan=False)
    held = {key: int8.InMemory(array) for key, array in tensors.items()}
    checksums = int8.head_checksum(metadata, held), int8.weights_checksum(layers)
    return save(tensors, metadata | {int8.CHECKSUM: " ".join(checksums)})
