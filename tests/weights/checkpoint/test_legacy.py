"""The legacy format: the streams that torch.save wrote before 2020, and the tensors of the first versions."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_examples import (
    FLOATS,
    LEGACY_HEAD,
    LEGACY_ID,
    LEGACY_TENSOR,
    REST,
    CountingSource,
    as_torch,
    leaves,
    numbers,
    problem,
    save,
    torch_legacy,
)

from vggcli.weights.checkpoint import open_checkpoint, read_checkpoint

GOOD = torch_legacy(LEGACY_TENSOR + b".")
WANTED = np.arange(6, dtype=np.float32).reshape(2, 3)


def read(data: bytes, path: Path) -> np.ndarray:
    path.write_bytes(data)
    with open_checkpoint(path) as checkpoint:
        (array,) = numbers(checkpoint)
        return array


def same_as_torch(data: bytes, path: Path) -> np.ndarray:
    """Read with both, compare, return."""
    array = read(data, path)
    (theirs,) = torch.load(path, weights_only=False).values()
    np.testing.assert_array_equal(array, theirs.detach().numpy())
    return array


def under_a_key(tensor: bytes) -> bytes:
    return b"}X\x01\0\0\0w" + tensor + b"s."


def test_the_hand_written_example_is_read(tmp_path: Path) -> None:
    np.testing.assert_array_equal(same_as_torch(torch_legacy(under_a_key(LEGACY_TENSOR)), tmp_path / "w"), WANTED)


def test_a_view_of_a_storage(tmp_path: Path) -> None:
    """PyTorch before 0.4 described views of storages: here elements 2 to 5 of six, and of these 2 x 2."""
    view = b"(X\x01\0\0\0vK\x02K\x04t"
    tensor = LEGACY_TENSOR.replace(LEGACY_ID, LEGACY_ID[:-3] + view + b"tQ")
    tensor = tensor.replace(b"K\0K\x02K\x03\x86K\x03K\x01\x86", b"K\0K\x02K\x02\x86K\x02K\x01\x86")
    np.testing.assert_array_equal(
        same_as_torch(torch_legacy(under_a_key(tensor)), tmp_path / "w"), np.array([[2, 3], [4, 5]])
    )
    beyond = tensor.replace(b"K\x02K\x04t", b"K\x02K\x05t")
    assert "outside" in str(problem(torch_legacy(beyond + b"."), tmp_path / "w"))
    negative = tensor.replace(b"K\x02K\x04t", b"J\xff\xff\xff\xffK\x04t")
    assert "not described" in str(problem(torch_legacy(negative + b"."), tmp_path / "w"))


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(
            b"ctorch.nn.parameter\nParameter\n)\x81(" + LEGACY_TENSOR + b"\x89Nccollections\nOrderedDict\n)R\x88tb",
            id="a Variable's state of five: data, ...",
        ),
        pytest.param(
            b"ctorch.nn.parameter\nParameter\n" + LEGACY_TENSOR + b"\x89\x86R",
            id="a Parameter made of a tensor and a flag",
        ),
        pytest.param(
            b"ctorch.nn.parameter\nParameter\n" + LEGACY_TENSOR + b"\x85\x81(\x88\x89ccollections\nOrderedDict\n)Rtb",
            id="a Parameter with a state of flags",
        ),
        pytest.param(
            b"ctorch\nFloatTensor\n)\x81(" + LEGACY_ID + b"K\0K\x02K\x03\x86K\x03K\x01\x86tb",
            id="a tensor class with storage, offset, shape, stride",
        ),
        pytest.param(
            b"ctorch\nFloatTensor\n(" + LEGACY_ID + b"K\0K\x02K\x03\x86K\x03K\x01\x86tR",
            id="a tensor class called with them",
        ),
        pytest.param(
            LEGACY_TENSOR.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor").replace(
                REST, b"K\0K\x02K\x03\x86K\x03K\x01\x86tR"
            ),
            id="the first rebuild function",
        ),
        pytest.param(LEGACY_TENSOR.replace(b"ctorch\nFloat", b"ctorch.cuda\nFloat"), id="saved from a GPU"),
        pytest.param(LEGACY_TENSOR.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0"), id="a GPU's location"),
        pytest.param(LEGACY_TENSOR.replace(b"X\x07\0\0\0storage", b"U\x07storage"), id="Python 2's byte strings"),
    ],
)
def test_tensors_of_the_first_versions(tensor: bytes, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(torch_legacy(under_a_key(tensor)), tmp_path / "w"), WANTED)


def test_an_old_tensor_in_two_places_is_one(tmp_path: Path) -> None:
    """Referenced before BUILD has filled it, through the memo."""
    parameter = b"ctorch.nn.parameter\nParameter\n)\x81q\x01(" + LEGACY_TENSOR + b"\x89NN\x88tb"
    data = torch_legacy(b"]" + parameter + b"ah\x01\x85a.")
    (tmp_path / "w").write_bytes(data)
    with open_checkpoint(tmp_path / "w") as checkpoint:
        one, other = leaves(checkpoint.root)
    assert one is other
    assert one.shape == (2, 3)


def test_an_old_tensor_that_is_never_filled(tmp_path: Path) -> None:
    assert "without contents" in str(problem(torch_legacy(b"ctorch\nFloatTensor\n)\x81.", ()), tmp_path / "w"))


def test_records_are_unaligned_and_read_all_the_same(tmp_path: Path) -> None:
    for size in range(8):
        state = {"x" * (size + 1): torch.arange(5, dtype=torch.float64), "b": torch.ones(size, dtype=torch.bool)}
        with open_checkpoint(save(state, tmp_path / "w", "legacy")) as checkpoint:
            for ours, theirs in zip(leaves(checkpoint.root), state.values(), strict=True):
                assert torch.equal(as_torch(ours), theirs)


def test_what_follows_the_last_storage_is_not_read(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(GOOD + b"more", tmp_path / "w"), WANTED)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        pytest.param((), "list of storages", id="a storage is not listed"),
        pytest.param(("0", "1"), "list of storages", id="one that no tensor has"),
        pytest.param(("0", "0"), "list of storages", id="twice"),
        pytest.param((("0",),), "something else than text", id="not a name"),
        pytest.param((["0"] * 3,), "something else than text", id="a list"),
    ],
)
def test_a_list_of_storages_that_does_not_fit(keys: tuple[object, ...], words: str, tmp_path: Path) -> None:
    assert words in str(problem(torch_legacy(LEGACY_TENSOR + b".", keys), tmp_path / "w"))


def test_a_storage_whose_length_differs_from_the_pickles(tmp_path: Path) -> None:
    for count in (5, 7, -1, 1 << 62):
        data = torch_legacy(LEGACY_TENSOR + b".", data=struct.pack("<q", count) + FLOATS)
        assert "elements in a place for" in str(problem(data, tmp_path / "w"))
        assert next(leaves(read_checkpoint(CountingSource(tmp_path / "w")).root)).shape == (2, 3)


def test_one_storage_with_two_lengths(tmp_path: Path) -> None:
    other = LEGACY_TENSOR.replace(b"K\x06NtQ", b"K\x07NtQ")
    assert "in another" in str(problem(torch_legacy(b"(" + LEGACY_TENSOR + other + b"t."), tmp_path / "w"))


def test_a_storage_larger_than_the_file(tmp_path: Path) -> None:
    huge = LEGACY_TENSOR.replace(b"K\x06NtQ", b"J\xff\xff\xff\x7fNtQ")
    error = problem(torch_legacy(huge + b"."), tmp_path / "w")
    assert "truncated" in str(error)
    assert "8,589,934" in str(error)


def test_a_pickle_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vggcli.weights.checkpoint.limits.PICKLE_BYTES", 1 << 20)
    assert "larger than 1 MiB" in problem(LEGACY_HEAD + b"B\0\0\x20\0" + bytes(1 << 21), tmp_path / "w").why


def test_storages_named_by_numbers(tmp_path: Path) -> None:
    tensor = LEGACY_TENSOR.replace(b"X\x01\0\0\x000", b"K\x07")
    np.testing.assert_array_equal(read(torch_legacy(tensor + b".", (7,)), tmp_path / "w"), WANTED)


def test_another_version_of_the_format(tmp_path: Path) -> None:
    data = GOOD.replace(pickle.dumps(1001, 2), pickle.dumps(1002, 2))
    assert "unknown version" in str(problem(data, tmp_path / "w"))


def test_a_plain_pickle_is_told_from_torchs(tmp_path: Path) -> None:
    error = problem(pickle.dumps({"w": [1.0, 2.0]}), tmp_path / "w")
    assert "plain pickle" in str(error)
    assert "torch.save" in error.next_step


@pytest.mark.parametrize("piece", [LEGACY_ID, LEGACY_TENSOR])
def test_a_tensor_where_the_magic_number_should_be(piece: bytes, tmp_path: Path) -> None:
    assert "pickle" in problem(b"\x80\x02" + piece + b"." + GOOD, tmp_path / "w").why


def test_a_tensor_where_the_list_of_storages_should_be(tmp_path: Path) -> None:
    data = LEGACY_HEAD + LEGACY_TENSOR + b"." + LEGACY_ID + b"."
    assert "list of storages" in problem(data, tmp_path / "w").why
