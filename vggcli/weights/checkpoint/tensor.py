"""One tensor of a checkpoint: its dtype, shape and stride, and a NumPy view of its numbers in the mapped file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from vggcli.errors import CheckpointError
from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.problems import Unreadable, Unsupported
from vggcli.weights.checkpoint.source import WHAT, FileSource, Source

if TYPE_CHECKING:
    import numpy as np

# dtype -> bytes an element, NumPy's code; bfloat16 travels as its bit patterns, those without a code have no NumPy type
DTYPES: dict[str, tuple[int, str]] = {
    "float64": (8, "f8"),
    "float32": (4, "f4"),
    "float16": (2, "f2"),
    "bfloat16": (2, "u2"),
    "int64": (8, "i8"),
    "int32": (4, "i4"),
    "int16": (2, "i2"),
    "int8": (1, "i1"),
    "uint64": (8, "u8"),
    "uint32": (4, "u4"),
    "uint16": (2, "u2"),
    "uint8": (1, "u1"),
    "bool": (1, "?"),
    "complex128": (16, "c16"),
    "complex64": (8, "c8"),
    "complex32": (4, ""),
    "float8_e4m3fn": (1, ""),
    "float8_e4m3fnuz": (1, ""),
    "float8_e5m2": (1, ""),
    "float8_e5m2fnuz": (1, ""),
    "float8_e8m0fnu": (1, ""),
}
BLOCK_ELEMENTS = 1 << 20  # numbers read at a time: 8 MB as double
LARGEST = (1 << 63) - 1  # of any count, as in torch and NumPy


class Storage:
    """A run of bytes in the file that one or more tensors view.

    Args:
        source: the file.
        dtype: element type of the storage.
        nbytes: length.
        locate: finds the first byte's position in the file; called when the numbers are asked for.
        big_endian: byte order of the numbers.
    """

    __slots__ = ("big_endian", "dtype", "locate", "nbytes", "source")

    def __init__(
        self, source: Source, dtype: str, nbytes: int, locate: Callable[[], int], big_endian: bool = False
    ) -> None:
        self.source, self.dtype, self.nbytes, self.locate, self.big_endian = source, dtype, nbytes, locate, big_endian

    def view(self, offset: int, length: int) -> memoryview:
        """Return `length` bytes from `offset` of the storage, mapped copy-on-write.

        Raises:
            CheckpointError: the checkpoint is remote or closed, or the file changed.
        """
        if not isinstance(self.source, FileSource):
            raise CheckpointError(
                WHAT, self.source.name, "only its structure is at hand", "Download the file and open it from the disk"
            )
        try:
            start = self.locate()
        except Unreadable as problem:
            raise CheckpointError(WHAT, self.source.name, problem.why, problem.next_step) from problem
        return self.source.view(start + offset, length)


class InlineStorage(Storage):
    """Bytes that stand in the pickle itself, as those of a NumPy array do.

    Args:
        data: the bytes.
    """

    __slots__ = ("_data",)

    def __init__(self, dtype: str, data: bytes, big_endian: bool) -> None:
        super().__init__(_NoSource(), dtype, len(data), lambda: 0, big_endian)
        self._data = data

    def view(self, offset: int, length: int) -> memoryview:
        """Return a copy of `length` bytes from `offset`: one may write to it."""
        return memoryview(bytearray(self._data[offset : offset + length]))


class _NoSource:
    """The file of numbers that were read with the pickle."""

    name = "a NumPy array"
    size = 0

    def read(self, offset: int, length: int) -> bytes:
        """Nothing else is there."""
        return b""


@dataclass(frozen=True, eq=False, slots=True)
class Tensor:
    """A tensor as saved.

    Attributes:
        dtype: torch's name without its prefix, e.g. "float32".
        shape: sizes.
        stride: steps in elements.
        offset: elements before the first one in the storage.
        storage: the bytes; the same object for tensors that share memory.
    """

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int = field(repr=False)
    storage: Storage = field(repr=False)

    @property
    def is_array(self) -> bool:
        """Whether it was a NumPy array, whose numbers stand in the pickle."""
        return isinstance(self.storage, InlineStorage)

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements, counted once each, whatever memory they share."""
        return self.numel * DTYPES[self.dtype][0]

    def numpy(self) -> np.ndarray[Any, np.dtype[Any]]:
        """Return the numbers without copying: an array over the private map of the file, shape `shape`.

        Writing to it never changes the file, but arrays that share memory see it. bfloat16 comes as uint16 bit
        patterns. In legacy files the data may be unaligned (`flags.aligned`). Big-endian files are copied and swapped.

        Raises:
            CheckpointError: NumPy has no such dtype, the checkpoint is remote or closed, or the file changed.
        """
        import numpy as np

        size, code = DTYPES[self.dtype]
        if not code:
            raise CheckpointError(
                WHAT, self.storage.source.name, f"{self.dtype} numbers are not supported", "Save the tensors as float32"
            )
        if self.numel == 0:
            return np.empty(self.shape, code)
        dtype = np.dtype(code).newbyteorder(">" if self.storage.big_endian else "<")
        flat = np.frombuffer(self.storage.view(self.offset * size, _span(self.shape, self.stride) * size), dtype)
        steps = [size * (s if n > 1 else 1) for n, s in zip(self.shape, self.stride, strict=True)]
        array: np.ndarray[Any, np.dtype[Any]] = np.ndarray(self.shape, dtype, flat, strides=steps)
        return array if dtype.isnative else array.astype(code)

    def blocks(self) -> Iterator[np.ndarray[Any, np.dtype[Any]]]:
        """The numbers in order, a million at a time at most; float32, but float64 as it is, for it may not fit.

        Raises:
            CheckpointError: as `float32`.
        """
        if not self.numel:
            return
        step = prod(self.shape[1:])
        if self.numel <= BLOCK_ELEMENTS:
            yield self.numpy() if self.dtype == "float64" else self.float32()
        elif step >= BLOCK_ELEMENTS:
            for index in range(self.shape[0]):
                yield from self._part(index, None).blocks()
        else:
            rows = BLOCK_ELEMENTS // step
            for index in range(0, self.shape[0], rows):
                yield from self._part(index, min(rows, self.shape[0] - index)).blocks()

    def _part(self, index: int, rows: int | None) -> Tensor:
        """So many rows from the one at `index` on; that row itself, without the first dimension, for None."""
        first = self.offset + index * self.stride[0]
        if rows is None:
            return Tensor(self.dtype, self.shape[1:], self.stride[1:], first, self.storage)
        return Tensor(self.dtype, (rows, *self.shape[1:]), self.stride, first, self.storage)

    def float32(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return the numbers as C-contiguous float32: the view itself where it is that already, else a copy.

        Raises:
            CheckpointError: as `numpy`, and for complex numbers.
        """
        import numpy as np

        if self.dtype.startswith("complex"):
            raise CheckpointError(WHAT, self.storage.source.name, "complex numbers are no weights of a VGG")
        array = self.numpy()
        if self.dtype == "bfloat16":  # the upper half of a float32
            array = np.left_shift(array, 16, dtype=np.uint32, order="C").view(np.float32)
        with np.errstate(over="ignore"):  # doubles beyond float32 become infinite, as in torch
            return np.ascontiguousarray(array, np.float32).reshape(self.shape)


def make_tensor(storage: Storage, dtype: str, offset: object, shape: object, stride: object) -> Tensor:
    """Return the tensor after checking that every element lies inside the storage.

    Raises:
        Unreadable: negative, too large or badly typed numbers, or elements outside the storage.
    """
    if dtype not in DTYPES:
        raise Unsupported(f"a tensor of dtype {dtype}")
    sizes, steps = _counts(shape, "shape"), _counts(stride, "stride")
    (first,) = _counts((offset,), "storage offset")
    if len(sizes) != len(steps):
        raise Unreadable(f"a tensor has {len(sizes)} sizes and {len(steps)} strides")
    size = DTYPES[dtype][0]
    # Zero sizes are left out, because torch and NumPy count them as one here.
    if prod(n for n in sizes if n) * size > LARGEST or any(s * size > LARGEST for s in steps):
        raise Unreadable("a tensor's shape or stride is too large for any memory")
    numel = prod(sizes)
    if numel:
        held = storage.nbytes // size
        if first + _span(sizes, steps) > held:
            raise Unreadable(f"a tensor of shape {list(sizes)} reaches beyond its storage of {storage.nbytes:,} bytes")
        if numel > max(held, limits.REPEATED_ELEMENTS):
            raise Unreadable(f"a tensor of shape {list(sizes)} is too large: it repeats {storage.nbytes:,} bytes")
    return Tensor(dtype, sizes, steps, first, storage)


def _span(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Return the distance in elements from the first element to one past the last, for a shape without zeros."""
    return 1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))


def _counts(values: object, what: str) -> tuple[int, ...]:
    """Return the values when they are non-negative integers of 63 bits."""
    if not isinstance(values, (tuple, list)):
        raise Unreadable(f"a tensor's {what} is not a list of numbers")
    if len(values) > limits.DIMENSIONS:
        raise Unreadable(f"a tensor has {len(values):,} dimensions")
    for value in values:
        if type(value) is not int:
            raise Unreadable(f"a tensor's {what} holds something other than whole numbers")
        if not 0 <= value <= LARGEST:
            raise Unreadable(f"a tensor's {what} holds {'a negative number' if value < 0 else 'a number too large'}")
    return tuple(values)
