"""The script that makes the demo: what it learns from, that it learns, and that what ships is what it makes.

Training on the real data is marked `training`: it takes longer than all of this package's own arithmetic.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from predict_examples import DEMO_FILE, DIGITS, LABELS
from safetensors import safe_open
from safetensors.numpy import load_file

from tools.train_demo import digits, train
from vggcli.engines.torch import TorchEngine
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.discover import Input
from vggcli.network import zoo
from vggcli.weights.model import Model
from vggcli.weights.opening import open_model

QUICK = (train.Phase(32, 1, 0), train.Phase(48, 1, 1))


@pytest.fixture(scope="module")
def shipped() -> digits.Digits:
    """The ten images of the package: enough to see that training works."""
    images = []
    for label in LABELS:
        with Image.open(DIGITS / f"{label}.png") as image:
            images.append(image.copy())
    return digits.Digits(images, np.arange(10))


# Without the real data


def test_the_labels_are_the_demos() -> None:
    assert digits.LABELS == LABELS


def test_a_digit_is_drawn_as_dark_ink_on_white_paper() -> None:
    dot = np.zeros((8, 8))
    dot[3, 5] = 16

    drawn = np.asarray(digits.draw(dot))

    assert drawn.shape == (80, 80)
    assert np.unravel_index(drawn.argmin(), drawn.shape) == pytest.approx((35.5, 51.5), abs=1)
    assert (drawn[:16] == 255).all()


def test_training_learns(shipped: digits.Digits, capsys: pytest.CaptureFixture[str]) -> None:
    train.train(shipped, (train.Phase(32, 25, 0),))

    losses = [float(line.rsplit(" ", 1)[1]) for line in capsys.readouterr().err.splitlines()]
    assert len(losses) == 25
    assert losses[-1] < 0.5 * losses[0]


def test_training_leaves_torch_as_it_was(shipped: digits.Digits) -> None:
    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    train.train(shipped, QUICK[:1])

    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[1:]


def test_a_network_that_learnt_too_little_is_not_written(
    shipped: digits.Digits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "load", lambda: (shipped, shipped))
    monkeypatch.setattr(
        train, "train", lambda _: train.restored(train.rounded(train.VGG(zoo.variant("demo").architecture)))
    )

    code = train.main(["--output", str(tmp_path)])

    assert code == 1
    assert "below 97%" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_weights_are_stored_in_the_networks_layout_whatever_the_memory_format() -> None:
    network = train.VGG(zoo.variant("demo").architecture).to(memory_format=torch.channels_last)

    assert all(array.flags.c_contiguous for array in train.rounded(network).values())


def test_without_scikit_learn_the_script_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)

    code = train.main(["--output", str(tmp_path)])

    assert code == 1
    expected = "vgg: cannot load the digits: scikit-learn is not installed. Run pip install scikit-learn.\n"
    assert capsys.readouterr().err == expected


# With it


@pytest.fixture(scope="module")
def parts() -> tuple[digits.Digits, digits.Digits]:
    return digits.load()


@pytest.fixture(scope="module")
def held_out(parts: tuple[digits.Digits, digits.Digits]) -> digits.Digits:
    return parts[1]


@pytest.fixture(scope="module")
def few(parts: tuple[digits.Digits, digits.Digits]) -> digits.Digits:
    return digits.Digits(parts[0].images[:64], parts[0].classes[:64])


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    opened = open_model(DEMO_FILE)
    yield opened
    opened.close()


def classes_of(model: Model, images: Sequence[Image.Image], folder: Path) -> NDArray[np.int64]:
    """What the program sees in the images: saved as PNG, read, and run through the engine in fp32."""
    loader, engine = ImageLoader(Decoding(recipe=model.recipe)), TorchEngine(model, "cpu", "fp32")
    inputs = []
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
        inputs.append(loader.load(Input(str(folder / f"{number}.png"))).pixels)
    batches = [np.stack(inputs[start : start + 32]) for start in range(0, len(inputs), 32)]
    return np.concatenate([engine.start(batch)()["fc8"] for batch in batches]).argmax(1)


@pytest.mark.training
def test_the_held_out_fifth_is_a_fifth_of_every_class_and_in_no_other_part(
    parts: tuple[digits.Digits, digits.Digits],
) -> None:
    training, held_out = parts
    in_training, in_held_out = np.bincount(training.classes), np.bincount(held_out.classes)
    assert (np.abs(in_held_out / (in_training + in_held_out) - 0.2) < 0.005).all()
    assert not {image.tobytes() for image in training.images} & {image.tobytes() for image in held_out.images}


@pytest.mark.training
def test_the_accuracy_on_the_held_out_fifth_is_the_stated_one_and_at_least_97_percent(
    model: Model, held_out: digits.Digits, tmp_path: Path
) -> None:
    with safe_open(DEMO_FILE, "numpy") as file:
        stated = float(file.metadata()["held_out_accuracy"])

    right = classes_of(model, held_out.images, tmp_path) == held_out.classes

    assert right.mean() >= 0.97
    # Other processors round differently: one image in doubt may fall on the other side.
    assert right.mean() == pytest.approx(stated, abs=1.5 / len(right))


@pytest.mark.training
def test_light_digits_on_dark_ground_are_known_too(model: Model, held_out: digits.Digits, tmp_path: Path) -> None:
    some = slice(None, None, 4)
    inverted = [ImageOps.invert(image) for image in held_out.images[some]]

    assert (classes_of(model, inverted, tmp_path) == held_out.classes[some]).mean() >= 0.95


@pytest.mark.training
def test_the_digit_images_are_from_the_held_out_fifth(shipped: digits.Digits, held_out: digits.Digits) -> None:
    for number, image in enumerate(shipped.images):
        of_class = [held_out.images[index].tobytes() for index in np.flatnonzero(held_out.classes == number)]
        assert image.tobytes() in of_class


@pytest.mark.training
def test_one_seed_gives_one_network(few: digits.Digits) -> None:
    first, again, other = (train.rounded(train.train(few, QUICK, seed)) for seed in (5, 5, 6))

    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not np.array_equal(first["classifier.0.weight"], other["classifier.0.weight"])


@pytest.mark.training
def test_the_script_writes_the_files_of_the_package(
    held_out: digits.Digits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "load", lambda: (held_out, held_out))
    monkeypatch.setattr(train, "train", lambda _: train.restored(load_file(DEMO_FILE)))

    code = train.main(["--output", str(tmp_path / "new")])

    assert code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"wrote {tmp_path / 'new' / 'digits.safetensors'}: held-out accuracy 9")
    assert said.endswith(f" on {len(held_out.images)} images\n")
    ours, theirs = load_file(tmp_path / "new" / "digits.safetensors"), load_file(DEMO_FILE)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)
    for path in DIGITS.iterdir():
        with Image.open(path) as image, Image.open(tmp_path / "new" / "digits" / path.name) as new:
            assert image.tobytes() == new.tobytes()
