"""The safetensors format: the header's length (uint64), a JSON header, then the numbers without gaps.

Source: the format section of the safetensors README. Everything that it forbids is refused.
"""

from __future__ import annotations

from math import prod
from typing import NoReturn

from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.problems import Unreadable, quote, truncated
from vggcli.weights.checkpoint.source import Source
from vggcli.weights.checkpoint.tensor import LARGEST, Storage, Tensor, make_tensor

LENGTH_BYTES = 8
METADATA = "__metadata__"
SAFE_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}


def read_safetensors(source: Source) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors in the order of the header, and the metadata.

    Raises:
        Unreadable: anything that the format forbids.
    """
    length = int.from_bytes(source.read(0, LENGTH_BYTES), "little")
    if length > limits.SAFETENSORS_HEADER_BYTES:
        raise Unreadable(f"its safetensors header claims {length:,} bytes")
    start = LENGTH_BYTES + length
    if start > source.size:
        raise truncated(source.size, start)
    header = _parse(source.read(LENGTH_BYTES, length))
    metadata = header.pop(METADATA, None)
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not all(map(_is_text, metadata.values())):
        raise _damaged("its metadata are not texts")
    for name in header:
        if len(name) > limits.KEY_CHARACTERS:
            raise Unreadable(f"it holds a key of {len(name):,} characters: {quote(name)}")
    ranges = {name: _range(name, entry) for name, entry in header.items()}
    end = 0
    for name, (first, last) in sorted(ranges.items(), key=lambda item: item[1]):
        if first != end:
            raise _damaged(f"{quote(name)} {'overlaps another tensor' if first < end else 'leaves a gap before it'}")
        end = last
    if start + end > source.size:
        raise truncated(source.size, start + end)
    if start + end < source.size:
        raise _damaged(f"{source.size - start - end:,} bytes follow the last tensor")
    if not header:
        raise Unreadable("it holds no tensors", "Name a file of weights")
    return {name: _tensor(source, start, name, entry, ranges[name]) for name, entry in header.items()}, metadata


def _damaged(why: str) -> Unreadable:
    return Unreadable(f"its safetensors header is damaged: {why}")


def _parse(data: bytes) -> dict[str, object]:
    import json  # only this format needs it

    try:
        header = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constants)
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, or a number of 4,300 digits
        raise _damaged("it is not the JSON that the format asks for") from error
    assert isinstance(header, dict)  # `recognise` has seen its bracket
    return header


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise Unreadable(f"it holds the key {quote(name)} twice")
            seen.add(name)
    if not all(map(_is_text, made)):
        raise _damaged("a key is no valid text")
    return made


def _is_text(value: object) -> bool:
    """Return whether the value is a text without half characters, which JSON can write and no terminal can print."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value))


def _no_constants(name: str) -> NoReturn:
    raise _damaged(f"it holds {name}")


def _range(name: str, entry: object) -> tuple[int, int]:
    match entry:
        case {"data_offsets": [first, last]} if type(first) is type(last) is int and 0 <= first <= last <= LARGEST:
            return first, last
    raise _damaged(f"{quote(name)} has no proper data_offsets")


def _tensor(source: Source, start: int, name: str, entry: object, place: tuple[int, int]) -> Tensor:
    match entry:
        case {"dtype": str() as code, "shape": [*shape]}:
            pass
        case _:
            raise _damaged(f"{quote(name)} has no proper dtype and shape")
    if code not in SAFE_DTYPES:
        raise Unreadable(f"{quote(name)} has the unknown dtype {quote(code)}", "Save the tensors as float32")
    dtype = SAFE_DTYPES[code]
    first, last = place
    if len(shape) > limits.DIMENSIONS or not all(type(n) is int for n in shape):
        raise _damaged(f"{quote(name)} has no proper shape")
    stride = tuple(prod(max(n, 1) for n in shape[i + 1 :]) for i in range(len(shape)))  # as torch counts zero sizes
    storage = Storage(source, dtype, last - first, lambda: start + first)
    tensor = make_tensor(storage, dtype, 0, shape, stride)
    if tensor.nbytes != last - first:
        raise _damaged(f"{quote(name)} has {last - first:,} bytes for a shape of {tensor.nbytes:,}")
    return tensor
