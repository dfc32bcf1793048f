"""Damage of every kind to files of every format: a result or a clean error, never a crash, a hang or a flood."""

from __future__ import annotations

import random
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_examples import FORMATS, bounded, leaves, problem, save
from torchvision import transforms

from vggcli.errors import CheckpointError, ForbiddenError
from vggcli.network import labels
from vggcli.weights import class_names, state_dict
from vggcli.weights.checkpoint import foreign_names, open_checkpoint
from vggcli.weights.module_tree import transforms_in

MUTATIONS = 500  # of each format by each seed
# The default tests take the first; CI takes the others as well, in a step of its own.
SEEDS = [20261120, *(pytest.param(seed, marks=pytest.mark.mutation) for seed in (20261121, 20261122, 20261123))]
STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3).half(), "c": torch.tensor(7)}
ENDS = {"read", "error: True", "forbidden: True"}
INTERESTING = [0, 1, 0x7F, 0x80, 0xFF, *b"(.]}RQqhcbN\x8a\x8d\x93\x95"]


def read_all(path: Path) -> str:
    """Open, read every number; return how it ended. Anything but a result or a `CheckpointError` is raised."""
    try:
        with open_checkpoint(path) as checkpoint:
            for tensor in leaves(checkpoint.root):
                assert tensor.numpy().shape == tensor.shape
                tensor.float32()
    except ForbiddenError as error:
        return f"forbidden: {len(error.names) > 0}"
    except CheckpointError as error:
        return f"error: {str(path) in str(error)}"
    return "read"


def read_objects(path: Path) -> str:
    """The same, with everything that is made of a file's objects."""
    try:
        with open_checkpoint(path) as checkpoint:
            state_dict.find(checkpoint)
            class_names.in_checkpoint(checkpoint, 2)
            list(transforms_in(checkpoint.root))
            foreign_names(checkpoint.root)
    except (CheckpointError, labels.UnusableError):
        pass
    return read_all(path)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Change bits, bytes and lengths; cut, repeat, drop or move pieces."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 16])):
        at = chance.randrange(len(changed))
        length = chance.choice([1, 2, 4, 8, chance.randrange(1, 64)])
        kind = chance.randrange(8)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at] = chance.choice(INTERESTING)
        elif kind == 2:
            changed[at] = chance.randrange(256)
        elif kind == 3:
            changed[at : at + length] = chance.choice([b"\xff", b"\0", b"\x7f", b"\x80"]) * length
        elif kind == 4:
            del changed[at : at + length]
        elif kind == 5:
            changed[at:at] = changed[at : at + length]
        elif kind == 6:
            source = chance.randrange(len(changed))
            changed[at : at + length] = changed[source : source + length]
        else:
            changed[at : at + 4] = chance.randrange(1 << 32).to_bytes(4, chance.choice(["little", "big"]))
        changed = changed or bytearray(b"\0")
    return bytes(changed)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("seed", SEEDS)
def test_mutations_end_in_a_result_or_a_clean_error(seed: int, form: str, tmp_path: Path) -> None:
    data = save(STATE, tmp_path / "good", form).read_bytes()
    path = tmp_path / "bad"
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    with bounded(seconds=240, memory=1 << 30):
        for number in range(MUTATIONS):
            path.write_bytes(mutate(data, chance))
            try:
                ends[read_all(path)] += 1
            except Exception as error:
                raise AssertionError(f"mutation {number}: {error!r}") from error
    assert set(ends) <= ENDS
    assert ends["error: True"] > 25
    assert ends["read"] > 25


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_mutations_of_objects_end_in_a_result_or_a_clean_error(seed: int, form: str, tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LeakyReLU(0.2))
    saved = {
        "model": network,
        "args": Namespace(classes=np.array(["a", "b"]), lr=np.float64(0.5)),
        "class_to_idx": {"a": np.int64(0), "b": np.int64(1)},
        "transforms": transforms.Compose([transforms.CenterCrop(8)]),
    }
    data = save(saved, tmp_path / "good", form).read_bytes()
    path = tmp_path / "bad"
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    with bounded(seconds=240, memory=1 << 30):
        for number in range(MUTATIONS):
            path.write_bytes(mutate(data, chance))
            try:
                ends[read_objects(path)] += 1
            except Exception as error:
                raise AssertionError(f"mutation {number}: {error!r}") from error
    assert set(ends) <= ENDS
    assert ends["read"] > 25


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_cut_at_any_byte_is_called_truncated(form: str, tmp_path: Path) -> None:
    data = save({"a": torch.arange(6.0)}, tmp_path / "good", form).read_bytes()
    path = tmp_path / "cut"
    assert "empty" in problem(b"", path).why
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError) as caught:
            open_checkpoint(path)
        assert "truncated" in caught.value.why, length


@pytest.mark.parametrize("form", FORMATS)
def test_every_single_byte_may_be_overwritten(form: str, tmp_path: Path) -> None:
    data = save({"a": torch.ones(1)}, tmp_path / "good", form).read_bytes()
    path = tmp_path / "bad"
    with bounded(seconds=240):
        for at in range(len(data)):
            if data[at]:  # runs of zeros are padding, where little can go wrong and much time be spent
                path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
                assert read_all(path) in ENDS
