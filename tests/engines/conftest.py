"""What the tests of engines run on: two small models, both kinds of engine, and images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import networks
import numpy as np
import pytest
import torch
from engine_examples import SIZE
from numpy.typing import NDArray

from vggcli.engines import openvino as on_openvino
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.model import Model
from vggcli.weights.opening import open_model


@pytest.fixture(scope="session")
def demo() -> Iterator[Model]:
    with closing(open_model(DEMO_FILE)) as model:
        yield model


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """Random weights and narrow convolutions, but linear layers wide enough for a matrix product's blocks."""
    path = tmp_path_factory.mktemp("weights") / "narrow.pth"
    torch.save(networks.randomised(networks.Torchvision(widths=networks.NARROW, hidden=1024)).state_dict(), path)
    with closing(open_model(path)) as model:
        yield replace(model, recipe=replace(model.recipe, size=SIZE))


@pytest.fixture(params=["demo", "narrow"])
def model(request: pytest.FixtureRequest) -> Model:
    found: Model = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module", params=["torch", "openvino"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def images() -> NDArray[np.uint8]:
    return networks.images(25, SIZE)


@pytest.fixture
def page_droppers(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What happened to each page dropper that was begun."""
    begun: list[list[str]] = []

    class Noted:
        def __init__(self, _: Callable[[], None]) -> None:
            self.events = ["begun"]
            begun.append(self.events)

        def stop(self) -> None:
            self.events.append("stopped")

    monkeypatch.setattr(on_openvino, "PageDropper", Noted)
    return begun
