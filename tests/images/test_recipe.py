"""Recipes: what they may be, what makes a picture's pixels of them, and the files that state them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_examples import gradient, load, noise
from PIL import Image, ImageOps

from vggcli.errors import UsageError
from vggcli.images.recipe import FIELDS, IMAGENET, INTERPOLATIONS, RECIPES, Recipe
from vggcli.images.recipe_files import read_json, stated_in

SHAPES = [(300, 225), (225, 300), (224, 224), (100, 31), (31, 100), (640, 3)]
HALF = [0.5, 0.5, 0.5]


def pixels_of(picture: Image.Image, folder: Path, recipe: Recipe) -> Any:
    picture.save(folder / "picture.png")
    return load(folder / "picture.png", recipe=recipe)


# Pixels


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_every_interpolation_is_pillows(tmp_path: Path, interpolation: str, shape: tuple[int, int]) -> None:
    picture = noise(*shape)
    filter = Image.Resampling[interpolation.upper()]

    found = pixels_of(picture, tmp_path, Recipe(64, interpolation=interpolation))

    assert (found == np.asarray(picture.resize((64, 64), filter))).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_letterbox_is_pillows_pad_with_the_mean(tmp_path: Path, shape: tuple[int, int]) -> None:
    picture = gradient(*shape)

    found = pixels_of(picture, tmp_path, Recipe(resize="letterbox"))

    expected = ImageOps.pad(picture, (224, 224), Image.Resampling.BILINEAR, (124, 116, 104))
    assert (found == np.asarray(expected)).all()


def test_a_picture_of_one_row_is_letterboxed_too(tmp_path: Path) -> None:
    found = pixels_of(Image.new("RGB", (2000, 1), "white"), tmp_path, Recipe(32, resize="letterbox", fill=(0, 0, 0)))

    assert found.any(axis=(1, 2)).sum() == 1


@pytest.mark.parametrize(
    ("recipe", "colour"),
    [
        (IMAGENET, (124, 116, 104)),
        (RECIPES["caffe"], (124, 117, 104)),
        (RECIPES["half"], (128, 128, 128)),
        (RECIPES["unit"], (0, 0, 0)),
        (Recipe(mean=(-1, 0, 9), std=(1, 1, 1)), (0, 0, 255)),
        (Recipe(fill=(1, 2, 3)), (1, 2, 3)),
        (Recipe(mean=(0.5,), std=(1,), channel_order="grey"), (128,)),
    ],
    ids=["imagenet", "caffe", "half", "unit", "beyond", "fill", "grey"],
)
def test_bars_have_the_colour_of_the_mean(recipe: Recipe, colour: tuple[int, ...]) -> None:
    assert recipe.colour == colour


@pytest.mark.parametrize("resize", ["squash", "crop", "letterbox"])
def test_blue_first_is_the_same_picture_the_other_way_round(tmp_path: Path, resize: str) -> None:
    picture = gradient(90, 60)

    rgb, bgr = (pixels_of(picture, tmp_path, Recipe(64, resize, channel_order=order)) for order in ("rgb", "bgr"))

    assert bgr.flags.c_contiguous
    if resize == "letterbox":  # bars of the mean, which is in the network's order
        rgb, bgr = rgb[20:44], bgr[20:44]
    assert (bgr == rgb[:, :, ::-1]).all()


def test_a_grey_network_sees_luminance(tmp_path: Path) -> None:
    picture = gradient(90, 60)
    grey = Recipe(32, mean=(0.1,), std=(0.3,), channel_order="grey")

    found = pixels_of(picture, tmp_path, grey)

    expected = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BILINEAR))
    assert (found == expected[:, :, None]).all()
    assert (pixels_of(picture.convert("L"), tmp_path, grey) == found).all()


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_the_centre_is_taken_of_what_is_resized_larger(tmp_path: Path, resize: str) -> None:
    picture = gradient(90, 60)

    found = pixels_of(picture, tmp_path, Recipe(32, resize, 40))

    width = 60 if resize == "crop" else 40
    resized = picture.resize((width, 40), Image.Resampling.BILINEAR)
    left = (width - 32) // 2
    assert (found == np.asarray(resized.crop((left, 4, left + 32, 36)))).all()


def test_what_is_resized_smaller_stands_in_a_frame(tmp_path: Path) -> None:
    found = pixels_of(gradient(90, 60), tmp_path, Recipe(32, resize_to=16, fill=(9, 9, 9))).copy()

    assert (found[8:24, 8:24] != 9).any(axis=2).all()
    found[8:24, 8:24] = 9
    assert (found == 9).all()


# Values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "cannot use size 0: it must be a whole number from 1 to 1024."),
        ({"size": True}, "cannot use size True: it must be a whole number from 1 to 1024."),
        ({"size": 2000}, "cannot use size 2000: it must be a whole number from 1 to 1024."),
        ({"resize": "zoom"}, "cannot use resize zoom: known are squash, crop, letterbox."),
        ({"resize": "crop", "resize_to": 200}, "cannot use resize_to 200: it must be a whole number from 224 to 4096."),
        ({"value_range": 2}, "cannot use value_range 2: known are 1, 255."),
        ({"value_range": True}, "cannot use value_range True: known are 1, 255."),
        ({"mean": (1.0, 2.0)}, "cannot use mean [1.0, 2.0]: it must be 3 numbers, one for each channel."),
        ({"mean": "abc"}, "cannot use mean abc: it must be 3 numbers, one for each channel."),
        ({"mean": (1.0, 2.0, float("nan"))}, "cannot use mean [1.0, 2.0, nan]: it must be 3 numbers, one for each"),
        ({"std": (1.0, 0.0, 1.0)}, "cannot use std [1.0, 0.0, 1.0]: it must be above 0."),
        ({"std": (1.0, -1.0, 1.0)}, "cannot use std [1.0, -1.0, 1.0]: it must be above 0."),
        ({"std": (1.0, 1.0, 10**400)}, "cannot use std [1.0, 1.0, 1000"),
        ({"channel_order": "grey"}, "cannot use mean [0.485, 0.456, 0.406]: it must be one number, one for each"),
        ({"fill": (0, 0, 256)}, "cannot use fill 256: it must be a whole number from 0 to 255."),
        ({"activation": ["sigmoid"]}, "cannot use activation ['sigmoid']: known are softmax, sigmoid."),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        replace(IMAGENET, **change)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (IMAGENET, "squash 224"),
        (Recipe(resize="crop"), "crop 256/224"),
        (Recipe(32, "crop"), "crop 37/32"),
        (Recipe(resize="letterbox"), "letterbox 224"),
        (RECIPES["caffe"], "squash 224, caffe"),
        (replace(RECIPES["caffe"], mean=(1.5, 2.0, 3.0)), "squash 224, mean 1.5,2,3, std 1,1,1, values to 255, bgr"),
        (Recipe(mean=(1 / 3,) * 3), f"squash 224, mean {1 / 3!r},{1 / 3!r},{1 / 3!r}, std 0.229,0.224,0.225"),
        (RECIPES["cifar10"], "squash 32, cifar10"),
        (Recipe(interpolation="bicubic", activation="sigmoid"), "squash 224, bicubic, sigmoid"),
        (Recipe(resize="letterbox", fill=(0, 0, 0)), "letterbox 224, fill 0,0,0"),
    ],
    ids=str,
)
def test_a_recipe_in_words_says_all_that_is_not_imagenets(recipe: Recipe, words: str) -> None:
    assert recipe.describe() == words


def test_recipes_with_the_same_numbers_are_equal_whoever_says_them() -> None:
    assert Recipe(source="file") == Recipe(source="guessed")
    assert hash(Recipe(source="file")) == hash(Recipe(source="guessed"))


# Files


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_writes_it_reads(name: str) -> None:
    recipe = replace(RECIPES[name], resize="letterbox", fill=(1, 2, 3), resize_to=30)

    stated = stated_in(json.loads(json.dumps(recipe.to_json())))

    assert stated is not None
    assert tuple(stated) == FIELDS
    assert Recipe(**stated) == recipe


def test_a_misspelt_field_is_told() -> None:
    with pytest.raises(UsageError, match="unknown field resise: a recipe has resize"):
        stated_in({"size": 32, "resise": "crop"})


TIMM = {"input_size": [3, 224, 224], "mean": HALF, "std": HALF, "interpolation": "bilinear"}
STATED = {"mean": tuple(HALF), "std": tuple(HALF), "size": 224, "interpolation": "bilinear"}


@pytest.mark.parametrize(
    ("cfg", "stated"),
    [
        (TIMM, {"resize": "crop", "resize_to": 256}),
        (TIMM | {"crop_pct": 0.9}, {"resize": "crop", "resize_to": 248}),
        (TIMM | {"crop_pct": 1.0, "crop_mode": "squash"}, {"resize": "squash", "resize_to": 224}),
        (TIMM | {"crop_pct": 1, "crop_mode": "border"}, {"resize": "letterbox", "resize_to": 224}),
        (
            {name: TIMM[name] for name in ("input_size", "mean", "std")},
            {"resize": "crop", "resize_to": 256, "interpolation": "bicubic"},
        ),
    ],
    ids=str,
)
def test_timms_configuration_is_read_as_timm_does(cfg: dict[str, Any], stated: dict[str, Any]) -> None:
    assert stated_in({"architecture": "vgg16", "pretrained_cfg": cfg}) == STATED | stated
    assert stated_in(cfg) == STATED | stated  # as its config.json was of old


PROCESSOR: dict[str, Any] = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": HALF,
    "image_std": HALF,
    "resample": 3,
    "size": {"height": 224, "width": 224},
}
SHORTEST = {"size": {"shortest_edge": 256}}
CENTRE = {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
GIVEN = {"mean": tuple(HALF), "std": tuple(HALF), "size": 224, "interpolation": "bicubic"}


@pytest.mark.parametrize(
    ("change", "stated"),
    [
        ({}, {"resize": "squash"}),
        ({"size": 224}, {"resize": "squash"}),
        (SHORTEST | CENTRE, {"resize": "crop", "resize_to": 256}),
        ({"size": 256} | CENTRE, {"resize": "crop", "resize_to": 256}),
        (SHORTEST | CENTRE | {"crop_size": 224}, {"resize": "crop", "resize_to": 256}),
        ({"size": {"height": 256, "width": 256}} | CENTRE, {"resize": "squash", "resize_to": 256}),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, {"resize": "crop", "resize_to": 256}),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, {"resize": "squash", "size": 384}),
        ({"do_normalize": False}, {"resize": "squash", "mean": (0, 0, 0), "std": (1, 1, 1)}),
        ({"do_rescale": False}, {"resize": "squash", "value_range": 255}),
        ({"do_flip_channel_order": True}, {"resize": "squash", "channel_order": "bgr"}),
        ({"resample": 2}, {"resize": "squash", "interpolation": "bilinear"}),
    ],
    ids=str,
)
def test_hugging_faces_processor_is_read_as_it_works(change: dict[str, Any], stated: dict[str, Any]) -> None:
    assert stated_in(PROCESSOR | change) == GIVEN | stated


def test_another_rescaling_is_another_mean() -> None:
    stated = stated_in(PROCESSOR | {"rescale_factor": 1 / 127.5})

    assert stated is not None
    assert (stated["value_range"], stated["mean"][0], stated["std"][0]) == (255, 63.75, 63.75)


@pytest.mark.parametrize(
    "document",
    [
        {"pretrained_cfg": TIMM | {"input_size": [3, 224, 200]}},
        {"pretrained_cfg": TIMM | {"input_size": "224"}},
        {"pretrained_cfg": TIMM | {"crop_pct": 0}},
        {"pretrained_cfg": TIMM | {"crop_mode": ["center"]}},
        PROCESSOR | {"size": {"height": 224, "width": 200}},
        PROCESSOR | {"size": {"shortest_edge": 224}},
        PROCESSOR | {"size": {"longest_edge": 224}},
        PROCESSOR | {"size": [224]},
        PROCESSOR | {"do_resize": False},
        PROCESSOR | {"resample": 99},
        PROCESSOR | {"rescale_factor": "all"},
        PROCESSOR | {"rescale_offset": True},
        PROCESSOR | {"size": 224, "crop_pct": "most"},
    ],
    ids=str,
)
def test_what_no_recipe_can_be_is_refused_and_not_bent(document: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        stated_in(document)


@pytest.mark.parametrize("document", [None, [], "imagenet", {}, {"model_type": "vgg"}, {"pretrained_cfg": {"url": ""}}])
def test_what_says_nothing_of_preprocessing_states_nothing(document: object) -> None:
    assert stated_in(document) is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "it is no JSON: expecting property name enclosed in double quotes in line 1"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"[" * 100_000, "it is nested more than 64 levels deep"),
        (b'{"size": ' + b"[" * 900 + b"]" * 900 + b"}", "it is nested more than 64 levels deep"),
        (b" " * (17 << 20), "it has more than 16 MiB"),
    ],
    ids=["torn", "bytes", "endless", "deep", "large"],
)
def test_files_that_are_no_json_are_refused(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "a.json").write_bytes(data)

    with pytest.raises(UsageError) as caught:
        read_json(tmp_path / "a.json")

    assert caught.value.why == why
