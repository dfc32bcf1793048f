"""The handwritten digits that the demo learns from and is tested on.

Source: "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998,
doi:10.24432/C50P49, licence CC BY 4.0; scikit-learn carries its test set.

A fifth of each class is held out.  The data do not say who of their thirteen writers wrote what, so the same hands are
in both parts: an accuracy measured here is one for these writers, on single digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vggcli.errors import VggError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SOURCE = (
    "four fifths of the 1,797 images of scikit-learn's load_digits: Optical Recognition of Handwritten Digits, "
    "E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998, doi:10.24432/C50P49, CC BY 4.0"
)

INSTALL = "pip install scikit-learn"

SEED = 0
HELD_OUT = 1 / 5
FULL_INK = 16  # the data count the inked pixels of 4x4 blocks
CELL = 8  # side in pixels, in the drawn image, of a pixel of the data


@dataclass(frozen=True, slots=True)
class Digits:
    """Images and their classes.

    Attributes:
        images: drawn as `draw` does.
        classes: int64 (N,), 0 to 9.
    """

    images: list[Image]
    classes: NDArray[np.int64]


def load() -> tuple[Digits, Digits]:
    """The training part (four fifths) and the held-out part (one fifth), drawn.

    The split is stratified and drawn by NumPy's legacy generator, whose numbers are the same in every version, so that
    no image of the held-out part can move into the training part.

    Raises:
        VggError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise VggError("cannot load the digits", "", "scikit-learn is not installed", f"Run {INSTALL}") from error

    data = load_digits()
    classes = data.target.astype(np.int64)
    held_out = np.zeros(len(classes), dtype=bool)
    random = np.random.RandomState(SEED)
    for number in range(len(LABELS)):
        members = random.permutation(np.flatnonzero(classes == number))
        held_out[members[: round(len(members) * HELD_OUT)]] = True

    def part(chosen: NDArray[np.bool_]) -> Digits:
        return Digits([draw(image) for image in data.images[chosen]], classes[chosen])

    return part(~held_out), part(held_out)


def draw(image: NDArray[np.float64]) -> Image:
    """Dark ink on white paper, grey, 80x80: an image of the data (8x8, 0 to 16) with a margin of one, bicubic by 8."""
    from PIL import Image as Pillow

    ink = np.pad(image, 1) / FULL_INK
    small = Pillow.fromarray(np.round(255 * (1 - ink)).astype(np.uint8))
    return small.resize((small.width * CELL, small.height * CELL), Pillow.Resampling.BICUBIC)
