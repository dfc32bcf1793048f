"""How large an image may be; apart from the decoders, so that `vgg --help` can say it without loading them."""

from __future__ import annotations

DEFAULT_MAX_PIXELS = 89_478_485  # Pillow's own limit: a quarter of a GiB of 3-byte pixels
MAX_BYTES_IN_MEMORY = 1 << 30  # read from a pipe, whose end cannot be known
