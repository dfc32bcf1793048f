"""What bytes tell without a decoder: whether they begin an image, what else they are, whether their end is missing."""

from __future__ import annotations

import os
from typing import IO

HEAD_BYTES = 16  # enough for `is_image`

_JP2 = b"\0\0\0\x0cjP  "
_TIFF = (b"II*\0", b"MM\0*")

# How images begin, and what stands at the end of whole ones where the format has such a mark.  BMP is missing: its two
# letters begin texts as well.
_IMAGES: tuple[tuple[bytes, bytes], ...] = (
    (b"\xff\xd8\xff", b"\xff\xd9"),
    (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"),
    (b"GIF8", b"\0;"),
    (b"qoif", b"\0\0\0\0\0\0\0\1"),
    (b"\xff\x4f\xff\x51", b"\xff\xd9"),  # a bare JPEG 2000 codestream
    (b"8BPS", b""),
    *((beginning, b"") for beginning in (_JP2, *_TIFF)),
)

_FOREIGN = (
    (b"<!doctype html", "it is an HTML page"),
    (b"<html", "it is an HTML page"),
    (b"<svg", "it is an SVG drawing, which has no pixels"),
    (b"<?xml", "it is an XML document"),
    (b"%pdf", "it is a PDF document"),
    (b"%!ps", "it is a PostScript program, which is never run"),
    (b"version https://git-lfs", "it is a Git LFS pointer; `git lfs pull` fetches the image"),
    (b"pk\x03\x04", "it is a zip archive"),
    (b"\x1f\x8b", "it is gzip-compressed data"),
)
_HEIC_BRANDS = (b"heic", b"heix", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")


def is_image(head: bytes) -> bool:
    """Whether a file that begins with these bytes is an image: enough to find a photo under a foreign name."""
    return head.startswith(tuple(beginning for beginning, _ in _IMAGES)) or _is_webp(head)


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def describe(head: bytes) -> str:
    """Why the file that begins with these bytes is no image that can be decoded, in words."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for prefix, words in _FOREIGN:
        if text.startswith(prefix):
            return words
    if head[4:8] == b"ftyp":
        if head[8:12] in _HEIC_BRANDS:
            return "it is a HEIC image, which Pillow does not decode; convert it to JPEG first"
        if head[8:12] in _AVIF_BRANDS:
            return "it is a broken AVIF image, or this Pillow decodes none"
        return "it is a video or audio file"
    if not head.strip(b"\0"):
        return "it holds only zero bytes"
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    return "it is a text file" if printable == len(head) else "no decoder knows its format"


def ends_early(stream: IO[bytes]) -> bool:
    """Whether a file that could not be decoded lacks its end, as far as its format lets one know."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    for beginning, ending in _IMAGES:
        if ending and head.startswith(beginning):
            stream.seek(max(0, size - 64))
            return ending not in stream.read()
    if _is_webp(head):
        return size < 8 + int.from_bytes(head[4:8], "little")
    if head.startswith(_TIFF):
        return size <= int.from_bytes(head[4:8], "little" if head[:1] == b"I" else "big")  # where its directory begins
    if head.startswith(_JP2) or (head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS):
        return _last_box_is_cut(stream, size)
    return False


def _last_box_is_cut(stream: IO[bytes], size: int) -> bool:
    """ISO base media files and JP2 are boxes in a row, each behind its length."""
    position = 0
    while position + 8 <= size:
        stream.seek(position)
        length = int.from_bytes(stream.read(4), "big")
        if length < 8:
            return False  # 0: up to the end of the file; 1: a length of 64 bits, for which no image has a need
        position += length
    return position != size
