"""Pictures for the tests of the images room, saved, loaded, and their failures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vggcli.errors import InputError
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.discover import Input
from vggcli.images.failures import KINDS
from vggcli.images.recipe import Recipe

CROPPED = Recipe(resize="crop")


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def gradient(width: int = 60, height: int = 40) -> Image.Image:
    """A picture in which every corner differs, smooth enough for JPEG."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], 2).astype(np.uint8))


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def load(path: str | Path, **options: Any) -> NDArray[np.uint8]:
    return ImageLoader(Decoding(**options)).load(Input(str(path))).pixels


def failure(path: str | Path, *, given: bool = True, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        ImageLoader(Decoding(**options)).load(Input(str(path), given))
    assert caught.value.kind in KINDS
    assert caught.value.where == str(path)
    return caught.value
