"""The state_dict inside a checkpoint: people save it bare, or in a dict beside epochs and optimizers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vggcli.network.layers import Shape
from vggcli.weights import module_tree
from vggcli.weights.checkpoint import Checkpoint, Inert, Tensor
from vggcli.weights.module_tree import LayerHint, ModuleTree

# Customary names of the entry that holds the weights, most wanted first.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "ema", "state_dict_ema", "model_ema")
_MAX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class StateDict:
    """Tensors by name, in the order of the file.

    Attributes:
        tensors: key as saved, to tensor.
        wrapper: where it lies in the file, e.g. ("state_dict",); empty when the file is the state_dict itself.
        others: the other entries of the file that could have been meant.
        module: what was found is a pickled module, not a dict; None for a dict.
        hints: what pickled modules say of the layers, `key` as in `tensors`: of that module, or of modules beside the
            dict that have the same tensors; empty when the file holds none.
    """

    tensors: dict[str, Tensor]
    wrapper: tuple[str, ...]
    others: tuple[tuple[str, ...], ...] = ()
    module: ModuleTree | None = None
    hints: tuple[LayerHint, ...] = ()

    @property
    def shapes(self) -> dict[str, Shape]:
        """Key to shape."""
        return {key: tensor.shape for key, tensor in self.tensors.items()}


def find(checkpoint: Checkpoint) -> StateDict | None:
    """The weights among all that a checkpoint holds; None when it holds no named tensors.

    Raises:
        CheckpointError: a pickled module in it is larger than any network.
    """
    found = list(_candidates(checkpoint.root, (), checkpoint.path))
    # Training keeps NumPy arrays beside its weights; only where there are no tensors are they the weights.
    ours = [(path, {key: t for key, t in some.items() if not t.is_array}, module) for path, some, module in found]
    found = [candidate for candidate in ours if candidate[1]] or found
    if not found:
        return None
    largest = max(len(tensors) for _, tensors, _ in found)
    found.sort(key=lambda candidate: _preference(candidate[0], candidate[1], largest))
    path, tensors, module = found[0]
    named = tuple(other for other, _, _ in found[1:] if other and other[-1] in WRAPPERS)
    hints = module.layers if module else module_tree.hints_beside(checkpoint.root, tensors)
    return StateDict(tensors, path, named, module, hints)


Candidate = tuple[tuple[str, ...], dict[str, Tensor], ModuleTree | None]


def _candidates(node: object, path: tuple[str, ...], file: str) -> Iterator[Candidate]:
    if len(path) > _MAX_DEPTH:
        return
    if isinstance(node, Inert):
        if module_tree.is_module(node):
            module = module_tree.read_module(node, file)
            yield path, module.tensors, module
            return
        node = dict(node.attributes) | node.entries
    if not isinstance(node, Mapping):
        return
    tensors = {key: value for key, value in node.items() if isinstance(value, Tensor) and isinstance(key, str)}
    if tensors:
        yield path, tensors, None
    for key, value in node.items():
        if isinstance(key, str):
            yield from _candidates(value, (*path, key), file)


def _preference(path: tuple[str, ...], tensors: dict[str, Tensor], largest: int) -> tuple[int, int]:
    """The file itself before customary names, unless it has only a few tensors beside them; then the larger."""
    if not path and 2 * len(tensors) > largest:
        return 0, 0
    rank = WRAPPERS.index(path[-1]) if path and path[-1] in WRAPPERS else len(WRAPPERS)
    return rank + 1, -len(tensors)
