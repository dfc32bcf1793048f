"""An array on disk that grows by rows, as a .npy or .safetensors file that can be read at all times."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vggcli.output.stream import Stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

TENSOR = "features"  # its name in a file that has names
HEADER_BYTES = 128  # of both formats, whatever N: a multiple of 64, as NumPy aligns its arrays
_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_SAFETENSORS_TYPES = {"<f4": "F32", "<f2": "F16"}


def npy_header(count: int, dimensions: int, dtype: np.dtype[Any]) -> bytes:
    """The header of a .npy file of (count, dimensions), as `numpy.lib.format` writes it, of `HEADER_BYTES`."""
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({count}, {dimensions}), }}".encode()
    room = HEADER_BYTES - len(_NPY_MAGIC) - 2
    return _NPY_MAGIC + room.to_bytes(2, "little") + text.ljust(room - 1) + b"\n"


def safetensors_header(count: int, dimensions: int, dtype: np.dtype[Any]) -> bytes:
    """The header of a safetensors file with this one tensor, filled up with the spaces that the format allows."""
    end, room = count * dimensions * dtype.itemsize, HEADER_BYTES - 8
    kind = _SAFETENSORS_TYPES[dtype.str]
    text = f'{{"{TENSOR}":{{"dtype":"{kind}","shape":[{count},{dimensions}],"data_offsets":[0,{end}]}}}}'
    return room.to_bytes(8, "little") + text.encode().ljust(room)


HEADERS = {"npy": npy_header, "safetensors": safetensors_header, "parquet": npy_header}  # parquet: of its spool


class ArrayFile:
    """An array on disk that grows by rows.

    Args:
        stream: the file, new, or with rows of an earlier run, whose header has been looked at.
        header: its first bytes for this many rows.
        row_bytes: of a row.

    Attributes:
        count: whole rows.
    """

    def __init__(self, stream: Stream, header: Callable[[int], bytes], row_bytes: int) -> None:
        self.stream, self._header, self._row_bytes = stream, header, row_bytes
        self.count = max(0, stream.position - HEADER_BYTES) // row_bytes
        if stream.position < HEADER_BYTES:
            stream.cut(0)
            stream.write(header(0))

    def append(self, row: bytes) -> None:
        """Write one row, and then count it in the header."""
        self.stream.write(row)
        self.count += 1
        self.stream.write_at(0, self._header(self.count))

    def put(self, number: int, row: bytes) -> None:
        """Write over a row."""
        self.stream.write_at(HEADER_BYTES + number * self._row_bytes, row)

    def cut(self, count: int) -> None:
        """Drop all but the first rows."""
        self.stream.write_at(0, self._header(count))
        self.stream.cut(HEADER_BYTES + count * self._row_bytes)
        self.count = count


def is_header(array: Path, header: Callable[[int], bytes]) -> bool:
    """Whether a file begins with what `header` gives for some number of rows, or ends before it is whole."""
    with array.open("rb") as file:
        found = file.read(HEADER_BYTES)
    count = re.search(rb"(?:\(|\"shape\":\[)(\d{1,18}),", found)
    return len(found) < HEADER_BYTES or (count is not None and found == header(int(count[1])))


def read_rows(array: Path, dimensions: int, dtype: np.dtype[Any], count: int) -> Iterator[NDArray[np.generic]]:
    """The rows of such a file, in blocks (n, dimensions) of at most `count`."""
    with array.open("rb") as file:
        file.seek(HEADER_BYTES)
        while block := file.read(count * dimensions * dtype.itemsize):
            yield np.frombuffer(block, dtype).reshape(-1, dimensions)
