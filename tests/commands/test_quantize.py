"""`vgg quantize` from end to end: the file, what it says of itself, and what cannot be made into one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import networks
import numpy as np
import pytest
import torch
from conftest import Vgg
from PIL import Image
from predict_examples import DIGITS, LABELS, digit
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import vggcli
from vggcli.cli.app import app
from vggcli.weights.locate import DEMO_FILE


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-one digits, shifted and dimmed, in two folders, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(20):
        picture = Image.open(digit(LABELS[number % 10])).convert("L").point(lambda v, n=number: v * (40 - n) // 40)
        inner = folder / ("a" if number % 2 else "b")
        inner.mkdir(exist_ok=True)
        picture.save(inner / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a network of two convolutions, for images of 28 pixels, ten classes without names."""
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    network = networks.randomised(networks.Torchvision((1, 1), (8, 8), hidden=16))
    torch.save({"state_dict": network.state_dict(), "recipe": {"size": 28}}, path)
    return path


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("int8") / "small.safetensors"
    done = CliRunner().invoke(app, ["quantize", "demo", "--images", str(DIGITS), "-o", str(file), "-q"])
    assert (done.exit_code, done.stderr) == (0, "")
    return file


@pytest.fixture
def made(made_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made_once, tmp_path))


def tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with safe_open(path, "numpy") as file:
        return load_file(path), file.metadata()


# The file


def test_a_file_is_made_reported_on_and_used_like_any_other(photos: Path, tmp_path: Path, vgg: Vgg) -> None:
    file = tmp_path / "demo-int8.safetensors"
    output = vgg("quantize", "demo", "--images", photos, "-r", "-o", file, "-f", "json")
    report = json.loads(output.out)

    assert output.code == 0, output
    assert f"{file}: 0.4 MB instead of 0.7" in output.err
    assert report["images"] == {"calibrate": 12, "choose": 4, "report": 4, "unreadable": 0, "copies": 0}
    assert set(report["choice"]) == {"max", "percentile", "mean_square", "first"}
    assert report["criterion"] == min(report["choice"], key=lambda name: report["choice"][name]["distance"])
    agreement = report["agreement"]
    assert (agreement["images"], agreement["equal_labels"]) == (4, 4)
    assert agreement["interval"][0] == pytest.approx(0.5101, abs=1e-4)
    assert 0 < agreement["mean_change"] <= agreement["largest_change"] < 0.1

    arrays, metadata = tensors(file)
    assert {key for key, array in arrays.items() if array.dtype == np.int8} == {
        key for key in arrays if f"{key}_scale" in arrays
    }
    of_inputs = {key: array for key, array in arrays.items() if key.endswith("input_scale")}
    assert len(of_inputs) == 11
    for key, array in of_inputs.items():
        assert array.shape == (arrays[key.replace("input_scale", "weight")].shape[1],)
        assert (len(set(array.tolist())) == 1) == (key == "features.0.input_scale")
    assert json.loads(metadata["labels"]) == list(LABELS)
    assert json.loads(metadata["recipe"])["size"] == 224
    stored = json.loads(metadata["vgg_int8"])
    assert stored["agreement"] == agreement

    rows = vgg("predict", "-q", "-k", "1", "-w", file, DIGITS).out.splitlines()
    assert [row.split("\t")[3] for row in rows] == sorted(LABELS)
    footer = vgg("predict", "-k", "1", "-w", file, "-f", "table", digit("two")).out
    assert "openvino engine on cpu in int8" in footer
    inspected = json.loads(vgg("inspect", "-f", "json", file).out)
    assert (inspected["variant"], inspected["classes"], inspected["labels"]) == ("demo", 10, list(LABELS))
    assert inspected["int8"]["agreement"] == agreement
    assert "calibrated on 12 images" in vgg("inspect", "-f", "table", file).out
    assert vgg("summary", file).out == vgg("summary", "demo").out


def test_the_report_is_the_same_however_the_images_are_named(
    photos: Path, tiny: Path, tmp_path: Path, vgg: Vgg
) -> None:
    listed = tmp_path / "list.txt"
    paths = sorted(photos.rglob("*.png"), reverse=True)
    listed.write_text("".join(f"{path}\n" for path in paths))
    options = ("-o", tmp_path / "out.safetensors", "--overwrite", "-q", "-f", "json")
    by_folder = json.loads(vgg("quantize", tiny, "--images", photos, "-r", *options).out)
    by_list = json.loads(vgg("quantize", tiny, "--images", listed, *options).out)

    assert by_list == by_folder


def test_the_library_loads_it_and_torch_gets_the_numbers(made: Path) -> None:
    with vggcli.load(made) as small, vggcli.load("demo", precision="fp32") as whole:
        assert (small.precision, small.variant, small.labels) == ("int8", "demo", whole.labels)
        (item,) = small.activations(digit("five"), ("conv2-1", "fc7"))
        (other,) = whole.activations(digit("five"), ("conv2-1", "fc7"))
        for name in ("conv2-1", "fc7"):
            assert np.abs(item[name] - other[name]).max() < 0.1 * np.abs(other[name]).max()
        module, original = small.to_torch(), whole.to_torch()
    stored = load_file(made)
    for (name, got), expected in zip(module.named_parameters(), original.parameters(), strict=True):
        if got.ndim > 1:  # biases make up for what rounding adds
            ones = [1] * (got.ndim - 2)
            steps = stored[f"{name}_scale"].reshape(-1, 1, *ones)
            steps = steps / stored[name.replace("weight", "input_scale")].reshape(-1, *ones)
            errors = (got - expected).abs().numpy(force=True)
            assert (errors <= 0.501 * steps).all(), "no weight is further off than half of what an integer stands for"
            assert (got - expected).norm() < 0.05 * expected.norm()


def test_what_keys_do_not_say_of_the_layers_is_kept(photos: Path, tmp_path: Path, vgg: Vgg) -> None:
    network = networks.randomised(networks.Torchvision((1, 1), (8, 8), hidden=16, batch_norm=False))
    network.features[1], network.features[2] = torch.nn.LeakyReLU(0.2), torch.nn.AvgPool2d(2, 2)
    whole, small = tmp_path / "whole.pth", tmp_path / "small.safetensors"
    torch.save(network, whole)
    output = vgg("quantize", whole, "--images", photos, "-r", "-o", small, "--size", "28")

    assert output.code == 0, output
    with vggcli.load(whole, size=28) as before, vggcli.load(small) as after:
        assert after.architecture == before.architecture
        assert after.recipe == before.recipe
        assert any("how its images are prepared was assumed when it was quantized" in note for note in after.notes)


# Images


def test_images_that_cannot_be_read_are_counted_and_copies_too(
    photos: Path, tiny: Path, tmp_path: Path, vgg: Vgg
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "a" / "cut.png").write_bytes(digit("one").read_bytes()[:300])
    shutil.copy(folder / "a" / "1.png", folder / "a" / "copy.png")
    file = tmp_path / "out.safetensors"
    output = vgg("quantize", tiny, "--images", folder, "-r", "-o", file, "-f", "json", "-q")

    assert output.code == 1
    assert json.loads(output.out)["images"] == {
        "calibrate": 12,
        "choose": 4,
        "report": 4,
        "unreadable": 1,
        "copies": 1,
    }
    assert re.search(r"^vgg: cannot read .*cut\.png: ", output.err, re.MULTILINE)
    assert "vgg: 1 of 22 images could not be read (1 truncated)\n" in output.err
    assert vgg("predict", "-q", "-w", file, digit("one")).code == 0


def test_the_limit_takes_the_same_images_each_time(photos: Path, tiny: Path, tmp_path: Path, vgg: Vgg) -> None:
    options = ("-r", "-o", tmp_path / "out.safetensors", "--overwrite", "--limit", "15", "-f", "json")
    first, second = (vgg("quantize", tiny, "--images", photos, *options) for _ in range(2))

    assert "15 of 20 images are taken; --limit takes another number" in first.err
    assert json.loads(first.out) == json.loads(second.out)
    assert json.loads(first.out)["images"]["calibrate"] == 9


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("few", "9 images are to calibrate with; at least 10 that differ are wanted"),
        ("unreadable", "9 images are left to calibrate with; at least 10 that differ are wanted"),
        ("alike", "its 12 images are all alike; at least 10 that differ are wanted"),
        ("copies", "only 2 of its images differ; at least 10 that differ are wanted"),
        ("none", "0 images are to calibrate with; at least 10 that differ are wanted"),
    ],
)
def test_too_few_images_are_refused(kind: str, why: str, tiny: Path, tmp_path: Path, vgg: Vgg) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    names = {"few": LABELS[:9], "unreadable": LABELS[:9], "alike": ["one"] * 12, "copies": ["one", "two"] * 6}
    for number, name in enumerate(names.get(kind, ())):
        shutil.copy(digit(name), folder / f"{number}.png")
    if kind == "unreadable":
        (folder / "empty.png").touch()
    output = vgg("quantize", tiny, "--images", folder, "-o", tmp_path / "out.safetensors", "-q")

    assert output.code == 3
    assert why in output.err.splitlines()[-1]
    assert not list(tmp_path.glob("*.safetensors")) + list(tmp_path.glob(".vgg*"))


def test_flat_images_that_leave_a_layer_without_input_are_refused(tmp_path: Path, vgg: Vgg) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for grey in range(12):
        Image.new("RGB", (28, 28), (grey,) * 3).save(folder / f"{grey}.png")
    network = networks.randomised(networks.Torchvision((1, 1), (8, 8), hidden=16, batch_norm=False))
    network.features[0].bias.data.fill_(-1000)
    torch.save(network.state_dict(), tmp_path / "dead.pth")
    output = vgg("quantize", tmp_path / "dead.pth", "--images", folder, "-o", tmp_path / "o.safetensors", "-q")

    assert output.code == 3
    assert "conv2-1 sees nothing but zeros of these images" in output.err


# Usage and weights


def test_wrong_usage_is_said_before_anything_is_opened(photos: Path, tmp_path: Path, vgg: Vgg) -> None:
    taken = tmp_path / "taken.safetensors"
    taken.write_bytes(b"mine")
    cases = [
        (("-o", taken), "will not overwrite"),
        (("-o", tmp_path / "out.pth"), "ends in .safetensors"),
        (("-o", tmp_path / "out.safetensors", "--images", tmp_path / "nowhere"), "there is no such file or folder"),
        (("-o", DEMO_FILE, "--overwrite"), "this run reads"),
    ]
    for options, why in cases:
        named = () if "--images" in options else ("--images", photos)
        output = vgg("quantize", "demo", *named, *options)
        assert output.code == 2, output
        assert why in output.err
    assert taken.read_bytes() == b"mine"
    output = vgg("quantize", "demo", "--images", photos, "-o", tmp_path / "no" / "out.safetensors")
    assert (output.code, output.err.count("\n")) == (4, 1)


def test_weights_that_are_none_are_refused(made: Path, tmp_path: Path, vgg: Vgg) -> None:
    arrays, _ = tensors(DEMO_FILE)
    arrays["classifier.3.weight"][1, 1] = np.nan
    broken = tmp_path / "nan.safetensors"
    save_file(arrays, broken)
    file = tmp_path / "out.safetensors"
    for weights, why in ((broken, "NaN or infinite values in classifier.3.weight"), (made, "are in int8 already")):
        output = vgg("quantize", weights, "--images", DIGITS, "-o", file, "-q")
        assert output.code == 3, output
        assert why in output.err.splitlines()[-1]
        assert not file.exists()


def test_names_of_another_number_than_the_classes_are_wrong_usage(tmp_path: Path, vgg: Vgg) -> None:
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\n")
    output = vgg("quantize", "demo", "--images", DIGITS, "-o", tmp_path / "o.safetensors", "--labels", names)

    assert output.code == 2
    assert not (tmp_path / "o.safetensors").exists()


def test_int8_of_another_file_is_wrong_usage(vgg: Vgg) -> None:
    output = vgg("predict", "-w", "demo", "--precision", "int8", digit("one"))

    assert output.code == 2
    assert "cannot compute in int8: the weights of demo are not in it" in output.err


# A file that was changed


def edited(path: Path, change: str) -> None:
    """Change one thing of a file."""
    arrays, metadata = tensors(path)
    kind, _, key = change.partition(" ")
    document = json.loads(metadata["vgg_int8"])
    if kind == "weight":
        arrays["features.4.weight"].reshape(-1)[7] ^= 1
    elif kind == "classes":
        arrays |= {name: arrays[name][:7] for name in arrays if name.startswith("classifier.6.") and arrays[name].ndim}
    elif kind == "labels":
        metadata["labels"] = json.dumps(["a", *LABELS[1:]])
    elif kind == "report":
        document["agreement"]["equal_labels"] += 1
    elif kind == "layers":
        document["layers"][0]["kernel"] = 5
    elif kind == "version":
        document["version"] = 2
    elif kind == "missing":
        del arrays[key]
    elif kind == "single":
        arrays[key] = np.array(1, np.float32)
    elif key:
        arrays[key] = np.full_like(arrays[key], float(kind))
    text = json.dumps(document) if kind != "text" else "[1"
    save_file(arrays, path, metadata | {"vgg_int8": text})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("0 features.0.weight_scale", "features.0.weight_scale holds zero"),
        ("-1 features.4.input_scale", "features.4.input_scale holds a negative number"),
        ("0 classifier.0.input_scale", "classifier.0.input_scale holds zero"),
        ("inf features.4.input_scale", "features.4.input_scale holds an infinite value"),
        ("nan features.8.input_scale", "features.8.input_scale holds NaN"),
        ("single features.4.input_scale", "features.4.input_scale is float32 [], and its list of layers asks for"),
        ("inf classifier.3.weight_scale", "classifier.3.weight_scale holds an infinite value"),
        ("nan features.1.running_mean", "features.1.running_mean holds NaN"),
        ("2 features.8.bias", "it was changed since vgg quantize made it"),
        ("labels", "it was changed since vgg quantize made it"),
        ("report", "it was changed since vgg quantize made it"),
        ("weight", "its weights were changed since vgg quantize made them"),
        ("classes", "classifier.6.weight is int8 [7, 64], and its list of layers asks for int8 [10, 64]"),
        ("missing features.4.weight_scale", "features.4.weight_scale is missing"),
        ("layers", "its list of layers is none"),
        ("text", "its metadata vgg_int8 is not what vgg quantize writes"),
        ("version", "it is of version 2 of vgg's int8 files, and this vgg reads version 1"),
    ],
)
def test_an_edited_file_is_refused(change: str, why: str, made: Path, vgg: Vgg) -> None:
    edited(made, change)
    output = vgg("predict", "-q", "-w", made, digit("one"))

    assert output.code == 3, output
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert why in output.err


def test_a_cut_file_is_refused_wherever_it_ends(made: Path, vgg: Vgg) -> None:
    data = made.read_bytes()
    for size in (0, 7, 1000, len(data) // 2, len(data) - 1):
        made.write_bytes(data[:size])
        output = vgg("predict", "-q", "-w", made, digit("one"))
        assert (output.code, output.err.count("\n")) == (3, 1), output


def test_saving_it_again_unchanged_is_no_change(made: Path, vgg: Vgg) -> None:
    before = vgg("predict", "-q", "-w", made, digit("one")).out
    arrays, metadata = tensors(made)
    save_file(dict(reversed(arrays.items())), made, dict(reversed(metadata.items())))

    assert vgg("predict", "-q", "-w", made, digit("one")).out == before
