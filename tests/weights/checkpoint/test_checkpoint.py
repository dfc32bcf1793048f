"""A checkpoint of any format opens to the same tree, its numbers are views of the mapped file, and torch stays away."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_examples import FORMATS, CountingSource, as_torch, leaves, numbers, save, small_state

from vggcli.errors import CheckpointError
from vggcli.weights.checkpoint import FileSource, Opaque, Tensor, open_checkpoint, read_checkpoint

TORCH_FORMATS = ("zip", "legacy")


@pytest.mark.parametrize("form", FORMATS)
def test_the_tree_says_names_shapes_dtypes_and_the_file_what_it_is(form: str, tmp_path: Path) -> None:
    path = save(small_state(), tmp_path / "w", form)
    with open_checkpoint(path) as checkpoint:
        root = checkpoint.root
        assert isinstance(root, dict)
        found = {name: (tensor.dtype, tensor.shape) for name, tensor in root.items()}
    assert found == {
        "weight": ("float32", (2, 3)),
        "half": ("float16", (2,)),
        "brain": ("bfloat16", (3,)),
        "count": ("int64", ()),
    }
    assert (checkpoint.format, checkpoint.path, checkpoint.size) == (form, str(path), path.stat().st_size)
    assert checkpoint.metadata == {}


@pytest.mark.parametrize("form", TORCH_FORMATS)
def test_keys_come_in_the_order_they_were_saved(form: str, tmp_path: Path) -> None:
    state = {f"layer{i * 7 % 10}": torch.zeros(1) for i in range(10)}
    with open_checkpoint(save(state, tmp_path / "w", form)) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        assert list(checkpoint.root) == list(state)


@pytest.mark.parametrize("form", TORCH_FORMATS)
def test_a_training_checkpoint_keeps_its_plain_data_and_names_the_rest(form: str, tmp_path: Path) -> None:
    saved = {
        "epoch": 3,
        "lr": 0.5,
        "name": "vgg é",
        "best": np.float64(0.5),
        "history": [(1, None), {"a": True}],
        "tags": {"x", "y"},
        "raw": b"\x00\xff",
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
        "state_dict": small_state(),
    }
    with open_checkpoint(save(saved, tmp_path / "w", form)) as checkpoint:
        root = checkpoint.root
    assert isinstance(root, dict)
    for name in ("epoch", "lr", "name", "history", "tags", "raw"):
        assert root[name] == saved[name]
        assert type(root[name]) is type(saved[name])
    assert root["size"] == (1, 2)
    assert (root["best"], type(root["best"])) == (0.5, float)
    kept = {name: root[name] for name in ("dtype", "device")}
    assert all(isinstance(value, Opaque) for value in kept.values())
    assert kept["dtype"].name == "torch.float16"
    assert list(root["state_dict"]) == list(small_state())


@pytest.mark.parametrize("form", TORCH_FORMATS)
def test_a_modules_state_dict_opens_with_its_version_notes(form: str, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    with open_checkpoint(save(module.state_dict(), tmp_path / "w", form)) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        for name, tensor in module.state_dict().items():
            assert torch.equal(as_torch(checkpoint.root[name]), tensor)


@pytest.mark.parametrize("form", TORCH_FORMATS)
def test_tensors_that_share_memory_share_a_storage(form: str, tmp_path: Path) -> None:
    base = torch.arange(10.0)
    with open_checkpoint(save([base, base[2:5], torch.ones(1)], tmp_path / "w", form)) as checkpoint:
        whole, part, other = leaves(checkpoint.root)
        assert whole.storage is part.storage
        assert whole.storage is not other.storage
        whole.numpy()[2] = 99
        assert part.numpy()[0] == 99


@pytest.mark.parametrize("form", FORMATS)
def test_writing_to_a_view_changes_memory_and_never_the_file(form: str, tmp_path: Path) -> None:
    path = save(small_state(), tmp_path / "w", form)
    before = path.read_bytes()
    with open_checkpoint(path) as checkpoint:
        for array in numbers(checkpoint):
            assert array.flags.writeable
            array[...] = 0
        assert all(not array.any() for array in numbers(checkpoint))
    assert path.read_bytes() == before


@pytest.mark.parametrize("form", FORMATS)
def test_views_outlive_the_checkpoint(form: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save({"w": torch.arange(100_000.0)}, tmp_path / "w", form))
    (tensor,) = leaves(checkpoint.root)
    array = tensor.numpy()
    checkpoint.close()
    checkpoint.close()
    assert array[99_999] == 99_999
    with pytest.raises(CheckpointError, match="was closed"):
        tensor.numpy()


def test_a_checkpoint_that_is_dropped_leaves_no_open_file(tmp_path: Path) -> None:
    path = save(small_state(), tmp_path / "w", "zip")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(5):
        numbers(open_checkpoint(path))
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path)
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before


def test_pages_that_are_forgotten_come_back_from_the_file(tmp_path: Path) -> None:
    with open_checkpoint(save({"w": torch.arange(10_000.0)}, tmp_path / "w", "zip")) as checkpoint:
        checkpoint.forget_pages()
        (array,) = numbers(checkpoint)
        assert array[9_999] == 9_999
        checkpoint.forget_pages()
        assert array[9_999] == 9_999


def test_numpy_shares_the_map_and_float32_copies_only_what_it_must(tmp_path: Path) -> None:
    saved = {
        "plain": torch.arange(6.0).reshape(2, 3),
        "turned": torch.arange(6.0).reshape(2, 3).t(),
        "half": torch.tensor([0.5, float("inf")]).half(),
        "brain": torch.tensor([1.5, float("nan"), -0.0, 3e38]).bfloat16(),
        "brain_turned": torch.arange(6).bfloat16().reshape(2, 3).t(),
        "double": torch.tensor([1 / 3], dtype=torch.float64),
        "count": torch.tensor(7),
        "flags": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
    }
    with open_checkpoint(save(saved, tmp_path / "w", "zip")) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        for name, tensor in saved.items():
            ours: Tensor = checkpoint.root[name]
            array = ours.float32()
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
            assert array.shape == tuple(tensor.shape) == ours.shape
            np.testing.assert_array_equal(array, tensor.float().numpy())
            assert np.shares_memory(array, ours.numpy()) == (name == "plain")
        assert checkpoint.root["turned"].numpy().strides == (4, 12)
        assert (checkpoint.root["turned"].numel, checkpoint.root["half"].nbytes) == (6, 4)


def test_complex_numbers_are_no_weights(tmp_path: Path) -> None:
    with open_checkpoint(save([torch.ones(1, dtype=torch.complex64)], tmp_path / "w", "zip")) as checkpoint:
        (tensor,) = leaves(checkpoint.root)
        with pytest.raises(CheckpointError, match="complex"):
            tensor.float32()


def together(count: int, act: Callable[[], object]) -> None:
    """Run it in so many threads, all let loose at one moment; what one of them raises is raised here."""
    barrier = threading.Barrier(count)

    def run() -> None:
        barrier.wait()
        act()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(count) as pool:
            for future in [pool.submit(run) for _ in range(count)]:
                future.result()
    finally:
        sys.setswitchinterval(interval)


def test_threads_share_one_map_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save({"w": torch.arange(10_000.0)}, tmp_path / "w", "zip")
    maps: list[str] = []

    class Counted(mmap.mmap):
        def __new__(cls, *arguments: Any, **options: Any) -> Counted:
            maps.append(threading.current_thread().name)
            return super().__new__(cls, *arguments, **options)

    monkeypatch.setattr(mmap, "mmap", Counted)
    for _ in range(100):
        with open_checkpoint(path) as checkpoint:
            (tensor,) = leaves(checkpoint.root)
            maps.clear()
            together(8, tensor.numpy)
            assert len(maps) == 1


def test_no_thread_closes_the_file_under_one_that_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of a descriptor that was closed may be another file's a moment later, and its bytes would be read."""
    (tmp_path / "w").write_bytes(b"o" * 5000)
    pread, close = os.pread, os.close
    begun = threading.Event()
    seen: set[int] = set()
    reading: list[int] = []
    read_at_close: list[int] = []

    def slow_pread(fd: int, length: int, offset: int) -> bytes:
        seen.add(fd)
        reading.append(fd)
        begun.set()
        for _ in range(2000):  # room for other threads
            pass
        try:
            return pread(fd, length, offset)
        finally:
            reading.remove(fd)

    def watched_close(fd: int) -> None:
        if fd in seen:
            read_at_close.append(reading.count(fd))
        close(fd)

    monkeypatch.setattr(os, "pread", slow_pread)
    monkeypatch.setattr(os, "close", watched_close)
    source = FileSource(tmp_path / "w")
    first = itertools.count()

    def act() -> None:
        if next(first) == 0:
            begun.wait()
            source.close()
            return
        with contextlib.suppress(CheckpointError):
            for _ in range(200):
                assert source.read(0, 100) == bytes(source.view(0, 100)) == b"o" * 100

    together(4, act)
    assert read_at_close == [0]
    with pytest.raises(CheckpointError, match="was closed"):
        source.read(0, 1)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_shrinks_while_open_is_an_error_and_no_crash(form: str, tmp_path: Path) -> None:
    path = save({"w": torch.ones(10_000)}, tmp_path / "w", form)
    checkpoint = open_checkpoint(path)
    (tensor,) = leaves(checkpoint.root)
    os.truncate(path, 5_000)
    with pytest.raises(CheckpointError, match="became shorter"):
        tensor.numpy()


@pytest.mark.parametrize("form", FORMATS)
def test_only_headers_are_read(form: str, tmp_path: Path) -> None:
    """40 MB of numbers in 40 tensors: the structure takes the headers, a block or two of them."""
    state = {f"layer{i}": torch.zeros(250_000) for i in range(40)}
    path = save(state, tmp_path / "w", form)
    source = CountingSource(path)
    checkpoint = read_checkpoint(source)
    assert len(list(leaves(checkpoint.root))) == 40
    assert source.taken < 200_000
    assert source.reads < 15
    (first, *_) = leaves(checkpoint.root)
    with pytest.raises(CheckpointError, match="only its structure is at hand"):
        first.numpy()
    checkpoint.close()


def test_opening_imports_neither_torch_nor_numpy(tmp_path: Path) -> None:
    paths = [str(save(small_state(), tmp_path / form, form)) for form in FORMATS]
    program = (
        "import sys\nfrom vggcli.weights.checkpoint import open_checkpoint\n"
        "trees = [open_checkpoint(path).root for path in sys.argv[1:]]\n"
        "assert not {'torch', 'numpy', 'safetensors', 'pickle', 'zipfile'} & set(sys.modules)\n"
        "trees[0]['weight'].numpy()\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, *paths], check=True)
