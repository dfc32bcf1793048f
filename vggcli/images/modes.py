"""Every Pillow mode to 8-bit RGB, by one documented rule each.

| mode | rule |
| --- | --- |
| 1, L, RGB, CMYK (and YCCK JPEGs), YCbCr, HSV | Pillow's `convert("RGB")` |
| LA, PA, P, RGBA, RGBX, La, RGBa | the same: the colours count, transparency is ignored |
| LAB | to sRGB through its ICC transform |
| I;16 in every byte order | 0..65535 scaled to 0..255, rounded |
| I | as I;16 while all values are in 0..65535, else its own range to 0..255 |
| F | 0..1 scaled to 0..255; values in 0..255 kept; else its own range to 0..255; NaN is black |

Pillow hands out the numbers of a TIFF as they are stored; what they mean, its tags say:

| tag | rule |
| --- | --- |
| BitsPerSample 12 | 0..4095 scaled to 0..255 |
| SampleFormat 1 (unsigned), 32 bits | values are 0..4294967295 |
| PhotometricInterpretation 0 (WhiteIsZero) | the grey is inverted, where Pillow has not done so |

A file of several frames is its first frame.  Numbers are converted in strips, so that a picture never exists as
64-bit numbers as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIP_PIXELS = 1 << 20
_SIXTEEN_BITS = {"I;16": "<u2", "I;16L": "<u2", "I;16B": ">u2", "I;16N": "=u2"}  # "N" is the machine's own byte order
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339


class Numbers(NamedTuple):
    """What the numbers of a grey picture mean beyond what its mode says.

    Attributes:
        white: the value of white in 16 bits.
        unsigned: numbers of 32 bits have no sign, though the mode's have.
        inverted: 0 is white.
    """

    white: int = 65535
    unsigned: bool = False
    inverted: bool = False

    @classmethod
    def of(cls, picture: Image.Image) -> Numbers:
        """By the tags of a TIFF that was just opened; pictures of other formats say it with their mode."""
        tags = getattr(picture, "tag_v2", None)
        if tags is None or picture.mode not in (*_SIXTEEN_BITS, "I", "F"):
            return cls()
        bits, kinds = tags.get(_BITS_PER_SAMPLE, (1,)), tags.get(_SAMPLE_FORMAT, (1,))
        return cls(
            white=4095 if picture.mode != "I" and bits[0] == 12 else 65535,
            unsigned=picture.mode == "I" and bits[0] == 32 and kinds[0] == 1,
            inverted=tags.get(_PHOTOMETRIC) == 0,
        )


def to_rgb(picture: Image.Image, numbers: Numbers | None = None) -> Image.Image:
    """The picture in mode RGB, 8 bits a channel."""
    picture = to_eight_bits(picture, numbers)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def to_eight_bits(picture: Image.Image, numbers: Numbers | None = None) -> Image.Image:
    """The picture in mode RGB, or L where all its channels would be the same.

    Args:
        picture: in any mode.
        numbers: what its numbers mean; None for what the mode says.
    """
    mode = picture.mode
    if mode in ("RGB", "L"):
        return picture
    if mode in ("1", "LA"):
        return picture.convert("L")
    if mode == "LAB":
        return _from_lab(picture)
    if mode in _SIXTEEN_BITS or mode in ("I", "F"):
        return _grey(picture, numbers or Numbers())
    if mode == "La":
        return picture.convert("LA").convert("L")  # Pillow converts it to nothing else
    return picture.convert("RGB")


def _grey(picture: Image.Image, numbers: Numbers) -> Image.Image:
    """Numbers to mode L, strip by strip."""
    scaled = _scaling(picture, numbers)
    grey = Image.new("L", picture.size)
    for top, values in _strips(picture, numbers):
        strip = scaled(values)
        grey.paste(Image.fromarray(255 - strip if numbers.inverted else strip), (0, top))
    return grey


def _strips(picture: Image.Image, numbers: Numbers) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """The picture's numbers as they are meant, with the first row of each strip."""
    rows = max(1, _STRIP_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        if picture.mode in _SIXTEEN_BITS:
            # tobytes keeps the byte order of the mode
            words = np.frombuffer(strip.tobytes(), _SIXTEEN_BITS[picture.mode])
            yield top, words.reshape(strip.height, strip.width)
        else:
            values = np.asarray(strip)
            yield top, values.view(np.uint32) if numbers.unsigned else values


def _scaling(picture: Image.Image, numbers: Numbers) -> Callable[[NDArray[np.generic]], NDArray[np.uint8]]:
    """How this picture's numbers become 0..255, which may need a look at all of them."""
    if picture.mode in _SIXTEEN_BITS:
        return lambda values: _scaled(values, 0, numbers.white)
    low, high = _range(picture, numbers)
    if picture.mode == "I":
        fits = low >= 0 and high <= 65535
        return lambda values: _scaled(values, *((0, 65535) if fits else (low, high)))
    if low > high:
        return lambda values: np.zeros(values.shape, np.uint8)  # not one number
    limits = (0.0, 1.0) if low >= 0 and high <= 1 else (0.0, 255.0) if low >= 0 and high <= 255 else (low, high)
    return lambda values: _scaled(np.nan_to_num(values, nan=low, posinf=high, neginf=low), *limits)


def _range(picture: Image.Image, numbers: Numbers) -> tuple[float, float]:
    """The smallest and the largest number; the first is larger when there is none."""
    low, high = float("inf"), float("-inf")
    for _, values in _strips(picture, numbers):
        finite = values[np.isfinite(values)] if picture.mode == "F" else values
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return low, high


def _scaled(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """`low`..`high` to 0..255, rounded; a flat picture is black."""
    span = float(high) - float(low) or 1.0
    scaled = (values.astype(np.float64) - float(low)) * (255.0 / span)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _from_lab(picture: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.applyTransform(picture, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    if converted is None:
        raise ValueError("the LAB picture has no RGB form")
    return converted
