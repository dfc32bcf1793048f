"""From an input to the network's pixels: decode, orient, convert to RGB, resize.  Pillow's side of reading images.

The result equals torchvision's `Resize((224, 224))` (or `Resize(256), CenterCrop(224)`) on the same picture to the
bit; the division by 255 and the normalisation belong to the engines, so images travel as bytes, their channels in the
order that the network sees.

Nothing here changes a setting of Pillow, of `warnings` or of the process: loaders with different limits work side by
side and beside a host program's own use of Pillow.
"""

from __future__ import annotations

import copy
import os
import traceback
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageFile

from vggcli.errors import InputError
from vggcli.images import jpeg, modes, signatures, truncated
from vggcli.images.access import Access
from vggcli.images.attempt import Attempt
from vggcli.images.budget import Budget, decoding_bytes, orientation, resizing_bytes
from vggcli.images.decoder_errors import TooManyPixelsError, as_input_errors, is_cut
from vggcli.images.discover import Input
from vggcli.images.formats import identify
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, DEFAULT_TIMEOUT, PIXELS_PER_ROW, BombError
from vggcli.images.open import open_bytes
from vggcli.images.recipe import Recipe
from vggcli.images.turns import Turns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vggcli.images.thumbnail import Thumbnail, Thumbnails

_FEW_ROWS = 1 << 16  # cost little, whatever the limit
MAX_PICTURE_SIDE = 1024  # of a picture that is kept beside its pixels: 3 MiB at most


@dataclass(frozen=True, slots=True)
class Decoding:
    """How images are read.

    Attributes:
        recipe: size and shape of the pixels handed out; their normalisation belongs to the engines.
        exif: apply the EXIF orientation.
        allow_truncated: classify what there is of an image that ends early.
        max_pixels: an image of more pixels is refused before its pixels are decoded.
        max_bytes: a file of more bytes is refused before it is read.
        fast: let the JPEG decoder halve the picture while it stays at least twice the target size.
        allow_private, timeout: see `Access`; they change no number.
    """

    recipe: Recipe = field(default_factory=Recipe)
    exif: bool = True
    allow_truncated: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    max_bytes: int = DEFAULT_MAX_BYTES
    fast: bool = False
    allow_private: bool = False
    timeout: float = DEFAULT_TIMEOUT

    @property
    def access(self) -> Access:
        """What may be reached for an input."""
        return Access(self.max_bytes, self.timeout, self.allow_private)

    def describe(self) -> str:
        """In words for the provenance, e.g. "squash 224"."""
        parts = [self.recipe.describe()]
        parts += ["no exif"] * (not self.exif) + ["fast decode"] * self.fast
        parts += [f"at most {self.max_pixels} pixels"] * (self.max_pixels != DEFAULT_MAX_PIXELS)
        parts += [f"at most {self.max_bytes} bytes"] * (self.max_bytes != DEFAULT_MAX_BYTES)
        return ", ".join(parts + ["truncated allowed"] * self.allow_truncated)


class Decoded(NamedTuple):
    """What became of one image.

    Attributes:
        pixels: the network's input, (size, size, channels) uint8, in the recipe's channel order.
        truncated: the image data ended early, and the missing part was filled up.
        picture: on request the upright picture before it was resized, (H, W, 3) uint8, RGB, its longer side reduced to
            `MAX_PICTURE_SIDE`; else None.
        thumbnail: of that picture, where the loader makes some.
    """

    pixels: NDArray[np.uint8]
    truncated: bool = False
    picture: NDArray[np.uint8] | None = None
    thumbnail: Thumbnail | None = None


class ImageLoader:
    """Decodes images; safe to call from many threads, beside any number of other loaders.

    Args:
        decoding: how images are read.
        keep_picture: hand out the picture beside the pixels, see `Decoded`.
        budget: of the memory that pictures take while they are decoded, for all threads together; None for its own.
    """

    def __init__(self, decoding: Decoding, *, keep_picture: bool = False, budget: Budget | None = None) -> None:
        self.decoding = decoding
        self.keep_picture = keep_picture
        self._budget = budget or Budget()
        self._thumbnails: Thumbnails | None = None

    def with_thumbnails(self, thumbnails: Thumbnails) -> ImageLoader:
        """The same loader, with the same budget, that makes thumbnails too."""
        loader = copy.copy(self)
        loader._thumbnails = thumbnails
        return loader

    def describe(self) -> str:
        """How images are read, in words for the provenance, e.g. "squash 224"."""
        return self.decoding.describe()

    def load(self, item: Input, attempt: Attempt | None = None) -> Decoded:
        """The network's input.

        A picture that Pillow opened is read as its file would be, but always whole and at full scale; its pixels are
        loaded where they are not yet, and else it is left as it is.  An array is not turned.

        Args:
            item: the input.
            attempt: told when the work on it begins and when it waits; given up, it ends at its next read.

        Raises:
            InputError: with one of `failures.KINDS`; nothing else, whatever the image holds.
        """
        content, attempt = item.content, attempt or Attempt()
        try:
            if content is None or isinstance(content, bytes):
                with open_bytes(item, self.decoding.access, attempt) as stream, self._border(item, stream):
                    return self._from_stream(stream, attempt)
            attempt.begin()
            with self._border(item):
                if not all(content.size if isinstance(content, Image.Image) else content.shape):
                    raise InputError("empty", item.name, "it has no pixels")
                if isinstance(content, Image.Image):
                    return self._from_picture(content, attempt)
                return self._from_array(content)
        except MemoryError as error:
            raise InputError("memory", item.name, "there is not enough memory to decode it") from error

    def _from_stream(self, stream: IO[bytes], attempt: Attempt) -> Decoded:
        if signatures.is_read_whole(stream):  # into memory, before anything else of it can be known
            with self._budget.reserve(2 * stream.seek(0, os.SEEK_END), attempt):
                return self._within_budget(stream, attempt)
        return self._within_budget(stream, attempt)

    def _within_budget(self, stream: IO[bytes], attempt: Attempt) -> Decoded:
        picture = self._header(stream)
        with self._budget.reserve(self._bytes(picture), attempt):
            try:
                return self._from_header(picture, stream)
            except Exception as error:
                traceback.clear_frames(error.__traceback__)  # decoders in them hold the picture
                raise
            finally:
                Image.Image.close(picture)  # its pixels alone; whatever else still refers to it, they are free now

    def _from_header(self, picture: ImageFile.ImageFile, stream: IO[bytes]) -> Decoded:
        decoded = self.elsewhere(picture)
        if decoded is not None:
            return decoded
        if self.decoding.fast:
            side = 2 * self.decoding.recipe.side
            picture.draft(None, (side, side))
        ended = truncated.load(picture, self.decoding.allow_truncated, lambda error: is_cut(error, stream))
        self._check(picture.size)  # an icon has the size of what lies inside
        return self._finished(self._upright(picture), modes.Numbers.of(picture), ended)

    def _from_picture(self, picture: Image.Image, attempt: Attempt) -> Decoded:
        self._check(picture.size)
        # A picture that Pillow has opened reads its file when it is first looked at, and its EXIF when that is asked
        # for; until it is read, a second thread is told that there is none.
        with _TURNS.at(picture):
            needed = self._bytes(picture)
        with self._budget.reserve(needed, attempt):
            with _TURNS.at(picture):
                attempt.check()
                picture.load()
                numbers, upright = modes.Numbers.of(picture), self._upright(picture)
            self._check(picture.size)
            return self._finished(upright, numbers)

    def _from_array(self, array: NDArray[np.uint8]) -> Decoded:
        self._check((array.shape[1], array.shape[0]))
        return self._finished(Image.fromarray(np.ascontiguousarray(array)))

    def _finished(self, picture: Image.Image, numbers: modes.Numbers | None = None, ended: bool = False) -> Decoded:
        picture = modes.to_eight_bits(picture, numbers)
        # Grey is resized as grey and becomes RGB when it is small: the same numbers in a quarter of the memory.
        return Decoded(self.arranged(np.asarray(self._fit(picture))), ended, self.kept(picture), self.reduced(picture))

    def arranged(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB (size, size, 3) or grey (size, size) in the order of the recipe, (size, size, channels)."""
        order = self.decoding.recipe.channel_order
        if order == "bgr":
            return np.ascontiguousarray(pixels[:, :, ::-1])
        return pixels[:, :, None] if order == "grey" else pixels

    def elsewhere(self, picture: ImageFile.ImageFile) -> Decoded | None:
        """A file's image when something else than Pillow has decoded it; the picture is unread, and must stay so."""
        return None

    def kept(self, picture: Image.Image) -> NDArray[np.uint8] | None:
        """The upright picture, RGB or L, as `Decoded` hands it out."""
        if not self.keep_picture:
            return None
        shrinking = MAX_PICTURE_SIDE / max(picture.size)
        if shrinking < 1:
            size = max(1, round(picture.width * shrinking)), max(1, round(picture.height * shrinking))
            picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        return np.asarray(modes.to_rgb(picture))

    def reduced(self, picture: Image.Image) -> Thumbnail | None:
        """The thumbnail of an upright picture, RGB or L, where this loader makes some."""
        return None if self._thumbnails is None else self._thumbnails(picture)

    def _header(self, stream: IO[bytes]) -> ImageFile.ImageFile:
        jpeg.check_scans(stream)
        picture = identify(stream)
        self._check(picture.size)
        if picture.height > max(_FEW_ROWS, rows := self.decoding.max_pixels // PIXELS_PER_ROW):
            raise BombError(f"it has more than {rows} rows")
        return picture

    def _check(self, size: tuple[int, int]) -> None:
        if size[0] * size[1] > self.decoding.max_pixels:
            raise TooManyPixelsError("it has")

    def _bytes(self, picture: Image.Image) -> int:
        """What it takes in memory on its way to the network's size; an enlarged one may take more than its file."""
        resizing = resizing_bytes(picture.size, self.resized(*picture.size), self.decoding.recipe.interpolation)
        return decoding_bytes(picture, self.decoding.exif) + resizing

    def _upright(self, picture: Image.Image) -> Image.Image:
        """What `ImageOps.exif_transpose` gives, without a copy of what needs no turning and without its metadata."""
        method = _METHODS.get(orientation(picture)) if self.decoding.exif else None
        return picture if method is None else picture.transpose(method)

    def _fit(self, picture: Image.Image) -> Image.Image:
        """In mode RGB, or L for networks of one channel."""
        recipe = self.decoding.recipe
        mode = "L" if recipe.channel_order == "grey" else "RGB"
        if mode == "L":
            picture = picture.convert(mode)
        resized = self.resized(*picture.size)
        # Resize(256) leaves a picture of that size alone; Resize((224, 224)) filters even then, which changes nothing.
        if resized != picture.size:
            picture = picture.resize(resized, Image.Resampling[recipe.interpolation.upper()])
        if picture.mode != mode:
            picture = picture.convert(mode)
        size = recipe.size
        left, top = _centred(*resized, size)
        if min(resized) >= size:
            return picture.crop((left, top, left + size, top + size)) if resized != (size, size) else picture
        square = Image.new(picture.mode, (size, size), recipe.colour)
        square.paste(picture, (-left, -top))
        return square

    def input_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Where the network's square input lies on an upright picture: left, top, width and height in its pixels.

        It goes beyond the picture where that was letterboxed, and covers a part of it where that was cropped.
        """
        across, down = self.resized(width, height)
        size = self.decoding.recipe.size
        left, top = _centred(across, down, size)
        x, y = width / across, height / down
        return left * x, top * y, size * x, size * y

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after resizing and before the centre is taken or the rest filled up."""
        recipe = self.decoding.recipe
        side = recipe.side
        if recipe.resize == "squash":
            return side, side
        if recipe.resize == "letterbox":
            longer = max(width, height)
            return max(1, round(width / longer * side)), max(1, round(height / longer * side))
        shorter = min(width, height)
        width, height = int(side * width / shorter), int(side * height / shorter)
        if width * height > self.decoding.max_pixels:
            raise TooManyPixelsError("enlarging it takes")
        return width, height

    def _border(self, item: Input, stream: IO[bytes] | None = None) -> AbstractContextManager[None]:
        d = self.decoding
        return as_input_errors(item, stream, max_pixels=d.max_pixels, allow_truncated=d.allow_truncated)


def _centred(width: int, height: int, size: int) -> tuple[int, int]:
    """Left and upper edge of the square in the middle; negative where the picture is smaller."""
    return round((width - size) / 2), round((height - size) / 2)


# By EXIF orientation; of the others none is turned.
_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNS = Turns()  # for all loaders: two may be given the same picture
