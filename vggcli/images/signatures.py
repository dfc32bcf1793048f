"""What bytes tell without a decoder: whether they begin an image, what else they are, whether their end is missing."""

from __future__ import annotations

import os
from typing import IO

from vggcli.images import jpeg
from vggcli.images.limits import MAX_SEGMENTS

HEAD_BYTES = 16  # enough for `is_image`

_PNG_CHECKSUM_BYTES = 4
_PNG = b"\x89PNG\r\n\x1a\n"
_JP2 = b"\0\0\0\x0cjP  "
_TIFF = (b"II*\0", b"MM\0*")

# How images begin, and what stands at the end of whole ones where the format has such a mark.  BMP is missing: its two
# letters begin texts as well.
_IMAGES: tuple[tuple[bytes, bytes], ...] = (
    (jpeg.BEGINNING, b"\xff\xd9"),
    (_PNG, b"IEND"),  # and a checksum, whatever it is
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
# ISO base media files by their brand, https://mp4ra.org/registered-types/brands; others are films or sound.
_AVIF_BRANDS = (b"avif", b"avis")
_BRANDS = {
    "a HEIC image": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
    "an AVCI image (HEIF with H.264)": (b"avci", b"avcs"),
    "a HEIF image with JPEG 2000": (b"j2ki", b"j2is"),
    "a HEIF image with JPEG": (b"jpeg", b"jpgs"),
    "a HEIF image with JPEG XS": (b"jxsi", b"jxss"),
    "a HEIF image with VVC": (b"vvic", b"vvis"),
    "a HEIF image with EVC": (b"evbi", b"evbs", b"evmi", b"evms"),
    "a CR3 raw photo": (b"crx ",),
    "a HEIF image": (b"mif1", b"mif2", b"mif3", b"msf1", b"miaf", b"MiHB", b"MiHA", b"MiHE", b"1pic", b"pict"),
}
_LARGE_BYTES = 32 << 20
_JXL = (b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a")
_UNDECODED = ", which Pillow does not decode; convert it to JPEG first"


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
        return _of_brand(head)
    if head.startswith(_JXL):
        return "it is a JPEG XL image" + _UNDECODED
    if not head.strip(b"\0"):
        return "it holds only zero bytes"
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    return "it is a text file" if printable == len(head) else "no decoder knows its format"


def _of_brand(head: bytes) -> str:
    """What the box at the beginning says: the brands that the file fits, the general ones last."""
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(len(head), int.from_bytes(head[:4], "big")), 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return "it is a broken AVIF image, or this Pillow decodes none"
    for name, theirs in _BRANDS.items():
        if any(brand in theirs for brand in brands):
            return f"it is {name}{_UNDECODED}"
    return "it is a video or audio file"


def is_read_whole(stream: IO[bytes]) -> bool:
    """Whether this is a large file of a format that Pillow reads into memory before it can say anything of it."""
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    is_one = _is_webp(head) or head[4:8] == b"ftyp"
    return is_one and stream.seek(0, os.SEEK_END) > _LARGE_BYTES


def ends_early(stream: IO[bytes]) -> bool:
    """Whether a file that could not be decoded lacks its end, as far as its format lets one know."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    for beginning, ending in _IMAGES:
        if ending and head.startswith(beginning):
            stream.seek(max(0, size - 64))
            if ending in stream.read()[: -_PNG_CHECKSUM_BYTES if beginning == _PNG else None]:
                return False
            # Behind the end may stand more: a second picture, a film, padding.
            if beginning == jpeg.BEGINNING:
                return not jpeg.has_end(stream)
            return beginning != _PNG or not _has_last_chunk(stream, size)
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
    for _ in range(MAX_SEGMENTS):  # a photo has dozens
        if position + 8 > size:
            return position != size
        stream.seek(position)
        length = int.from_bytes(stream.read(4), "big")
        if length < 8:
            return False  # 0: up to the end of the file; 1: a length of 64 bits, for which no image has a need
        position += length
    return False


def _has_last_chunk(stream: IO[bytes], size: int) -> bool:
    """PNG is chunks in a row, each behind its length."""
    position = len(_PNG)
    for _ in range(MAX_SEGMENTS):
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return position + 12 <= size
        position += 12 + int.from_bytes(head[:4], "big")
    return True
