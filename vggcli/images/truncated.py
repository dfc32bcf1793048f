"""Pictures whose data ends early: found out for each one, and read as far as they go where that is allowed.

Pillow has a switch for this, `ImageFile.LOAD_TRUNCATED_IMAGES`, for all threads and all users of the process at once.
Here each picture's own reader sees the end, whatever the switch says, and what was decoded until then stays.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable

from PIL import ImageFile, JpegImagePlugin, PngImagePlugin

_END_OF_JPEG = b"\xff\xd9"


class DataEndsError(OSError):
    """The decoder asked for more data than there is."""


class _Reader:
    """What a decoder reads with: tells that the data ended.

    Args:
        picture: not loaded yet.
        finish: give a JPEG decoder the end of an image once, so that it hands out what it holds back.
    """

    def __init__(self, picture: ImageFile.ImageFile, finish: bool) -> None:
        self._picture = picture
        is_jpeg = isinstance(picture, JpegImagePlugin.JpegImageFile)
        # A JPEG's own reader ends early images itself while Pillow's switch is on.
        self._plugins = None if is_jpeg else getattr(picture, "load_read", None)
        self._finishes = finish and is_jpeg
        self.ended = False

    def __call__(self, count: int) -> bytes:
        data = b""
        with contextlib.suppress(IndexError, struct.error):  # a PNG's chunk that is cut
            data = (self._plugins or self._picture.fp.read)(count)  # type: ignore[union-attr]
        if data:
            return data
        if self.ended or not self._finishes:
            self.ended = True
            raise DataEndsError("image file is truncated")
        self.ended = True
        return _END_OF_JPEG


def load(picture: ImageFile.ImageFile, allow_truncated: bool, is_cut: Callable[[Exception], bool]) -> bool:
    """Like `picture.load()`; whether the data ended early, which only `allow_truncated` lets pass.

    What was not decoded is black, or what the decoder makes of it.

    Args:
        picture: its header read, its pixels not.
        allow_truncated: keep what was decoded until the data ended.
        is_cut: whether an error of a decoder comes from a missing end.

    Raises:
        DataEndsError: the data ended early.
        Exception: whatever else the decoder raises.
    """
    if not picture.tile:  # the plugin decodes by itself, and gives all or nothing
        picture.load()
        return False
    reader = _Reader(picture, allow_truncated)
    setattr(picture, "load_read", reader)  # noqa: B010  what Pillow looks for, undeclared
    try:
        picture.load()
    except (OSError, SyntaxError) as error:
        if not (allow_truncated and _left_pixels(picture, error) and (reader.ended or is_cut(error))):
            raise
        if picture.tile:
            picture.tile = []  # nothing more to decode
            with contextlib.suppress(OSError):
                picture.load_end()
        return True
    finally:
        with contextlib.suppress(AttributeError):
            delattr(picture, "load_read")  # which holds the picture in turn
    return reader.ended


def _left_pixels(picture: ImageFile.ImageFile, error: Exception) -> bool:
    """Whether the picture holds what was decoded before the error."""
    if isinstance(error, DataEndsError):
        return True
    if isinstance(error, OSError):
        # Without a tile left, all were tried; but the disk's errors are no decoder's.
        return not picture.tile and not error.errno
    return isinstance(picture, PngImagePlugin.PngImageFile)  # the next chunk is broken
