"""JPEGs decoded on a device: near the exact path where the device does it, the exact path itself where it cannot.

The device here is the CPU: torchvision's decoder and torch's resizing are the same calls that a GPU gets.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.io
from numpy.typing import NDArray
from PIL import ExifTags, Image

from vggcli.errors import InputError
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.discover import Input
from vggcli.images.nvjpeg import DeviceImageLoader
from vggcli.images.recipe import Recipe

SOURCE = "/build/vision/torchvision/csrc/io/image/cuda/decode_jpegs_cuda.cpp"
BROKEN_FILE = f"decode_jpegs_cuda, {SOURCE}:99, Error while decoding: decode_images, {SOURCE}:44, Failed to decode: 3"
DEVICE_FAILS = {
    "no driver": ("CUDA error: no driver\nSearch for it", "CUDA error: no driver"),
    "no nvJPEG": (
        f"decode_jpegs_cuda, {SOURCE}:9, torchvision not compiled with nvJPEG support",
        "torchvision not compiled with nvJPEG support",
    ),
    "nvJPEG fails": (
        f"CUDAJpegDecoder, {SOURCE}:9, Failed to initialize nvjpeg with default backend: 6",
        "Failed to initialize nvjpeg with default backend: 6",
    ),
}


def picture(width: int = 90, height: int = 60) -> Image.Image:
    """A picture in which every corner differs, smooth and with some noise."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    noise = np.random.default_rng(0).integers(-20, 20, (height, width, 3))
    return Image.fromarray(np.clip(np.stack([x, y, 255 - x], 2) + noise, 0, 255).astype(np.uint8))


def jpeg(folder: Path, image: Image.Image | None = None, **options: Any) -> Path:
    path = folder / "picture.jpg"
    (image or picture()).save(path, "JPEG", **options)
    return path


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The device of every file that the device decoder finished."""
    devices: list[str] = []
    decode = torchvision.io.decode_jpeg

    def noted(data: torch.Tensor, mode: Any, device: str) -> torch.Tensor:
        image: torch.Tensor = decode(data, mode=mode, device=device)
        devices.append(device)
        return image

    monkeypatch.setattr(torchvision.io, "decode_jpeg", noted)
    return devices


def on_device(path: Path, **options: Any) -> NDArray[np.uint8]:
    return DeviceImageLoader(Decoding(**options), "cpu").load(Input(str(path))).pixels


def exact(path: Path, **options: Any) -> NDArray[np.uint8]:
    return ImageLoader(Decoding(**options)).load(Input(str(path))).pixels


def assert_near(path: Path, **options: Any) -> None:
    """Within two grey levels of the exact path, and not of another picture."""
    got, expected = on_device(path, **options), exact(path, **options)
    assert (got.dtype, got.shape, got.flags.c_contiguous) == (np.uint8, (224, 224, 3), True)
    assert np.abs(got.astype(int) - expected).max() <= 2
    for other in (expected[::-1], expected[:, ::-1], expected[::-1, ::-1], expected.swapaxes(0, 1)):
        assert np.abs(got.astype(int) - other).max() > 20


# What the device does


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("size", [(90, 60), (61, 97), (640, 411), (257, 900)], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpegs_are_within_two_grey_levels(
    tmp_path: Path, decoded: list[str], mode: str, size: tuple[int, int], resize: str
) -> None:
    assert_near(jpeg(tmp_path, picture(*size).convert(mode)), recipe=Recipe(resize=resize))
    assert decoded == ["cpu"]


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"quality": 30}], ids=str)
def test_every_kind_of_jpeg(tmp_path: Path, decoded: list[str], options: dict[str, Any]) -> None:
    assert_near(jpeg(tmp_path, **options))
    assert decoded == ["cpu"]


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path: Path, decoded: list[str], orientation: int, resize: str) -> None:
    path = jpeg(tmp_path, exif=oriented(orientation))
    assert_near(path, recipe=Recipe(resize=resize))
    assert_near(path, recipe=Recipe(resize=resize), exif=False)
    assert decoded == ["cpu", "cpu"]


@pytest.mark.parametrize("exif", [oriented(0), oriented(9), b"Exif\0\0broken"], ids=["0", "9", "broken"])
def test_an_orientation_that_is_none_turns_nothing(tmp_path: Path, decoded: list[str], exif: Any) -> None:
    assert_near(jpeg(tmp_path, exif=exif))
    assert decoded == ["cpu"]


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_picture_is_kept_on_request_as_the_host_keeps_it(
    tmp_path: Path, decoded: list[str], orientation: int
) -> None:
    path = jpeg(tmp_path, picture(1500, 90), exif=oriented(orientation))
    kept, expected = (
        loader.load(Input(str(path))).picture
        for loader in (
            DeviceImageLoader(Decoding(), "cpu", keep_picture=True),
            ImageLoader(Decoding(), keep_picture=True),
        )
    )

    assert decoded == ["cpu"]
    assert kept is not None
    assert expected is not None
    assert kept.shape == expected.shape
    assert np.abs(kept.astype(int) - expected).max() <= 2


# What the host does


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(resize="letterbox"),
        Recipe(interpolation="bicubic"),
        Recipe(resize_to=100),
        Recipe(mean=(0.5,), std=(0.5,), channel_order="grey"),
    ],
    ids=str,
)
def test_other_recipes_are_the_exact_paths_to_the_bit(tmp_path: Path, decoded: list[str], recipe: Recipe) -> None:
    path = jpeg(tmp_path)

    assert np.array_equal(on_device(path, recipe=recipe), exact(path, recipe=recipe))
    assert decoded == []


def test_blue_comes_first_from_the_device_too(tmp_path: Path, decoded: list[str]) -> None:
    assert_near(jpeg(tmp_path), recipe=Recipe(channel_order="bgr"))
    assert decoded == ["cpu"]


@pytest.mark.parametrize(
    ("format", "mode"), [("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "LA"), ("BMP", "L"), ("GIF", "P"), ("TIFF", "I;16")]
)
def test_other_pictures_are_the_exact_paths_to_the_bit(
    tmp_path: Path, decoded: list[str], format: str, mode: str
) -> None:
    path = tmp_path / "picture"
    image = picture().convert("L").convert("I").convert("I;16") if mode == "I;16" else picture().convert(mode)
    image.save(path, format)

    assert np.array_equal(on_device(path), exact(path))
    assert decoded == []


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def without_end(data: bytes) -> bytes:
    return data[:-2]


def without_tables(data: bytes) -> bytes:
    return data.replace(b"\xff\xdb", b"\xff\xee").replace(b"\xff\xc4", b"\xff\xee")


def nothing_after_the_header(data: bytes) -> bytes:
    return data[: data.index(b"\xff\xda")] + b"\xff\xd9"


DAMAGE: list[Callable[[bytes], bytes]] = [cut, without_end, without_tables, nothing_after_the_header]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("allow_truncated", [False, True])
def test_a_broken_file_is_judged_by_the_host(
    tmp_path: Path, damage: Callable[[bytes], bytes], allow_truncated: bool
) -> None:
    path = jpeg(tmp_path, picture(300, 200))
    path.write_bytes(damage(path.read_bytes()))

    def outcome(loader: ImageLoader) -> tuple[object, ...]:
        try:
            decoded = loader.load(Input(str(path)))
        except InputError as error:
            return error.kind, error.why
        return decoded.pixels.tobytes(), decoded.truncated

    decoding = Decoding(allow_truncated=allow_truncated)
    assert outcome(DeviceImageLoader(decoding, "cpu")) == outcome(ImageLoader(decoding))


def test_a_cut_file_never_reaches_a_device_that_would_fill_it_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torchvision.io, "decode_jpeg", lambda *_, **__: torch.zeros(3, 60, 90, dtype=torch.uint8))
    path = jpeg(tmp_path)
    assert not on_device(path).any(), "a whole file does"
    path.write_bytes(cut(path.read_bytes()))

    with pytest.raises(InputError) as caught:
        on_device(path)
    assert caught.value.kind == "truncated"


@pytest.mark.parametrize(
    "options", [{"max_pixels": 5399}, {"max_pixels": 100_000, "recipe": Recipe(resize="crop")}], ids=str
)
def test_pictures_that_are_too_large_are_refused_alike(
    tmp_path: Path, decoded: list[str], options: dict[str, Any]
) -> None:
    path = jpeg(tmp_path, picture(540, 10) if "recipe" in options else picture(90, 60))
    for load in (on_device, exact):
        with pytest.raises(InputError) as caught:
            load(path, **options)
        assert caught.value.kind == "bomb"
    assert decoded == []


# Giving up


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[None]:
    """A device decoder that always fails; the list grows with its calls."""
    calls: list[None] = []

    def fail(*_: object, **__: object) -> None:
        calls.append(None)
        raise error

    monkeypatch.setattr(torchvision.io, "decode_jpeg", fail)
    return calls


@pytest.mark.parametrize(("message", "why"), DEVICE_FAILS.values(), ids=DEVICE_FAILS)
@pytest.mark.parametrize("kind", [RuntimeError, AssertionError])
def test_a_device_that_cannot_decode_is_given_up_once_with_a_note(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    kind: type[Exception],
    message: str,
    why: str,
) -> None:
    calls = failing(monkeypatch, kind(message))
    path = jpeg(tmp_path)
    loader = DeviceImageLoader(Decoding(), "cpu")
    results = [loader.load(Input(str(path))).pixels for _ in range(3)]

    assert all(np.array_equal(result, exact(path)) for result in results)
    assert len(calls) == 1
    assert caplog.record_tuples == [("vggcli", logging.WARNING, f"JPEGs are decoded on the host: {why}")]


def test_without_torchvision_the_host_decodes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    failing(monkeypatch, ImportError("libnvjpeg.so is missing"))
    path = jpeg(tmp_path)

    assert np.array_equal(on_device(path), exact(path))
    assert caplog.messages == [
        "JPEGs are decoded on the host: torchvision cannot be imported (libnvjpeg.so is missing)"
    ]


@pytest.mark.parametrize(
    "raised",
    [
        OSError("libcudart.so.12: cannot open\nmore"),
        RuntimeError("operator torchvision::nms does not exist"),
        AttributeError(),
    ],
    ids=["library", "operator", "attribute"],
)
def test_a_torchvision_that_is_broken_is_a_note_and_costs_no_file(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, raised: Exception
) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "torchvision":
                raise raised

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    path = jpeg(tmp_path)
    loader = DeviceImageLoader(Decoding(), "cpu")

    assert all(np.array_equal(loader.load(Input(str(path))).pixels, exact(path)) for _ in range(2))
    why = str(raised).partition("\n")[0] or "AttributeError"
    assert caplog.messages == [f"JPEGs are decoded on the host: torchvision cannot be imported ({why})"]


def test_a_file_that_the_device_cannot_decode_is_no_reason_to_give_it_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """torchvision's messages name its source file, which lies in a folder called cuda."""
    calls = failing(monkeypatch, RuntimeError(BROKEN_FILE))
    path = jpeg(tmp_path)
    loader = DeviceImageLoader(Decoding(), "cpu")
    results = [loader.load(Input(str(path))).pixels for _ in range(3)]

    assert all(np.array_equal(result, exact(path)) for result in results)
    assert len(calls) == 3
    assert caplog.messages == []


def test_threads_that_fail_together_tell_it_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    together = threading.Barrier(4)

    def fail(*_: object, **__: object) -> None:
        together.wait(60)
        raise RuntimeError("CUDA error: no driver")

    monkeypatch.setattr(torchvision.io, "decode_jpeg", fail)
    loader, item = DeviceImageLoader(Decoding(), "cpu"), Input(str(jpeg(tmp_path)))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(loader.load, [item] * 4))

    assert [text.count("decoded on the host") for text in caplog.messages] == [1]
