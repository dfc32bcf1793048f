"""Bytes of decoded pictures that may exist at a time: one sum over all decoding threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import ExifTags, Image

from vggcli.images.attempt import Attempt

DECODED_BYTES = 512 << 20  # ten photos of 12 megapixels; a larger picture is decoded alone
_ROW_POINTER_BYTES = 8
_BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # 4 in the other modes
_NUMBERS = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")

_SUPPORT = {"nearest": 0.0, "box": 0.5, "bilinear": 1.0, "hamming": 1.0, "bicubic": 2.0, "lanczos": 3.0}  # pixels


class Budget:
    """Reservations in turn; one that is larger than the whole is given alone.

    Args:
        total: bytes.
    """

    def __init__(self, total: int = DECODED_BYTES) -> None:
        self._total = total
        self._changed = threading.Condition()
        self._held: dict[Attempt, int] = {}
        self._queue: deque[Attempt] = deque()

    @contextmanager
    def reserve(self, nbytes: int, attempt: Attempt) -> Iterator[None]:
        """Wait until there is room, and hold it inside, or until the attempt is given up.

        The wait does not count as the attempt's time.  An attempt may raise what it holds already, and does not
        queue again for it.

        Raises:
            GivenUpError: the attempt was given up.
        """
        if attempt in self._held:
            with self._changed:
                self._held[attempt] = max(nbytes, self._held[attempt])
            yield
            return
        attempt.wait()
        attempt.when_given_up(lambda: self._release(attempt))
        with self._changed:
            self._queue.append(attempt)
            try:
                self._changed.wait_for(lambda: self._queue[0] is attempt and self._has_room(nbytes))
                self._held[attempt] = nbytes
            finally:
                self._queue.remove(attempt)
                self._changed.notify_all()
        attempt.begin()
        try:
            attempt.check()
            yield
        finally:
            self._release(attempt)

    def _has_room(self, nbytes: int) -> bool:
        return not self._held or sum(self._held.values()) + nbytes <= self._total

    def _release(self, attempt: Attempt) -> None:
        with self._changed:
            self._held.pop(attempt, None)
            self._changed.notify_all()


def decoding_bytes(picture: Image.Image, turns: bool = True) -> int:
    """About what decoding a picture and bringing it to RGB takes in memory, in bytes; its header is enough for it.

    Args:
        picture: opened, loaded or not.
        turns: the EXIF orientation is applied.
    """
    pixels, mode, bands = picture.width * picture.height, picture.mode, len(picture.getbands())
    stored = _stored_bytes(picture, _BYTES_PER_PIXEL.get(mode, 4))
    total = stored
    if picture.format in ("JPEG", "MPO") and picture.info.get("progressive"):
        total += 2 * bands * pixels  # coefficients of 16 bits
    elif picture.format == "JPEG2000":
        total += 4 * bands * pixels  # samples of 32 bits
    elif picture.format in ("WEBP", "AVIF"):
        total += 8 * pixels  # the decoder's picture, and a copy of it in one piece
    elif picture.format == "TIFF":
        total += stored  # a strip may be the whole picture
    if mode in _NUMBERS:
        total += pixels
    elif mode not in ("RGB", "L"):
        total += _stored_bytes(picture, 4)
    # Asking others than these for their metadata would decode the picture.
    return total + stored * (turns and "exif" in picture.info and orientation(picture) != 1)


def resizing_bytes(size: tuple[int, int], resized: tuple[int, int], interpolation: str) -> int:
    """About what resizing takes in memory beside the picture, in bytes.

    That is the result, what lies between the horizontal and the vertical pass, and a weight of 8 bytes for every pixel
    under the filter at every new one, as in Pillow's Resample.c.

    Args:
        size, resized: width and height before and after.
        interpolation: name of a filter of Pillow's.
    """
    support = _SUPPORT[interpolation]
    weights = sum(new * (2 * support * max(1, old / new) + 1) for old, new in zip(size, resized, strict=True))
    return 4 * resized[0] * (resized[1] + size[1]) + 8 * round(weights)


def _stored_bytes(picture: Image.Image, bytes_per_pixel: int) -> int:
    row = -(-picture.width * bytes_per_pixel // 4) * 4  # Pillow pads rows to 4 bytes
    return picture.height * (row + _ROW_POINTER_BYTES)


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 for upright."""
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:
        return 1  # unreadable metadata is no reason to refuse a readable picture
