"""Images on their way into training: as predictions see them, or varied, which a seed decides wherever it is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_examples import write_stripes

from vggcli.errors import StoppedError
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.item import Input
from vggcli.images.recipe import RECIPES, Recipe
from vggcli.training.dataset import read
from vggcli.training.head import order
from vggcli.training.pictures import PictureBatches, Pictures
from vggcli.training.plan import FROM_SCRATCH, Augment
from vggcli.training.split import Labelled, split

SMALL = Recipe(32)


def labelled(folder: Path, count: int = 4) -> list[Labelled]:
    examples = read(str(write_stripes(folder / "data", count))).examples
    return [Labelled(example.path, int(example.name == "down"), example.path) for example in examples]


def batches(images: list[Labelled], augment: Augment, workers: int = 0, recipe: Recipe = SMALL) -> PictureBatches:
    plan = FROM_SCRATCH.with_options({"batch_size": 3, "augment": augment})
    parts = split(images, ("across", "down"), 0.25, 0)
    return PictureBatches(parts, Decoding(recipe), 2, plan, torch.device("cpu"), workers)


def test_unvaried_they_are_what_predictions_see(tmp_path: Path) -> None:
    images = labelled(tmp_path)
    for recipe in (SMALL, Recipe(32, channel_order="bgr"), Recipe(32, mean=(0.5,), std=(0.5,), channel_order="grey")):
        pixels, label = Pictures(images, Decoding(recipe), "none")[0, 1]
        expected = ImageLoader(Decoding(recipe)).load(Input(images[1].path)).pixels
        assert np.array_equal(pixels.permute(1, 2, 0).numpy(), expected)
        assert label == images[1].label


def test_they_are_normalised_as_the_recipe_says(tmp_path: Path) -> None:
    caffe = Recipe(32, **{name: getattr(RECIPES["caffe"], name) for name in ("mean", "std", "value_range")})
    inputs, labels = next(batches(labelled(tmp_path), "none", recipe=caffe).validation())

    assert inputs.dtype == torch.float32
    assert float(inputs.max()) > 50
    assert labels.tolist() == [0, 1]


@pytest.mark.parametrize("augment", ["crop", "flip"])
def test_a_seed_decides_how_an_image_is_varied(augment: str, tmp_path: Path) -> None:
    images = labelled(tmp_path)
    torch.manual_seed(5)
    state = torch.get_rng_state()

    same = [Pictures(images, Decoding(SMALL), augment)[seed, 0][0] for seed in (7, 7, 8)]

    assert same[0].shape == (3, 32, 32)
    assert torch.equal(same[0], same[1])
    assert not torch.equal(same[0], same[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_only_flip_mirrors(tmp_path: Path) -> None:
    picture = np.tile(np.arange(0, 256, 8, dtype=np.uint8)[None, :, None], (32, 1, 3))
    from PIL import Image

    Image.fromarray(picture).save(tmp_path / "ramp.png")
    images = [Labelled(str(tmp_path / "ramp.png"), 0, "x")]

    def mirrored(augment: str) -> int:
        pictures = Pictures(images, Decoding(SMALL), augment)
        rows = [pictures[seed, 0][0][0, 16].int() for seed in range(20)]
        return sum(int(row[0]) > int(row[-1]) for row in rows)

    assert mirrored("crop") == 0
    assert 4 <= mirrored("flip") <= 16


def test_grey_and_bgr_networks_get_varied_images_in_their_order(tmp_path: Path) -> None:
    images = labelled(tmp_path)
    grey = Recipe(32, mean=(0.5,), std=(0.5,), channel_order="grey")
    rgb, bgr = (Pictures(images, Decoding(Recipe(32, channel_order=o)), "flip")[3, 0][0] for o in ("rgb", "bgr"))

    assert Pictures(images, Decoding(grey), "flip")[3, 0][0].shape == (1, 32, 32)
    assert torch.equal(rgb.flip(0), bgr)


def test_every_epoch_has_its_order_and_every_image_once() -> None:
    first, again, other = (np.concatenate(order(10, 3, seed)).tolist() for seed in (1, 1, 2))

    assert sorted(first) == list(range(10))
    assert first == again != other
    assert [len(batch) for batch in order(10, 3, 0)] == [3, 3, 4]  # batch norm can say nothing of a single image
    assert [len(batch) for batch in order(1, 3, 0)] == [1]


def test_an_image_that_is_gone_meanwhile_ends_the_training(tmp_path: Path) -> None:
    images = labelled(tmp_path)
    Path(images[0].path).unlink()

    with pytest.raises(StoppedError, match=r"it could be read before, and now it cannot"):
        Pictures(images, Decoding(SMALL), "none")[0, 0]


@pytest.mark.training
def test_processes_that_decode_change_nothing(tmp_path: Path) -> None:
    images = labelled(tmp_path, 8)
    alone, helped = batches(images, "flip"), batches(images, "flip", workers=2)
    for epoch in (1, 2):
        state = torch.get_rng_state()
        for (one, labels), (other, others) in zip(alone.train(epoch), helped.train(epoch), strict=True):
            assert torch.equal(one, other)
            assert torch.equal(labels, others)
        assert torch.equal(torch.get_rng_state(), state)
