"""What is said of a file that is no image, and how a missing end is told from damage."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vggcli.images.signatures import HEAD_BYTES, describe, ends_early, is_image

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
# Formats that say where they end.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "AVIF", "JPEG2000")


def saved(format: str, **options: object) -> bytes:
    file = io.BytesIO()
    PHOTO.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"<!DOCTYPE html><html>", "HTML page"),
        (b"\xef\xbb\xbf\r\n <HTML>", "HTML page"),
        (b"<svg xmlns=", "SVG drawing"),
        (b"<?xml version=", "XML document"),
        (b"%PDF-1.7\n\xe2", "PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript program, which is never run"),
        (b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull`"),
        (b"PK\x03\x04\x14\0", "zip archive"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\0\0\0\x18ftypheic\0\0", "HEIC image"),
        (b"\0\0\0\x18ftypavif\0\0", "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC image"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypmif3\0\0", "HEIF image"),
        (b"\0\0\0\x18ftypavci\0\0", "AVCI image"),
        (b"\0\0\0\x18ftypj2ki\0\0", "HEIF image with JPEG 2000"),
        (b"\0\0\0\x18ftypvvic\0\0", "HEIF image with VVC"),
        (b"\0\0\0\x18ftypcrx \0\0", "CR3 raw photo"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0", "JPEG XL image"),
        (b"\0\0\0\x18ftypisom\0\0", "video or audio"),
        (b"\0" * 100, "only zero bytes"),
        (b"hello, world\n", "text file"),
        (b"\x7fELF\x02\x01", "no decoder knows its format"),
    ],
)
def test_a_foreign_file_is_called_by_its_name(head: bytes, words: str) -> None:
    assert words in describe(head)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "JPEG2000", "QOI"])
def test_an_image_is_known_by_its_first_bytes(format: str) -> None:
    data = saved(format)
    assert is_image(data[:HEAD_BYTES])
    assert not is_image(data[1:])


@pytest.mark.parametrize("head", [b"", b"BM a text", b"RIFF\0\0\0\0WAVE", b"\x89PN", b"text"])
def test_other_first_bytes_are_no_image(head: bytes) -> None:
    assert not is_image(head)


@pytest.mark.parametrize("format", FORMATS)
def test_a_whole_file_ends_where_it_should(format: str) -> None:
    assert not ends_early(io.BytesIO(saved(format)))


@pytest.mark.parametrize("format", FORMATS)
def test_a_cut_file_is_known_wherever_it_was_cut(format: str) -> None:
    # TIFF's directory stands at the end, and its decoder notices a cut before that.
    data = saved(format, **({"compression": "tiff_lzw"} if format == "TIFF" else {}))
    last = int.from_bytes(data[4:8], "little") if format == "TIFF" else len(data) - 1
    for size in [*range(20, last, max(1, last // 50)), last]:
        assert ends_early(io.BytesIO(data[:size])), size


@pytest.mark.parametrize("data", [b"", b"\xff", b"BM", b"text", b"RIFF", b"II*\0"])
def test_scraps_say_nothing_about_their_end(data: bytes) -> None:
    assert not ends_early(io.BytesIO(data))


def test_a_wrong_checksum_at_the_end_is_no_missing_end() -> None:
    data = saved("PNG")
    assert not ends_early(io.BytesIO(data[:-1] + bytes((data[-1] ^ 1,))))
    assert not ends_early(io.BytesIO(data[:-4] + b"\1\2\3\4" + bytes(500)))


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_an_end_counts_wherever_it_stands(format: str) -> None:
    """Behind it may stand padding, a second picture, a film."""
    data = saved(format)
    assert not ends_early(io.BytesIO(data + bytes(500)))
    assert ends_early(io.BytesIO(data[: len(data) // 2] + bytes(500)))


def test_an_end_inside_a_segment_is_not_the_end() -> None:
    data = saved("JPEG", comment=b"\xff\xd9" * 50)
    assert ends_early(io.BytesIO(data[: len(data) // 2]))
