"""The border to every decoder: whatever one throws at a broken image becomes this image's failure."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from PIL import Image, UnidentifiedImageError

from vggcli.errors import InputError
from vggcli.images import jpeg, signatures
from vggcli.images.attempt import GivenUpError
from vggcli.images.discover import Input
from vggcli.images.limits import BombError
from vggcli.images.open import from_system

# What decoders say of a file that ends before its picture does.
_TRUNCATED = ("truncat", "unexpected end", "end of file", "not enough", "incomplete", "but only got", "eof")
_HINT = "early (--allow-truncated reads what there is)"


class TooManyPixelsError(Exception):
    """More pixels than a loader takes; says what has them."""


@contextmanager
def as_input_errors(item: Input, stream: IO[bytes] | None, *, max_pixels: int, allow_truncated: bool) -> Iterator[None]:
    """Turn what a decoder raises into an `InputError`; a `MemoryError` stays one.

    Args:
        item: the input.
        stream: its file, open; None for a picture or an array.
        max_pixels, allow_truncated: see `Decoding`.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except GivenUpError as error:
        raise InputError("timeout", item.name, str(error)) from error
    except BombError as error:
        raise InputError("bomb", item.name, str(error)) from error
    except TooManyPixelsError as error:
        raise InputError("bomb", item.name, f"{error} more than {max_pixels} pixels") from error
    except Image.DecompressionBombError as error:  # for a picture inside, by the limit of the process
        pillows = 2 * (Image.MAX_IMAGE_PIXELS or max_pixels)
        whose = f"{max_pixels} pixels" if pillows >= max_pixels else f"the {pillows} pixels that Pillow allows here"
        raise InputError("bomb", item.name, f"it has more than {whose}") from error
    except Exception as error:
        raise _from_decoder(error, item, stream, allow_truncated) from error


def _from_decoder(error: Exception, item: Input, stream: IO[bytes] | None, allow_truncated: bool) -> InputError:
    # The system refuses what a broken file asks for (a place before its beginning); the rest is the disk's.
    if isinstance(error, OSError) and error.errno and error.errno != errno.EINVAL:
        return from_system(error, item)
    if is_cut(error, stream):
        hint = "too early to read any of it" if allow_truncated else _HINT
        return InputError("truncated", item.name, f"the image data ends {'early' if stream is None else hint}")
    if isinstance(error, UnidentifiedImageError) and stream is not None:
        stream.seek(0)
        return InputError("unsupported", item.name, signatures.describe(stream.read(512)))
    return InputError("damaged", item.name, f"its data cannot be decoded ({_text(error)})")


def is_cut(error: Exception, stream: IO[bytes] | None) -> bool:
    """Whether a decoder's error comes from data that ends early, by its words or by the end of the file."""
    says_so = any(words in _text(error).lower() for words in _TRUNCATED)
    if stream is None:
        return says_so
    position = stream.tell()
    try:
        # The end of a JPEG can be found for certain, whatever the decoder says.
        return (says_so and not jpeg.is_jpeg(stream)) or signatures.ends_early(stream)
    finally:
        stream.seek(position)


def _text(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
