"""Fuzz the image loader with atheris: every input ends in 224x224 RGB pixels or an `InputError`.

    pip install atheris
    python tests/fuzz/fuzz_images.py --seconds 1200
    python tests/fuzz/fuzz_images.py --runs 100000 CORPUS_FOLDER
    python tests/fuzz/fuzz_images.py crash-0123456789      (one input again)

`bounded_images.py` beside it looks at memory and time.
Starts from small images of many formats, made here. Not part of the normal test suite.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Target, fuzz

MAX_PIXELS = 1 << 22  # so that the time of one input stays small


def seeds() -> list[bytes]:
    """One small picture in every format and mode that decoders treat in their own way."""
    from PIL import Image

    picture = Image.linear_gradient("L").resize((24, 18)).convert("RGB")
    wanted: list[tuple[str, Any, dict[str, Any]]] = [
        ("JPEG", picture, {}),
        ("JPEG", picture, {"progressive": True}),
        ("JPEG", picture.convert("CMYK"), {}),
        ("PNG", picture.convert("RGBA"), {}),
        ("PNG", picture.convert("P"), {"transparency": 3}),
        ("PNG", picture.convert("I;16"), {}),
        ("GIF", picture.convert("P"), {"save_all": True, "append_images": [picture.rotate(90)]}),
        ("BMP", picture, {}),
        ("PPM", picture, {}),
        ("TIFF", picture, {"compression": "tiff_lzw"}),
        ("TIFF", picture.convert("F"), {}),
        ("WEBP", picture, {}),
        ("ICO", picture, {}),
        ("TGA", picture, {"compression": "tga_rle"}),
        ("PCX", picture, {}),
        ("SGI", picture, {}),
        ("DDS", picture.convert("RGBA"), {}),
        ("JPEG2000", picture, {}),
    ]
    made = []
    for format, image, options in wanted:
        file = io.BytesIO()
        image.save(file, format, **options)
        made.append(file.getvalue())
    exif = Image.Exif()
    exif[0x112] = 6
    file = io.BytesIO()
    picture.save(file, "JPEG", exif=exif)
    return [*made, file.getvalue(), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>"]


def plugins() -> list[str]:
    """Pillow's format modules, to be instrumented before anything imports them."""
    package = importlib.util.find_spec("PIL")
    assert package is not None
    assert package.origin is not None
    found = sorted(path.stem for path in Path(package.origin).parent.glob("*ImagePlugin.py"))
    return [f"PIL.{name}" for name in found if name not in ("FpxImagePlugin", "MicImagePlugin")]  # they need olefile


def start(max_pixels: int = MAX_PIXELS) -> Callable[[str], None]:
    from vggcli.errors import InputError
    from vggcli.images.decode import Decoding, ImageLoader
    from vggcli.images.discover import Input
    from vggcli.images.recipe import Recipe

    loaders = [
        ImageLoader(Decoding(max_pixels=max_pixels)),
        ImageLoader(Decoding(max_pixels=max_pixels, recipe=Recipe(resize="crop"), allow_truncated=True, fast=True)),
    ]

    def load(path: str) -> None:
        for loader in loaders:
            try:
                pixels = loader.load(Input(path)).pixels
            except InputError:
                continue
            assert pixels.shape == (224, 224, 3), pixels.shape
            assert pixels.dtype.name == "uint8"

    return load


if __name__ == "__main__":
    fuzz(
        Target(
            doc=__doc__ or "",
            modules=("PIL.Image", "PIL.ImageFile", *plugins(), "vggcli.images.decode"),
            packages=("vggcli", "PIL"),
            seeds=seeds,
            longest=1 << 14,
            memory_mb=2500,
        ),
        start,
    )
