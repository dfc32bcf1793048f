"""The loop: the best epoch is kept, a stop and a checkpoint change nothing, and no number comes of no number."""

from __future__ import annotations

import errno
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vggcli.errors import CheckpointError, MismatchError, OutputError
from vggcli.training.checkpoint import CheckpointFile
from vggcli.training.fit import Fit, Fitted, Numbers
from vggcli.training.observer import InterruptedError
from vggcli.training.plan import Plan
from vggcli.training.state import State

PLAN = Plan(epochs=6, batch_size=4, learning_rate=0.05, weight_decay=0.01, patience=0)
RUN = {"classes": ["a", "b"], "learning_rate": 0.05}


class Points:
    """Two clouds of points as data."""

    images, steps, num_classes = 16, 4, 2

    def __init__(self, broken_from: int = 1 << 30) -> None:
        self.labels = [0, 1] * 8
        drawn = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
        self.points = drawn + torch.tensor(self.labels)[:, None]
        self._broken_from = broken_from

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        broken = math.nan if epoch >= self._broken_from else 1.0
        for start in range(0, 16, 4):
            part = slice(start, start + 4)
            yield self.points[part] * broken, torch.tensor(self.labels[part])

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield self.points, torch.tensor(self.labels)


class Progress:
    name = ""

    def advance(self, classified: int, failed: int, kept: int = 0) -> None:
        pass


def fit(data: Points | None = None, plan: Plan = PLAN, save: Any = None) -> Fit:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    return Fit(module, data or Points(), plan, Numbers(torch.device("cpu")), lambda text: None, save=save)


def assert_same(one: Fitted, other: Fitted) -> None:
    assert one.state.epochs == other.state.epochs
    assert one.state.predicted == other.state.predicted
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(one.weights[key], other.weights[key]) for key in one.weights)


def test_it_learns_and_gives_the_best_epoch() -> None:
    found = fit().run(Progress())

    assert found.state.best is not None
    assert found.state.best.score == max(epoch.score for epoch in found.state.epochs)
    assert found.state.best.val_accuracy is not None
    assert found.state.best.val_accuracy > 0.7
    accuracy = sum(one == other for one, other in zip(found.state.predicted, Points().labels, strict=True)) / 16
    assert accuracy == found.state.best.val_accuracy


@pytest.mark.parametrize("epochs", range(1, 6))
def test_going_on_ends_with_the_same_bits(epochs: int, tmp_path: Path) -> None:
    checkpoint = CheckpointFile(tmp_path / "x.checkpoint", RUN)

    def save(state: State) -> None:
        checkpoint.save(state)
        if len(state.epochs) == epochs:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fit(save=save).run(Progress())
    torch.rand(epochs)  # another process has drawn other numbers

    going_on = fit()
    assert_same(fit().run(Progress()), going_on.run(Progress(), checkpoint.load(going_on.restore)))


def test_torchs_generator_is_left_as_it_was() -> None:
    trained = fit()
    state = torch.get_rng_state()
    trained.run(Progress())

    assert torch.equal(state, torch.get_rng_state())


def test_a_loss_that_is_no_number_ends_it_and_the_best_epoch_is_kept() -> None:
    whole = fit(plan=PLAN).run(Progress())
    found = fit(Points(broken_from=4)).run(Progress())

    assert found.diverged
    assert found.state.epochs == whole.state.epochs[:3]
    assert all(tensor.isfinite().all() for tensor in found.weights.values())
    assert fit(Points(broken_from=1)).run(Progress()).state.best is None


def test_patience_ends_it() -> None:
    plan = Plan(epochs=50, batch_size=4, learning_rate=0.0, weight_decay=0.0, patience=3)
    data = Points()
    data.points[:] = 0  # nothing can be learnt, and only batch norm's statistics move
    found = fit(data, plan).run(Progress())

    assert found.state.best is not None
    assert len(found.state.epochs) == found.state.best.number + 3 < 50


def test_rare_classes_count_more_when_asked() -> None:
    data = Points()
    data.labels = [0] * 12 + [1] * 4
    balanced = Plan(epochs=1, batch_size=4, learning_rate=0.1, weight_decay=0, patience=0, class_weights="balanced")

    assert fit(data, balanced)._loss.weight.tolist() == pytest.approx([16 / 24, 16 / 8])
    assert fit(data)._loss.weight is None


# The checkpoint


def test_a_full_disk_leaves_the_checkpoint_before_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = CheckpointFile(tmp_path / "x.checkpoint", RUN)
    states: list[State] = []
    fit(save=lambda state: states.append(State.of_plain(state.to_plain()))).run(Progress())
    checkpoint.save(states[0])
    before = checkpoint.path.read_bytes()
    room = 3000

    def full(descriptor: int, mode: str) -> Any:
        class Full(io.FileIO):
            def write(self, data: Any, /) -> int:
                if self.tell() + memoryview(data).nbytes > room:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().write(data)

        return Full(descriptor, "w")

    with monkeypatch.context() as context:
        context.setattr("os.fdopen", full)
        with pytest.raises(OutputError, match=r"no space left on device\. Make room .* --resume"):
            checkpoint.save(states[1])

    assert len(before) > room
    assert checkpoint.path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.checkpoint"]


@pytest.mark.parametrize(
    ("run", "why"),
    [
        ({"classes": ["a", "b", "c\n"]}, r"its classes are others: it does not know c\\n"),
        ({"classes": ["b"]}, "its classes are others: it knows a"),
        ({"learning_rate": 1.0}, "its learning rate is 0.05, and not 1.0"),
        ({"split": "x"}, "its split is None, and not x"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_by_name(run: dict[str, Any], why: str, tmp_path: Path) -> None:
    CheckpointFile(tmp_path / "x", RUN).save(State(weights={"w": torch.zeros(1)}))

    with pytest.raises(MismatchError, match=why):
        CheckpointFile(tmp_path / "x", RUN | run).load(fit().restore)


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointFile(tmp_path / "none", RUN).load(fit().restore) is None
    (tmp_path / "x").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="it is no checkpoint of this program"):
        CheckpointFile(tmp_path / "x", RUN).load(fit().restore)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a training that is not over."""
    checkpoint = CheckpointFile(tmp_path_factory.mktemp("kept") / "x", RUN)
    fit(save=checkpoint.save).run(Progress())
    return checkpoint.path


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(run="x"),
        lambda found: found["run"].update(classes=[torch.zeros(2)]),
        lambda found: found["state"].update(weights=5),
        lambda found: found["state"]["weights"].clear(),
        lambda found: found["state"].update(best_weights={"w": torch.zeros(1)}),
        lambda found: found["state"].update(epochs=[]),
        lambda found: found["state"]["best"].update(loss="low"),
        lambda found: found["state"].update(predicted=["x"]),
        lambda found: found["state"].update(optimizer={}),
        lambda found: found["state"]["optimizer"]["adamw"]["param_groups"][0].update(betas=5),
        lambda found: found["state"]["optimizer"]["adamw"]["state"][0].update(exp_avg=torch.zeros(7)),
        lambda found: found["state"]["optimizer"]["schedule"].update(optimizer=5),
    ],
)
def test_a_checkpoint_of_a_stranger_is_refused(change: Any, kept: Path, tmp_path: Path) -> None:
    found = torch.load(kept, weights_only=True)
    change(found)
    torch.save(found, tmp_path / "x")

    with pytest.raises(CheckpointError, match="it is no checkpoint of this program"):
        CheckpointFile(tmp_path / "x", RUN).load(fit().restore)
