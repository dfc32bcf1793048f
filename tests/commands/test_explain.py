"""`vgg explain`: its pictures, its rows, what it refuses, and where the map lies on a photograph."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch
from conftest import Vgg
from PIL import Image
from predict_examples import DEMO_NOTE, DIGITS, digit, notes

import vggcli
from vggcli.images.decode import ImageLoader
from vggcli.images.item import Input
from vggcli.output import heat_map

DEMO = ("explain", "--weights", "demo")
PATIENCE = 60


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, where the demo's images are the folder `digits`."""
    (tmp_path / "digits").symlink_to(DIGITS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pixels(path: str | Path) -> Any:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


# Pictures and rows


def test_each_image_is_a_picture_and_a_row(here: Path, vgg: Vgg) -> None:
    found = vgg(*DEMO, "digits/seven.png", "digits/two.png", "-k", "2", "--raw")
    rows = [line.split("\t") for line in found.out.splitlines()]
    with vggcli.load("demo") as demo:
        expected = list(demo.explain(["digits/seven.png", "digits/two.png"], 2))

    assert found.code == 0
    assert [(path, int(rank), int(index), label) for path, rank, index, label, _, _, _ in rows] == [
        (item.path, item.rank, item.index, item.label) for item in expected
    ]
    for row, item in zip(rows, expected, strict=True):
        assert row[4:] == [f"{item.probability:.6f}", f"explained/{item.path}.{item.index}.png", ""]
        assert item.map is not None
        raw = np.load(row[5].removesuffix(".png") + ".npy")
        assert raw.dtype == np.float32
        assert (raw == item.map).all()
        photo = pixels(str(item.path)).repeat(3, 0).repeat(3, 1)
        assert (pixels(row[5])[46 : 46 + 240, 8 : 8 + 240] == photo).all()
    (said,) = notes(found)
    assert said.startswith("vgg: 2 ok, 4 pictures in explained, ")


def test_jsonl_and_csv_have_the_same_and_failures_are_rows(here: Path, vgg: Vgg) -> None:
    inputs = ("digits/one.png", "none.png")
    lines = vgg(*DEMO, *inputs, "-f", "jsonl", "--raw", "-o", "maps")
    table = vgg(*DEMO, *inputs, "-f", "csv", "-o", "maps")
    first, second = map(json.loads, lines.out.splitlines())
    (explained,) = first.pop("explanations")

    assert lines.code == table.code == 1
    assert first == {"path": "digits/one.png", "status": "ok"}
    probability = explained.pop("probability")
    assert explained == {
        "rank": 1,
        "index": 1,
        "label": "one",
        "picture": "maps/digits/one.png.1.png",
        "map": "maps/digits/one.png.1.npy",
    }
    assert second == {
        "path": "none.png",
        "status": "error",
        "error": {"kind": "missing", "message": "there is no such file"},
        "explanations": [],
    }
    assert list(csv.reader(io.StringIO(table.out))) == [
        ["path", "rank", "index", "label", "probability", "picture", "error"],
        ["digits/one.png", "1", "1", "one", f"{probability:.6f}", "maps/digits/one.png.1.png", ""],
        ["none.png", "", "", "", "", "", "missing: there is no such file"],
    ]
    assert notes(lines)[0] == "vgg: cannot explain none.png: there is no such file"


def test_named_classes_have_their_own_ranks(here: Path, vgg: Vgg) -> None:
    found = vgg(*DEMO, "digits/six.png", "--class", "SIX", "--class", "0", "--class", "six", "--quiet")
    rows = [line.split("\t") for line in found.out.splitlines()]

    assert [(label, Path(picture).name) for _, _, _, label, _, picture, _ in rows] == [
        ("six", "six.png.6.png"),
        ("zero", "six.png.0.png"),
    ]
    assert rows[0][1] == "1"
    assert int(rows[1][1]) > 1
    assert found.err == ""


def test_members_of_archives_and_paths_from_elsewhere_stay_in_the_folder(here: Path, vgg: Vgg) -> None:
    with tarfile.open("all.tar", "w") as archive:
        archive.add(digit("four"), "../../four.png")
    found = vgg(*DEMO, "all.tar", digit("five"), "digits/../digits/five.png", "-o", "in/maps")

    assert found.code == 0
    for line in found.out.splitlines():
        assert here / "in" / "maps" in Path(os.path.normpath(here / line.split("\t")[5])).parents
    assert len(list((here / "in" / "maps").rglob("*.png"))) == 3


def test_another_picture_of_the_name_is_kept_unless_overwriting(here: Path, vgg: Vgg) -> None:
    first = vgg(*DEMO, "digits/one.png").out
    before = Path("explained/digits/one.png.1.png").read_bytes()
    again = vgg(*DEMO, "digits/one.png").out
    other = vgg(*DEMO, "digits/one.png", "--resize", "letterbox", "--layer", "conv4-1").out
    names = sorted(path.name for path in Path("explained/digits").iterdir())
    replaced = vgg(*DEMO, "digits/one.png", "--resize", "letterbox", "--layer", "conv4-1", "--overwrite").out

    assert first == again == replaced
    assert other.split("\t")[5] == "explained/digits/one.png.1~2.png"
    assert names == ["one.png.1.png", "one.png.1~2.png"]
    assert Path("explained/digits/one.png.1.png").read_bytes() != before


def test_no_image_is_no_division_by_zero(here: Path, vgg: Vgg) -> None:
    Path("empty").mkdir()
    found = vgg(*DEMO, "empty")

    assert (found.code, found.out) == (1, "")
    assert notes(found)[-2:] == [
        "vgg: no images in empty",
        "vgg: there was nothing to explain; with --allow-empty that is no failure",
    ]
    assert not Path("explained").exists()
    assert vgg(*DEMO, "empty", "--allow-empty").code == 0


def test_more_classes_than_there_are_means_all(here: Path, vgg: Vgg) -> None:
    found = vgg(*DEMO, "digits/one.png", "-k", "11")

    assert found.code == 0
    assert len(found.out.splitlines()) == len(list(Path("explained").rglob("*.png"))) == 10
    assert notes(found)[0] == "vgg: the network has 10 classes, so every image has 10 pictures"


# What it refuses


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--class", "sevn"), 2, "unknown class sevn: the network has none of that name. The nearest names are seven"),
        (("--class", "10"), 2, "unknown class 10: the network has 10, counted from 0."),
        (("--class", "one", "-k", "2"), 2, "the classes are named, and the best ones asked for. Choose one."),
        (
            ("--layer", "conv6-1"),
            2,
            "Those with maps are conv1-1, conv2-1, conv3-1, conv3-2, conv4-1, conv4-2, conv5-1",
        ),
        (("--layer", "conv1-1", "--method", "gradient"), 2, "is about the image itself, not about a layer"),
        (("--layer", "conv1-1", "--engine", "openvino"), 2, "it takes torch, and the engine is openvino"),
        (("--method", "grad-cam++", "--precision", "bf16"), 2, "torch computes gradients in fp32, not in bf16"),
        (("-o", "digits"), 2, "the pictures would be among the inputs in digits"),
        (("-o", "file"), 2, "cannot write into file: not a directory"),
        (("-f", "table"), 2, "table"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_told_before_anything_is_made(
    arguments: tuple[str, ...], code: int, message: str, here: Path, vgg: Vgg
) -> None:
    Path("file").touch()
    found = vgg(*DEMO, "digits", *arguments)

    assert found.code == code
    assert message in " ".join(found.err.split())
    assert found.out == ""
    assert not Path("explained").exists()


def test_without_torch_one_sentence_says_what_to_install(here: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    found = vgg(*DEMO, "digits/one.png", "--method", "grad-cam++")

    assert found.code == 5
    assert "vgg: cannot explain with grad-cam++: it takes torch, and importing it fails" in found.err
    assert "Run pip install torch; grad-cam at the last convolution of a network with ReLUs needs none." in found.err
    assert vgg(*DEMO, "digits/one.png", "--engine", "openvino").code == 0


def test_a_run_stops_after_the_failures_that_it_may_have(here: Path, vgg: Vgg) -> None:
    found = vgg(*DEMO, "none.png", "digits/one.png", "--fail-fast")

    assert found.code == 4
    assert len(found.out.splitlines()) == 1
    assert "vgg: stopped at none.png: 1 input failed and 0 may. The rows and pictures so far are written." in found.err


def test_an_interrupted_run_leaves_whole_pictures_alone(here: Path) -> None:
    command = [sys.executable, "-m", "vggcli", *DEMO, "--files-from", "-"]
    environment = os.environ | {"PYTHONPATH": str(Path(vggcli.__file__).parent.parent)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"digits/one.png\n")
        row = process.stdout.readline().decode().rstrip("\n").split("\t")  # it waits for more
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 128 + signal.SIGINT
        said = process.stderr.read().decode().splitlines()

    assert pixels(row[5]).any()
    assert [path.name for path in Path("explained").rglob("*") if path.is_file()] == ["one.png.1.png"]
    assert said[0] == DEMO_NOTE
    assert said[-1] == "vgg: interrupted: the rows and pictures so far are written"
    assert not [line for line in said if "Traceback" in line]


# Where the map lies


@pytest.fixture(scope="module")
def red_finder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose class 1 is the red in an image, wherever it is."""
    network = networks.Torchvision(widths=(4,) * 5, hidden=4, classes=2, batch_norm=False)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        convolutions = [module for module in network.features if isinstance(module, torch.nn.Conv2d)]
        convolutions[0].weight[0, :, 1, 1] = torch.tensor([1.0, -1.0, -1.0])
        convolutions[0].bias[0] = -2.5  # red is 6 in normalised numbers, black 1.7 and white below zero
        for convolution in convolutions[1:]:
            convolution.weight[0, 0, 1, 1] = 1
        network.classifier[0].weight[0, :49] = 1 / 49
        network.classifier[3].weight[0, 0] = 1
        network.classifier[6].weight[1, 0] = 10
    path = tmp_path_factory.mktemp("red") / "red.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("resize", ["squash", "crop", "letterbox"])
def test_the_map_lies_on_the_object_in_the_photo_as_it_was(resize: str, red_finder: Path, tmp_path: Path) -> None:
    upright = np.zeros((300, 600, 3), np.uint8)
    upright[60:110, 380:430] = (255, 0, 0)
    turned = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    with vggcli.load(red_finder, resize=resize, precision="fp32") as finder:
        (item,) = finder.explain(tmp_path / "turned.png", classes="class 1")
        photo = ImageLoader(finder.loader.decoding, keep_picture=True).load(Input(str(tmp_path / "turned.png"))).picture
        box = finder.loader.input_box(600, 300)
    assert item.map is not None
    assert photo is not None
    assert (photo == upright).all()
    found, place = heat_map.on_photo(item.map, (600, 300), box)
    values = np.zeros((300, 600))
    values[place[1] : place[3], place[0] : place[2]] = np.asarray(found)
    rows, columns = np.nonzero(values > values.max() / 2)
    cell = np.array([300, 600]) / 14 if resize == "squash" else np.full(2, 300 / 14 if resize == "crop" else 600 / 14)

    assert abs(rows.mean() - 85) < cell[0]
    assert abs(columns.mean() - 405) < cell[1]
    assert rows.min() > 60 - 2 * cell[0]
    assert columns.max() < 430 + 2 * cell[1]
    assert place == ((169, 19, 431, 281) if resize == "crop" else (0, 0, 600, 300))  # 224 of 256 of the shorter side


def test_a_large_photo_is_shown_reduced(here: Path, vgg: Vgg) -> None:
    Image.new("RGB", (5000, 100)).save("wide.png")
    row = vgg(*DEMO, "wide.png", "-q").out.split("\t")

    assert pixels(row[5]).shape[1] == 2 * 1024 + 4 * 8 + 14 + 62
