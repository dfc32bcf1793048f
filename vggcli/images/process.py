"""What a program whose process is its own sets in Pillow; the library itself leaves everything as it is."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import EpsImagePlugin, Image, _imaging


@contextmanager
def own_process(max_pixels: int) -> Iterator[None]:
    """For the command, not for a library: Pillow's settings of this process, as they were again afterwards.

    * Pictures inside other files (icons, tiles, frames) are held against `max_pixels` before they are decoded.  Without
      this Pillow's own limit is the bound for them, twice `PIL.Image.MAX_IMAGE_PIXELS`.
    * Pillow's warnings, of which the records say what matters, stay off standard error.
    * libtiff's messages, which name no file, stay off it as well; the failed file's row says what there is to say.
    * No Ghostscript is ever looked for, a second wall behind `formats.REFUSED_FORMATS`.
    """
    pixels, ghostscript = Image.MAX_IMAGE_PIXELS, EpsImagePlugin.gs_binary
    with warnings.catch_warnings(), _silent_libtiff():
        warnings.filterwarnings("ignore", module=r"PIL\..*")
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        # Pillow refuses above twice this figure.
        Image.MAX_IMAGE_PIXELS = max(1, (max_pixels + 1) // 2)
        EpsImagePlugin.gs_binary = False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, EpsImagePlugin.gs_binary = pixels, ghostscript


@contextmanager
def _silent_libtiff() -> Iterator[None]:
    """Without the lines that libtiff prints by itself, where its functions can be found beside Pillow's."""
    try:
        library = ctypes.CDLL(_imaging.__file__)
        setters = [getattr(library, name) for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler")]
    except (OSError, AttributeError):  # linked into Pillow without a name, or a Pillow without it
        yield
        return
    for setter in setters:
        setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
    before = [setter(None) for setter in setters]
    try:
        yield
    finally:
        for setter, handler in zip(setters, before, strict=True):
            setter(handler)
