"""How people write a network to disk: each function returns one that does it in a folder and gives the path."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import safetensors.torch
import torch
from definitions.definition import Saver
from torch import Tensor, nn

State = dict[str, Tensor]


def torch_file(content: Callable[[nn.Module], object], name: str = "model.pth", *, legacy: bool = False) -> Saver:
    """torch.save of whatever they put around it."""

    def save(network: nn.Module, folder: Path) -> Path:
        path = folder / name
        torch.save(content(network), path, _use_new_zipfile_serialization=not legacy)
        return path

    return save


def state(network: nn.Module) -> State:
    """The bare state_dict."""
    return dict(network.state_dict())


BARE = torch_file(state)


def prefixed(prefix: str, network: nn.Module) -> State:
    """Every key with a prefix, as wrappers give them."""
    return {prefix + key: tensor for key, tensor in network.state_dict().items()}


def renamed(network: nn.Module, *pairs: tuple[str, str]) -> State:
    """Keys that begin with the first of a pair begin with the second."""
    result = {}
    for key, tensor in network.state_dict().items():
        old, new = next(((old, new) for old, new in pairs if key.startswith(old)), ("", ""))
        result[new + key[len(old) :]] = tensor
    return result


def momentum(network: nn.Module) -> dict[str, object]:
    """SGD's state_dict: a tensor beside every parameter.

    Written out here and below, as making an optimizer takes torch some seconds the first time.
    """
    parameters = list(network.parameters())
    group = {"lr": 0.1, "momentum": 0.9, "dampening": 0, "weight_decay": 5e-4, "nesterov": False, "maximize": False}
    return {
        "state": {i: {"momentum_buffer": torch.zeros_like(p)} for i, p in enumerate(parameters)},
        "param_groups": [group | {"foreach": None, "params": list(range(len(parameters)))}],
    }


def _moments(parameter: Tensor) -> dict[str, Tensor]:
    plain = parameter.detach()
    return {"step": torch.tensor(3.0), "exp_avg": torch.zeros_like(plain), "exp_avg_sq": torch.zeros_like(plain)}


_ADAM = {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False, "maximize": False}


def adam(network: nn.Module) -> dict[str, object]:
    """Adam's state_dict: two tensors beside every parameter."""
    parameters = list(network.parameters())
    return {
        "state": {i: _moments(p) for i, p in enumerate(parameters)},
        "param_groups": [_ADAM | {"params": list(range(len(parameters)))}],
    }


def adam_object(network: nn.Module) -> torch.optim.Adam:
    """The optimizer itself, which some people save."""
    parameters = list(network.parameters())
    made = torch.optim.Adam.__new__(torch.optim.Adam)
    made.defaults = dict(_ADAM)
    made.state = defaultdict(dict, {p: _moments(p) for p in parameters})
    made.param_groups = [_ADAM | {"params": parameters}]
    return made


def schedule(**more: object) -> dict[str, object]:
    """A learning-rate scheduler's state_dict."""
    said = {"base_lrs": [0.1], "last_epoch": 89, "_step_count": 90, "_get_lr_called_within_step": False}
    return said | {"_last_lr": [0.001]} | more


def moved(tensors: Mapping[str, Tensor], by: float = 0.05) -> State:
    """The same weights at another moment of training: a moving average beside the model."""
    return {k: t + by * t.abs().mean() if t.is_floating_point() else t.clone() for k, t in tensors.items()}


@contextmanager
def importable(*classes: type) -> Iterator[None]:
    """The modules that classes say they are from, there while somebody saves and nowhere when the file is read."""
    before = dict(sys.modules)
    for one in classes:
        package, _, _ = one.__module__.partition(".")
        for name in (package, one.__module__):
            sys.modules[name] = ModuleType(name)
        setattr(sys.modules[one.__module__], one.__name__, one)
        sys.modules[one.__module__].__file__ = one.__init__.__code__.co_filename
    try:
        yield
    finally:
        for name in sys.modules.keys() - before.keys():
            del sys.modules[name]
        sys.modules.update(before)


def whole(
    wrap: Callable[[nn.Module], object],
    *classes: type,
    name: str = "model.pth",
    legacy: bool = False,
) -> Saver:
    """torch.save of the module itself, its classes in a program that readers do not have."""

    def save(network: nn.Module, folder: Path) -> Path:
        with importable(*classes):
            return torch_file(wrap, name, legacy=legacy)(network, folder)

    return save


def safetensors_file(network: nn.Module, path: Path, metadata: dict[str, str] | None = None, prefix: str = "") -> Path:
    """safetensors' own writer."""
    tensors = {prefix + key: tensor.detach().clone().contiguous() for key, tensor in network.state_dict().items()}
    safetensors.torch.save_file(tensors, path, metadata)
    return path


def arguments(**more: object) -> Namespace:
    """What argparse made of a training script's command line."""
    return Namespace(data_path="/data", device="cuda", lr=0.01, epochs=90, amp=False, resume="", **more)
