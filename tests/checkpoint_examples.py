"""Files and small builders that the tests of the checkpoint reader share."""

from __future__ import annotations

import io
import os
import pickle
import resource
import signal
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from vggcli.errors import CheckpointError
from vggcli.weights.checkpoint import Checkpoint, Tensor, open_checkpoint

FORMATS = ("zip", "legacy", "safetensors")
MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_HEAD = b"".join(pickle.dumps(value, 2) for value in (MAGIC, 1001, {"little_endian": True}))
FLOATS = struct.pack("<6f", 0, 1, 2, 3, 4, 5)

# The pickle of one tensor of six float32, 2 x 3, in storage "0"; ID and TENSOR are pieces for hand-written pickles.
ID = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQ"
LEGACY_ID = ID.replace(b"K\x06tQ", b"K\x06NtQ")
REST = b"K\0K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + ID + REST
LEGACY_TENSOR = TENSOR.replace(ID, LEGACY_ID)


def save(value: object, path: Path, form: str, metadata: dict[str, str] | None = None) -> Path:
    """Write with torch's or safetensors' own writer."""
    if form == "safetensors":
        assert isinstance(value, dict)
        safetensors.torch.save_file(
            {name: tensor.detach().clone().contiguous() for name, tensor in value.items()}, path, metadata
        )
    else:
        torch.save(value, path, _use_new_zipfile_serialization=form == "zip")
    return path


def small_state() -> OrderedDict[str, torch.Tensor]:
    """A few tensors of different kinds, none sharing memory."""
    return OrderedDict(
        weight=torch.arange(6.0).reshape(2, 3),
        half=torch.tensor([1.5, -2.0]).half(),
        brain=torch.tensor([1.5, -2.0, 3.25]).bfloat16(),
        count=torch.tensor(7),
    )


def torch_zip(pickled: bytes, *members: tuple[str, bytes], storage: bytes = FLOATS, top: str = "archive") -> bytes:
    """A zip file as torch.save lays it out, around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in (("data.pkl", pickled), ("data/0", storage), *members):
            archive.writestr(f"{top}/{name}", data)
    return buffer.getvalue()


def torch_legacy(pickled: bytes, keys: object = ("0",), data: bytes = struct.pack("<q", 6) + FLOATS) -> bytes:
    """A legacy file around a pickle."""
    return LEGACY_HEAD + pickled + pickle.dumps(list(keys), 2) + data  # type: ignore[call-overload]


def safe_file(header: bytes, data: bytes = b"") -> bytes:
    """A safetensors file around a header."""
    return struct.pack("<Q", len(header)) + header + data


def problem(data: bytes, path: Path) -> CheckpointError:
    """Return the error that a file with these bytes ends in."""
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path).close()
    assert str(path) in str(caught.value)
    return caught.value


def leaves(node: object) -> Iterator[Tensor]:
    """Every tensor of a tree, in order."""
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from leaves(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from leaves(value)


def numbers(checkpoint: Checkpoint) -> list[np.ndarray[Any, Any]]:
    """The numbers of every tensor."""
    return [tensor.numpy() for tensor in leaves(checkpoint.root)]


def as_torch(tensor: Tensor) -> torch.Tensor:
    """The same tensor in torch, values only."""
    made = torch.from_numpy(np.array(tensor.numpy(), order="C"))
    return made.view(torch.bfloat16) if tensor.dtype == "bfloat16" else made


class BytesSource:
    """A source of bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.name, self.size, self._data = "bytes", len(data), data

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


@contextmanager
def bounded(seconds: int = 60, memory: int = 1 << 30) -> Iterator[None]:
    """End what runs away: an alarm after so many seconds, a `MemoryError` after so many bytes more than now."""

    def stop(*_: object) -> None:
        raise AssertionError(f"still running after {seconds} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    handler = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory, before[1]))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, handler)


class CountingSource:
    """A source without a map that counts what is read, as a file on a web server would be."""

    def __init__(self, path: Path) -> None:
        self.name, self.size, self.taken, self.reads = str(path), os.path.getsize(path), 0, 0
        self._data = path.read_bytes()

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert offset + length <= self.size
        self.taken, self.reads = self.taken + length, self.reads + 1
        return self._data[offset : offset + length]
