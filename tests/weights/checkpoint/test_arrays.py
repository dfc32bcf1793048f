"""A state_dict of NumPy arrays is read as data, like one of tensors; arrays beside tensors change nothing."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_examples import bounded, problem, save, small_state, torch_zip

from vggcli.weights import state_dict
from vggcli.weights.checkpoint import Opaque, Tensor, open_checkpoint

DTYPES = ["f2", "f4", "f8", ">f4", ">i8", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "?", "c8"]
ARRAYS = {
    **{dtype: np.arange(6).reshape(2, 3).astype(dtype) for dtype in DTYPES},
    "turned": np.arange(24, dtype="f4").reshape(2, 3, 4).T,
    "part": np.arange(24, dtype="f4").reshape(4, 6)[1:3, ::2],
    "fortran": np.asfortranarray(np.arange(24, dtype=">f8").reshape(2, 3, 4)),
    "number": np.array(2.5, "f4"),
    "empty": np.zeros((0, 3), "f4"),
}


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_are_numpys(form: str, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(ARRAYS, path, pickle_protocol=protocol, _use_new_zipfile_serialization=form == "zip")
    with open_checkpoint(path) as checkpoint:
        found = state_dict.find(checkpoint)
        assert found is not None
        read = {key: tensor.numpy() for key, tensor in found.tensors.items()}

    assert list(read) == list(ARRAYS)
    for key, array in ARRAYS.items():
        assert read[key].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(read[key], array)


def test_what_is_written_to_an_array_stays_there(tmp_path: Path) -> None:
    with open_checkpoint(save({"w": np.zeros(3, "f4")}, tmp_path / "w.pth", "zip")) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        checkpoint.root["w"].numpy()[0] = 1
        assert not checkpoint.root["w"].numpy().any()


def test_arrays_beside_tensors_are_not_weights(tmp_path: Path) -> None:
    saved = {**small_state(), "losses": np.zeros(9), "history": {str(n): np.zeros(2) for n in range(99)}}
    with open_checkpoint(save(saved, tmp_path / "w.pth", "zip")) as checkpoint:
        found = state_dict.find(checkpoint)
    assert found is not None
    assert list(found.tensors) == list(small_state())


def test_arrays_of_anything_else_stay_names(tmp_path: Path) -> None:
    saved = {
        "texts": np.array([["a", "b"]]),
        "objects": np.array([[{}, None]], dtype=object),
        "record": np.zeros(2, "f4,i4"),
        "dates": np.zeros(2, "datetime64[s]"),
        "type": np.dtype("f4"),
        "w": torch.zeros(2),
    }
    with open_checkpoint(save(saved, tmp_path / "w.pth", "zip")) as checkpoint:
        root = checkpoint.root
    assert isinstance(root, dict)
    assert isinstance(root.pop("w"), Tensor)
    assert all(isinstance(value, Opaque) for value in root.values())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x02K\x03\x86", b"K\x02K\x04\x86"),
        (b"K\x02K\x03\x86", b"K\x02K\x02\x86"),
        (b"K\x02K\x03\x86", b"K\x02J\xff\xff\xff\xff\x86"),
        (b"K\x02K\x03\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"),
    ],
)
def test_an_array_whose_bytes_do_not_fit_its_shape_is_refused(old: bytes, new: bytes, tmp_path: Path) -> None:
    data = pickle.dumps({"w": np.zeros((2, 3), "f4")}, 2)
    assert old in data
    with bounded():
        problem(torch_zip(data.replace(old, new)), tmp_path / "w")


def test_arrays_beyond_what_is_read_are_called_by_their_name(tmp_path: Path) -> None:
    data = save({"w": np.zeros(9 << 20, "f4")}, tmp_path / "large.pth", "zip").read_bytes()
    with bounded(memory=256 << 20):
        message = str(problem(data, tmp_path / "w"))
    assert "it holds NumPy arrays in place of tensors" in message
    assert "torch.as_tensor" in message
