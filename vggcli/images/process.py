"""What a program whose process is its own sets in Pillow; the library itself leaves everything as it is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import EpsImagePlugin, Image


@contextmanager
def own_process(max_pixels: int) -> Iterator[None]:
    """For the command, not for a library: Pillow's settings of this process, as they were again afterwards.

    * Pictures inside other files (icons, tiles, frames) are held against `max_pixels` before they are decoded.  Without
      this Pillow's own limit is the bound for them, twice `PIL.Image.MAX_IMAGE_PIXELS`.
    * Pillow's warnings, of which the records say what matters, stay off standard error.
    * No Ghostscript is ever looked for, a second wall behind `formats.REFUSED_FORMATS`.
    """
    pixels, ghostscript = Image.MAX_IMAGE_PIXELS, EpsImagePlugin.gs_binary
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\..*")
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        # Pillow refuses above twice this figure.
        Image.MAX_IMAGE_PIXELS = max(1, (max_pixels + 1) // 2)
        EpsImagePlugin.gs_binary = False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, EpsImagePlugin.gs_binary = pixels, ghostscript
