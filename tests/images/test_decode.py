"""From a file to the network's input: torchvision's pixels to the bit, and a kind of failure for everything else."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from image_examples import CROPPED, failure, gradient, load, noise, saved
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

from vggcli.errors import InputError
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.discover import Input
from vggcli.images.formats import REFUSED_FORMATS

SQUASH, CROP = Resize((224, 224)), Compose([Resize(256), CenterCrop(224)])

Image.init()
# What Pillow can write and read again, but for what the loader never opens.
FORMATS = sorted((set(Image.SAVE) & set(Image.OPEN)) - REFUSED_FORMATS)


def same(pixels: NDArray[np.uint8], picture: Image.Image) -> bool:
    """Whether these are a picture's pixels, as bytes and as torchvision's tensor."""
    as_tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div(255)
    return bool((pixels == np.asarray(picture)).all()) and bool(torch.equal(as_tensor, ToTensor()(picture)))


# Preprocessing


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


SIDES = st.one_of(st.integers(1, 700), st.sampled_from([1, 2, 223, 224, 225, 255, 256, 257]))


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES)
@example(1, 1)
@example(1, 700)
@example(700, 1)
@example(224, 224)
def test_squash_equals_torchvision_to_the_bit(scratch: Path, width: int, height: int) -> None:
    picture = noise(width, height)
    picture.save(scratch / "squash.bmp")
    assert same(load(scratch / "squash.bmp"), SQUASH(picture))


@settings(max_examples=60, deadline=None)
@given(SIDES.filter(lambda side: side > 35), SIDES.filter(lambda side: side > 35))
@example(256, 256)
@example(3, 100)
@example(100, 3)
@example(256, 257)
@example(1, 1)
def test_crop_equals_torchvision_to_the_bit(scratch: Path, width: int, height: int) -> None:
    picture = noise(width, height)
    picture.save(scratch / "crop.bmp")
    assert same(load(scratch / "crop.bmp", recipe=CROPPED), CROP(picture))


def with_transparency(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture


MADE: dict[str, Callable[[], tuple[Image.Image, str, dict[str, Any]]]] = {
    "1": lambda: (noise(50, 40).convert("1"), "PNG", {}),
    "L": lambda: (noise(50, 40).convert("L"), "PNG", {}),
    "LA": lambda: (with_transparency(noise(50, 40)).convert("LA"), "PNG", {}),
    "P": lambda: (noise(50, 40).quantize(200), "PNG", {}),
    "P of 16": lambda: (noise(50, 40).quantize(16), "GIF", {}),
    "P, one transparent": lambda: (noise(50, 40).quantize(200), "PNG", {"transparency": 3}),
    "P, many transparent": lambda: (noise(50, 40).quantize(200), "PNG", {"transparency": bytes(range(200))}),
    "RGB, one transparent": lambda: (noise(50, 40), "PNG", {"transparency": (1, 2, 3)}),
    "RGBA": lambda: (with_transparency(noise(50, 40)), "PNG", {}),
    "RGBA WebP": lambda: (with_transparency(noise(50, 40)), "WEBP", {"lossless": True}),
    "CMYK JPEG": lambda: (gradient().convert("CMYK"), "JPEG", {}),
    "CMYK TIFF": lambda: (noise(50, 40).convert("CMYK"), "TIFF", {}),
    "YCbCr TIFF": lambda: (noise(50, 40).convert("YCbCr"), "TIFF", {"compression": "tiff_lzw"}),
    "progressive": lambda: (gradient(), "JPEG", {"progressive": True}),
    "4:4:4": lambda: (gradient(), "JPEG", {"subsampling": 0}),
    "grey JPEG": lambda: (gradient().convert("L"), "JPEG", {}),
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("what", MADE)
def test_every_mode_equals_torchvision_after_pillow_made_it_rgb(tmp_path: Path, what: str) -> None:
    picture, format, options = MADE[what]()
    picture.save(tmp_path / "a", format, **options)
    rgb = Image.open(tmp_path / "a").convert("RGB")
    assert same(load(tmp_path / "a"), SQUASH(rgb))
    assert same(load(tmp_path / "a", recipe=CROPPED), CROP(rgb))


def test_ycck_is_read_like_the_cmyk_it_holds(tmp_path: Path) -> None:
    data = saved(gradient().convert("CMYK"), "JPEG")
    at = data.index(b"Adobe")
    assert data[at + 11] == 0
    (tmp_path / "a.jpg").write_bytes(data[: at + 11] + b"\x02" + data[at + 12 :])  # the same numbers, now called YCCK
    rgb = Image.open(tmp_path / "a.jpg").convert("RGB")
    assert same(load(tmp_path / "a.jpg"), SQUASH(rgb))
    (tmp_path / "b.jpg").write_bytes(data)
    assert (load(tmp_path / "a.jpg") != load(tmp_path / "b.jpg")).any()


def test_a_sixteen_bit_photo_keeps_its_contrast(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 224 * 224).astype(np.uint16).reshape(224, 224)
    expected = np.rint(values * (255 / 65535)).astype(np.uint8)
    little, big = Image.fromarray(values), Image.frombytes("I;16B", (224, 224), values.astype(">u2").tobytes())
    little.save(tmp_path / "a.png")
    little.save(tmp_path / "a.tif")
    little.save(tmp_path / "a.pgm")
    big.save(tmp_path / "b.tif")
    for name in ("a.png", "a.tif", "a.pgm", "b.tif"):
        assert (load(tmp_path / name)[..., 0] == expected).all(), name


def test_float_and_wide_integer_photos_are_scaled(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 224 * 224).astype(np.float32).reshape(224, 224)
    Image.fromarray(ramp).save(tmp_path / "f.tif")
    Image.fromarray((ramp * 1e6 - 5e5).astype(np.int32)).save(tmp_path / "i.tif")
    for name in ("f.tif", "i.tif"):
        assert np.abs(load(tmp_path / name)[..., 1] - np.rint(ramp * 255)).max() <= 1, name


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO", "AVIF"])
def test_of_several_frames_the_first_counts(tmp_path: Path, format: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a", format, save_all=True, append_images=frames[1:])
    red, green, blue = load(tmp_path / "a")[100, 100]
    assert (red > 240, green < 15, blue < 15) == (True, True, True)


# Orientation

STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", STORED_AS)
def test_exif_orientation_puts_a_photo_upright(tmp_path: Path, format: str, orientation: int) -> None:
    exif, how = Image.Exif(), STORED_AS[orientation]
    exif[0x0112] = orientation
    upright = gradient()
    turned = upright.transpose(how) if how is not None else upright
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    turned.save(tmp_path / "a", format, exif=exif, **options)
    turned.save(tmp_path / "raw", format, **options)
    shown = load(tmp_path / "a").astype(int) - np.asarray(SQUASH(upright))
    assert np.abs(shown).max() <= (12 if format == "JPEG" else 0)
    assert (load(tmp_path / "a", exif=False) == load(tmp_path / "raw")).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 40, b"\0" * 99],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_is_no_reason_to_refuse_a_photo(tmp_path: Path, format: str, exif: bytes) -> None:
    gradient().save(tmp_path / "a", format, exif=exif)
    gradient().save(tmp_path / "raw", format)
    assert (load(tmp_path / "a") == load(tmp_path / "raw")).all()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    gradient().save(tmp_path / "a.png", exif=exif)
    assert same(load(tmp_path / "a.png"), SQUASH(gradient()))


def test_memory_that_runs_out_while_turning_is_not_taken_for_broken_exif(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradient().save(tmp_path / "a.png")

    def exhausted(picture: Image.Image) -> Image.Exif:
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.getexif", exhausted)
    assert failure(tmp_path / "a.png").kind == "memory"


# Formats


def savable(format: str) -> Image.Image:
    """A picture in the first mode that the format takes, of a size that all take."""
    for mode in ("RGB", "RGBA", "P", "L", "1", "F"):
        picture = gradient(64, 64).convert(mode)
        try:
            saved(picture, format)
        except (OSError, KeyError, ValueError):
            continue
        return picture
    raise AssertionError(f"no mode can be saved as {format}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_that_pillow_writes_is_read(tmp_path: Path, format: str) -> None:
    (tmp_path / "a").write_bytes(saved(savable(format), format))
    with Image.open(tmp_path / "a") as picture:
        rgb = picture.convert("RGB") if picture.mode != "F" else None
    pixels = load(tmp_path / "a")
    if rgb is not None:
        assert same(pixels, SQUASH(rgb))
    else:
        assert pixels.std() > 30  # a float picture is scaled, see test_pixels


def test_formats_that_run_or_need_something_else_are_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", started)
    gradient().save(tmp_path / "a.eps")
    assert failure(tmp_path / "a.eps").why == "it is a PostScript program, which is never run"
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.eps").read_bytes())
    assert failure(tmp_path / "a.jpg").kind == "unsupported"
    dos_header = b"\xc5\xd0\xd3\xc6" + struct.pack("<6IH", 32, (tmp_path / "a.eps").stat().st_size, 0, 0, 0, 0, 0xFFFF)
    (tmp_path / "b.eps").write_bytes(dos_header.ljust(32, b"\0") + (tmp_path / "a.eps").read_bytes())
    assert failure(tmp_path / "b.eps").kind == "unsupported"


def test_no_program_is_started_for_what_another_format_wraps(tmp_path: Path) -> None:
    def field(record: int, dataset: int, data: bytes) -> bytes:
        return bytes([0x1C, record, dataset]) + struct.pack(">H", len(data)) + data

    fields = [(3, 60, b"\1\0"), (3, 20, b"\0\x32"), (3, 30, b"\0\x32"), (3, 120, b"\5")]
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.jpg").write_bytes(b"".join(field(*each) for each in fields) + field(8, 10, eps))
    (tmp_path / "gs").write_text("#!/bin/sh\ntouch started\n")
    (tmp_path / "gs").chmod(0o755)
    command = [sys.executable, "-m", "vggcli", "predict", "--weights", "demo", "-k", "1", "a.jpg"]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.format == "IPTC", "the trap is one"
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.split("\t")[5][:12]) == (1, "unsupported:")
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html><title>404</title>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        b"PK\x03\x04" + bytes(99),
        b"hello\n",
        bytes(4096),
        bytes(1),
        b"\xff" * 999,
        b"\x7fELF" + bytes(range(256)),
    ],
)
def test_files_that_are_only_named_like_photos(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    assert failure(tmp_path / "a.jpg").kind == "unsupported"


# Bombs


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that claims a size, with these chunks behind its header."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        body += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return body


def test_more_pixels_than_allowed_are_refused(tmp_path: Path) -> None:
    gradient(60, 40).save(tmp_path / "a.png")
    assert failure(tmp_path / "a.png", max_pixels=2399).kind == "bomb"
    assert load(tmp_path / "a.png", max_pixels=2400).shape == (224, 224, 3)


@pytest.mark.parametrize("max_pixels", [1, 2, 3])
def test_the_smallest_limits_are_exact(tmp_path: Path, max_pixels: int) -> None:
    for pixels in (1, 2, 3, 4):
        noise(pixels, 1).save(tmp_path / "a.png")
        if pixels > max_pixels:
            assert failure(tmp_path / "a.png", max_pixels=max_pixels).kind == "bomb"
        else:
            load(tmp_path / "a.png", max_pixels=max_pixels)


def test_a_limit_above_pillows_own_is_obeyed(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6 20000 10000 255\n")
    assert failure(tmp_path / "a.ppm").why == "it has more than 89478485 pixels"
    assert failure(tmp_path / "a.ppm", max_pixels=199_999_999).kind == "bomb"
    with open(tmp_path / "a.ppm", "rb") as stream:
        assert ImageLoader(Decoding(max_pixels=200_000_000))._header(stream).size == (20_000, 10_000)


def test_a_strip_that_grows_too_large_is_refused_with_the_reason(tmp_path: Path) -> None:
    noise(1, 2000).save(tmp_path / "a.png")
    assert load(tmp_path / "a.png").shape == (224, 224, 3)
    error = failure(tmp_path / "a.png", recipe=CROPPED)
    assert (error.kind, error.why) == ("bomb", "enlarging it takes more than 89478485 pixels")


BOMBS = {
    "size.png": png(2**31 - 1, 2**31 - 1),
    "text.png": png(
        8, 8, (b"zTXt", b"a\0\0" + zlib.compress(bytes(300 << 20), 9)), (b"IDAT", zlib.compress(bytes(200)))
    ),
    "profile.png": png(
        8, 8, (b"iCCP", b"a\0\0" + zlib.compress(bytes(300 << 20), 9)), (b"IDAT", zlib.compress(bytes(200)))
    ),
    "size.bmp": b"BM" + bytes(12) + struct.pack("<IiiHHIIiiII", 40, 2**30, 2**30, 1, 24, 0, 0, 0, 0, 0, 0),
    "size.gif": b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + bytes(6) + b"," + bytes(9) + b"\x02\0;",
    "size.ppm": b"P6 999999999 999999999 255\n",
    "size.tga": bytes([0, 0, 2]) + bytes(9) + struct.pack("<HH", 65535, 65535) + bytes([24, 0]),
    "size.qoi": b"qoif" + struct.pack(">II", 2**31, 2**31) + b"\x03\0",
}


def test_bombs_are_refused_without_taking_memory(tmp_path: Path) -> None:
    for name, data in BOMBS.items():
        (tmp_path / name).write_bytes(data)
    program = f"""
import resource
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.discover import Input
from vggcli.errors import InputError
from PIL import Image
Image.init()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (96 << 20),) * 2)
for name in {sorted(BOMBS)}:
    try:
        print(name, ImageLoader(Decoding()).load(Input({str(tmp_path)!r} + "/" + name)).pixels.shape)
    except InputError as error:
        print(name, error.kind)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    kinds = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert kinds.keys() == BOMBS.keys()
    assert {kinds[name] for name in kinds if name.startswith("size")} == {"bomb"}
    assert kinds["text.png"] == "damaged"
    assert kinds["profile.png"] in ("damaged", "(224, 224, 3)")  # a colour profile is not needed for the pixels


# Damage


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """The data with some bytes changed, cut, doubled or dropped."""
    dice = random.Random(seed)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(dice.choice((1, 1, 2, 5, 20))):
            at = dice.randrange(len(changed)) if dice.random() < 0.5 else dice.randrange(min(80, len(changed)))
            changed[at] = dice.choice((0, 1, 127, 128, 255, dice.randrange(256)))
        cut = dice.randrange(1, len(changed))
        kind = dice.random()
        if kind < 0.1:
            changed = changed[:cut]
        elif kind < 0.2:
            changed = changed[:cut] + changed[max(0, cut - 20) :]
        elif kind < 0.3:
            changed = changed[:cut] + changed[cut + 4 :]
        yield bytes(changed)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("format", "options"), [("JPEG", {}), ("PNG", {}), ("GIF", {}), ("WEBP", {}), ("TIFF", {"compression": "tiff_lzw"})]
)
def test_a_damaged_photo_ends_in_pixels_or_in_its_own_error(
    tmp_path: Path, format: str, options: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    data = saved(noise(24, 18), format, **options)
    loaders = [ImageLoader(Decoding(max_pixels=1 << 20, allow_truncated=allowed)) for allowed in (False, True)]
    kinds = set()
    for number, changed in enumerate(mutations(data, 300, seed=len(format))):
        (tmp_path / "a").write_bytes(changed)
        try:
            pixels = loaders[number % 2].load(Input(str(tmp_path / "a"))).pixels
        except InputError as error:
            kinds.add(error.kind)
        else:
            assert (pixels.shape, pixels.dtype) == ((224, 224, 3), np.uint8)
            kinds.add("ok")
    assert kinds <= {"ok", "unsupported", "truncated", "damaged", "bomb"}
    assert len(kinds) > 1  # the mutations reach more than one way out


def test_whatever_a_decoder_raises_is_that_files_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradient().save(tmp_path / "a.png")
    expected: list[tuple[BaseException, str]] = [
        (RecursionError("too deep"), "damaged"),
        (AssertionError(), "damaged"),
        (ZeroDivisionError("division by zero"), "damaged"),
        (OSError("image file is truncated"), "truncated"),
        (OSError(5, "Input/output error"), "unreadable"),
        (MemoryError(), "memory"),
    ]
    for raised, kind in expected:

        def broken(*_: object, raised: BaseException = raised, **__: object) -> None:
            raise raised

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", broken)
        assert failure(tmp_path / "a.png").kind == kind


def test_a_place_before_the_beginning_of_the_file_is_damage(tmp_path: Path) -> None:
    tags = {256: 9, 257: 9, 258: 8, 259: 1, 262: 1, 273: -8, 277: 1, 278: 9, 279: 81}
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHIi", tag, 9 if value < 0 else 4, 1, value) for tag, value in tags.items()
    )
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + bytes(99))
    assert failure(tmp_path / "a.tif").kind == "damaged"


def test_what_is_broken_and_has_its_end_is_not_truncated(tmp_path: Path) -> None:
    broken = bytearray(saved(noise(90, 60), "PNG"))
    broken[-60] ^= 0xFF
    broken[-1] ^= 1  # the checksum of the last chunk
    (tmp_path / "a.png").write_bytes(broken)
    assert failure(tmp_path / "a.png").kind == "damaged"
    photo = saved(gradient(), "JPEG").replace(b"\xff\xc4\0\x1f", b"\xff\xc4\0\x1e", 1)
    (tmp_path / "a.jpg").write_bytes(photo + bytes(500))
    assert failure(tmp_path / "a.jpg").kind == "damaged"


def test_libtiff_says_nothing_by_itself_in_the_command(tmp_path: Path) -> None:
    data = bytearray(saved(noise(90, 60), "TIFF", compression="tiff_lzw"))
    data[8:200] = bytes(192)
    (tmp_path / "a.tif").write_bytes(data)
    command = [sys.executable, "-m", "vggcli", "predict", "--weights", "demo", "-k", "1", "a.tif"]
    alone = "from PIL import Image; Image.open('a.tif').load()"

    by_itself = subprocess.run([sys.executable, "-c", alone], cwd=tmp_path, capture_output=True, text=True, check=False)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert not by_itself.stderr.startswith("Traceback"), "the trap is one: libtiff speaks first"
    assert done.returncode == 1
    assert all(line.startswith("vgg: ") for line in done.stderr.splitlines())


# --fast-decode


def test_fast_decode_stays_close(tmp_path: Path) -> None:
    gradient(1500, 1200).save(tmp_path / "a.jpg")
    exact, fast = load(tmp_path / "a.jpg").astype(int), load(tmp_path / "a.jpg", fast=True).astype(int)
    assert np.abs(exact - fast).max() <= 4


def test_fast_decode_leaves_small_and_other_pictures_alone(tmp_path: Path) -> None:
    gradient(440, 440).save(tmp_path / "a.jpg")
    gradient(1500, 1200).save(tmp_path / "b.png")
    for name in ("a.jpg", "b.png"):
        assert (load(tmp_path / name) == load(tmp_path / name, fast=True)).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "squash 224"),
        ({"recipe": CROPPED}, "crop 256/224"),
        ({"exif": False, "fast": True, "allow_truncated": True}, "squash 224, no exif, fast decode, truncated allowed"),
    ],
)
def test_decoding_describes_itself(options: dict[str, Any], words: str) -> None:
    assert Decoding(**options).describe() == words
