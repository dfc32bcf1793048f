"""Small labelled images that a small network tells apart, and the command that trains it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

STRIPES = ("across", "down")
# A plain VGG-11 of 1 to 10 channels: an epoch takes a tenth of a second.
TINY = ("--from-scratch", "--arch", "vgg11", "--width", "0.02", "--size", "32", "--augment", "none", "--threads", "1")


def stripes(name: str, number: int) -> Image.Image:
    """Stripes across or down, in noise, 32x32 RGB; each number gives another image."""
    drawn = np.random.default_rng(number)
    bright = (np.arange(32) + number) % 8 < 4
    wave = np.repeat((bright * 200.0)[:, None], 32, axis=1)
    wave = wave if name == "across" else wave.T
    pixels = wave[:, :, None] + drawn.normal(20, 10, (32, 32, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_stripes(folder: Path, count: int = 10, names: tuple[str, ...] = STRIPES) -> Path:
    """A folder for each class with so many images; `folder`."""
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            stripes(STRIPES[place % 2], 100 * place + number).save(folder / name / f"{number}.png")
    return folder
