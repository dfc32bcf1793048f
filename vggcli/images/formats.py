"""Which formats are opened, and how: `PIL.Image.open` without what is process-wide in it.

`Image.open` holds every picture against one limit of the process and warns through one list of filters; here the
loader has its own limit, and nothing warns.  Pillow's plugins are loaded as `Image.open` would load them: that they are
registered is all that a process can see of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import IO

from PIL import Image, ImageFile, UnidentifiedImageError

# Formats that Pillow loads first; the others are tried only when none of these fits, since loading them takes time.
COMMON_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
# Never opened: EPS runs an external program, IPTC opens what it wraps as any format, EPS among them, and the others
# only name a format that something else would have to decode.
REFUSED_FORMATS = frozenset(("EPS", "IPTC", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"))

# What plugins raise at a file that is of another format, and `Image.open` takes for that.
_NOT_THIS_FORMAT = (SyntaxError, IndexError, TypeError, struct.error)


def identify(stream: IO[bytes]) -> ImageFile.ImageFile:
    """The picture in a stream that can seek, its header read and not yet its pixels.

    Raises:
        UnidentifiedImageError: it is of no format that is opened here.
        Exception: whatever else a plugin raises at a broken header.
    """
    Image.preinit()
    picture = _first_fit(stream, COMMON_FORMATS)
    if picture is None:
        Image.init()
        picture = _first_fit(stream, (name for name in Image.ID if name not in COMMON_FORMATS))
    if picture is None:
        raise UnidentifiedImageError
    return picture


def _first_fit(stream: IO[bytes], formats: Iterable[str]) -> ImageFile.ImageFile | None:
    stream.seek(0)
    prefix = stream.read(16)
    for name in formats:
        if name in REFUSED_FORMATS:
            continue
        factory, accept = Image.OPEN[name]
        try:
            # A text is a plugin's word for a format that it knows and this build cannot decode.
            fits = accept is None or accept(prefix)
            if fits and not isinstance(fits, str):
                stream.seek(0)
                return factory(stream, "")
        except _NOT_THIS_FORMAT:
            continue
    return None
