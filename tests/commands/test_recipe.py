"""`vgg predict` with recipes: the right numbers, one line where something is assumed, and runs that do not mix them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch
from conftest import Output, Vgg
from image_examples import gradient
from predict_examples import DEMO, digit, objects
from torch import nn

ASSUMED = "vgg: {name} does not say how to prepare its images: imagenet is assumed (squash 224); --recipe says another"
ENGINES = ("openvino", "torch")
BGR_MEAN = (103.939, 116.779, 123.68)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    gradient(90, 60).save(path)
    return path


def network_of(classes: int = 5, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return networks.randomised(networks.Torchvision(widths=networks.NARROW, hidden=8, classes=classes)).eval()


def saved(network: nn.Module, folder: Path, **beside: Any) -> Path:
    torch.save({"state_dict": network.state_dict()} | beside, folder / "w.pth")
    return folder / "w.pth"


def logits_of(network: nn.Module, size: int, mean: Any, std: Any, white: int = 1, *, bgr: bool = False) -> torch.Tensor:
    """What the network says of the picture, by Pillow and torch alone."""
    pixels = np.asarray(gradient(90, 60).resize((size, size), 2), np.float32)
    pixels = (pixels[:, :, ::-1] if bgr else pixels) / (255 // white)
    values = (torch.from_numpy(pixels.copy()) - torch.tensor(mean)) / torch.tensor(std)
    with torch.inference_mode():
        return network(values.permute(2, 0, 1)[None])[0].double()


def probabilities(output: Output) -> dict[int, float]:
    (record,) = objects(output.out)
    return {p["index"]: p["probability"] for p in record["predictions"]}


def assumed(output: Output) -> list[str]:
    return [line for line in output.err.splitlines() if re.search("assum|guess", line)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("options", "seen"),
    [
        (("--recipe", "caffe"), (224, BGR_MEAN, (1, 1, 1), 255, True)),
        (("--recipe", "caffe", "--size", "64", "--rgb"), (64, BGR_MEAN, (1, 1, 1), 255, False)),
        (("--recipe", "half"), (224, (0.5,) * 3, (0.5,) * 3)),
        (("--recipe", "unit", "--size", "96"), (96, (0.0,) * 3, (1.0,) * 3)),
        (("--recipe", "cifar10"), (32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))),
        (("--mean", "0.1,0.2,0.3", "--std", "0.5"), (224, (0.1, 0.2, 0.3), (0.5,) * 3)),
        (
            ("--bgr", "--value-range", "255", "--mean", "93.594,104.7624,129.1863", "--std", "1,1,1"),
            (224, (93.594, 104.7624, 129.1863), (1, 1, 1), 255, True),
        ),
    ],
    ids=str,
)
def test_the_answer_is_the_networks_own(
    options: tuple[str, ...], seen: Any, engine: str, picture: Path, tmp_path: Path, vgg: Vgg
) -> None:
    network = network_of()
    size, mean, std, *rest = seen
    white, bgr = rest or (1, False)
    if white == 255:  # so that no class is certain
        network.get_submodule("classifier.6").weight.data.mul_(0.02)
    right = torch.softmax(logits_of(network, size, mean, std, white, bgr=bgr), 0)

    output = vgg(
        "predict", "-w", saved(network, tmp_path), *options, "--engine", engine, "--precision", "fp32", "-f", "jsonl",
        picture,
    )  # fmt: skip

    assert output.code == 0, output
    found = probabilities(output)
    assert max(right) < 0.98
    assert [found[index] for index in range(5)] == pytest.approx(right.tolist(), abs=1e-4)
    assert assumed(output) == []


def test_what_is_assumed_is_said_once_and_never_hidden(picture: Path, tmp_path: Path, vgg: Vgg) -> None:
    path = saved(network_of(), tmp_path)

    for options in ((), ("--quiet",), ("--quiet", "-f", "table"), ("-o", tmp_path / "out.tsv")):
        output = vgg("predict", "-w", path, *options, picture, picture)
        assert assumed(output) == [ASSUMED.format(name="w.pth")], options


def test_the_demo_and_what_is_said_need_no_line(picture: Path, tmp_path: Path, vgg: Vgg) -> None:
    path = saved(network_of(), tmp_path)

    assert assumed(vgg(*DEMO, digit("two"))) == []
    for options in (("--recipe", "imagenet"), ("--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5")):
        assert assumed(vgg("predict", "-w", path, *options, picture)) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--mean", "0.5,x"), "Invalid value for '--mean'"),
        (("--mean", "0.5,1"), "cannot use mean [0.5, 1.0]: it must be 3 numbers, one for each channel."),
        (("--std", "0"), "cannot use std [0.0, 0.0, 0.0]: it must be above 0."),
        (("--size", "0"), "Invalid value for '--size'"),
        (("--size", "16"), "cannot use size 16: its pools leave nothing of less than 32 pixels."),
        (("--size", "5000"), "cannot use size 5000: it must be a whole number from 1 to 1024."),
        (("--value-range", "2"), "Invalid value for '--value-range'"),
        (("--resize", "zoom"), "Invalid value for '--resize'"),
        (("--activation", "tanh"), "Invalid value for '--activation'"),
        (("--recipe", "caff"), "unknown recipe caff: no recipe has that name, and no file."),
        (("--recipe", "none.json"), "cannot read none.json: no such file or directory."),
    ],
)
def test_what_cannot_be_is_wrong_usage(
    options: tuple[str, ...], why: str, picture: Path, tmp_path: Path, vgg: Vgg
) -> None:
    output = vgg("predict", "-w", saved(network_of(), tmp_path), *options, picture)

    assert (output.code, output.out) == (2, "")
    assert why in " ".join(output.err.split())


# Runs


@pytest.mark.parametrize("name", ["r.json", "config.json", "preprocessor_config.json", "class_indices.json"])
def test_no_document_that_a_run_reads_is_its_output(name: str, picture: Path, tmp_path: Path, vgg: Vgg) -> None:
    path = saved(network_of(), tmp_path)
    (tmp_path / name).write_text('{"mean": 0.5, "std": 0.5}')
    options = ("-w", path, "-f", "jsonl", *(("--recipe", tmp_path / name) if name == "r.json" else ()))

    output = vgg("predict", *options, "-o", tmp_path / name, "--overwrite", picture)

    assert (output.code, output.out) == (2, "")
    assert f"this run reads {tmp_path / name}. Name another output with -o." in output.err
    assert (tmp_path / name).read_text() == '{"mean": 0.5, "std": 0.5}'


@pytest.mark.parametrize(
    "changed",
    [("--recipe", "half"), ("--size", "64"), ("--resize", "letterbox"), ("--bgr",), ("--activation", "sigmoid")],
    ids=str,
)
def test_a_run_with_another_recipe_is_not_gone_on_with(
    changed: tuple[str, ...], picture: Path, tmp_path: Path, vgg: Vgg
) -> None:
    run = ("predict", "-w", saved(network_of(), tmp_path), "-o", tmp_path / "out.tsv", picture)
    assert vgg(*run).code == 0
    before = (tmp_path / "out.tsv").read_bytes()

    refused, same = vgg(*run, "--resume", *changed), vgg(*run, "--resume", "--recipe", "imagenet")

    assert refused.code == 2
    assert "its preprocessing is 'squash 224', this run's is '" in refused.err
    assert same.code == 0, "the same numbers, whoever says them"
    assert (tmp_path / "out.tsv").read_bytes() == before


def test_a_run_keeps_its_recipe_and_who_said_it(picture: Path, tmp_path: Path, vgg: Vgg) -> None:
    output = tmp_path / "out.tsv"
    vgg("predict", "-w", saved(network_of(), tmp_path), "--recipe", "caffe", "--size", "64", "-o", output, picture)

    kept = json.loads((tmp_path / "out.tsv.vgg.json").read_bytes())

    assert (kept["preprocessing"], kept["recipe_source"]) == ("squash 64, caffe", "option")
    table = vgg(*DEMO, "-f", "table", digit("two"))
    assert ", squash 224 (published), " in " ".join(table.out.split())


@pytest.mark.parametrize(("verb", "where"), [("inspect", "-f"), ("summary", "-f")])
def test_the_recipe_and_its_source_are_shown(verb: str, where: str, tmp_path: Path, vgg: Vgg) -> None:
    path = saved(network_of(), tmp_path)
    assert re.search(r"(?m)^recipe +squash 224, imagenet \(assumed\)$", vgg(verb, path, where, "table").out)

    config = {"pretrained_cfg": {"input_size": [3, 224, 224], "mean": [0.5] * 3, "std": [0.5] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(config))

    assert re.search(r"(?m)^recipe +crop 256/224, bicubic, half \(config\)$", vgg(verb, path, where, "table").out)


def test_a_model_folder_is_taken_where_a_file_is(picture: Path, tmp_path: Path, vgg: Vgg) -> None:
    network = network_of()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"do_resize": True, "size": 64, "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    )
    right = torch.softmax(logits_of(network, 64, (0.5,) * 3, (0.5,) * 3), 0)

    output = vgg("predict", "-w", tmp_path, "--precision", "fp32", "-f", "jsonl", picture)

    found = probabilities(output)
    assert [found[index] for index in range(5)] == pytest.approx(right.tolist(), abs=1e-5)
    assert assumed(output) == []
    for verb in ("inspect", "summary"):
        assert "squash 64, half (config)" in vgg(verb, tmp_path, "-f", "table").out
    assert "sha256" in vgg("inspect", "--verify", tmp_path, "-f", "table").out


# Labels


def test_with_sigmoid_the_answer_is_every_label_that_is_probable(picture: Path, tmp_path: Path, vgg: Vgg) -> None:
    network = network_of(12)
    right = torch.sigmoid(logits_of(network, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))).tolist()
    run = ("predict", "-w", saved(network, tmp_path), "--activation", "sigmoid", "--precision", "fp32", "-f", "jsonl")

    usual, all_of_them, two = vgg(*run, picture), vgg(*run, "--min-prob", "0", picture), vgg(*run, "-k", "2", picture)

    likely = {index for index, probability in enumerate(right) if probability >= 0.5}
    assert 0 < len(likely) < 12
    assert set(probabilities(usual)) == likely
    found = probabilities(all_of_them)
    assert [found[index] for index in range(12)] == pytest.approx(right, abs=1e-5)
    assert list(probabilities(two)) == sorted(likely, key=lambda index: -right[index])[:2]


def test_a_picture_without_a_label_is_an_answer_too(picture: Path, tmp_path: Path, vgg: Vgg) -> None:
    output = vgg(
        "predict", "-w", saved(network_of(), tmp_path), "--activation", "sigmoid", "--min-prob", "1", "-f", "jsonl",
        picture,
    )  # fmt: skip

    assert output.code == 0
    assert probabilities(output) == {}


@pytest.mark.parametrize("names", [None, ("cat", "dog")])
def test_one_logit_is_a_sigmoid(names: tuple[str, ...] | None, picture: Path, tmp_path: Path, vgg: Vgg) -> None:
    network = network_of(1)
    (logit,) = logits_of(network, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    right = float(torch.sigmoid(logit))
    path = saved(network, tmp_path, **({"classes": list(names)} if names else {}))

    output = vgg("predict", "-w", path, "--precision", "fp32", "-f", "jsonl", "--min-prob", "0", picture)

    found = probabilities(output)
    if names:
        assert found == pytest.approx({0: 1 - right, 1: right}, abs=1e-5)
        assert {p["label"] for p in objects(output.out)[0]["predictions"]} == set(names)
    else:
        assert found == pytest.approx({0: right}, abs=1e-5)
        assert objects(output.out)[0]["predictions"][0]["label"] == "class 0"


def test_a_problem_of_several_labels_is_told_by_its_neighbour(picture: Path, tmp_path: Path, vgg: Vgg) -> None:
    path = saved(network_of(), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"problem_type": "multi_label_classification"}))

    output = vgg("predict", "-w", path, "--recipe", "imagenet", "--min-prob", "0", "-f", "jsonl", picture)

    assert sum(probabilities(output).values()) != pytest.approx(1, abs=0.01)
