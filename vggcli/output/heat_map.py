"""A map on its photograph, as a picture for people: the photograph, the map over it, the scale, the class."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vggcli.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

Box = tuple[float, float, float, float]

# The colours: Turbo, by the polynomials that its authors published for shaders (A. Mikhailov, "Turbo, An Improved
# Rainbow Colormap for Visualization", Google AI blog, 2019; Apache 2.0); lowest power first.
_TURBO = (
    (0.13572138, 4.61539260, -42.66032258, 132.13108234, -152.94239396, 59.28637943),
    (0.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604),
    (0.10667330, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973),
)
_LEAST_SIDE = 224  # a photograph whose longer side is shorter is shown enlarged, by whole numbers
_GAP, _CAPTION, _BAR, _TICKS = 8, 46, 14, 62  # pixels
_LEAST_WIDTH, _LEAST_HEIGHT = 360, 96  # of all, and of what stands below the caption
_INK, _FAINT = (20, 20, 20), (110, 110, 110)
_RUN_LENGTHS = 3  # zlib's strategy Z_RLE: measured on photographs, a quarter of the time of level 6 and no larger


def picture(photo: NDArray[np.uint8], map: NDArray[np.float32], box: Box, title: str, facts: str) -> bytes:
    """The PNG.

    Args:
        photo: (H, W, 3), RGB, upright.
        map: (height, width), not negative; its largest value is the top of the scale.
        box: where the map lies on the photograph: left, top, width and height as `ImageLoader.input_box` has it.
        title, facts: the first line and the second.
    """
    factor = max(1, -(-_LEAST_SIDE // max(photo.shape[:2])))
    if factor > 1:
        photo = photo.repeat(factor, axis=0).repeat(factor, axis=1)
        box = box[0] * factor, box[1] * factor, box[2] * factor, box[3] * factor
    height, width = photo.shape[:2]
    bar_height = max(height, _LEAST_HEIGHT)
    across = 2 * width + 4 * _GAP + _BAR + _TICKS
    canvas = np.full((_CAPTION + bar_height + _GAP, max(across, _LEAST_WIDTH), 3), 255, np.uint8)
    rows = slice(_CAPTION, _CAPTION + height)
    canvas[rows, _GAP : _GAP + width] = photo
    canvas[rows, 2 * _GAP + width : 2 * _GAP + 2 * width] = overlay(photo, map, box)
    bar = 3 * _GAP + 2 * width
    levels = np.linspace(255, 0, bar_height).round().astype(np.intp)
    canvas[_CAPTION : _CAPTION + bar_height, bar : bar + _BAR] = colours()[levels][:, None]
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    room = image.width - 2 * _GAP
    draw.text((_GAP, 5), _fitted(printable(title), 17, room), _INK, _font(17))
    draw.text((_GAP, 27), _fitted(printable(facts), 12, room), _FAINT, _font(12))
    ticks = bar + _BAR + 5
    draw.text((ticks, _CAPTION), f"{map.max():.3g}", _INK, _font(12), anchor="lt")
    draw.text((ticks, _CAPTION + bar_height), "0", _INK, _font(12), anchor="ls")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1, compress_type=_RUN_LENGTHS)
    return file.getvalue()


def overlay(photo: NDArray[np.uint8], map: NDArray[np.float32], box: Box) -> NDArray[np.uint8]:
    """The photograph, half of it covered by the colours of the map; as it is where the map does not reach.

    Args: as of `picture`.
    """
    values, covered = on_photo(map, photo.shape[:2], box)
    largest = float(map.max())
    shares = values * np.float32(255 / largest if largest > 0 else 0)
    sums = photo.astype(np.uint16) + colours()[np.rint(shares).astype(np.uint8)]
    shaded: NDArray[np.uint8] = (sums >> 1).astype(np.uint8)
    if not covered.all():
        shaded[~covered] = photo[~covered]
    return shaded


def on_photo(
    map: NDArray[np.float32], size: tuple[int, int], box: Box
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The map at each pixel of a photograph of this height and width, and whether it reaches there.

    Between the middles of the map's cells it goes in straight lines, and it stays level beyond the outer ones.
    """
    left, top, across, down = box
    rows, reached_rows = _interpolation(map.shape[0], size[0], top, down)
    columns, reached_columns = _interpolation(map.shape[1], size[1], left, across)
    return rows @ map @ columns.T, reached_rows[:, None] & reached_columns[None, :]


def _interpolation(
    cells: int, pixels: int, start: float, length: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What each pixel of a line takes of each cell, (pixels, cells), and which pixels the cells reach."""
    middles = (np.arange(pixels) + 0.5 - start) / length
    at = np.clip(middles * cells - 0.5, 0, cells - 1)
    below = np.floor(at).astype(np.intp)
    share = (at - below).astype(np.float32)
    matrix = np.zeros((pixels, cells), np.float32)
    line = np.arange(pixels)
    matrix[line, below] = 1 - share
    matrix[line, np.minimum(below + 1, cells - 1)] += share
    return matrix, (middles >= 0) & (middles < 1)


@lru_cache(maxsize=1)
def colours() -> NDArray[np.uint8]:
    """The colours of 256 values from the lowest to the highest, (256, 3), RGB."""
    powers = np.linspace(0, 1, 256)[:, None] ** np.arange(6)
    table: NDArray[np.uint8] = np.rint(np.clip(powers @ np.array(_TURBO).T, 0, 1) * 255).astype(np.uint8)
    return table


@lru_cache(maxsize=4)
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _fitted(text: str, size: int, room: int) -> str:
    """The text, cut where it is too long for its line."""
    font, text = _font(size), text[:room]  # no letter is narrower than a pixel
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[: -max(1, len(text) // 16)]
    return text + "..."
