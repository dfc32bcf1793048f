"""The measuring of bf16: pictures, a network trained on them for a moment, and the figures of its row."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import vggcli
from tools.measure_bf16 import networks
from tools.measure_bf16.__main__ import HEADINGS, measure
from tools.measure_bf16.networks import ROWS, Network
from tools.measure_bf16.pictures import HELD_OUT_VIEWS, Pictures


@pytest.fixture
def colours() -> Pictures:
    """Two plain pictures, each a class of its own."""
    plain = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]]).view(2, 3, 1, 1).expand(2, 3, 32, 32)
    return Pictures("photos", ("red", "blue"), plain, torch.arange(2), plain, torch.arange(2))


def test_held_out_views_are_the_same_at_every_call(colours: Pictures) -> None:
    torch.manual_seed(1)
    (views, classes), before = colours.held_out_views(), torch.rand(1)
    torch.manual_seed(1)
    (again, _), after = colours.held_out_views(), torch.rand(1)

    assert torch.equal(views, again)
    assert torch.equal(before, after)  # the caller's numbers are left alone
    assert views.shape == (2 * HELD_OUT_VIEWS["photos"], 3, 64, 64)
    assert torch.equal(views.mean((2, 3)).argmax(1), 2 * classes)  # red stays the reddest, blue the bluest
    assert len(views.flatten(1).unique(dim=0)) == len(views)


def test_a_network_is_trained_saved_and_measured(
    colours: Pictures, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Network(11, 32, "photos", dropout=None, epochs=2)
    weights, folder = tmp_path / f"{row.name}.safetensors", tmp_path / "photos"
    networks.save(networks.train(row, colours), row, colours.labels, weights)
    colours.save_held_out(folder)

    found = measure(weights, folder)

    assert "epoch 2: loss" in capsys.readouterr().err
    with vggcli.load(weights) as classifier:
        assert (classifier.labels, classifier.recipe.size, classifier.notes) == (("red", "blue"), 32, ())
        assert not classifier.architecture.batch_norm
    assert found.found.agreement.images == len(list(folder.iterdir())) == 30
    assert 0 <= found.noise < 0.1
    assert 0 <= found.surest <= 1
    assert all(0 <= share <= 1 for share in found.right)
    assert len(found.cells()) == len(HEADINGS)


def test_every_network_has_a_name_of_its_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert any(row.batch_norm for row in ROWS)
