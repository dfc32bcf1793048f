"""Thumbnails and previews: the upright picture in its own shape, small, and never a reason to fail an image."""

from __future__ import annotations

import io

import numpy as np
import pytest
from image_examples import gradient, saved
from PIL import Image

from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.inputs import as_input
from vggcli.images.thumbnail import STEPS, Step, ThumbnailLoader, Thumbnails, encode, fitted, smaller


def opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((600, 400), (224, 149)), ((400, 600), (149, 224)), ((5000, 1), (224, 1)), ((28, 20), (28, 20))],
)
def test_a_picture_keeps_its_shape_and_is_never_enlarged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    made = Thumbnails(STEPS)(gradient(*size))

    assert made is not None
    assert opened(made.encoded).size == expected
    assert made.preview is None


def test_a_preview_fits_into_its_box_and_looks_like_the_picture() -> None:
    picture = gradient(600, 400)
    for grey in (False, True):
        made = Thumbnails(preview=(24, 18))(picture.convert("L") if grey else picture)
        assert made is not None
        assert made.preview is not None
        assert (made.encoded, made.preview.shape) == (b"", (16, 24, 3))
        expected = picture.convert("L").convert("RGB") if grey else picture
        assert np.abs(made.preview - np.asarray(fitted(expected, (24, 18)), int)).max() <= 1


def test_it_is_of_the_upright_picture_and_changes_no_pixel_of_the_network() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(gradient(300, 200), "JPEG", exif=exif, quality=95)
    loader = ImageLoader(Decoding())
    with_thumbnails = loader.with_thumbnails(Thumbnails(STEPS)).load(as_input(data))
    without = loader.load(as_input(data))

    assert without.thumbnail is None
    assert with_thumbnails.thumbnail is not None
    assert opened(with_thumbnails.thumbnail.encoded).size == (149, 224)
    assert np.array_equal(with_thumbnails.pixels, without.pixels)


def test_nothing_but_the_picture_is_in_it() -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    said = {
        "comment": b"secret place",
        "xmp": b"<x>secret place</x>",
        "icc_profile": b"secret place" * 20,
        "exif": exif,
    }
    data = saved(gradient(300, 200), "JPEG", **said)
    assert data.count(b"secret place") > 3
    for step in STEPS:
        decoded = ImageLoader(Decoding()).with_thumbnails(Thumbnails([step])).load(as_input(data))
        assert decoded.thumbnail is not None
        assert b"secret" not in decoded.thumbnail.encoded


def test_what_cannot_be_encoded_has_no_thumbnail_and_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("encoder error")

    monkeypatch.setattr(Image.Image, "save", refuse)
    decoded = ImageLoader(Decoding()).with_thumbnails(Thumbnails(STEPS)).load(as_input(gradient()))

    assert decoded.thumbnail is None
    assert decoded.pixels.shape == (224, 224, 3)


def test_steps_are_ever_smaller_and_do_without_webp(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = gradient(500, 400)
    sizes = [len(encode(fitted(picture, (step.side, step.side)), step)) for step in STEPS]
    assert sizes == sorted(sizes, reverse=True)
    assert opened(encode(picture, STEPS[1])).format == "WEBP"

    monkeypatch.setattr("vggcli.images.thumbnail._has_webp", lambda: False)
    assert opened(encode(picture, STEPS[1])).format == "JPEG"


def test_a_thumbnail_is_made_smaller_or_left() -> None:
    large = encode(gradient(224, 150), STEPS[0])
    small = smaller(large, STEPS[-1])

    assert opened(small).size == (64, 43)
    assert smaller(small, Step(224, "JPEG", 95)) == small


def test_reading_for_thumbnails_alone_makes_them_of_any_image() -> None:
    loader = ThumbnailLoader(Decoding(fast=True)).with_thumbnails(Thumbnails(STEPS))
    decoded = loader.load(as_input(saved(gradient(900, 600), "JPEG")))

    assert decoded.pixels.shape == (1, 1, 3)
    assert decoded.thumbnail is not None
    assert opened(decoded.thumbnail.encoded).size == (224, 149)
