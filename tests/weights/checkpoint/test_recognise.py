"""What is no checkpoint is called by its name, with what to do next."""

from __future__ import annotations

import io
import mmap
import os
import socket
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_examples import leaves, problem, save

from vggcli.errors import CheckpointError
from vggcli.weights.checkpoint import FileSource, open_checkpoint

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:6c64b313\nsize 553507836\n"


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name in names:
            made.writestr(name, "")
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, w=np.zeros(3))
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        made.addfile(tarfile.TarInfo("pickle"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "what", "next_step"),
    [
        pytest.param(b"", "empty", "again", id="empty"),
        pytest.param(LFS, "Git LFS pointer", "git lfs pull", id="lfs"),
        pytest.param(b"<!DOCTYPE html><html>", "HTML", "Download the file again", id="html"),
        pytest.param(b"\xef\xbb\xbf\n <HTML>" + b" " * 20, "HTML", "Download the file again", id="html with a mark"),
        pytest.param(b"<?xml version='1.0'?><Error/>", "XML", "Download the file again", id="xml"),
        pytest.param(b'{"error": "Invalid credentials"}', "JSON", "Download the file again", id="json"),
        pytest.param(npy(), "NumPy array", "torch.save", id="npy"),
        pytest.param(npz(), "NumPy arrays", "torch.save", id="npz"),
        pytest.param(b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "HDF5", "torch.save", id="h5"),
        pytest.param(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM", "MATLAB", "loadmat", id="mat"),
        pytest.param(b"\4\0\0\0\1\0\0\0\3\0\0\0V 1\r\0\0\0nn.Sequential", "Torch7", "torchfile", id="t7"),
        pytest.param(b"\x0a\x15VGG_ILSVRC_16_layers" + b"\0" * 20, "Caffe", "torchvision's keys", id="caffemodel"),
        pytest.param(b"\x08\x07\x12\x07pytorch" + b"\0" * 20, "ONNX", "torch.save", id="onnx"),
        pytest.param(b"\x08\x01\x12\x07" + b"\0" * 20, "SavedModel", "torch.save", id="savedmodel"),
        pytest.param(b"\x1c\0\0\0TFL3" + b"\0" * 20, "TensorFlow Lite", "torch.save", id="tflite"),
        pytest.param(archive("config.json", "model.weights.h5"), "Keras", "torch.save", id="keras"),
        pytest.param(archive("m/archive_format", "m/data/x"), "torch.export", "torch.save", id="pt2"),
        pytest.param(archive("word/document.xml"), "no checkpoints", "Name a weights file", id="another zip"),
        pytest.param(b"GGUF\3\0\0\0" + b"\0" * 20, "GGUF", "Name a", id="gguf"),
        pytest.param(b"\x1f\x8b\x08\0" + b"\0" * 20, "compressed", "Unpack", id="gzip"),
        pytest.param(tar(), "tar", "Unpack", id="tar"),
        pytest.param(b"\xff\xd8\xff\xe0" + b"\0" * 20, "image", "Name a", id="jpeg"),
        pytest.param(b"RIFF\x1a\0\0\0WEBPVP8L" + b"\0" * 20, "image", "Name a", id="webp"),
        pytest.param(b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0" + b"\0" * 20, "image", "Name a", id="bmp"),
        pytest.param(b"\x7fELF" + b"\0" * 20, "program", "Name a", id="program"),
        pytest.param(b"%PDF-1.7\n" + b"\0" * 20, "PDF", "Name a", id="pdf"),
        pytest.param(b"\0" * 4096, "all zero", "again", id="zeros"),
        pytest.param(b"conv1 0.1 0.2 0.3 0.4\n" * 4, "no checkpoint that", "Name a", id="text"),
        pytest.param(b"some notes on my network\n" * 4, "no checkpoint that", "Name a", id="notes"),
        pytest.param(b"(it begins like an old pickle)" * 4, "no checkpoint that", "Name a", id="text with a bracket"),
        pytest.param(b"hello", "truncated", "again", id="five bytes"),
    ],
)
def test_the_kind_of_file_is_named(data: bytes, what: str, next_step: str, tmp_path: Path) -> None:
    error = problem(data, tmp_path / "w.pth")
    assert what in error.why
    assert next_step in error.next_step
    assert error.exit_code == 3


@pytest.mark.parametrize(
    ("name", "what"), [("VGG.caffemodel", "Caffe"), ("vgg_face.T7", "Torch7"), ("imagenet-vgg.mat", "MATLAB")]
)
def test_a_name_tells_what_the_first_bytes_do_not(name: str, what: str, tmp_path: Path) -> None:
    assert what in problem(b"\x0b\x07 of another origin" * 9, tmp_path / name).why


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        pytest.param(lambda path: None, "no such file", id="missing"),
        pytest.param(Path.mkdir, "folder", id="folder"),
        pytest.param(fifo, "not a regular file", id="pipe without a writer"),
        pytest.param(bound_socket, "not a regular file", id="socket"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), "not a regular file", id="device"),
        pytest.param(lambda path: path.symlink_to(path), "", id="link to itself"),
    ],
)
def test_what_is_no_file_is_refused_at_once(make: Callable[[Path], None], what: str, tmp_path: Path) -> None:
    path = tmp_path / "w"
    make(path)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert what in caught.value.why
    assert caught.value.where == str(path)


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(CheckpointError):
        open_checkpoint("a\0b")
    with pytest.raises(CheckpointError):
        open_checkpoint("x" * 10_000)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # because root may read everything
    with pytest.raises(CheckpointError, match="permission denied"):
        open_checkpoint(tmp_path / "w")


def test_a_disk_that_fails_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> bytes:
        raise OSError(5, "Input/output error")

    path = save({"w": torch.zeros(1)}, tmp_path / "w", "zip")
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(CheckpointError, match="input/output error"):
        open_checkpoint(path)


def test_a_disk_whose_files_cannot_be_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(19, "No such device")

    with open_checkpoint(save({"w": torch.zeros(1)}, tmp_path / "w", "zip")) as checkpoint:
        monkeypatch.setattr(mmap, "mmap", fail)
        (tensor,) = leaves(checkpoint.root)
        with pytest.raises(CheckpointError, match="cannot be mapped"):
            tensor.numpy()


def test_reading_beyond_the_end(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"123")
    source = FileSource(tmp_path / "w")
    assert source.read(1, 2) == b"23"
    with pytest.raises(CheckpointError, match="truncated"):
        source.read(1, 3)


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("value", [{}, [], {"epoch": 3, "loss": [0.5]}, "text", None])
def test_a_checkpoint_without_tensors(value: object, form: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no tensors"):
        open_checkpoint(save(value, tmp_path / "w", form))
