"""How large an image may be; apart from the decoders, so that `vgg --help` can say it without loading them."""

from __future__ import annotations

DEFAULT_MAX_PIXELS = 89_478_485  # Pillow's own limit: a quarter of a GiB of 3-byte pixels
DEFAULT_MAX_BYTES = 1 << 30  # of an image file, also of one on standard input, whose end cannot be known
# Of one JPEG: libtiff refuses more as well; encoders that try hard (mozjpeg, jpegtran's scripts) write about a dozen.
MAX_SCANS = 100
# Of an image of as many pixels as are allowed, at most: each row of Pillow's takes 12 bytes, however narrow it is.
PIXELS_PER_ROW = 4
MAX_SEGMENTS = 10_000  # of a JPEG, chunks of a PNG, boxes of an AVIF: more are not counted in Python


class BombError(Exception):
    """A small file whose picture would cost too much; says what it has too much of."""


DEFAULT_TIMEOUT = 60.0  # seconds for one object behind an address, all tries together
# Of what is compressed in an archive: deflate reaches 1032, and pictures stay below 10 unless they are blank.
MAX_RATIO = 200
FREE_BYTES = 16 << 20  # may come out of whatever few bytes
