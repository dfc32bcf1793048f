"""Weights that a file keeps in parts: pruning's mask, weight norm's length and direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from vggcli.network.layers import Shape
from vggcli.weights.checkpoint import Tensor

if TYPE_CHECKING:
    import numpy as np

# endings of the two parts -> what the whole is called, what computes it
_PARTS = (
    ("_orig", "_mask", "", "masked"),
    ("weight_g", "weight_v", "weight", "scaled"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1", "weight", "scaled"),
)


@dataclass(frozen=True, eq=False, slots=True)
class Computed:
    """A tensor that is computed from two of the file when its numbers are asked for.

    Attributes:
        first, second: what is pruned and its mask, or length and direction.
        how: "masked" or "scaled".
    """

    first: Tensor
    second: Tensor
    how: str

    @property
    def shape(self) -> Shape:
        """Sizes."""
        return self.second.shape

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def float32(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The numbers, C-contiguous, computed anew at each call; see `Tensor.float32`."""
        import numpy as np

        first, second = self.first.float32(), self.second.float32()
        if self.how == "masked":
            return first * second
        # The length is of all axes along which the file has one number.
        axes = tuple(axis for axis in range(second.ndim) if first.ndim != second.ndim or first.shape[axis] == 1)
        length = np.sqrt(np.square(second, dtype=np.float64).sum(axes, keepdims=True))
        return np.ascontiguousarray(second * (first / length), np.float32)


AnyTensor = Tensor | Computed


def resolved(tensors: Mapping[str, Tensor]) -> tuple[dict[str, AnyTensor], tuple[str, ...]]:
    """The tensors with parts put together in their place, and what was done, one sentence each."""
    whole: dict[str, AnyTensor] = {}
    done: dict[str, None] = {}
    for key, tensor in tensors.items():
        for first, second, name, how in _PARTS:
            if key.endswith(second) and key.removesuffix(second) + first in tensors:
                break  # it went with the other
            if not key.endswith(first):
                continue
            stem = key.removesuffix(first)
            other = tensors.get(stem + second)
            if other is not None and _fit(tensor.shape, other.shape, how):
                whole[stem + name] = Computed(tensor, other, how)
                done[_NOTES[how]] = None
                break
        else:
            whole[key] = tensor
    return whole, tuple(done)


_NOTES = {"masked": "the pruning masks are applied", "scaled": "weight norm is applied: length times direction"}


def _fit(first: Shape, second: Shape, how: str) -> bool:
    if how == "masked":
        return first == second
    return prod(first) == 1 or (
        len(first) == len(second) and all(one in (1, other) for one, other in zip(first, second, strict=True))
    )
