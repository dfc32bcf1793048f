"""NumPy arrays in a pickle, read as data: a type, a shape and the bytes, which NumPy's own functions would join.

A short array of texts or objects becomes a list (`numpy_values`); one of anything else stays what it was: a name.
"""

from __future__ import annotations

from math import prod

from vggcli.weights.checkpoint.pickle.values import ArrayType, Global, Inert, Opaque, PendingArray
from vggcli.weights.checkpoint.problems import damaged_pickle as damaged
from vggcli.weights.checkpoint.tensor import DTYPES, InlineStorage, Tensor, make_tensor

Arguments = tuple[object, ...]
# NumPy's code -> our dtype
_NUMBERS = {code: dtype for dtype, (_, code) in DTYPES.items() if code and dtype != "bfloat16"} | {"b1": "bool"}


def array_type(arguments: Arguments) -> object:
    """Stand for numpy.dtype(code, align, copy); the byte order comes with a later BUILD."""
    match arguments:
        case (str() as code, *_) if code in _NUMBERS:
            return ArrayType(_NUMBERS[code])
    return Inert("numpy.dtype", arguments)


def reconstruct(arguments: Arguments) -> object:
    """Stand for _reconstruct(class, (0,), b"b"), an empty array: shape and bytes come with a later BUILD."""
    match arguments:
        case (Global("numpy.ndarray"), *_):
            return PendingArray()
    return Opaque("numpy.ndarray")


def from_buffer(arguments: Arguments) -> object:
    """Stand for _frombuffer(bytes, type, shape, order), which protocol 5 writes."""
    match arguments:
        case (bytes() as data, ArrayType() as kind, tuple() as shape, "C" | "F" as order):
            return _array(kind, shape, order == "F", data)
    return Opaque("numpy.ndarray")


def build(target: ArrayType | PendingArray, state: tuple[object, ...]) -> None:
    """Apply BUILD: the byte order of a type; the type, shape and bytes of an array."""
    if isinstance(target, ArrayType):
        target.big_endian = len(state) > 1 and state[1] == ">"
        return
    match state:
        case (_, tuple() as shape, ArrayType() as kind, bool() as fortran, bytes() as data):
            target.value = _array(kind, shape, fortran, data)
        case _:
            target.state = state


def _array(kind: ArrayType, shape: tuple[object, ...], fortran: bool, data: bytes) -> Tensor:
    sizes = [n for n in shape if type(n) is int]
    around = sizes[::-1] if fortran else sizes
    strides = [prod(max(n, 1) for n in around[i + 1 :]) for i in range(len(around))]
    storage = InlineStorage(kind.dtype, data, kind.big_endian)
    made = make_tensor(storage, kind.dtype, 0, shape, tuple(strides[::-1] if fortran else strides))
    if made.nbytes != len(data):
        raise damaged(f"an array of {made.nbytes:,} bytes in {len(data):,}")
    return made
