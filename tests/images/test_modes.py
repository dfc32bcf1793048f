"""Every mode becomes RGB by its documented rule; 16-bit and float pictures keep their contrast."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.discover import Input
from vggcli.images.modes import to_rgb

MODES = "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr HSV LAB I F I;16 I;16L I;16B I;16N".split()


def grey(picture: Image.Image) -> list[int]:
    """The values of a grey RGB picture."""
    array = np.asarray(to_rgb(picture))
    assert (array[..., :1] == array).all()
    return list(map(int, array[..., 0].ravel()))


def wide(values: list[int], mode: str = "I;16") -> Image.Image:
    """A row of 16-bit values in one of the byte orders."""
    order = {"I;16": "<u2", "I;16L": "<u2", "I;16B": ">u2", "I;16N": "=u2"}[mode]
    return Image.frombytes(mode, (len(values), 1), np.array(values, order).tobytes())


def floats(*values: float) -> Image.Image:
    return Image.fromarray(np.array([values], np.float32))


def integers(*values: int) -> Image.Image:
    return Image.fromarray(np.array([values], np.int32))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pillow_has_a_conversion(mode: str) -> None:
    picture = to_rgb(Image.new(mode, (5, 3)))
    assert (picture.mode, picture.size) == ("RGB", (5, 3))


@pytest.mark.parametrize("mode", "1 L LA P PA RGB RGBA RGBX CMYK YCbCr HSV".split())
def test_modes_of_eight_bits_convert_as_pillow_does(mode: str) -> None:
    bands = len(Image.new(mode, (1, 1)).getbands())
    values: NDArray[np.uint8] = np.random.default_rng(1).integers(0, 256, (6, 7, bands), np.uint8)
    picture = Image.frombytes(mode, (7, 6), values.tobytes()) if mode != "1" else Image.effect_noise((7, 6), 99)
    if mode in ("P", "PA"):
        picture.putpalette(bytes(range(256)) * 3)
    assert to_rgb(picture).tobytes() == picture.convert("RGB").tobytes()


def test_rgb_is_not_even_copied() -> None:
    picture = Image.new("RGB", (2, 2))
    assert to_rgb(picture) is picture


def test_transparency_is_ignored_and_the_colours_count() -> None:
    assert to_rgb(Image.new("RGBA", (1, 1), (9, 8, 7, 0))).getpixel((0, 0)) == (9, 8, 7)
    assert to_rgb(Image.new("LA", (1, 1), (9, 0))).getpixel((0, 0)) == (9, 9, 9)
    palette = Image.new("P", (1, 1), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.info["transparency"] = 1
    assert to_rgb(palette).getpixel((0, 0)) == (9, 8, 7)


def test_lab_goes_through_its_colour_profile() -> None:
    white, black = (to_rgb(Image.new("LAB", (1, 1), (light, 128, 128))).getpixel((0, 0)) for light in (255, 0))
    assert min(white) >= 254  # type: ignore[type-var,arg-type]
    assert max(black) <= 1  # type: ignore[type-var,arg-type]
    red = to_rgb(Image.new("LAB", (1, 1), (136, 208, 195))).getpixel((0, 0))
    assert red[0] > 200 > 60 > max(red[1:])  # type: ignore[index]


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_sixteen_bits_are_scaled_in_every_byte_order(mode: str) -> None:
    assert grey(wide([0, 128, 129, 257, 32768, 65535], mode)) == [0, 0, 1, 1, 128, 255]


def test_sixteen_bits_keep_256_steps_of_contrast() -> None:
    assert grey(wide([257 * step for step in range(256)])) == list(range(256))


def test_integers_count_as_sixteen_bits_while_they_fit() -> None:
    assert grey(integers(0, 257, 65535)) == [0, 1, 255]
    assert grey(integers(0, 200)) == [0, 1]


def test_other_integers_are_stretched_over_their_own_range() -> None:
    assert grey(integers(-1000, 0, 1000)) == [0, 128, 255]
    assert grey(integers(0, 2**31 - 1)) == [0, 255]
    assert grey(integers(-(2**31), 2**31 - 1)) == [0, 255]
    assert grey(integers(-5, -5)) == [0, 0]


def test_floats_are_taken_for_what_their_range_says() -> None:
    assert grey(floats(0, 0.5, 1)) == [0, 128, 255]
    assert grey(floats(0, 0.25)) == [0, 64]
    assert grey(floats(0, 100, 255)) == [0, 100, 255]
    assert grey(floats(-1, 0, 1)) == [0, 128, 255]
    assert grey(floats(0, 1e30)) == [0, 255]


def test_floats_that_are_no_numbers_do_no_harm() -> None:
    nan, infinity = float("nan"), float("inf")
    assert grey(floats(nan, 0, 1)) == [0, 0, 255]
    assert grey(floats(infinity, 0, 1, -infinity)) == [255, 0, 255, 0]
    assert grey(floats(nan, infinity)) == [0, 0]
    assert grey(floats(-3e38, 3e38)) == [0, 255]


# What the tags of a TIFF say


def tiff(values: NDArray[Any], bits: int, *, photometric: int = 1, kind: int = 1) -> bytes:
    """A grey TIFF in one strip, 12 bits packed; the sample format is 1 for unsigned, 2 for signed, 3 for floats."""
    height, width = values.shape
    data = values.tobytes()
    if bits == 12:
        packed = "".join(f"{value:012b}" for value in values.ravel())
        data = int(packed, 2).to_bytes(len(packed) // 8, "big")
    longs = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height}
    tags = {**longs, 279: len(data), 339: kind}
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4)


def shown(data: bytes) -> list[float]:
    """The grey, 0 to 1, of a picture of 224x224, which is not resized, at three places of a ramp."""
    pixels = ImageLoader(Decoding()).load(Input(None, content=data)).pixels[..., 0].ravel()
    return [round(pixels[place] / 255, 1) for place in (0, pixels.size // 2, -1)]


def ramp(low: float, high: float, dtype: str) -> NDArray[Any]:
    return np.linspace(low, high, 224 * 224).reshape(224, 224).astype(dtype)


UPWARDS, DOWNWARDS = [0, 0.5, 1], [1, 0.5, 0]


def test_white_is_4095_in_a_tiff_of_12_bits() -> None:
    assert shown(tiff(ramp(0, 4095, "<u2"), 12)) == UPWARDS


def test_unsigned_numbers_of_32_bits_have_no_sign() -> None:
    assert shown(tiff(ramp(0, 2**32 - 1, "<u4"), 32)) == UPWARDS
    assert shown(tiff(ramp(0, 65535, "<u4"), 32)) == UPWARDS
    assert shown(tiff(ramp(-(2**31), 2**31 - 1, "<i4"), 32, kind=2)) == UPWARDS


def test_where_zero_is_white_the_grey_is_inverted() -> None:
    assert shown(tiff(ramp(0, 65535, "<u2"), 16)) == UPWARDS
    assert shown(tiff(ramp(0, 65535, "<u2"), 16, photometric=0)) == DOWNWARDS
    assert shown(tiff(ramp(0, 1, "<f4"), 32, photometric=0, kind=3)) == DOWNWARDS
    assert shown(tiff(ramp(0, 255, "u1"), 8, photometric=0)) == DOWNWARDS, "Pillow does it for 8 bits"


def test_an_opened_tiff_is_read_as_its_file_is() -> None:
    picture = Image.open(io.BytesIO(tiff(ramp(0, 4095, "<u2"), 12)))
    pixels = ImageLoader(Decoding()).load(Input(None, content=picture)).pixels
    assert pixels.max() == 255


def test_strips_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = np.random.default_rng(3)
    pictures = [
        Image.fromarray(dice.integers(0, 65536, (37, 50)).astype(np.uint16)),
        Image.fromarray(dice.integers(-(2**31), 2**31, (37, 50)).astype(np.int32)),
        Image.fromarray(dice.normal(0, 1e9, (37, 50)).astype(np.float32)),
    ]
    whole = [to_rgb(picture).tobytes() for picture in pictures]
    monkeypatch.setattr("vggcli.images.modes._STRIP_PIXELS", 120)
    assert [to_rgb(picture).tobytes() for picture in pictures] == whole
