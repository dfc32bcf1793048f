"""What the library takes for an image, and what it makes of it: an `Input`, or one after another."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np
from PIL import Image

from vggcli.images.access import Access
from vggcli.images.discover import expand_path
from vggcli.images.item import Input, Skipped, named

if TYPE_CHECKING:
    from numpy.typing import NDArray

Content: TypeAlias = Union[bytes, Image.Image, "NDArray[np.uint8]"]
"""An encoded image file, an opened picture, or the pixels themselves: (H, W, 3), RGB."""
Source: TypeAlias = Union[str, "os.PathLike[str]", bytearray, memoryview, Content, Input]
"""Everything that is one input."""

_ONE_INPUT = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray, Input)
_ACCEPTED = "a path, the bytes of an image file, a PIL.Image.Image or a uint8 array (H, W, 3) in RGB"


def as_input(value: Source) -> Input:
    """One image: a path, the bytes of an image file, a picture that Pillow opened, or pixels.

    Bytes are never a path.  A picture and an array are not copied: they are read when it is their turn, and only read.

    Raises:
        TypeError: it is none of these, or an array of another dtype.
        ValueError: an array of another shape.

    >>> as_input("cat.jpg")
    Input(path='cat.jpg', given=True, is_stdin=False)
    >>> as_input(np.zeros((20, 30, 3), np.uint8)).name
    '<array>'
    """
    if isinstance(value, Input):
        return value
    if isinstance(value, str | os.PathLike):
        return named(os.fsdecode(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return Input(None, content=bytes(value))
    if isinstance(value, Image.Image):
        return Input(None, content=value)
    if isinstance(value, np.ndarray):
        return Input(None, content=_checked(value))
    raise TypeError(f"an input is {_ACCEPTED}, not {type(value).__name__}")


def expand(
    inputs: Source | Iterable[Source],
    recursive: bool = False,
    skipped: Skipped | None = None,
    access: Access | None = None,
) -> Iterator[Input]:
    """Every image that is meant, in order and lazily: the images of a folder where a path names one.

    Args:
        inputs: one input (see `as_input`) or an iterable of them.  A "-" is a file of that name.
        recursive: descend into the folders inside folders.
        skipped: is told what was seen in folders and not taken.
        access: how archives and addresses are read.

    Raises:
        TypeError: `inputs` is neither, at once; or one of them is no input, in its turn.
        ValueError: an array of a wrong shape, in its turn.
    """
    if isinstance(inputs, _ONE_INPUT):
        inputs = (inputs,)
    elif not isinstance(inputs, Iterable):
        raise TypeError(f"inputs are {_ACCEPTED}, or an iterable of them, not {type(inputs).__name__}")
    return _expanded(inputs, recursive, Skipped() if skipped is None else skipped, access)


def _expanded(inputs: Iterable[Source], recursive: bool, skipped: Skipped, access: Access | None) -> Iterator[Input]:
    for value in inputs:
        item = as_input(value)
        if isinstance(value, Input) or item.path is None:
            yield item
        else:
            yield from expand_path(item.address or item.path, recursive, skipped, access)


def read_ahead(inputs: Iterator[Input], access: Access) -> Iterator[Input]:
    """The same inputs; from the first one on that comes over a network or as a stream, they are read before their turn.

    Args:
        inputs: pulled lazily, by another thread from then on.
        access: how archives and addresses are read.
    """
    for item in inputs:
        if item.is_read_ahead:
            from vggcli.images import ahead

            yield from ahead.read_ahead(chain((item,), inputs), access)
            return
        yield item


def _checked(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise TypeError(f"an array is uint8 (H, W, 3) in RGB, values 0 to 255, not {array.dtype}")
    if array.ndim != 3 or array.shape[2] != 3:
        hint = "; give the images of a batch one by one: list(batch)" if array.ndim == 4 else ""
        raise ValueError(f"an array is uint8 (H, W, 3) in RGB, not of shape {array.shape}{hint}")
    return np.asarray(array)
