"""NumPy's scalars and short lists as plain values: class names and indices come as them. NumPy is not imported.

Source: NumPy's `scalar_reduce`, `array_reduce` and `arraydescr_reduce` (numpy/_core/src/multiarray). Whatever else
NumPy pickles stays an `Inert` object.
"""

from __future__ import annotations

from struct import Struct

from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.pickle.values import Inert

NUMBERS = dict(zip("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split(), "?bhiqBHIQefd", strict=True))
Value = bool | int | float | str


def kind(arguments: tuple[object, ...]) -> Inert:
    """Stand for numpy.dtype(code, align, copy), whose byte order follows as its state."""
    return Inert("numpy.dtype", arguments)


def scalar(arguments: tuple[object, ...]) -> object:
    """Stand for scalar(dtype, bytes): the number or text itself where it is a plain one."""
    match arguments:
        case (Inert("numpy.dtype") as dtype, bytes() as data):
            values = _values(dtype, data, 1)
            return values[0] if values is not None else Inert("numpy.generic", arguments)
        case (Inert("numpy.dtype"), plain):  # a Python object
            return plain
    return Inert("numpy.generic", arguments)


def array(arguments: tuple[object, ...]) -> Inert:
    """Stand for _reconstruct(class, shape, dtype), whose contents follow as its state."""
    return Inert("numpy.ndarray", arguments)


def as_list(array: Inert) -> list[object] | None:
    """The values of a short array of one dimension; None for any other object."""
    match array:
        case Inert("numpy.ndarray", state=(_, (int() as length,), Inert("numpy.dtype") as dtype, _, bytes() as data)):
            values = _values(dtype, data, length) if 0 <= length <= limits.ARRAY_VALUES else None
            return None if values is None else [*values]
        case Inert("numpy.ndarray", state=(_, (int() as length,), Inert("numpy.dtype"), _, list() as objects)):
            return objects if len(objects) == length else None
    return None


def _values(dtype: Inert, data: bytes, count: int) -> list[Value] | None:
    match dtype:
        case Inert(arguments=(str() as code, *_), state=(_, str() as order, *_)) if order in ("<", ">", "|", "="):
            pass
        case _:
            return None
    mark = ">" if order == ">" else "<"
    if code in NUMBERS:
        one = Struct(mark + NUMBERS[code])
        return [value for (value,) in one.iter_unpack(data)] if len(data) == count * one.size else None
    letter, width = code[:1], code[1:]
    if letter in ("U", "S") and width.isascii() and width.isdigit() and len(width) < 6:
        size = int(width) * (4 if letter == "U" else 1)
        encoding = "ascii" if letter == "S" else "utf-32-be" if mark == ">" else "utf-32-le"
        return _texts(data, size, encoding) if size and len(data) == count * size else None
    return None


def _texts(data: bytes, size: int, encoding: str) -> list[Value] | None:
    try:
        return [data[at : at + size].decode(encoding).rstrip("\0") for at in range(0, len(data), size)]
    except UnicodeDecodeError:
        return None
