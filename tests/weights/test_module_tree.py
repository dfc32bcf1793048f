"""Pickled modules as data: the tensors of their state_dict, and what keys never tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_examples import bounded, save
from torch import nn
from torchvision import transforms

from vggcli.errors import CheckpointError
from vggcli.weights import state_dict
from vggcli.weights.checkpoint import Inert, open_checkpoint
from vggcli.weights.module_tree import (
    MOST_LAYERS,
    LayerHint,
    Transforms,
    hints_beside,
    is_module,
    modules_in,
    read_module,
    transforms_in,
)

FORMS = ("zip", "legacy")
pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")


class Network(nn.Module):
    """Of a program that no reader has; its children are not in the order of their use."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(8, 3, bias=False), nn.LogSoftmax(dim=1))
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, dilation=1),
            nn.BatchNorm2d(8, eps=0.001),
            nn.LeakyReLU(0.2),
            nn.AvgPool2d(2),
            nn.GELU(approximate="tanh"),
        )
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.register_buffer("mean", torch.ones(3))
        self.register_buffer("grid", torch.ones(5), persistent=False)
        self.register_parameter("nothing", None)


def hints(layers: tuple[LayerHint, ...]) -> dict[str, LayerHint]:
    return {layer.key: layer for layer in layers}


@pytest.mark.parametrize("form", FORMS)
def test_a_module_has_the_tensors_of_its_state_dict(form: str, tmp_path: Path) -> None:
    network = Network()
    with open_checkpoint(save(network, tmp_path / "w", form)) as checkpoint:
        found = state_dict.find(checkpoint)
        assert found is not None

        assert list(found.tensors) == list(network.state_dict())
        for key, tensor in network.state_dict().items():
            np.testing.assert_array_equal(found.tensors[key].numpy(), tensor.numpy())
    assert (found.wrapper, found.others) == ((), ())
    assert found.module is not None
    assert found.module.name == f"{__name__}.Network"
    assert found.module.classes == {
        "": f"{__name__}.Network",
        "head": "torch.nn.modules.container.Sequential",
        "features": "torch.nn.modules.container.Sequential",
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_module_tells_what_keys_do_not(form: str, tmp_path: Path) -> None:
    with open_checkpoint(save({"net": Network(), "epoch": 3}, tmp_path / "w", form)) as checkpoint:
        found = state_dict.find(checkpoint)
        assert found is not None
    layers = hints(found.hints)

    assert found.wrapper == ("net",)
    assert list(layers) == ["head.0", "head.1", *(f"features.{n}" for n in range(5)), "pool"]
    assert [layer.kind for layer in found.hints] == (
        ["Linear", "LogSoftmax", "Conv2d", "BatchNorm2d", "LeakyReLU", "AvgPool2d", "GELU", "AdaptiveAvgPool2d"]
    )
    wanted: dict[str, dict[str, Any]] = {
        "features.0": {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "kernel_size": (3, 3), "groups": 1},
        "features.1": {"eps": 0.001, "momentum": 0.1, "affine": True},
        "features.2": {"negative_slope": 0.2, "inplace": False},
        "features.3": {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": False},
        "features.4": {"approximate": "tanh"},
        "head.1": {"dim": 1},
        "pool": {"output_size": (1, 1)},
    }
    for key, settings in wanted.items():
        assert settings.items() <= layers[key].settings.items()
        assert "training" not in layers[key].settings


def test_a_module_within_wrappers_is_read_through_them(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ELU(0.5))
    with open_checkpoint(save(nn.DataParallel(network), tmp_path / "w", "zip")) as checkpoint:
        found = state_dict.find(checkpoint)
    assert found is not None
    assert list(found.tensors) == ["module.0.weight", "module.0.bias"]
    assert [(layer.key, layer.kind) for layer in found.hints] == [("module.0", "Conv2d"), ("module.1", "ELU")]


@pytest.mark.parametrize("prefix", ["", "module.", "model.net."])
def test_a_module_beside_the_weights_speaks_of_its_part(prefix: str, tmp_path: Path) -> None:
    network = nn.ModuleDict({"features": nn.Conv2d(3, 4, 3), "classifier": nn.Sequential(nn.Linear(4, 2), nn.Tanh())})
    saved = {
        "state_dict": {prefix + key: tensor for key, tensor in network.state_dict().items()},
        "classifier": network["classifier"],
        "features": nn.Conv2d(3, 5, 3),  # of another network: its shapes are others
        "criterion": nn.NLLLoss(),
    }
    with open_checkpoint(save(saved, tmp_path / "w", "zip")) as checkpoint:
        found = state_dict.find(checkpoint)

    assert found is not None
    assert (found.wrapper, found.module) == (("state_dict",), None)
    assert [(layer.key, layer.kind) for layer in found.hints] == [
        (f"{prefix}classifier.0", "Linear"),
        (f"{prefix}classifier.1", "Tanh"),
    ]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_network_beside_its_own_weights_speaks_of_all_of_it(prefix: str, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.SiLU())
    state = {prefix + key: tensor for key, tensor in network.state_dict().items()}
    with open_checkpoint(save({"model": network, "state_dict": state}, tmp_path / "w", "zip")) as checkpoint:
        found = state_dict.find(checkpoint)

    assert found is not None
    assert (found.wrapper, found.others) == (("state_dict",), (("model",),))
    assert [(layer.key, layer.kind) for layer in found.hints] == [(f"{prefix}0", "Linear"), (f"{prefix}1", "SiLU")]


def test_a_state_dict_alone_has_no_hints(tmp_path: Path) -> None:
    with open_checkpoint(save(nn.Linear(2, 2).state_dict(), tmp_path / "w", "zip")) as checkpoint:
        found = state_dict.find(checkpoint)
    assert found is not None
    assert (found.module, found.hints) == (None, ())


@pytest.mark.parametrize("form", FORMS)
def test_pickled_transforms_are_told_step_by_step(form: str, tmp_path: Path) -> None:
    steps = [
        transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize((0.5, 0.4, 0.3), [0.2, 0.2, 0.2]),
    ]
    saved = {"w": torch.zeros(1), "transforms": {"val": transforms.Compose(steps)}}
    with open_checkpoint(save(saved, tmp_path / "w", form)) as checkpoint:
        (found,) = transforms_in(checkpoint.root)

    assert isinstance(found, Transforms)
    assert found.path == ("transforms", "val")
    assert [step.kind for step in found.steps] == ["Resize", "CenterCrop", "ToTensor", "Normalize"]
    assert (found.steps[0].settings["size"], found.steps[0].settings["interpolation"]) == (256, "bicubic")
    assert found.steps[1].settings["size"] == (224, 224)
    assert (found.steps[3].settings["mean"], found.steps[3].settings["std"]) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


def inert_module(**children: Inert) -> Inert:
    return Inert("m.Module", state={"_parameters": {}, "_buffers": {}, "_modules": children})


def test_what_only_looks_like_a_module_is_none() -> None:
    assert is_module(inert_module())
    assert not is_module(Inert("m.Module", state={"_parameters": {}, "_buffers": {}, "_modules": [1]}))
    assert not is_module(Inert("m.Module", state={"_modules": {}}))
    assert not is_module(Inert("m.Module"))
    assert not is_module({"_parameters": {}, "_buffers": {}, "_modules": {}})


def shared(levels: int, width: int, name: str = "x") -> Inert:
    """A module whose children are all one module, and so on: width ** levels of them in a few objects."""
    module = inert_module()
    for _ in range(levels):
        module = inert_module(**{f"{name}{number}": module for number in range(width)})
    return module


@pytest.mark.parametrize(
    "module",
    [shared(20, 3), shared(1, MOST_LAYERS), shared(30, 1, "x" * 1_000_000), shared(3, 20, "x" * 4096)],
    ids=["a billion layers", "many layers", "endless names", "long names many times"],
)
def test_more_than_any_network_has_is_refused_in_bounded_time_and_memory(module: Inert) -> None:
    with bounded(seconds=10, memory=256 << 20), pytest.raises(CheckpointError, match="than any network"):
        read_module(module, "w.pth")


def test_many_modules_beside_the_weights_take_bounded_time(tmp_path: Path) -> None:
    state = {f"k{number}.weight": torch.zeros(1) for number in range(2000)}
    with open_checkpoint(save(state, tmp_path / "w", "zip")) as checkpoint:
        tensors: Any = checkpoint.root
    module = Inert("m.M", state={"_parameters": {"weight": tensors["k0.weight"]}, "_buffers": {}, "_modules": {}})
    root = {f"k{number}": Inert("m.M", state=module.state) for number in range(20_000)}
    with bounded(seconds=10):
        assert len(list(modules_in(root))) == 20_000
        assert 0 < len(hints_beside(root, tensors)) < 100
