"""Small pictures for people, made from an image that was decoded anyway: thumbnails of a page, previews in a terminal.

They are made by the decoding threads from the upright picture, before it is brought to the network's size.
"""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from vggcli.images.decode import ImageLoader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Step(NamedTuple):
    """One size of thumbnails.

    Attributes:
        side: the longer side, in pixels.
        format: "JPEG", which is encoded fastest, or "WEBP", which is smallest; where Pillow has no WebP, JPEG.
        quality: as Pillow means it.
    """

    side: int
    format: str
    quality: int


# From large to small: a photograph takes about 7, 3, 2, 1.3 and 0.7 KB.
STEPS = (
    Step(224, "JPEG", 75),
    Step(160, "WEBP", 60),
    Step(128, "WEBP", 55),
    Step(96, "WEBP", 50),
    Step(64, "WEBP", 50),
)
_METHOD = 2  # of WebP: slower ones save a few per cent more
# Whatever a photograph says of its place, its camera and its owner stays behind; Pillow would copy some of it.
_WITHOUT = {"exif": b"", "icc_profile": b"", "xmp": b"", "comment": b""}


class Thumbnail(NamedTuple):
    """What is left of a picture.

    Attributes:
        encoded: a JPEG or WebP file; empty where none was asked for.
        preview: (height, width, 3) uint8, RGB; None where none was asked for.
    """

    encoded: bytes = b""
    preview: NDArray[np.uint8] | None = None

    @property
    def nbytes(self) -> int:
        """What it takes in memory, in bytes."""
        return len(self.encoded) + (0 if self.preview is None else self.preview.nbytes)


class Thumbnails:
    """Makes thumbnails and previews; any thread may call it.

    Args:
        steps: sizes of thumbnails; none to make none.
        preview: width and height of the box that previews fit into, in pixels.

    Attributes:
        steps: as given; emptied, no more are made.
        step: which of them is made; whoever counts the bytes moves it on.
    """

    def __init__(self, steps: Sequence[Step] = (), preview: tuple[int, int] | None = None) -> None:
        self.steps, self._preview, self.step = tuple(steps), preview, 0

    def __call__(self, picture: Image.Image) -> Thumbnail | None:
        """Those of a picture in mode RGB or L; None when they cannot be made, which is no fault of the image."""
        try:
            encoded = b""
            if steps := self.steps:
                step = steps[min(self.step, len(steps) - 1)]
                picture = fitted(picture, (step.side, step.side))
                encoded = encode(picture, step)
            if self._preview is None:
                return Thumbnail(encoded)
            return Thumbnail(encoded, np.asarray(fitted(picture, self._preview).convert("RGB")))
        except (OSError, ValueError, MemoryError):
            return None


def fitted(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    """The picture in RGB or L, reduced to fit into a box (width, height) in its own shape; never enlarged."""
    scale = min(box[0] / picture.width, box[1] / picture.height)
    if scale >= 1:
        return picture
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    # Whole pixels are averaged first: a third of the time, and no difference that is seen at this size.
    return picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)


def encode(picture: Image.Image, step: Step) -> bytes:
    """A picture in RGB or L as a file.

    Raises:
        OSError, ValueError: the encoder does not take it.
    """
    file = io.BytesIO()
    if step.format == "WEBP" and _has_webp():
        picture.save(file, "WEBP", quality=step.quality, method=_METHOD, **_WITHOUT)
    else:
        picture.save(file, "JPEG", quality=step.quality, **_WITHOUT)
    return file.getvalue()


def smaller(encoded: bytes, step: Step) -> bytes:
    """A thumbnail of `Thumbnails` at a smaller step; as it is, where that saves nothing.

    Args:
        encoded: made by this process, not by strangers.
    """
    with Image.open(io.BytesIO(encoded), formats=("JPEG", "WEBP")) as picture:
        picture.load()
        again = encode(fitted(picture, (step.side, step.side)), step)
    return min(again, encoded, key=len)


@functools.cache
def _has_webp() -> bool:
    from PIL import features

    return bool(features.check("webp"))


class ThumbnailLoader(ImageLoader):
    """Decodes images for their thumbnails alone; what a network would see is one pixel."""

    def _fit(self, picture: Image.Image) -> Image.Image:
        return Image.new("RGB", (1, 1))
