"""Images that end early: found out whatever Pillow's switch says, and read as far as they go where that is allowed."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_examples import failure, gradient, noise, saved
from numpy.typing import NDArray
from PIL import Image, ImageFile

from vggcli.errors import InputError
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.discover import Input
from vggcli.images.open import _Memory

WAYS = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("GIF", {}),
    ("WEBP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("BMP", {}),
    ("JPEG2000", {}),
    ("QOI", {}),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("format", "options"), WAYS)
def test_a_photo_that_ends_early_is_truncated_wherever_it_ends(
    tmp_path: Path, format: str, options: dict[str, Any]
) -> None:
    data = saved(noise(50, 40), format, **options)
    for part in (0.2, 0.4, 0.6, 0.8, 0.95):
        (tmp_path / "a").write_bytes(data[: int(len(data) * part)])
        assert failure(tmp_path / "a").kind == "truncated", part


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP"])
def test_allow_truncated_reads_what_there_is_and_says_so(tmp_path: Path, format: str) -> None:
    data = saved(noise(224, 224), format)
    (tmp_path / "cut").write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / "whole").write_bytes(data)
    loader = ImageLoader(Decoding(allow_truncated=True))
    whole, cut = (loader.load(Input(str(tmp_path / name))) for name in ("whole", "cut"))
    assert (whole.truncated, cut.truncated) == (False, True)
    rows_as_in_the_whole = (cut.pixels == whole.pixels).all(axis=(1, 2)).sum()
    assert 100 < rows_as_in_the_whole < 200


def test_allow_truncated_gives_up_where_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(saved(gradient(), "JPEG")[:30])
    error = failure(tmp_path / "a.jpg", allow_truncated=True)
    assert (error.kind, error.why) == ("truncated", "the image data ends too early to read any of it")


def of_pillow(data: bytes) -> NDArray[np.uint8] | None:
    """What Pillow itself makes of an image with its switch on; None when it gives up."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGB"))
    except Exception:
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


LIKE_PILLOW = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"subsampling": 0, "quality": 30}),
    ("MPO", {"save_all": True, "append_images": [gradient(90, 60)]}),
    ("PNG", {}),
    ("PNG", {"save_all": True, "append_images": [gradient(90, 60)]}),
    ("GIF", {}),
    ("BMP", {}),
    ("PPM", {}),
    ("TIFF", {}),
    ("TGA", {"compression": "tga_rle"}),
    ("TGA", {"orientation": 1}),
    ("JPEG2000", {}),
]


@pytest.mark.parametrize(("format", "options"), LIKE_PILLOW)
def test_what_there_is_equals_what_pillows_switch_gives(format: str, options: dict[str, Any]) -> None:
    data = saved(noise(90, 60), format, **options)
    loader = ImageLoader(Decoding(allow_truncated=True), keep_picture=True)
    read = 0
    for size in range(len(data) // 4, len(data), len(data) // 40):
        try:
            decoded = loader.load(Input(None, content=data[:size]))
        except InputError:
            continue  # too early
        theirs = of_pillow(data[:size])
        assert decoded.picture is not None
        assert theirs is not None
        assert (decoded.picture == theirs).all(), size
        read += decoded.truncated
    assert read > 5


@pytest.mark.parametrize("cut", range(13))
def test_a_png_that_ends_anywhere_around_a_chunks_header(cut: int) -> None:
    """Length, name and checksum may each be cut; the rows before them are there."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = zlib.compress((b"\0" + np.arange(270, dtype=np.uint8).tobytes()) * 60, 0)
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 90, 60, 8, 2, 0, 0, 0))
    first = header + chunk(b"IDAT", rows[:8000])
    data = (first + chunk(b"IDAT", rows[8000:]))[: len(first) - 4 + cut]

    with pytest.raises(InputError, match="ends early"):
        ImageLoader(Decoding()).load(Input(None, content=data))
    decoded = ImageLoader(Decoding(allow_truncated=True), keep_picture=True).load(Input(None, content=data))
    assert decoded.truncated
    assert decoded.picture is not None
    expected = np.arange(270, dtype=np.uint8).reshape(90, 3)
    assert (decoded.picture[:29] == expected).all()
    assert not decoded.picture[31:].any()


@pytest.fixture
def host_allows_truncated() -> Iterator[None]:
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    yield
    ImageFile.LOAD_TRUNCATED_IMAGES = False


@pytest.mark.usefixtures("host_allows_truncated")
@pytest.mark.parametrize("format", ["JPEG", "MPO", "PNG", "GIF", "BMP", "PPM"])
def test_a_host_that_loads_truncated_images_does_not_hide_them_from_us(format: str) -> None:
    data = saved(noise(90, 60), format)
    loader = ImageLoader(Decoding())
    assert not loader.load(Input(None, content=data)).truncated
    with pytest.raises(InputError) as caught:
        loader.load(Input(None, content=data[: len(data) // 2]))
    assert caught.value.kind == "truncated"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_tolerance_for_one_photo_does_not_leak_into_its_neighbours(tmp_path: Path) -> None:
    data = saved(noise(64, 64), "PNG")
    paths = [tmp_path / f"{number}.png" for number in range(60)]
    for number, path in enumerate(paths):
        path.write_bytes(data if number % 2 else data[: len(data) // 2])
    tolerant, strict = ImageLoader(Decoding(allow_truncated=True)), ImageLoader(Decoding())

    def look(path: Path) -> tuple[bool, bool]:
        flagged = tolerant.load(Input(str(path))).truncated
        try:
            strict.load(Input(str(path)))
        except InputError:
            return flagged, True
        return flagged, False

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(look, paths)) == [(True, True), (False, False)] * 30


def test_an_icon_gives_all_or_nothing_and_never_a_black_picture() -> None:
    data = saved(gradient(64, 64), "ICO", bitmap_format="bmp")
    loader = ImageLoader(Decoding(allow_truncated=True))

    assert not loader.load(Input(None, content=data)).truncated
    for size in range(100, len(data) - 600, 500):
        with pytest.raises(InputError):
            loader.load(Input(None, content=data[:size]))


def test_a_disk_that_fails_is_no_truncated_image(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(noise(224, 224), "BMP")

    class Failing(_Memory):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 60_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    monkeypatch.setattr("vggcli.images.open._Memory", Failing)
    with pytest.raises(InputError) as caught:
        ImageLoader(Decoding(allow_truncated=True)).load(Input(None, content=data))
    assert (caught.value.kind, caught.value.why) == ("unreadable", "the system says: input/output error")
