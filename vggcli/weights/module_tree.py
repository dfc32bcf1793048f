"""Pickled modules and transforms as data: their tensors under state_dict keys, and what keys never tell of each layer.

`torch.save(model)` writes every module's `__dict__`; the checkpoint reader keeps it as `Inert` data and no class of it
is imported. Source of the attributes: torch/nn/modules/module.py (`_parameters`, `_buffers`, `_modules`,
`_non_persistent_buffers_set`) and the `__constants__` of each layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from vggcli.errors import CheckpointError
from vggcli.weights.checkpoint import Inert, Tensor

Number = bool | int | float
Setting = Number | str | None | tuple[Number | str | None, ...]
Path = tuple[str, ...]

MOST_LAYERS = 20_000  # many times what any network has
KEY_CHARACTERS = 4 << 20  # of all keys together: children may share a long name, and keys repeat their parents'
_MOST_BESIDE = 16  # modules beside a state_dict
_MOST_SETTINGS = 64
_MOST_PARTS = 16  # of one setting: sizes, means
_DEPTH = 6  # of dicts and objects that are searched
_TORCH, _TRANSFORMS = "torch.nn.modules.", "torchvision.transforms."


@dataclass(frozen=True, slots=True)
class LayerHint:
    """One module without children, or one transform, as it was pickled.

    Attributes:
        key: its place, e.g. "features.1"; the prefix of its tensors in the state_dict.
        kind: "LeakyReLU" for a class of torch.nn or torchvision.transforms, else the dotted name of the class.
        settings: its plain attributes, e.g. {"negative_slope": 0.2, "inplace": True}, lists as tuples, enumerations as
            their values. Those that the version of torch did not have are missing.
    """

    key: str
    kind: str
    settings: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModuleTree:
    """A pickled module.

    Attributes:
        name: dotted name of its class, e.g. "torchvision.models.vgg.VGG".
        tensors: what its `state_dict()` would hold, in the same order.
        layers: its modules without children, in the order in which they were registered, which for a Sequential is the
            order of the forward pass.
        classes: dotted class name of every module with children, by key; "" for itself.
    """

    name: str
    tensors: dict[str, Tensor]
    layers: tuple[LayerHint, ...]
    classes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Transforms:
    """A pickled Compose.

    Attributes:
        path: where it lies in the file, e.g. ("transforms", "val").
        steps: its transforms in order, `key` the number of each.
    """

    path: Path
    steps: tuple[LayerHint, ...]


def is_module(node: object) -> bool:
    """Whether this is a pickled torch module."""
    return isinstance(node, Inert) and all(
        isinstance(node.attributes.get(name), Mapping) for name in ("_parameters", "_buffers", "_modules")
    )


def read_module(node: Inert, path: str = "") -> ModuleTree:
    """Read a pickled module.

    Args:
        node: one for which `is_module` holds.
        path: of the file, for the error.

    Raises:
        CheckpointError: it has more layers, or longer names, than any network.
    """
    tensors: dict[str, Tensor] = {}
    layers: list[LayerHint] = []
    classes: dict[str, str] = {}
    spent = 0
    for count, (key, module) in enumerate(_modules(node, "")):
        held = _tensors(module, f"{key}." if key else "")
        spent += len(key) + sum(map(len, held))
        if count >= MOST_LAYERS or spent > KEY_CHARACTERS or len(tensors) > MOST_LAYERS:
            raise CheckpointError(
                "cannot read weights", path, "its pickled module has more layers or longer names than any network"
            )
        tensors |= held
        if any(is_module(child) for child in _children(module).values()):
            classes[key] = module.name
        else:
            layers.append(LayerHint(key, _kind(module.name), _settings(module)))
    return ModuleTree(node.name, tensors, tuple(layers), classes)


def modules_in(root: object) -> Iterator[tuple[Path, Inert]]:
    """Every pickled module in a file that is no part of another, and where it lies."""
    return ((path, node) for path, node in _objects(root, ()) if is_module(node))


def transforms_in(root: object) -> Iterator[Transforms]:
    """Every pickled Compose in a file."""
    for path, node in _objects(root, ()):
        steps = node.attributes.get("transforms")
        if node.class_name == "Compose" and isinstance(steps, list | tuple) and len(steps) <= _MOST_SETTINGS:
            found = [step for step in steps if isinstance(step, Inert)]
            hints = (LayerHint(str(i), _kind(step.name), _settings(step)) for i, step in enumerate(found))
            yield Transforms(path, tuple(hints))


def hints_beside(root: object, tensors: Mapping[str, Tensor]) -> tuple[LayerHint, ...]:
    """What modules that lie beside a state_dict say of its layers, as in {"state_dict": ..., "classifier": module}.

    A module speaks of the keys under its own name when it has the same tensors there.
    """
    hints: list[LayerHint] = []
    for path, node in islice(modules_in(root), _MOST_BESIDE):
        module = read_module(node)
        prefix = _prefix(path[-1] if path else "", module, tensors)
        if prefix is not None:
            hints += [replace(layer, key=prefix + layer.key) for layer in module.layers]
    return tuple(hints)


def _prefix(name: str, module: ModuleTree, tensors: Mapping[str, Tensor]) -> str | None:
    """The prefix under which all tensors of a module are among others, in the same shapes: its name, or the network's.

    None when they are not there.
    """
    first = next(iter(module.tensors), "")
    for ending in (f".{name}.{first}", f".{first}") if first else ():
        same = (key for key in tensors if f".{key}".endswith(ending))
        for prefix in (key[: len(key) - len(first)] for key in islice(same, _MOST_BESIDE)):
            there = (tensors.get(prefix + key) for key in module.tensors)
            if all(a and a.shape == b.shape for a, b in zip(there, module.tensors.values(), strict=True)):
                return prefix
    return None


def _modules(node: Inert, key: str) -> Iterator[tuple[str, Inert]]:
    yield key, node
    for name, child in _children(node).items():
        if isinstance(name, str) and isinstance(child, Inert) and is_module(child):
            yield from _modules(child, f"{key}.{name}" if key else name)


def _children(node: Inert) -> Mapping[object, object]:
    children = node.attributes["_modules"]
    assert isinstance(children, Mapping)
    return children


def _tensors(module: Inert, prefix: str) -> dict[str, Tensor]:
    """Its own parameters and buffers as `state_dict` names them; those that are not saved there are left out."""
    passing = module.attributes.get("_non_persistent_buffers_set")
    left_out = passing if isinstance(passing, set | frozenset) else frozenset()
    found: dict[str, Tensor] = {}
    for place in ("_parameters", "_buffers"):
        held = module.attributes[place]
        assert isinstance(held, Mapping)
        for name, value in held.items():
            if isinstance(name, str) and isinstance(value, Tensor) and name not in left_out:
                found[prefix + name] = value
    return found


def _kind(name: str) -> str:
    return name.rpartition(".")[2] if name.startswith((_TORCH, _TRANSFORMS)) else name


def _settings(node: Inert) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for name, value in node.attributes.items():
        if not isinstance(name, str) or name.startswith("_") or name == "training":
            continue
        known, setting = _setting(value)
        if known and len(found) < _MOST_SETTINGS:
            found[name] = setting
    return found


def _setting(value: object) -> tuple[bool, Setting]:
    """Whether a value is plain and short, and the value."""
    if isinstance(value, Inert) and len(value.arguments) == 1 and value.state is None:
        value = value.arguments[0]  # a member of an enumeration
    if value is None or isinstance(value, bool | int | float | str):
        return True, value
    if isinstance(value, list | tuple) and len(value) <= _MOST_PARTS:
        parts = tuple(part for part in value if part is None or isinstance(part, bool | int | float | str))
        return len(parts) == len(value), parts
    return False, None


def _objects(node: object, path: Path) -> Iterator[tuple[Path, Inert]]:
    """Objects in dicts, in lists and in other objects, those of few levels only; none inside a module."""
    if len(path) > _DEPTH:
        return
    if isinstance(node, Inert):
        yield path, node
        if is_module(node):
            return
        for held in (node.entries, node.attributes):
            yield from _objects(held, path)
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if isinstance(key, str) and isinstance(value, Inert | Mapping | list | tuple):
                yield from _objects(value, (*path, key))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            if isinstance(value, Inert | Mapping):
                yield from _objects(value, (*path, str(number)))
