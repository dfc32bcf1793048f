"""The state_dict inside a checkpoint: people save it bare, or in a dict beside epochs and optimizers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vggcli.network.layers import Shape
from vggcli.weights import module_tree
from vggcli.weights.checkpoint import Checkpoint, Inert, Tensor
from vggcli.weights.module_tree import LayerHint, ModuleTree

# Customary names of the entry that holds the weights, most wanted first.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "model_dict", "model", "net", "network", "weights", "params"),
    *("ema", "state_dict_ema", "model_ema"),
)
# of a model
_BESIDE = re.compile(r"optim|exp_avg|momentum|grad|shadow|averag|criterion|loss|metric|(^|_)(opt|ema|swa)(_|$)")
INT8 = "vgg_int8"  # in the metadata: the file is one of `vgg quantize`, see `int8_file`
_MAX_DEPTH = 4
_MOST_ITEMS = 16  # of a list or tuple around the weights


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
        rivals: two or more networks, this one among them, of which nothing says which one is meant; else empty.
    """

    tensors: dict[str, Tensor]
    wrapper: tuple[str, ...]
    others: tuple[tuple[str, ...], ...] = ()
    module: ModuleTree | None = None
    hints: tuple[LayerHint, ...] = ()
    rivals: tuple[tuple[str, ...], ...] = ()

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
    others = tuple(other for other, some, _ in found[1:] if other and _is_meant(other, some))
    if module is None and not _linears(tensors):
        path, tensors = _with_siblings(path, tensors, found)
    hints = module.layers if module else module_tree.hints_beside(checkpoint.root, tensors)
    rank = _rank(path)
    same = (other for other, some, _ in found[1:] if other and _rank(other) == rank and _convolutions(some))
    rivals = tuple(other for other in same if path and not _is_beside(other) and other[:-1] != path)
    return StateDict(tensors, path, others, module, hints, (path, *rivals) if rivals else ())


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
    if isinstance(node, list | tuple) and len(node) <= _MOST_ITEMS:
        node = {str(place): item for place, item in enumerate(node)} if not path else None
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
    return 1 + _is_beside(path) * 100 + _rank(path), -len(tensors)


def _rank(path: tuple[str, ...]) -> int:
    return WRAPPERS.index(path[-1]) if path and path[-1] in WRAPPERS else len(WRAPPERS)


def _is_beside(path: tuple[str, ...]) -> bool:
    """Whether what lies there is an optimizer's, a loss's or an average, by its name."""
    return any(_BESIDE.search(part) for part in path)


def _is_meant(path: tuple[str, ...], tensors: Mapping[str, Tensor]) -> bool:
    """Whether these could have been the weights that somebody means."""
    return path[-1] in WRAPPERS or (_convolutions(tensors) > 1 and not re.search("optim|^opt$", "/".join(path)))


def _convolutions(tensors: Mapping[str, Tensor]) -> int:
    return sum(len(tensor.shape) == 4 for tensor in tensors.values())


def _linears(tensors: Mapping[str, Tensor]) -> int:
    return sum(len(tensor.shape) == 2 for tensor in tensors.values())


def _with_siblings(
    path: tuple[str, ...], tensors: dict[str, Tensor], found: Sequence[Candidate]
) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Features with the classifier that somebody has saved in a dict of its own beside them; else as they are."""
    beside = [
        (other, some)
        for other, some, _ in found
        if other != path and other[:-1] == path[:-1] and other and _linears(some) and not _convolutions(some)
    ]
    if not path or len(beside) != 1 or not _convolutions(tensors) or _is_beside(beside[0][0]):
        return path, tensors
    parts = [(path, tensors), *beside]
    return path[:-1], {f"{part[-1]}.{key}": tensor for part, some in parts for key, tensor in some.items()}
