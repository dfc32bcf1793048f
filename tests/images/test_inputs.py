"""What the library takes for an image: a path, bytes, a picture or an array, each with the same pixels."""

from __future__ import annotations

import doctest
import io
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import save_picture
from image_examples import CROPPED, gradient, load, noise, saved
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from vggcli.errors import InputError
from vggcli.images import inputs
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.discover import Input, Skipped
from vggcli.images.inputs import as_input, expand


def pixels(value: Any, **options: Any) -> NDArray[np.uint8]:
    return ImageLoader(Decoding(**options)).load(as_input(value)).pixels


def failure(value: Any, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        ImageLoader(Decoding(**options)).load(as_input(value))
    return caught.value


def oriented(picture: Image.Image, format: str = "PNG", orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(picture, format, exif=exif)


def test_the_examples_in_the_docstrings_are_true() -> None:
    assert doctest.testmod(inputs) == (0, 2)


# One image, however it comes

FORMS: dict[str, Callable[[Path], Any]] = {
    "str": str,
    "path": Path,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "opened picture": Image.open,
    "input": lambda path: Input(str(path)),
}


@pytest.mark.parametrize("recipe", [CROPPED, Decoding().recipe], ids=["crop", "squash"])
@pytest.mark.parametrize("exif", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_file_has_its_pixels_and_its_orientation(
    tmp_path: Path, form: str, exif: bool, recipe: Any
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(oriented(gradient(300, 200), "JPEG"))
    assert (pixels(FORMS[form](path), exif=exif, recipe=recipe) == load(path, exif=exif, recipe=recipe)).all()


@pytest.mark.parametrize(
    ("mode", "format"),
    [("1", "PNG"), ("L", "JPEG"), ("LA", "PNG"), ("P", "GIF"), ("RGBA", "WEBP"), ("CMYK", "JPEG"), ("F", "TIFF")],
)
def test_a_picture_of_any_mode_is_converted_as_its_file_is(tmp_path: Path, mode: str, format: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(saved(noise(50, 40).convert(mode), format))
    with Image.open(path) as picture:
        assert (pixels(picture) == load(path)).all()


@pytest.mark.parametrize("recipe", [CROPPED, Decoding().recipe], ids=["crop", "squash"])
@pytest.mark.parametrize("size", [(50, 40), (224, 224), (1, 300)], ids=str)
def test_an_array_has_the_pixels_of_its_picture_saved_and_opened(
    tmp_path: Path, size: tuple[int, int], recipe: Any
) -> None:
    picture = noise(*size)
    picture.save(tmp_path / "a.png")
    assert (pixels(np.asarray(picture), recipe=recipe) == load(tmp_path / "a.png", recipe=recipe)).all()
    assert (pixels(picture, recipe=recipe) == load(tmp_path / "a.png", recipe=recipe)).all()


def test_arrays_of_every_layout_are_read_as_they_are(tmp_path: Path) -> None:
    whole: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    mapped = np.memmap(tmp_path / "mapped", np.uint8, "w+", shape=whole.shape)
    mapped[:] = whole
    for array in (whole[::-1, ::-1], whole[:, ::2], whole.transpose(1, 0, 2), whole[..., ::-1], mapped):
        assert (pixels(array) == pixels(Image.fromarray(np.ascontiguousarray(array)))).all()


def test_an_array_is_not_turned_and_not_changed() -> None:
    array = np.asarray(gradient()).copy()
    before = array.copy()
    handed_out = pixels(array)
    assert (array == before).all()
    array[:] = 0
    assert handed_out.any()


# A picture of the caller's stays the caller's


def test_a_picture_is_neither_changed_nor_closed() -> None:
    for picture in (gradient(), Image.open(io.BytesIO(oriented(gradient()))), noise(9, 9).quantize(9)):
        expected = picture.copy()
        info = dict(picture.info)
        pixels(picture, fast=True, allow_truncated=True)
        assert (picture.mode, picture.size, picture.info) == (expected.mode, expected.size, info)
        assert picture.tobytes() == expected.tobytes()
        assert "load_read" not in vars(picture)


def test_fast_decoding_does_not_shrink_the_callers_picture() -> None:
    picture = Image.open(io.BytesIO(saved(gradient(1500, 1200), "JPEG")))
    assert (pixels(picture, fast=True) == pixels(picture.copy())).all()
    assert picture.size == (1500, 1200)


def test_a_frame_that_the_caller_has_chosen_is_the_one_that_counts() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    picture = Image.open(io.BytesIO(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    picture.seek(2)
    assert tuple(pixels(picture)[100, 100]) == (0, 0, 255)


def test_threads_look_at_one_picture_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's picture says that its EXIF is read before it is."""
    item = as_input(Image.open(io.BytesIO(oriented(noise(30, 20), "PNG"))))
    meeting, met, read = threading.Barrier(2), [], Image.Image.getexif

    def getexif(picture: Image.Image) -> Image.Exif:
        try:
            meeting.wait(0.05)
            met.append(picture)
        except threading.BrokenBarrierError:  # nobody else came
            meeting.reset()
        return read(picture)

    monkeypatch.setattr(Image.Image, "getexif", getexif)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: ImageLoader(Decoding()).load(item).pixels, range(2))

    assert met == []
    assert (one == other).all()


def test_one_unread_picture_may_be_loaded_by_many_threads() -> None:
    data = oriented(noise(300, 200), "PNG")
    loader, expected = ImageLoader(Decoding()), pixels(data)
    for _ in range(10):
        item = as_input(Image.open(io.BytesIO(data)))
        together = threading.Barrier(8)

        def work(_: int, item: Input = item, together: threading.Barrier = together) -> bool:
            together.wait(60)
            return bool((loader.load(item).pixels == expected).all())

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))


def test_a_picture_that_cannot_be_read_is_a_failure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = saved(noise(64, 64), "PNG")[:3000]
    for allowed in (False, True):  # what there is of it is the caller's to decide
        error = failure(Image.open(io.BytesIO(cut)), allow_truncated=allowed)
        assert (error.kind, error.why) == ("truncated", "the image data ends early")
    closed = gradient()
    closed.close()
    assert failure(closed).kind == "damaged"

    def dead(picture: ImageFile.ImageFile) -> None:
        raise OSError(5, "Input/output error")

    unread = Image.open(io.BytesIO(saved(gradient(), "PNG")))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", dead)
    assert (failure(unread).kind, failure(unread).why) == ("unreadable", "the system says: input/output error")


def test_memory_that_runs_out_is_said_of_pictures_and_arrays_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "resize", exhausted)
    assert failure(gradient()).kind == failure(np.asarray(gradient())).kind == "memory"


# Limits and failures


def test_limits_hold_whatever_the_form() -> None:
    picture = gradient(60, 40)
    for value in (picture, np.asarray(picture), saved(picture, "PNG")):
        assert failure(value, max_pixels=2399).kind == "bomb"
        assert pixels(value, max_pixels=2400).shape == (224, 224, 3)


def test_a_picture_too_large_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.open(io.BytesIO(saved(gradient(), "PNG")))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda _: pytest.fail("it was read"))
    assert failure(picture, max_pixels=1).kind == "bomb"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"hello\n", "cannot classify <bytes>: it is a text file."),
        (b"", "cannot classify <bytes>: there are no bytes."),
        (b"photos/cat.jpg", "cannot classify <bytes>: it is a text file."),
        (Image.new("RGB", (0, 5)), "cannot classify <image>: it has no pixels."),
        (np.zeros((5, 0, 3), np.uint8), "cannot classify <array>: it has no pixels."),
        (Path("gone.jpg"), "cannot classify gone.jpg: there is no such file."),
        (Input("a.zip/b.jpg", content=b"hello\n"), "cannot classify a.zip/b.jpg: it is a text file."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_classified_is_named(value: Any, message: str) -> None:
    assert str(failure(value)) == message


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (5, TypeError, "an input is a path, the bytes of an image file, a PIL.Image.Image or a uint8 array"),
        (None, TypeError, "not NoneType"),
        ([[1]], TypeError, "not list"),
        (np.zeros((9, 9, 3)), TypeError, "an array is uint8 (H, W, 3) in RGB, values 0 to 255, not float64"),
        (np.zeros((9, 9, 3), bool), TypeError, "not bool"),
        (np.zeros((9, 9), np.uint8), ValueError, "an array is uint8 (H, W, 3) in RGB, not of shape (9, 9)"),
        (np.zeros((9, 9, 4), np.uint8), ValueError, "not of shape (9, 9, 4)"),
        (np.zeros((2, 9, 9, 3), np.uint8), ValueError, "give the images of a batch one by one: list(batch)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_input_is_refused_with_what_is_one(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        as_input(value)


def test_paths_that_are_no_text_are_the_bytes_of_their_name(tmp_path: Path) -> None:
    class Entry:
        def __fspath__(self) -> bytes:
            return os.fsencode(tmp_path) + b"/\xff.png"

    save_picture(tmp_path / "a.png", 1)
    os.rename(tmp_path / "a.png", Entry())
    assert as_input(Entry()).path == f"{tmp_path}/\udcff.png"  # type: ignore[arg-type]
    assert pixels(Entry()).shape == (224, 224, 3)


# One input or many


def names(values: Any, **options: Any) -> list[str]:
    return [item.name for item in expand(values, **options)]


def test_one_input_of_every_form_is_one(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", 1)
    for value in (str(path), path, Input(str(path))):
        assert names(value) == names([value]) == [str(path)]
    assert names(b"x") == names(bytearray(b"x")) == names(memoryview(b"x")) == ["<bytes>"]
    assert names(gradient()) == ["<image>"]
    assert names(np.asarray(gradient())) == ["<array>"]


def test_a_folder_gives_its_images_among_other_inputs(tmp_path: Path) -> None:
    first, inner = save_picture(tmp_path / "d" / "a.png", 1), save_picture(tmp_path / "d" / "e" / "b.png", 1)
    (tmp_path / "d" / "c.txt").touch()
    skipped = Skipped()
    assert names(tmp_path / "d", skipped=skipped) == [str(first)]
    assert (skipped.files.count, skipped.folders.count) == (1, 1)
    assert names([b"x", str(tmp_path / "d"), "gone.jpg"], recursive=True) == [
        "<bytes>",
        str(first),
        str(inner),
        "gone.jpg",
    ]
    assert [item.given for item in expand([tmp_path / "d", "gone.jpg"])] == [False, True]


def test_inputs_are_taken_one_by_one() -> None:
    taken = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(None)
            yield b"x"

    items = expand(endless())
    assert taken == []
    assert next(items).content == b"x"
    assert len(taken) == 1


def test_a_dash_is_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gradient().save("-", "PNG")
    (item,) = expand("-")
    assert not item.is_stdin
    assert ImageLoader(Decoding()).load(item).pixels.any()


def test_what_is_no_input_is_refused_at_once_and_inside_an_iterable_in_its_turn() -> None:
    with pytest.raises(TypeError, match=r"inputs are a path, .* or an iterable of them, not int"):
        expand(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not of shape"):
        next(expand(np.zeros((2, 9, 9, 3), np.uint8)))
    items = expand(["a.jpg", 5])  # type: ignore[list-item]
    assert next(items).path == "a.jpg"
    with pytest.raises(TypeError, match="not int"):
        next(items)


# The picture beside the pixels


def test_the_upright_picture_is_handed_out_on_request(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(oriented(gradient(), "PNG"))
    with Image.open(tmp_path / "a.png") as stored:
        upright = np.asarray(ImageOps.exif_transpose(stored))
    for value in (tmp_path / "a.png", Image.open(tmp_path / "a.png"), upright):
        kept = ImageLoader(Decoding(), keep_picture=True).load(as_input(value))
        assert kept.picture is not None
        assert (kept.picture == upright).all()
        assert (kept.picture.dtype, kept.picture.shape) == (np.uint8, (60, 40, 3))
        without = ImageLoader(Decoding()).load(as_input(value))
        assert without.picture is None
        assert (without.pixels == kept.pixels).all()


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((1024, 9), (9, 1024, 3)),
        ((1025, 100), (100, 1024, 3)),
        ((2000, 3000), (1024, 683, 3)),
        ((5000, 1), (1, 1024, 3)),
    ],
    ids=str,
)
def test_a_large_picture_is_kept_small(size: tuple[int, int], shape: tuple[int, ...]) -> None:
    kept = ImageLoader(Decoding(), keep_picture=True).load(as_input(gradient(*size))).picture
    assert kept is not None
    assert kept.shape == shape
    expected = np.asarray(gradient(shape[1], shape[0])).astype(int)
    assert np.abs(kept - expected).max() <= 3
