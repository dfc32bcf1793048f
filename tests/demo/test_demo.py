"""The demo: what ships with the package is small, says what it is, and knows digits as well as it says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Vgg
from numpy.typing import NDArray
from PIL import Image, ImageOps
from safetensors import safe_open
from safetensors.numpy import load_file

from vggcli.demo import data, train
from vggcli.engines.torch import TorchEngine
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.discover import Input
from vggcli.network import zoo
from vggcli.weights.model import DEMO_FILE, Model, open_model

QUICK = (train.Phase(32, 1, 0), train.Phase(48, 1, 1))


@pytest.fixture(scope="module")
def digits() -> tuple[data.Digits, data.Digits]:
    return data.load()


@pytest.fixture(scope="module")
def held_out(digits: tuple[data.Digits, data.Digits]) -> data.Digits:
    return digits[1]


@pytest.fixture(scope="module")
def few(digits: tuple[data.Digits, data.Digits]) -> data.Digits:
    return data.Digits(digits[0].images[:64], digits[0].classes[:64])


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    opened = open_model(DEMO_FILE)
    yield opened
    opened.close()


@pytest.fixture
def metadata() -> dict[str, str]:
    with safe_open(DEMO_FILE, "numpy") as file:
        return dict(file.metadata())


def classes_of(model: Model, images: Sequence[Image.Image], folder: Path) -> NDArray[np.int64]:
    """What the program sees in the images: saved as PNG, read, and run through the engine in fp32."""
    loader, engine = ImageLoader(Decoding(recipe=model.recipe)), TorchEngine(model, "cpu", "fp32")
    inputs = []
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
        inputs.append(loader.load(Input(str(folder / f"{number}.png"))).pixels)
    batches = [np.stack(inputs[start : start + 32]) for start in range(0, len(inputs), 32)]
    return np.concatenate([engine.start(batch)() for batch in batches]).argmax(1)


def test_the_weights_are_under_a_megabyte_in_half_precision(model: Model) -> None:
    assert DEMO_FILE.stat().st_size < 1_000_000
    dtypes = {key: str(array.dtype) for key, array in load_file(DEMO_FILE).items()}
    assert set(dtypes) == set(zoo.variant("demo").architecture.tensors())
    for key, dtype in dtypes.items():
        assert dtype == ("int64" if key.endswith("num_batches_tracked") else "float16")


def test_the_zoo_gives_the_size_of_the_file() -> None:
    assert zoo.variant("demo").size_mib == pytest.approx(DEMO_FILE.stat().st_size / 2**20, abs=0.05)


def test_the_weights_say_what_they_are(model: Model, metadata: dict[str, str]) -> None:
    assert model.variant == "demo"
    assert model.labels == data.LABELS
    assert json.loads(metadata["labels"]) == [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
    ]
    assert metadata["description"] == zoo.DEMO_WHAT
    assert "CC BY 4.0" in metadata["trained_on"]


def test_the_held_out_fifth_is_a_fifth_of_every_class_and_in_no_other_part(
    digits: tuple[data.Digits, data.Digits],
) -> None:
    training, held_out = digits
    in_training, in_held_out = np.bincount(training.classes), np.bincount(held_out.classes)
    assert (np.abs(in_held_out / (in_training + in_held_out) - 0.2) < 0.005).all()
    assert not {image.tobytes() for image in training.images} & {image.tobytes() for image in held_out.images}


def test_the_accuracy_on_the_held_out_fifth_is_the_stated_one_and_at_least_97_percent(
    model: Model, held_out: data.Digits, metadata: dict[str, str], tmp_path: Path
) -> None:
    right = classes_of(model, held_out.images, tmp_path) == held_out.classes

    assert right.mean() >= 0.97
    # Other processors round differently: one image in doubt may fall on the other side.
    assert right.mean() == pytest.approx(float(metadata["held_out_accuracy"]), abs=1.5 / len(right))


def test_light_digits_on_dark_ground_are_known_too(model: Model, held_out: data.Digits, tmp_path: Path) -> None:
    some = slice(None, None, 4)
    inverted = [ImageOps.invert(image) for image in held_out.images[some]]

    assert (classes_of(model, inverted, tmp_path) == held_out.classes[some]).mean() >= 0.95


def test_each_digit_image_of_the_package_gets_its_name(vgg: Vgg) -> None:
    paths = [train.IMAGES / f"{label}.png" for label in data.LABELS]

    result = vgg("predict", "--weights", "demo", "-k", "1", "-f", "jsonl", *paths)

    assert result.code == 0, result
    records = [json.loads(line) for line in result.out.splitlines()]
    assert [record["predictions"][0]["label"] for record in records] == list(data.LABELS)
    assert {path.name for path in train.IMAGES.iterdir()} == {path.name for path in paths}


@pytest.mark.parametrize("number", range(10))
def test_the_digit_images_are_from_the_held_out_fifth(number: int, held_out: data.Digits) -> None:
    with Image.open(train.IMAGES / f"{data.LABELS[number]}.png") as image:
        shipped = image.tobytes()

    of_class = [held_out.images[index].tobytes() for index in np.flatnonzero(held_out.classes == number)]
    assert shipped in of_class


def test_a_digit_is_drawn_as_dark_ink_on_white_paper() -> None:
    dot = np.zeros((8, 8))
    dot[3, 5] = 16

    drawn = np.asarray(data.draw(dot))

    assert drawn.shape == (80, 80)
    assert np.unravel_index(drawn.argmin(), drawn.shape) == pytest.approx((35.5, 51.5), abs=1)
    assert (drawn[:16] == 255).all()


def test_one_seed_gives_one_network(few: data.Digits) -> None:
    first, again, other = (train.rounded(train.train(few, QUICK, seed)) for seed in (5, 5, 6))

    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not np.array_equal(first["classifier.0.weight"], other["classifier.0.weight"])


def test_training_learns(few: data.Digits, capsys: pytest.CaptureFixture[str]) -> None:
    train.train(few, (train.Phase(32, 12, 0),))

    losses = [float(line.rsplit(" ", 1)[1]) for line in capsys.readouterr().err.splitlines()]
    assert len(losses) == 12
    assert losses[-1] < 0.5 * losses[0]


def test_training_leaves_torch_as_it_was(few: data.Digits) -> None:
    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    train.train(few, QUICK[:1])

    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[1:]


def test_the_script_writes_the_files_of_the_package(
    held_out: data.Digits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "load", lambda: (held_out, held_out))
    monkeypatch.setattr(train, "train", lambda _: train.restored(load_file(DEMO_FILE)))

    code = train.main(["--output", str(tmp_path / "new")])

    assert code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"wrote {tmp_path / 'new' / 'digits.safetensors'}: held-out accuracy 9")
    assert said.endswith(f" on {len(held_out.images)} images\n")
    ours, shipped = load_file(tmp_path / "new" / "digits.safetensors"), load_file(DEMO_FILE)
    assert ours.keys() == shipped.keys()
    assert all(np.array_equal(ours[key], shipped[key]) for key in shipped)
    for path in train.IMAGES.iterdir():
        with Image.open(path) as image, Image.open(tmp_path / "new" / "digits" / path.name) as new:
            assert image.tobytes() == new.tobytes()


def test_a_network_that_learnt_too_little_is_not_written(
    few: data.Digits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "load", lambda: (few, few))
    monkeypatch.setattr(
        train, "train", lambda _: train.restored(train.rounded(train.VGG(zoo.variant("demo").architecture)))
    )

    code = train.main(["--output", str(tmp_path)])

    assert code == 1
    assert "below 97%" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_weights_are_stored_in_the_networks_layout_whatever_the_memory_format(tmp_path: Path) -> None:
    network = train.VGG(zoo.variant("demo").architecture).to(memory_format=torch.channels_last)

    assert all(array.flags.c_contiguous for array in train.rounded(network).values())


def test_without_scikit_learn_the_script_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)

    code = train.main(["--output", str(tmp_path)])

    assert code == 1
    expected = "vgg: cannot load the digits: scikit-learn is not installed. Run pip install 'vgg-cli[demo]'.\n"
    assert capsys.readouterr().err == expected
