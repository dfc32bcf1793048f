"""NumPy's scalars, and short arrays of texts or objects, as plain values: class names and indices come as them.

Source: NumPy's `scalar_reduce`, `array_reduce` and `arraydescr_reduce` (numpy/_core/src/multiarray). Arrays of numbers
are read in `arrays`; whatever else NumPy pickles stays an `Inert` object or a name.
"""

from __future__ import annotations

from struct import calcsize, unpack

from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.pickle.values import ArrayType, Inert

_INTEGERS = {"int8": "b", "int16": "h", "int32": "i", "int64": "q"}
_CODES = {"bool": "?", **_INTEGERS, **{f"u{dtype}": code.upper() for dtype, code in _INTEGERS.items()}}
_CODES |= {"float16": "e", "float32": "f", "float64": "d"}


def scalar(arguments: tuple[object, ...]) -> object:
    """Stand for scalar(dtype, bytes): the number or text itself where it is a plain one."""
    match arguments:
        case (ArrayType() as kind, bytes() as data) if kind.dtype in _CODES:
            code = (">" if kind.big_endian else "<") + _CODES[kind.dtype]
            if len(data) == calcsize(code):
                return unpack(code, data)[0]
        case (Inert("numpy.dtype") as dtype, bytes() as data):
            texts = _texts(dtype, data, 1)
            if texts is not None:
                return texts[0]
    return Inert("numpy.generic", arguments)


def as_list(state: tuple[object, ...]) -> list[object] | None:
    """The values of a short array of texts or objects of one dimension, from its state; None for any other."""
    match state:
        case (_, (int() as length,), Inert("numpy.dtype") as dtype, _, bytes() as data):
            return _texts(dtype, data, length) if 0 <= length <= limits.ARRAY_VALUES else None
        case (_, (int() as length,), Inert("numpy.dtype"), _, list() as objects):
            return objects if len(objects) == length else None
    return None


def _texts(dtype: Inert, data: bytes, count: int) -> list[object] | None:
    """So many texts of one width; None where the type is another or the bytes are more or fewer."""
    match dtype:
        case Inert(arguments=(str() as code, *_), state=(_, "<" | ">" | "|" | "=" as order, *_)):
            letter, width = code[:1], code[1:]
        case _:
            return None
    if letter not in ("U", "S") or not (width.isascii() and width.isdigit() and len(width) < 6):
        return None
    size = int(width) * (4 if letter == "U" else 1)
    encoding = "ascii" if letter == "S" else "utf-32-be" if order == ">" else "utf-32-le"
    if not size or len(data) != count * size:
        return None
    try:
        return [data[at : at + size].decode(encoding).rstrip("\0") for at in range(0, len(data), size)]
    except UnicodeDecodeError:
        return None
