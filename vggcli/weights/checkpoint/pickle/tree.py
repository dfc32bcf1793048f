"""The last step of reading a pickle: containers that are safe to walk, with nothing unfinished in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.pickle import numpy_values
from vggcli.weights.checkpoint.pickle.values import ArrayType, Global, Inert, Opaque, PendingArray, PendingTensor
from vggcli.weights.checkpoint.problems import Unreadable
from vggcli.weights.checkpoint.tensor import Storage, Tensor

Node = dict[object, object] | list[object] | tuple[object, ...] | set[object] | frozenset[object] | Inert


def to_plain_data(value: object, size: int) -> object:
    """Return a copy of the tree in which old tensors are tensors, NumPy's lists are lists and names are `Opaque`.

    Shared containers stay shared. An inert object that leads back to what holds it, as programs' own objects do, holds
    an `Opaque` in that place.

    Args:
        value: what the pickle made.
        size: bytes of the file, no fewer than the numbers in it.

    Raises:
        Unreadable: it holds no tensor, a container that contains itself, is nested too deeply, unfolds into too many
            values, or its tensors have far more numbers than the file, so that reading them all would take any time.
    """
    copier = _Copier()
    copied, _, _ = copier.copy(value, 0)
    if not copier.tensors:
        raise Unreadable("it holds no tensors", "Name a file of weights")
    numbers = sum(tensor.numel for tensor in copier.tensors.values())
    if numbers > limits.SHARED * size + limits.REPEATED_ELEMENTS:
        raise Unreadable(f"its tensors repeat {size:,} bytes as {numbers:,} numbers", "Save each tensor with clone()")
    return copied


def foreign_names(root: object) -> tuple[str, ...]:
    """The dotted names of what is kept as `Inert` data in a tree, each once, in order of appearance."""
    names: dict[str, None] = {}
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, (dict, list, tuple, Inert)) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Inert):
            names[node.name] = None
        waiting.extend(reversed([*_parts(node)]))
    return tuple(names)


class _Copier:
    def __init__(self) -> None:
        self.tensors: dict[int, Tensor] = {}  # by identity
        self._done: dict[int, tuple[object, int, int]] = {}  # by identity: what `copy` returned
        self._open: dict[int, int] = {}  # by identity: how many inert objects were open around it
        self._inert = 0  # open ones
        self._listed: list[list[object]] = []  # made of arrays; held, as `_done` goes by identity
        self._values = 0  # in them

    def copy(self, value: object, depth: int) -> tuple[object, int, int]:
        """Return the copy, the number of values it unfolds into, and how deep it is nested."""
        if not isinstance(value, (dict, list, tuple, set, frozenset, Inert, PendingArray)):
            return self._leaf(value), 1, 0
        if id(value) in self._done:
            return self._done[id(value)]
        if id(value) in self._open:
            return self._back(value), 1, 0
        node = self._plain(value)
        if node is None:
            return self._leaf(value), 1, 0
        self._open[id(value)] = self._inert
        self._inert += isinstance(value, Inert)
        parts: list[object] = []
        total, height = 1, 1
        for part in _parts(node):
            # Two checks: the first bounds this recursion, the second a chain of containers that were copied before.
            copied, count, below = self.copy(part, depth + 1) if depth < limits.DEPTH else self._too_deep()
            parts.append(copied)
            total, height = total + count, max(height, below + 1)
        self._inert -= isinstance(value, Inert)
        del self._open[id(value)]
        if height > limits.DEPTH:
            self._too_deep()
        if total > limits.NODES:
            self._too_many()
        made = _rebuilt(node, parts)
        self._done[id(value)] = made, total, height
        return made, total, height

    def _plain(self, value: Node | PendingArray) -> Node | None:
        """The value itself, the list that an array of texts or objects stands for, or None for another array."""
        if not isinstance(value, PendingArray):
            return value
        listed = numpy_values.as_list(value.state)
        if listed is not None:
            self._listed.append(listed)
            self._values += len(listed)
            if self._values > limits.NODES:
                self._too_many()
        return listed

    def _too_many(self) -> NoReturn:
        raise Unreadable(f"its containers unfold into more than {limits.NODES:,} values")

    def _too_deep(self) -> NoReturn:
        raise Unreadable(f"its containers are nested more than {limits.DEPTH} deep")

    def _back(self, value: Node | PendingArray) -> Opaque:
        """What stands where an inert object leads back to itself or to what holds it."""
        if self._open[id(value)] == self._inert:
            raise Unreadable("a container in it contains itself")
        return Opaque(value.name if isinstance(value, Inert) else f"builtins.{type(value).__name__}")

    def _leaf(self, value: object) -> object:
        if isinstance(value, PendingTensor):
            if value.value is None:
                raise Unreadable(f"its pickle is damaged: a {value.name} without contents")
            value = value.value
        if isinstance(value, PendingArray):
            value = value.value or Opaque("numpy.ndarray")
        if isinstance(value, Tensor):
            self.tensors[id(value)] = value
        return _named(value)


def _rebuilt(node: Node, parts: list[object]) -> object:
    if isinstance(node, dict):
        return dict(zip(map(_key, node), parts, strict=True))
    if isinstance(node, Inert):
        given, listed = len(node.arguments), len(node.items)
        made = dict(zip(map(_key, node.entries), parts[given + 1 + listed :], strict=True))
        return Inert(node.name, tuple(parts[:given]), parts[given], parts[given + 1 : given + 1 + listed], made)
    if isinstance(node, (set, frozenset)):
        return type(node)(map(_key, node))
    return tuple(parts) if isinstance(node, tuple) else parts


def _parts(node: Node) -> Iterator[object]:
    """What a container or inert object holds, in the order in which `_rebuilt` takes it."""
    if isinstance(node, Inert):
        yield from node.arguments
        yield node.state
        yield from node.items
        yield from node.entries.values()
    elif not isinstance(node, (set, frozenset)):  # which hold nothing but keys
        yield from node.values() if isinstance(node, dict) else node


def _key(key: object) -> object:
    """The same as a key of the result: no unfinished tensor, no name, no object."""
    return tuple(map(_named, key)) if isinstance(key, tuple) else _named(key)


def _named(value: object) -> object:
    if isinstance(value, PendingTensor):
        return value.value or Opaque(value.name)
    if isinstance(value, Storage):
        return Opaque("torch.storage")
    if isinstance(value, ArrayType):
        return Opaque("numpy.dtype")
    return Opaque(value.name) if isinstance(value, (Global, Inert)) else value
