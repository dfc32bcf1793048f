"""A state_dict as modules, typed by their tensors and in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from math import prod
from typing import NamedTuple

from vggcli.network.layers import Shape
from vggcli.weights.reading import keys
from vggcli.weights.reading.problem import BrokenChainError

CONVOLUTION, LINEAR, NORM, OTHER = "convolution", "linear", "norm", "other"
_STATISTICS = ("running_mean", "running_var")
_PARAMETERS = ("weight", "bias")
_SHOWN = 5  # tensors of a module in a message


@dataclass(frozen=True)
class Module:
    """What one layer left in the file.

    Attributes:
        key: prefix of its tensors, cleaned, e.g. "features.0".
        kind: one of the four above.
        shapes: by the last part of the tensor's key, e.g. "weight".
    """

    key: str
    kind: str
    shapes: Mapping[str, Shape]

    @cached_property
    def parts(self) -> tuple[keys.Token, ...]:
        """See `keys.parts`."""
        return keys.parts(self.key)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """See `keys.numbers`."""
        return keys.numbers(self.key)

    @property
    def parent(self) -> str:
        """Key of the module that it lies in."""
        return self.key.rpartition(".")[0]

    @property
    def is_numbered(self) -> bool:
        """Whether a Sequential or ModuleList gave it its name."""
        return isinstance(self.parts[-1], int)

    @property
    def inputs(self) -> int:
        """Channels that it takes."""
        return self.shapes["weight"][1]

    @property
    def features(self) -> int:
        """Features that it takes as a linear layer: of a convolution those of its whole window."""
        return prod(self.shapes["weight"][1:])

    @property
    def outputs(self) -> int:
        """Channels or features that it gives."""
        return self.shapes["running_mean" if self.kind == NORM else "weight"][0]

    @property
    def kernel(self) -> int:
        """Side of a convolution's window; 1 of a linear layer."""
        return self.shapes["weight"][-1] if len(self.shapes["weight"]) == 4 else 1

    @property
    def has_bias(self) -> bool:
        """Whether a bias is added."""
        return "bias" in self.shapes

    def describe(self) -> str:
        """Its tensors in words, the first few of many."""
        words = [f"{name} {list(shape)}" for name, shape in islice(self.shapes.items(), _SHOWN)]
        return ", ".join(words) + (" and more" if len(self.shapes) > _SHOWN else "")


def modules_of(tensors: Mapping[str, Shape]) -> list[Module]:
    """The modules of a state_dict, in its order.

    Args:
        tensors: cleaned key to shape.

    Raises:
        BrokenChainError: a module lacks a tensor, or has one of another shape than the others ask for.
    """
    groups: dict[str, dict[str, Shape]] = {}
    for key, shape in tensors.items():
        prefix, _, name = key.rpartition(".")
        groups.setdefault(prefix, {})[name] = shape
    return [_typed(prefix, shapes) for prefix, shapes in groups.items()]


def _typed(key: str, shapes: dict[str, Shape]) -> Module:
    weight = shapes.get("weight", ())
    if any(name in shapes for name in _STATISTICS):
        kind, width = NORM, shapes.get("running_mean", shapes.get("running_var", ()))
        needed = dict.fromkeys(_STATISTICS, width)
        needed |= {name: width for name in _PARAMETERS if any(other in shapes for other in _PARAMETERS)}
    elif len(weight) in (2, 4) and all(weight):
        kind = LINEAR if len(weight) == 2 else CONVOLUTION
        needed = {"bias": weight[:1]} if "bias" in shapes else {}
    else:
        if "bias" in shapes and "weight" not in shapes:
            raise BrokenChainError(f"{key}.weight is missing")
        module = Module(key, OTHER, shapes)
        if "bias" in shapes and (len(weight) != 1 or not all(weight)):
            raise BrokenChainError(f"{key} has {module.describe()}, which no layer of a VGG has")
        return module
    for name, shape in needed.items():
        if name not in shapes:
            raise BrokenChainError(f"{key}.{name} is missing")
        if shapes[name] != shape or len(shape) != 1 or not all(shape):
            raise BrokenChainError(f"{key}.{name} is {list(shapes[name])} where {list(shape)} belongs")
    if kind == CONVOLUTION and weight[2] != weight[3]:
        raise BrokenChainError(f"{key} is a convolution of {weight[2]}x{weight[3]}, and a VGG has square ones")
    return Module(key, kind, shapes)


def in_order(modules: list[Module]) -> list[Module]:
    """The modules as they were defined; as people count them where the file sorts its keys in its own way."""
    return modules if _is_as_defined(modules) else sorted(modules, key=lambda module: keys.natural(module.key))


def check_order(modules: list[Module]) -> None:
    """Refuse layers that words alone tell apart where the file has sorted its keys: "three" stands before "two".

    Args:
        modules: as `in_order` returns them.

    Raises:
        BrokenChainError: names two that might stand the other way round.
    """
    if _is_as_defined(modules):
        return
    layers = [module for module in modules if module.kind in (CONVOLUTION, LINEAR)]
    for one, other in pairwise(layers):
        pair = zip(keys.tokens(one.key), keys.tokens(other.key), strict=False)
        differing = next((tokens for tokens in pair if tokens[0] != tokens[1]), ())
        are_words = all(isinstance(token, str) and len(token) > 1 for token in differing) and differing
        if are_words and one.shapes["weight"] == other.shapes["weight"]:
            raise BrokenChainError(
                f"the order of {one.key} and {other.key} is not known, as the file has its keys sorted",
                "Save it with torch.save, which keeps the order",
            )


def _is_as_defined(modules: list[Module]) -> bool:
    """PyTorch writes weights before biases, and numbers ascend; formats that sort do neither."""
    last: dict[str, int] = {}
    for module in modules:
        names = [name for name in module.shapes if name in _PARAMETERS]
        if names == ["bias", "weight"]:
            return False
        number = module.parts[-1]
        if isinstance(number, int):
            if number < last.get(module.parent, 0):
                return False
            last[module.parent] = number
    return True


class Unit(NamedTuple):
    """A convolution or linear layer with the batch norms that belong to it.

    Attributes:
        module: the layer.
        norm: the batch norm on what it gives, before or after the activation.
        front: the batch norm on what it takes, where no layer before has it.
    """

    module: Module
    norm: Module | None = None
    front: Module | None = None


def units_of(modules: list[Module]) -> list[Unit]:
    """The layers with weights, in order, each with its batch norms.

    Raises:
        BrokenChainError: a batch norm belongs to none, or has another number of channels.
    """
    norms: dict[str, Module] = {}
    fronts: dict[str, Module] = {}
    layers = [module for module in modules if module.kind in (CONVOLUTION, LINEAR)]
    for place, module in enumerate(modules):
        if module.kind != NORM:
            continue
        before = [layer for layer in modules[:place] if layer.kind in (CONVOLUTION, LINEAR)]
        owner = _owner(module, before, layers)
        if owner is not None:
            if owner.outputs != module.outputs:
                raise BrokenChainError(
                    f"{module.key} has {module.outputs} channels where {owner.key} gives {owner.outputs}"
                )
            if owner.key in norms:
                raise BrokenChainError(f"{norms[owner.key].key} and {module.key} both normalise what {owner.key} gives")
            norms[owner.key] = module
            continue
        behind = next((layer for layer in modules[place:] if layer.kind == LINEAR), None)
        if behind is None or behind.features != module.outputs:
            raise BrokenChainError(f"{module.key} normalises {module.outputs} channels, and no layer gives them")
        fronts[behind.key] = module
    return [Unit(layer, norms.get(layer.key), fronts.get(layer.key)) for layer in layers]


def _owner(norm: Module, before: list[Module], layers: list[Module]) -> Module | None:
    """The layer whose output is normalised: by number among siblings, by the numbers in their names, by order."""
    if norm.is_numbered:
        siblings = [layer for layer in before if layer.parent == norm.parent]
        if siblings:
            return siblings[-1]
        if len(norm.parts) > 1:
            # A list of batch norms beside one of convolutions: the same numbers belong together.
            alike = [layer for layer in layers if layer.is_numbered and layer.parts[-1] == norm.parts[-1]]
            return alike[0] if len(alike) == 1 and len(alike[0].parts) == len(norm.parts) else None
    same = [layer for layer in layers if layer.numbers == norm.numbers]
    fitting = [layer for layer in same if layer.outputs == norm.outputs and not layer.is_numbered]
    if len(fitting) == 1:
        return fitting[0]
    return before[-1] if before else None
