"""The safetensors format: everything that its definition forbids is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_examples import leaves, problem, safe_file, save

from vggcli.errors import CheckpointError
from vggcli.weights.checkpoint import open_checkpoint

WEIGHT = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
BIAS = {"dtype": "BF16", "shape": [2], "data_offsets": [24, 28]}
DATA = struct.pack("<6f", *range(6)) + b"\x80\x3f\0\x40"


def header(**changes: Any) -> bytes:
    return json.dumps({"w": {**WEIGHT, **changes}, "b": BIAS}).encode()


def test_the_hand_written_example_is_read_in_the_headers_order(tmp_path: Path) -> None:
    path = tmp_path / "w"
    text = json.dumps({"b": BIAS, "__metadata__": {"format": "pt"}, "w": WEIGHT}).encode()
    path.write_bytes(safe_file(text + b"   ", DATA))
    with open_checkpoint(path) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        assert list(checkpoint.root) == ["b", "w"]
        assert checkpoint.metadata == {"format": "pt"}
        np.testing.assert_array_equal(checkpoint.root["w"].numpy(), np.arange(6).reshape(2, 3))
        np.testing.assert_array_equal(checkpoint.root["b"].float32(), [1, 2])


@pytest.mark.parametrize("length", [128, 384, 640, 0x5A4D + 1, 80])
def test_a_header_of_any_length_is_recognised(length: int, tmp_path: Path) -> None:
    """Its first byte may be that of a pickle (128 = 0x80) or of a Windows program."""
    path = tmp_path / "w"
    text = json.dumps({"w": {**WEIGHT, "data_offsets": [0, 24]}}).encode()
    path.write_bytes(safe_file(text.ljust(length), DATA[:24]))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.format == "safetensors"


def test_the_metadata_that_its_own_writer_writes(tmp_path: Path) -> None:
    path = save({"w": torch.zeros(1)}, tmp_path / "w", "safetensors", {"format": "pt", "é": "ü"})
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.metadata == {"format": "pt", "é": "ü"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(header(data_offsets=[1, 25]), "gap", id="a gap at the beginning"),
        pytest.param(header(data_offsets=[0, 20]), "gap", id="a gap between tensors"),
        pytest.param(header(data_offsets=[0, 28]), "overlaps", id="tensors that overlap"),
        pytest.param(header(data_offsets=[24, 0]), "data_offsets", id="an end before the beginning"),
        pytest.param(header(data_offsets=[-24, 0]), "data_offsets", id="a negative offset"),
        pytest.param(header(data_offsets=[0, 1 << 64]), "data_offsets", id="an offset of more than 63 bits"),
        pytest.param(header(data_offsets=[0, 24.0]), "data_offsets", id="an offset that is no whole number"),
        pytest.param(header(data_offsets=[False, True]), "data_offsets", id="offsets that are truth values"),
        pytest.param(header(data_offsets=[0]), "data_offsets", id="one offset"),
        pytest.param(header(shape=[2, 2]), "for a shape of 16", id="a shape that is too small"),
        pytest.param(header(shape=[2, 4]), "beyond its storage", id="a shape that is too large"),
        pytest.param(header(shape=[1 << 40, 1 << 40]), "too large", id="a shape beyond any memory"),
        pytest.param(header(shape=[-2, -3]), "negative", id="a negative shape"),
        pytest.param(header(shape=[2.0, 3]), "proper shape", id="a shape that is no whole number"),
        pytest.param(header(shape=[1] * 100), "proper shape", id="too many dimensions"),
        pytest.param(header(shape=6), "dtype and shape", id="a shape that is no list"),
        pytest.param(header(dtype="F12"), "unknown dtype 'F12'", id="an unknown dtype"),
        pytest.param(header(dtype=None), "dtype and shape", id="no dtype"),
        pytest.param(b'{"w": []}', "data_offsets", id="a tensor that is a list"),
        pytest.param(b"{}", "no tensors", id="no tensors"),
        pytest.param(b'{"w":1,"w":1}', "'w' twice", id="the same key twice"),
        pytest.param(b'{"w":{"dtype":"F32","dtype":"F64"}}', "'dtype' twice", id="the same field twice"),
        pytest.param(b'{"__metadata__": {"a": 1}}', "metadata", id="metadata that are no texts"),
        pytest.param(b'{"__metadata__": {"a": "\\ud800"}}', "metadata", id="metadata with half a character"),
        pytest.param(b'{"\\ud800": 1}', "valid text", id="a key with half a character"),
        pytest.param(b'{"w": NaN}', "NaN", id="a constant that JSON has not"),
        pytest.param(b'{"w": ' + b"9" * 5000 + b"}", "not the JSON", id="a number of 5,000 digits"),
        pytest.param(b"{" + b'"a":{' * 100_000, "not the JSON", id="nested 100,000 deep"),
        pytest.param(b"{" + b'"a":[' + b"[" * 100_000, "not the JSON", id="lists nested 100,000 deep"),
        pytest.param(b'{"w\xff": 1}', "not the JSON", id="not UTF-8"),
        pytest.param(b'{"w": 1', "not the JSON", id="not closed"),
        pytest.param(b'{"w": 1} x', "not the JSON", id="something behind it"),
    ],
)
def test_a_header_that_the_format_forbids(text: bytes, words: str, tmp_path: Path) -> None:
    data = DATA if b"data_offsets" in text else b""
    assert words in str(problem(safe_file(text, data), tmp_path / "w"))


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 1 << 40, 100_000_000])
def test_a_header_of_impossible_length(length: int, tmp_path: Path) -> None:
    data = struct.pack("<Q", length) + b'{"w": 1}' + b" " * 100
    assert f"claims {length:,} bytes" in str(problem(data, tmp_path / "w"))


def test_numbers_that_end_early_or_late(tmp_path: Path) -> None:
    assert "truncated" in str(problem(safe_file(header(), DATA[:-1]), tmp_path / "w"))
    assert "truncated" in str(problem(safe_file(header()), tmp_path / "w"))
    assert "1 bytes follow" in str(problem(safe_file(header(), DATA + b"x"), tmp_path / "w"))


@pytest.mark.long
def test_a_header_of_the_largest_size_of_empty_things_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    problem(safe_file(b'{"w":[' + b"[]," * 2_700_000 + b"0]}"), tmp_path / "w")


def test_float8_is_described_and_its_numbers_are_refused(tmp_path: Path) -> None:
    path = save({"w": torch.ones(3).to(torch.float8_e5m2)}, tmp_path / "w", "safetensors")
    with open_checkpoint(path) as checkpoint:
        (tensor,) = leaves(checkpoint.root)
        assert tensor.dtype == "float8_e5m2"
        with pytest.raises(CheckpointError, match="float8_e5m2"):
            tensor.float32()
