"""JPEGs decoded and resized on a CUDA device, under `--fast-decode`.

The device's decoder rounds differently from libjpeg, so the numbers are close to the exact path and not equal to it;
that is why it is never the default.  What it cannot do (other formats, CMYK, progressive files on some cards, broken
files) goes the exact way on the host.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING

from PIL import ExifTags, Image, ImageFile

from vggcli.images import signatures
from vggcli.images.decode import Decoded, Decoding, ImageLoader
from vggcli.images.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from vggcli.images.budget import Budget

# EXIF orientation to quarter turns counter-clockwise, after a mirror along the width where the second entry says so.
_TURNS = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (1, True),
    6: (3, False),
    7: (3, True),
    8: (1, False),
}

# torchvision names its source files in its messages, "cuda" among their folders.
_SOURCE = re.compile(r"\w+, [^,]*\.(?:cpp|cu|h):\d+, ")
_OF_THE_DEVICE = ("cuda", "initialize nvjpeg", "failed to create", "nvjpeg is not", "compiled with")


class DeviceImageLoader(ImageLoader):
    """Decodes JPEGs on a device and everything else on the host.

    Args:
        decoding: how images are read.
        device: e.g. "cuda:0".
        keep_picture, budget: see `ImageLoader`.
    """

    def __init__(
        self, decoding: Decoding, device: str, *, keep_picture: bool = False, budget: Budget | None = None
    ) -> None:
        super().__init__(decoding, keep_picture=keep_picture, budget=budget)
        self._device = device
        self._usable = True
        self._telling = threading.Lock()

    def describe(self) -> str:
        """See `ImageLoader.describe`: the device's decoder gives other pixels, so a resumed run must use it too."""
        return super().describe() + ", decoded on the device"

    def elsewhere(self, picture: ImageFile.ImageFile) -> Decoded | None:
        """The image from the device; None where the host must do it."""
        if not self._usable or picture.format != "JPEG" or picture.mode not in ("RGB", "L"):
            return None
        if not _resizes_as(self.decoding.recipe):
            return None
        size = self.resized(*self._oriented_size(picture))
        stream = picture.fp
        assert stream is not None
        position = stream.tell()
        stream.seek(0)
        data = stream.read()
        is_cut = signatures.ends_early(stream)
        stream.seek(position)
        if is_cut:
            return None  # the device may fill up what is missing and say nothing
        try:
            import torch  # noqa: F401
            import torchvision.io  # noqa: F401
        except Exception as error:  # whatever a broken installation raises: beside another torch it is a RuntimeError
            self._without_torchvision(error)
            return None
        try:
            return self._fitted(self._decoded(data), self._orientation(picture), size)
        except ImportError as error:
            self._without_torchvision(error)
        except (RuntimeError, AssertionError) as error:
            # A broken file is the host decoder's to judge; a device that cannot decode fails for every file alike.
            why = _SOURCE.sub("", str(error).strip().partition("\n")[0])
            if any(words in why.lower() for words in _OF_THE_DEVICE):
                self._give_up(why)
        return None

    def _decoded(self, data: bytes) -> torch.Tensor:
        """(3, H, W) uint8 on the device."""
        import torch
        from torchvision.io import ImageReadMode, decode_jpeg

        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        image: torch.Tensor = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=self._device)
        return image

    def _fitted(self, image: torch.Tensor, orientation: int, resized: tuple[int, int]) -> Decoded:
        import torch
        from torch.nn import functional

        turns, mirrored = _TURNS[orientation]
        if mirrored:
            image = image.flip(2)
        image = torch.rot90(image, turns, (1, 2))
        width, height = resized
        pixels = functional.interpolate(image[None].float(), (height, width), mode="bilinear", antialias=True)
        size = self.decoding.recipe.size
        left, top = round((width - size) / 2), round((height - size) / 2)
        pixels = pixels[0, :, top : top + size, left : left + size].round().clamp(0, 255).to(torch.uint8)
        decoded = Decoded(self.arranged(_on_host(pixels)))
        if self.keep_picture or self._thumbnails is not None:
            picture = Image.fromarray(_on_host(image))
            decoded = decoded._replace(picture=self.kept(picture), thumbnail=self.reduced(picture))
        return decoded

    def _orientation(self, picture: Image.Image) -> int:
        if not self.decoding.exif:
            return 1
        try:
            orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
        except Exception:
            return 1  # unreadable metadata is no reason to refuse a readable picture
        return orientation if orientation in _TURNS else 1

    def _oriented_size(self, picture: Image.Image) -> tuple[int, int]:
        width, height = picture.size
        return (height, width) if _TURNS[self._orientation(picture)][0] % 2 else (width, height)

    def _without_torchvision(self, error: Exception) -> None:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        self._give_up(f"torchvision cannot be imported ({why})")

    def _give_up(self, why: str) -> None:
        with self._telling:
            if self._usable:
                self._usable = False
                logging.getLogger("vggcli").warning("JPEGs are decoded on the host: %s", why)


def _resizes_as(recipe: Recipe) -> bool:
    """Whether a recipe's pictures are what the device makes: colours, bilinear, without bars."""
    is_filled = recipe.resize == "letterbox" or recipe.side < recipe.size
    return recipe.interpolation == "bilinear" and recipe.channel_order != "grey" and not is_filled


def _on_host(image: torch.Tensor) -> NDArray[np.uint8]:
    """(3, H, W) on the device to (H, W, 3) in memory."""
    array: NDArray[np.uint8] = image.permute(1, 2, 0).contiguous().cpu().numpy()
    return array
