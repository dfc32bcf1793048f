"""What the bytes of a file that no decoder reads tell about it: what it is instead, and whether its end is missing."""

from __future__ import annotations

import os
from typing import IO

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

# How whole files of these formats end, by how they begin.
_ENDINGS = (
    (b"\xff\xd8\xff", b"\xff\xd9"),
    (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"),
    (b"GIF8", b"\0;"),
    (b"qoif", b"\0\0\0\0\0\0\0\1"),
    (b"\xff\x4f\xff\x51", b"\xff\xd9"),  # a bare JPEG 2000 codestream
)
_JP2 = b"\0\0\0\x0cjP  "


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
    head = stream.read(16)
    for beginning, ending in _ENDINGS:
        if head.startswith(beginning):
            stream.seek(max(0, size - 64))
            return ending not in stream.read()
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return size < 8 + int.from_bytes(head[4:8], "little")
    if head[:4] in (b"II*\0", b"MM\0*"):
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
