"""The last step of reading a pickle: containers that are safe to walk, with nothing unfinished in them."""

from __future__ import annotations

from typing import NoReturn

from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.pickle.values import ArrayType, Global, Opaque, PendingArray, PendingTensor
from vggcli.weights.checkpoint.problems import Unreadable
from vggcli.weights.checkpoint.tensor import Storage, Tensor

Container = dict[object, object] | list[object] | tuple[object, ...]


def to_plain_data(value: object, size: int) -> object:
    """Return a copy of the tree in which old tensors are tensors and names are `Opaque`.

    Shared containers stay shared.

    Args:
        value: what the pickle made.
        size: bytes of the file, no fewer than the numbers in it.

    Raises:
        Unreadable: it holds no tensor, contains itself, is nested too deeply, unfolds into too many values, or its
            tensors have far more numbers than the file, so that reading them all would take any time.
    """
    copier = _Copier()
    copied, _, _ = copier.copy(value, 0)
    if not copier.tensors:
        raise Unreadable("it holds no tensors", "Name a file of weights")
    numbers = sum(tensor.numel for tensor in copier.tensors.values())
    if numbers > limits.SHARED * size + limits.REPEATED_ELEMENTS:
        raise Unreadable(f"its tensors repeat {size:,} bytes as {numbers:,} numbers", "Save each tensor with clone()")
    return copied


class _Copier:
    def __init__(self) -> None:
        self.tensors: dict[int, Tensor] = {}  # by identity
        self._done: dict[int, tuple[object, int, int]] = {}  # by identity: what `copy` returned
        self._open: set[int] = set()

    def copy(self, value: object, depth: int) -> tuple[object, int, int]:
        """Return the copy, the number of values it unfolds into, and how deep it is nested."""
        if not isinstance(value, (dict, list, tuple)):
            return self._leaf(value), 1, 0
        if id(value) in self._done:
            return self._done[id(value)]
        if id(value) in self._open:
            raise Unreadable("a container in it contains itself")
        self._open.add(id(value))
        parts: list[object] = []
        total, height = 1, 1
        for part in value.values() if isinstance(value, dict) else value:
            # Two checks: the first bounds this recursion, the second a chain of containers that were copied before.
            copied, count, below = self.copy(part, depth + 1) if depth < limits.DEPTH else self._too_deep()
            parts.append(copied)
            total, height = total + count, max(height, below + 1)
        self._open.remove(id(value))
        if height > limits.DEPTH:
            self._too_deep()
        if total > limits.NODES:
            raise Unreadable(f"its containers unfold into more than {limits.NODES:,} values")
        made = _rebuilt(value, parts)
        self._done[id(value)] = made, total, height
        return made, total, height

    def _too_deep(self) -> NoReturn:
        raise Unreadable(f"its containers are nested more than {limits.DEPTH} deep")

    def _leaf(self, value: object) -> object:
        if isinstance(value, PendingTensor):
            if value.value is None:
                raise Unreadable(f"its pickle is damaged: a {value.name} without contents")
            value = value.value
        if isinstance(value, PendingArray):
            value = value.value or Opaque("numpy.ndarray")
        if isinstance(value, ArrayType):
            return Opaque("numpy.dtype")
        if isinstance(value, Storage):
            return Opaque("torch.storage")
        if isinstance(value, Global):
            return Opaque(value.name)
        if isinstance(value, Tensor):
            self.tensors[id(value)] = value
        return value


def _rebuilt(value: Container, parts: list[object]) -> object:
    if isinstance(value, dict):
        return dict(zip(value, parts, strict=True))
    return tuple(parts) if isinstance(value, tuple) else parts
