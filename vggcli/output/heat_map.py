"""A map on its photograph, as a picture for people: the photograph, the map over it, the scale, the class."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vggcli.output import png
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
    image = Image.new("RGB", (max(across, _LEAST_WIDTH), _CAPTION + bar_height + _GAP), "white")
    image.paste(Image.fromarray(photo), (_GAP, _CAPTION))
    image.paste(overlay(photo, map, box), (2 * _GAP + width, _CAPTION))
    bar = 3 * _GAP + 2 * width
    levels = np.linspace(255, 0, bar_height).round().astype(np.uint8)
    image.paste(_coloured(Image.fromarray(levels[:, None]).resize((_BAR, bar_height))), (bar, _CAPTION))
    draw = ImageDraw.Draw(image)
    room = image.width - 2 * _GAP
    draw.text((_GAP, 5), _fitted(printable(title), 17, room), _INK, _font(17))
    draw.text((_GAP, 27), _fitted(printable(facts), 12, room), _FAINT, _font(12))
    ticks = bar + _BAR + 5
    draw.text((ticks, _CAPTION), f"{map.max():.3g}", _INK, _font(12), anchor="lt")
    draw.text((ticks, _CAPTION + bar_height), "0", _INK, _font(12), anchor="ls")
    return png.encoded(np.asarray(image))


def overlay(photo: NDArray[np.uint8], map: NDArray[np.float32], box: Box) -> Image.Image:
    """The photograph, half of it covered by the colours of the map; as it is where the map does not reach.

    Args: as of `picture`.
    """
    shown, largest = Image.fromarray(photo), float(map.max())
    # From 0 to 255 before it is enlarged, and half a step more, since Pillow rounds down.
    levels, place = on_photo(map * np.float32(255 / largest if largest > 0 else 0) + np.float32(0.5), shown.size, box)
    covered = shown.crop(place)
    shown.paste(Image.blend(covered, _coloured(levels.convert("L")), 0.5), place)
    return shown


def on_photo(
    map: NDArray[np.float32], size: tuple[int, int], box: Box
) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """The map at each pixel of a photograph of this width and height, in mode F, and the part that it reaches.

    Enlarged, it goes in straight lines between the middles of its cells and stays level beyond the outer ones.
    """
    left, top, across, down = box
    place = max(0, round(left)), max(0, round(top)), min(size[0], round(left + across)), min(size[1], round(top + down))
    x, y = map.shape[1] / across, map.shape[0] / down  # cells in a pixel
    cells = (place[0] - left) * x, (place[1] - top) * y, (place[2] - left) * x, (place[3] - top) * y
    inside = max(0.0, cells[0]), max(0.0, cells[1]), min(cells[2], map.shape[1]), min(cells[3], map.shape[0])
    size = place[2] - place[0], place[3] - place[1]
    return Image.fromarray(map).resize(size, Image.Resampling.BILINEAR, box=inside), place


def _coloured(levels: Image.Image) -> Image.Image:
    """The colours of an image of levels in 0..255, in mode L."""
    levels.putpalette(colours().tobytes())
    return levels.convert("RGB")


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
