"""The markers of a JPEG, walked as libjpeg walks them: how many scans there are, and whether the end is there.

A progressive JPEG of a few megabytes may hold tens of thousands of scans, each of which costs a pass over the whole
picture; a walk over its markers costs one pass over the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from vggcli.images.limits import MAX_SCANS, MAX_SEGMENTS, BombError

BEGINNING = b"\xff\xd8\xff"

_SOF = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF))
_SEQUENTIAL = frozenset((0xC0, 0xC1, 0xC9))
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# The next marker with a length, in front of it rests of data; restart markers and stuffed bytes (ff 00) belong to them.
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_CHUNK_BYTES = 1 << 16


def is_jpeg(stream: IO[bytes]) -> bool:
    """Whether it begins like one."""
    stream.seek(0)
    return stream.read(len(BEGINNING)) == BEGINNING


def check_scans(stream: IO[bytes]) -> None:
    """Refuse a JPEG whose decoding costs more passes than its picture is worth; others are left alone.

    Raises:
        BombError: more than `MAX_SCANS`, or so many segments that counting them costs too much.
    """
    if is_jpeg(stream):
        _check(stream)
        return
    stream.seek(0)
    if stream.read(4) == b"BLP1":  # it may hold a JPEG in pieces
        _check_pieces(stream)


def has_end(stream: IO[bytes]) -> bool:
    """Whether a JPEG's end stands behind its last scan."""
    try:
        return any(code == _EOI for code, _ in _markers(stream))
    except BombError:
        return True


def _check(stream: IO[bytes]) -> None:
    scans = components = 0
    sequential = False
    for code, body in _markers(stream):
        if code in _SOF:
            sequential, components = code in _SEQUENTIAL, body[5] if len(body) > 5 else 0
        elif code == _SOS:
            scans += 1
            if sequential and body[:1] == bytes((components,)):
                return  # the decoder reads one scan with all components, and nothing behind it
            if scans > MAX_SCANS:
                raise BombError(f"it has more than {MAX_SCANS} scans")


def _check_pieces(stream: IO[bytes]) -> None:
    stream.seek(0)
    scans, last = 0, b""
    while chunk := stream.read(_CHUNK_BYTES):
        scans += (last + chunk).count(b"\xff\xda")
        last = chunk[-1:]
        if scans > MAX_SCANS:
            raise BombError(f"it has more than {MAX_SCANS} scans")


def _markers(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Every marker with a length, with the first bytes of what follows it, and the end of the image."""
    position, start, chunk = len(BEGINNING) - 1, 0, b""
    for _ in range(MAX_SEGMENTS):
        while True:
            if not start <= position <= start + len(chunk) - 2:
                stream.seek(position)
                start, chunk = position, stream.read(_CHUNK_BYTES)
                if len(chunk) < 2:
                    return
            found = _MARKER.search(chunk, position - start)
            if found:
                break
            position = start + len(chunk) - 1  # which may begin a marker
        code, position = chunk[found.end() - 1], start + found.end()
        stream.seek(position)
        body = stream.read(8)
        if code == _EOI:
            yield code, b""
        if code in (_EOI, _SOI) or len(body) < 2:
            return
        yield code, body[2:]
        position += max(2, int.from_bytes(body[:2], "big"))
    raise BombError(f"it has more than {MAX_SEGMENTS} segments")
