"""Files of vectors as `vgg embed` writes them, or anybody: the array mapped, the paths and settings beside it.

Nothing in them is trusted: no pickle is read, the header must be that of a plain array of just this file's size, and
there must be as many paths as rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vggcli.errors import CheckpointError, UsageError
from vggcli.json_reader import parse_json, read_json, shown, why_unread
from vggcli.output.array_file import TENSOR
from vggcli.output.sidecar import sidecar_path
from vggcli.output.vectors import VectorCodec, paths_path
from vggcli.records import Failure

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1 << 16
_NPY_HEADER = re.compile(rb"\{'descr': '([^']{1,32})', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \}\s*")
_TYPES = ("<f2", "<f4")
_BLOCK_BYTES = 1 << 22
_LONGEST_LINE = 1 << 20
WHAT = "cannot search"


class EmbeddingFile:
    """Vectors and what they are of.

    Args:
        path: a .npy or .safetensors file.

    Attributes:
        vectors: (N, dimensions) float16 or float32, mapped.

    Raises:
        UsageError: it is no such file, is not finished, or its paths are not beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.vectors = _opened(path)
            self._lines = _line_ends(paths_path(path), len(self.vectors))
        except OSError as error:
            where = error.filename or str(path)
            step = "vgg embed writes both" if str(where) == str(paths_path(path)) else "Check the path"
            raise UsageError(WHAT, str(where), (error.strerror or str(error)).lower(), step) from error
        lines = len(self._lines) - 1
        if lines != len(self.vectors):
            more = " or more" * (lines > len(self.vectors))
            why = f"it has {len(self.vectors)} rows, and {paths_path(path).name} {lines} lines{more}"
            raise _unusable(path, why, "Finish it with vgg embed --resume")

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dimensions(self) -> int:
        """Of each vector."""
        return int(self.vectors.shape[1])

    def outcomes(self, rows: Sequence[int]) -> list[tuple[str, Failure | None]]:
        """The path of each row, and why it has no vector.

        Raises:
            UsageError: a line that this tool does not write.
        """
        found = []
        with paths_path(self.path).open("rb") as file:
            for row in rows:
                start, end = int(self._lines[row]), int(self._lines[row + 1])
                file.seek(start)
                found.append(self._outcome(file.read(min(end - start, _LONGEST_LINE)), row))
        return found

    def _outcome(self, line: bytes, row: int) -> tuple[str, Failure | None]:
        try:
            match parse_json(line, _LONGEST_LINE):
                case {"path": str() as path, "status": "ok"}:
                    return path, None
                case {
                    "path": str() as path,
                    "status": "error",
                    "error": {"kind": str() as kind, "message": str() as why},
                }:
                    return path, Failure(kind, why)
        except ValueError:
            pass
        raise _unusable(
            paths_path(self.path), f"line {row + 1} is not one that this tool wrote", "Embed the images anew"
        )

    def settings(self) -> Mapping[str, Any]:
        """What made the vectors: the sidecar, as `EmbeddingSettings` has it; each value is to be looked at.

        Raises:
            UsageError: there is none, or it is another file's.
        """
        path = sidecar_path(self.path)
        try:
            found = read_json(path)
        except (OSError, ValueError) as error:
            why = f"what made its vectors is not readable in {path.name}: {why_unread(error)}"
            raise _unusable(self.path, why, "Embed the images anew") from error
        if not isinstance(found, dict) or found.get("records") != VectorCodec.kind:
            raise _unusable(self.path, f"{path.name} does not tell of vectors", "Embed the images anew")
        if found.get("dimensions") != self.dimensions:
            why = f"{path.name} tells of {shown(found.get('dimensions'))} dimensions, and it has {self.dimensions}"
            raise _unusable(self.path, why, "Embed the images anew")
        return found


def _unusable(path: Path, why: str, step: str) -> UsageError:
    return UsageError(WHAT, str(path), why, step)


def _opened(path: Path) -> NDArray[np.generic]:
    ending = path.suffix.lower()
    if ending == ".npy":
        return _npy(path)
    if ending == ".safetensors":
        return _safetensors(path)
    raise _unusable(path, "it is neither .npy nor .safetensors", "Embed the images into one of these")


def _npy(path: Path) -> NDArray[np.generic]:
    with path.open("rb") as file:
        start = file.read(12)
        version, length_bytes = start[6:8], 2 if start[6:7] == b"\x01" else 4
        if not start.startswith(_MAGIC) or version not in (b"\x01\x00", b"\x02\x00"):
            raise _unusable(path, "it is no .npy file", "vgg embed writes one")
        length, offset = int.from_bytes(start[8 : 8 + length_bytes], "little"), 8 + length_bytes
        file.seek(offset)
        header = file.read(min(length, _LONGEST_HEADER))
        size = path.stat().st_size
    found = _NPY_HEADER.fullmatch(header)
    if found is None or len(header) < length:
        raise _unusable(path, "its header is not that of a plain array", "vgg embed writes one")
    dtype, is_fortran = found[1].decode("ascii", "replace"), found[2] == b"True"
    shape = [int(number) for number in found[3].replace(b" ", b"").split(b",") if number and len(number) < 19]
    if dtype not in _TYPES or is_fortran or len(shape) != 2 or not shape[1]:
        kind = f"{dtype}, {len(shape)} dimensions{', in Fortran order' * is_fortran}"
        raise _unusable(path, f"it holds {kind}, not rows of float16 or float32", "vgg embed writes one")
    return _mapped(path, np.dtype(dtype), offset + length, (shape[0], shape[1]), size)


def _mapped(path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, int], size: int) -> NDArray[np.generic]:
    expected = offset + shape[0] * shape[1] * dtype.itemsize
    if size != expected:
        raise _unusable(path, f"it has {size} bytes, and its header tells of {expected}", "Finish it with --resume")
    if not shape[0]:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape)


def _safetensors(path: Path) -> NDArray[np.generic]:
    from vggcli.weights.checkpoint import Tensor, open_checkpoint

    try:
        with open_checkpoint(path) as checkpoint:
            assert isinstance(checkpoint.root, dict)
            names = [TENSOR] if TENSOR in checkpoint.root else list(checkpoint.root)
            tensor = checkpoint.root[names[0]]
            if checkpoint.format != "safetensors" or len(names) != 1 or not isinstance(tensor, Tensor):
                raise _unusable(path, "it holds several tensors, none named features", "vgg embed writes one")
            if tensor.dtype not in ("float16", "float32") or len(tensor.shape) != 2 or not tensor.shape[1]:
                kind = f"{tensor.dtype}, {len(tensor.shape)} dimensions"
                raise _unusable(path, f"it holds {kind}, not rows of float16 or float32", "vgg embed writes one")
            return tensor.numpy() if tensor.numel else np.empty(tensor.shape, tensor.dtype)
    except CheckpointError as error:
        raise _unusable(path, error.why, error.next_step) from error


def _line_ends(path: Path, expected: int) -> NDArray[np.int64]:
    """Where each line of a file ends, after a first 0, and of one more than expected, so that a file of newlines takes
    no more memory; what follows the last newline is no line."""
    ends, place, left = [np.zeros(1, np.int64)], 0, expected + 1
    with path.open("rb") as file:
        while left > 0 and (block := file.read(_BLOCK_BYTES)):
            found = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))[:left] + (place + 1)
            ends.append(found)
            place, left = place + len(block), left - len(found)
    return np.concatenate(ends)
