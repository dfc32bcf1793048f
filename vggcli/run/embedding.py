"""From a layer's output to a vector: positions pooled or flattened, length 1 on request, float16 or float32."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vggcli.errors import StoppedError, UsageError
from vggcli.network.architecture import Architecture
from vggcli.records import Embedding, Failure
from vggcli.run.batches import Result

POOLS = ("none", "avg", "max")
DTYPES: dict[str, np.dtype[Any]] = {"fp32": np.dtype("<f4"), "fp16": np.dtype("<f2")}


@dataclass(frozen=True, slots=True)
class VectorForm:
    """Which vector an image becomes.

    Attributes:
        layer: name as in the paper.
        dimensions: of the vector.
        pool: of a map (channels, height, width), "avg" or "max" over its positions; "none" flattens it in that order.
        normalize: divide by the Euclidean length; a vector of zeros stays one.
        dtype: of `DTYPES`.
    """

    layer: str
    dimensions: int
    pool: str = "none"
    normalize: bool = False
    dtype: str = "fp32"

    @classmethod
    def of(
        cls, architecture: Architecture, size: int, layer: str, *, pool: str, normalize: bool, dtype: str
    ) -> VectorForm:
        """The form for a network with inputs of this side in pixels.

        Raises:
            UsageError: it has no such layer, or the layer gives nothing to pool.
        """
        name, shape = architecture.layer(layer).name, architecture.output_shape(layer, size)
        if pool != "none" and len(shape) == 1:
            why = f"it gives {shape[0]} features, without positions to pool"
            raise UsageError(f"cannot use --pool {pool} with", name, why, "Leave out --pool")
        return cls(name, prod(shape) if pool == "none" else shape[0], pool, normalize, dtype)


def to_embedding(result: Result, form: VectorForm) -> Embedding:
    """The vector of a pipeline's result.

    Raises:
        StoppedError: a value does not fit into float16.
    """
    path = result.item.path
    if result.error is not None:
        return Embedding(path, failure=Failure(result.error.kind, result.error.why))
    assert result.outputs is not None
    return Embedding(path, vector_of(result.outputs[form.layer], form, path or ""))


def vector_of(output: NDArray[np.float32], form: VectorForm, where: str) -> NDArray[np.generic]:
    """The vector (dimensions,) of what a layer gave for one input.

    Args:
        output: (channels, height, width) or (features,).
        where: the input, for messages.

    Raises:
        StoppedError: a value does not fit into float16.
    """
    if output.ndim == 3 and form.pool != "none":
        output = output.mean((1, 2)) if form.pool == "avg" else output.max((1, 2))
    vector = output.reshape(-1)
    if form.normalize:
        length = np.sqrt(np.square(vector, dtype=np.float64).sum())
        vector = vector / np.float32(length or 1)
    with np.errstate(over="ignore"):
        stored: NDArray[np.generic] = vector.astype(DTYPES[form.dtype], copy=False)
    if form.dtype == "fp16" and not np.array_equal(np.isfinite(stored.astype(np.float32)), np.isfinite(vector)):
        why = f"{form.layer} gives {np.abs(vector[np.isfinite(vector)]).max():.6g}, and fp16 ends at 65504"
        raise StoppedError("cannot write the vector of", where, why, "Use --dtype fp32, or --normalize")
    return stored
