"""Every Pillow mode to 8-bit RGB, by one documented rule each.

| mode | rule |
| --- | --- |
| 1, L, RGB, CMYK (and YCCK JPEGs), YCbCr, HSV | Pillow's `convert("RGB")` |
| LA, PA, P, RGBA, RGBX, La, RGBa | the same: the colours count, transparency is ignored |
| LAB | to sRGB through its ICC transform |
| I;16 in every byte order | 0..65535 scaled to 0..255, rounded |
| I | as I;16 while all values are in 0..65535, else its own range to 0..255 |
| F | 0..1 scaled to 0..255; values in 0..255 kept; else its own range to 0..255; NaN is black |

A file of several frames is its first frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_rgb(picture: Image.Image) -> Image.Image:
    """The picture in mode RGB, 8 bits a channel."""
    mode = picture.mode
    if mode == "RGB":
        return picture
    if mode == "LAB":
        return _from_lab(picture)
    if mode.startswith("I;16"):
        return _grey(_scaled(_words(picture), 0, 65535))
    if mode == "I":
        values = np.asarray(picture).astype(np.int64)
        wide = values.min() < 0 or values.max() > 65535
        return _grey(_scaled(values, values.min(), values.max()) if wide else _scaled(values, 0, 65535))
    if mode == "F":
        return _grey(_from_float(np.asarray(picture)))
    if mode == "La":
        picture = picture.convert("LA")  # Pillow converts it to nothing else
    return picture.convert("RGB")


def _grey(values: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(values).convert("RGB")


def _words(picture: Image.Image) -> NDArray[np.int64]:
    # tobytes keeps the byte order of the mode; "N" is the machine's own.
    order = {"I;16": "<u2", "I;16L": "<u2", "I;16B": ">u2", "I;16N": "=u2"}[picture.mode]
    return np.frombuffer(picture.tobytes(), order).reshape(picture.height, picture.width).astype(np.int64)


def _scaled(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """`low`..`high` to 0..255, rounded; a flat picture is black."""
    span = float(high) - float(low) or 1.0
    scaled = (values.astype(np.float64) - float(low)) * (255.0 / span)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _from_float(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = float(values[finite].min()), float(values[finite].max())
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    if low >= 0 and high <= 1:
        return _scaled(values, 0, 1)
    if low >= 0 and high <= 255:
        return _scaled(values, 0, 255)
    return _scaled(values, low, high)


def _from_lab(picture: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.applyTransform(picture, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    if converted is None:
        raise ValueError("the LAB picture has no RGB form")
    return converted
