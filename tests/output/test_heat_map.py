"""Maps on photographs: where they lie, what they cover, and the picture for people."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vggcli.output import heat_map

PHOTO = np.full((60, 100, 3), 200, np.uint8)
RIGHT = np.array([[0, 0], [0, 4]], np.float32)  # the lower right quarter


def test_a_map_is_level_in_its_cells_middles_and_straight_between() -> None:
    values, place = heat_map.on_photo(np.array([[0, 4]], np.float32), (8, 1), (0, 0, 8, 1))

    assert np.asarray(values).tolist() == [[0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4]]
    assert place == (0, 0, 8, 1)


def over(map: NDArray[np.float32], box: heat_map.Box) -> Any:
    return np.asarray(heat_map.overlay(PHOTO, map, box)).astype(int)


def half(level: int) -> Any:
    """Half the photo and half the colour of a level."""
    return (200 + heat_map.colours()[level].astype(int)) // 2


def test_a_cropped_photo_is_left_as_it_is_beside_its_middle() -> None:
    found = over(np.ones((2, 2), np.float32), (20, 0, 60, 60))

    assert (found[:, :20] == 200).all()
    assert (found[:, 80:] == 200).all()
    assert np.abs(found[:, 20:80] - half(255)).max() <= 1
    assert (PHOTO == 200).all()


def test_a_letterboxed_photo_shows_the_part_of_the_map_that_lies_on_it() -> None:
    bars = np.array([[9, 9], [0, 0], [0, 0], [9, 9]], np.float32)  # high in the bars alone
    values, place = heat_map.on_photo(bars, (100, 50), (0, -25, 100, 100))

    assert place == (0, 0, 100, 50)
    assert np.asarray(values)[20:30].max() == 0
    assert np.asarray(values).max() < 9


def test_a_map_of_zeros_is_the_lowest_colour_and_no_division_by_zero() -> None:
    found = over(np.zeros((14, 14), np.float32), (0, 0, 100, 60))

    assert np.abs(found - half(0)).max() <= 1


def test_the_colours_rise_from_dark_blue_over_green_to_red() -> None:
    table = heat_map.colours().astype(int)

    assert table.shape == (256, 3)
    assert table[30].argmax() == 2
    assert table[128].argmax() == 1
    assert table[240].argmax() == 0
    assert np.abs(np.diff(table, axis=0)).max() < 14


@pytest.mark.parametrize("size", [(300, 400), (28, 28), (1, 1024), (1024, 1), (5, 3)])
def test_the_picture_holds_the_photo_as_it_was_and_the_map_over_it(size: tuple[int, int]) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    box = (0, 0, size[1], size[0])
    data = heat_map.picture(photo, RIGHT, box, "a long label \u202e with \x1b[31m" * 30, "facts")
    found = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    factor = max(1, -(-224 // max(size)))
    shown = photo.repeat(factor, 0).repeat(factor, 1)
    height, width = shown.shape[:2]
    left = found[46 : 46 + height, 8 : 8 + width]
    right = found[46 : 46 + height, 16 + width : 16 + 2 * width]

    assert (left == shown).all()
    assert (right == np.asarray(heat_map.overlay(shown, RIGHT, (0, 0, width, height)))).all()
    assert (found[:46] < 100).any()  # the title
    assert found.shape[0] * found.shape[1] < 2_500_000
