"""From a path to the network's input: open, decode, orient, convert to RGB, resize.  The only user of Pillow for input.

The result equals torchvision's `Resize((224, 224))` (or `Resize(256), CenterCrop(224)`) on the same picture to the
bit; the division by 255 and the normalisation belong to the engines, so images travel as bytes.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import EpsImagePlugin, Image, ImageFile, ImageOps, UnidentifiedImageError

from vggcli.errors import InputError
from vggcli.images import modes, signatures
from vggcli.images.discover import STDIN, Input
from vggcli.images.locks import ReadWriteLock
from vggcli.images.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Kinds of failure, as they stand in the records.
KINDS = {
    "missing": "no such file",
    "vanished": "found in a folder, gone when it was opened",
    "permission": "not readable for this user",
    "not-a-file": "a folder, FIFO, socket or device",
    "empty": "no bytes",
    "unsupported": "not an image, or of a format that is not decoded",
    "truncated": "the image data ends early",
    "damaged": "the image data is broken",
    "bomb": "more pixels than --max-pixels",
    "unreadable": "the system could not read the file",
    "timeout": "decoding took too long",
    "memory": "not enough memory for one image",
    "model": "the network gave no number for it",
}

# Formats that Pillow has loaded from the start; the others are tried only when none of these fits, since loading them
# takes time.
COMMON_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
# Never opened: EPS runs an external program, IPTC opens what it wraps as any format, EPS among them, and the others
# only name a format that something else would have to decode.
REFUSED_FORMATS = frozenset(("EPS", "IPTC", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"))

# What decoders say of a file that ends before its picture does.
_TRUNCATED = ("truncat", "unexpected end", "end of file", "not enough", "incomplete", "but only got", "eof")

DEFAULT_MAX_PIXELS = 89_478_485  # Pillow's own limit: a quarter of a GiB of 3-byte pixels
MAX_BYTES_IN_MEMORY = 1 << 30


@dataclass(frozen=True, slots=True)
class Decoding:
    """How images are read.

    Attributes:
        recipe: size and shape of the pixels handed out; their normalisation belongs to the engines.
        exif: apply the EXIF orientation.
        allow_truncated: classify what there is of an image that ends early.
        max_pixels: an image of more pixels is refused before its pixels are decoded.
        fast: let the JPEG decoder halve the picture while it stays at least twice the target size.
    """

    recipe: Recipe = field(default_factory=Recipe)
    exif: bool = True
    allow_truncated: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    fast: bool = False

    def describe(self) -> str:
        """In words for the provenance, e.g. "squash 224"."""
        parts = [self.recipe.describe()]
        parts += ["no exif"] * (not self.exif) + ["fast decode"] * self.fast
        parts += [f"at most {self.max_pixels} pixels"] * (self.max_pixels != DEFAULT_MAX_PIXELS)
        return ", ".join(parts + ["truncated allowed"] * self.allow_truncated)


class ImageLoader:
    """Decodes images; safe to call from many threads."""

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding
        # Pillow refuses above twice this figure and warns above it; the warning says nothing that we need.
        Image.MAX_IMAGE_PIXELS = max(1, (decoding.max_pixels + 1) // 2)
        warnings.filterwarnings("ignore", module=r"PIL\..*")
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

    def load(self, item: Input) -> tuple[NDArray[np.uint8], bool]:
        """The network's input (size, size, 3), uint8, RGB, and whether the image data ended early.

        Raises:
            InputError: with one of `KINDS`; nothing else, whatever the file holds.
        """
        try:
            with self._open(item) as stream:
                return self._decode(stream, item.path)
        except InputError:
            raise
        except MemoryError as error:
            raise InputError("memory", item.path, "there is not enough memory to decode it") from error
        except OSError as error:
            raise _from_os(error, item) from error

    @contextmanager
    def _open(self, item: Input) -> Iterator[IO[bytes]]:
        if item.is_stdin:
            data = sys.stdin.buffer.read(MAX_BYTES_IN_MEMORY)
            if not data:
                raise InputError("empty", STDIN, "standard input holds no bytes")
            yield io.BytesIO(data)
            return
        if "\0" in item.path:
            raise InputError("missing", item.path, "no file name holds a zero byte")
        _refuse_special(os.stat(item.path), item.path)  # opening some devices sets them going
        # O_NONBLOCK: opening a FIFO without a writer would wait for ever, if one took the file's place since.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(item.path, flags)
        with open(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            _refuse_special(status, item.path)
            if status.st_size == 0:
                raise InputError("empty", item.path, "the file is empty")
            if self.decoding.allow_truncated and status.st_size <= MAX_BYTES_IN_MEMORY:
                # Read before the gate: a disk that hangs behind it would shut everybody else out.
                yield io.BytesIO(stream.read())
            else:
                yield stream

    def _decode(self, stream: IO[bytes], path: str) -> tuple[NDArray[np.uint8], bool]:
        try:
            with _PILLOW_LOCK.shared():
                return self._pixels(stream, path), False
        except InputError as error:
            if error.kind != "truncated" or not self.decoding.allow_truncated:
                raise
        stream.seek(0)
        # The switch is global in Pillow: nobody else may decode while it is on.
        with _PILLOW_LOCK.alone():
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            try:
                return self._pixels(stream, path), True
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES = False

    def _pixels(self, stream: IO[bytes], path: str) -> NDArray[np.uint8]:
        picture: Any = stream
        for step in self.steps():
            try:
                picture = step(picture)
            except (InputError, MemoryError):
                raise
            except Image.DecompressionBombError as error:
                what = "enlarging it takes" if isinstance(error, _TooThinError) else "it has"
                raise InputError("bomb", path, f"{what} more than {self.decoding.max_pixels} pixels") from error
            except Exception as error:
                # The border to every decoder: whatever one throws at a broken file is this file's failure alone.
                raise self._from_decoder(error, stream, path) from error
        return np.asarray(picture)

    def steps(self) -> tuple[Callable[[Any], Any], ...]:
        """From the open file to the pixels, one function after the other; what they raise fails this file."""
        return self._header, self._body, modes.to_rgb, self._fit

    def _header(self, stream: IO[bytes]) -> Image.Image:
        try:
            picture = Image.open(stream, formats=COMMON_FORMATS)
        except UnidentifiedImageError:
            _load_all_formats()
            stream.seek(0)
            picture = Image.open(stream, formats=[name for name in Image.ID if name not in REFUSED_FORMATS])
        if picture.width * picture.height > self.decoding.max_pixels:
            raise Image.DecompressionBombError
        return picture

    def _body(self, picture: Image.Image) -> Image.Image:
        if self.decoding.fast:
            recipe = self.decoding.recipe
            side = 2 * (recipe.resize_to if recipe.resize == "crop" else recipe.size)
            picture.draft(None, (side, side))
        picture.load()
        if self.decoding.exif:
            try:
                return ImageOps.exif_transpose(picture)
            except MemoryError:
                raise
            except Exception:
                return picture  # unreadable metadata is no reason to refuse a readable picture
        return picture

    def _fit(self, picture: Image.Image) -> Image.Image:
        resized = self.resized(*picture.size)
        # Resize(256) leaves a picture of that size alone; Resize((224, 224)) filters even then, which changes nothing.
        if resized != picture.size:
            picture = picture.resize(resized, Image.Resampling.BILINEAR)
        size = self.decoding.recipe.size
        left, top = round((resized[0] - size) / 2), round((resized[1] - size) / 2)
        return picture.crop((left, top, left + size, top + size)) if self.decoding.recipe.resize == "crop" else picture

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after resizing and before the centre crop, if there is one."""
        recipe = self.decoding.recipe
        if recipe.resize == "squash":
            return recipe.size, recipe.size
        shorter = min(width, height)
        width, height = int(recipe.resize_to * width / shorter), int(recipe.resize_to * height / shorter)
        if width * height > self.decoding.max_pixels:
            raise _TooThinError
        return width, height

    def _from_decoder(self, error: Exception, stream: IO[bytes], path: str) -> InputError:
        if isinstance(error, OSError) and error.errno:
            raise error  # the disk, not the decoder
        text = str(error).strip() or type(error).__name__
        if any(words in text.lower() for words in _TRUNCATED) or signatures.ends_early(stream):
            allowed = self.decoding.allow_truncated
            hint = "too early to read any of it" if allowed else "early (--allow-truncated reads what there is)"
            return InputError("truncated", path, f"the image data ends {hint}")
        if isinstance(error, UnidentifiedImageError):
            stream.seek(0)
            return InputError("unsupported", path, signatures.describe(stream.read(512)))
        return InputError("damaged", path, f"its data cannot be decoded ({text})")


def _load_all_formats() -> None:
    Image.init()
    # A second wall behind `REFUSED_FORMATS`: whatever wraps an EPS, no Ghostscript is called for it.
    EpsImagePlugin.gs_binary = False


class _TooThinError(Image.DecompressionBombError):
    """A strip so thin that enlarging its shorter side would fill the memory."""


_PILLOW_LOCK = ReadWriteLock()  # one for all loaders: what it guards is Pillow's and global


def _from_os(error: OSError, item: Input) -> InputError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        if os.path.islink(item.path):
            return InputError("missing", item.path, "it is a link to a file that does not exist")
        if item.given:
            return InputError("missing", item.path, "there is no such file")
        return InputError("vanished", item.path, "it was there when the folder was listed and is gone")
    if isinstance(error, PermissionError):
        return InputError("permission", item.path, "this user may not read it")
    why = os.strerror(error.errno).lower() if error.errno else str(error)
    return InputError("unreadable", item.path, f"the system says: {why}")


def _refuse_special(status: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        if stat.S_ISDIR(status.st_mode) and not os.access(path, os.R_OK | os.X_OK):
            raise InputError("permission", path, "it is a folder that this user may not read")
        types = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
        what = types.get(stat.S_IFMT(status.st_mode), "a device")
        raise InputError("not-a-file", path, f"it is {what}, not an image file")
