"""`vgg summary`: the layer table, held to the paper, to torch and to its own arithmetic."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest
import torch
from checkpoint_examples import save
from conftest import Vgg
from networks import NARROW, STAGES, Sequential, Staged, Timm, Torchvision, hollow, shapes_of
from torch import nn

from vggcli.analysis.layer_table import rows
from vggcli.network.module import VGG
from vggcli.network.zoo import VARIANTS

NAMES = [name for name in VARIANTS if name != "demo"]
# Millions of parameters in the paper's table 2; billions of multiply-adds as torchvision publishes them.
PAPER = {"vgg11": (133, "7.61"), "vgg13": (133, "11.31"), "vgg16": (138, "15.47"), "vgg19": (144, "19.63")}


@pytest.mark.parametrize("name", ["vgg16", "vgg11_bn"])
def test_the_table(name: str, vgg: Vgg, golden: Callable[[str, str], None]) -> None:
    output = vgg("summary", name, "-f", "table", env={"COLUMNS": "80"})

    assert (output.code, output.err) == (0, "")
    assert max(len(line) for line in output.out.splitlines()) <= 80
    golden(f"summary_{name}.txt", output.out)


@pytest.mark.parametrize("name", NAMES)
def test_the_totals_are_the_sums_of_the_printed_rows_and_those_of_the_paper(name: str, vgg: Vgg) -> None:
    lines = vgg("summary", name, "-f", "table").out.splitlines()
    header = next(index for index, line in enumerate(lines) if line.startswith("layer"))
    numbers = [[int(word.replace(",", "")) for word in line.split()[-2:]] for line in lines[header + 1 :]]
    *layers, totals = numbers
    millions, giga = PAPER[name.removesuffix("_bn")]

    assert lines[-1].startswith("total")
    assert totals == [sum(column) for column in zip(*layers, strict=True)]
    assert lines[header - 1] == f"total       {totals[0]:,} parameters, {giga} G multiply-adds"
    assert round(totals[0] / 1e6) == millions
    assert totals[0] == VARIANTS[name].architecture.parameters()


def test_vgg16_is_the_papers_to_the_last_parameter(vgg: Vgg) -> None:
    data = json.loads(vgg("summary", "vgg16", "-f", "json").out)

    assert (data["parameters"], data["multiply_adds"]) == (138_357_544, 15_470_264_320)
    weighted = [layer["name"] for layer in data["layers"] if layer["parameters"]]
    assert weighted == (
        "conv1-1 conv1-2 conv2-1 conv2-2 conv3-1 conv3-2 conv3-3 conv4-1 conv4-2 conv4-3 conv5-1 conv5-2 conv5-3 "
        "fc6 fc7 fc8".split()
    )


@pytest.mark.parametrize("name", [*NAMES, "demo"])
@pytest.mark.parametrize("size", [224, 65])
def test_shapes_and_parameters_are_what_torch_makes_of_them(name: str, size: int) -> None:
    """Every layer run by torch, on the meta device."""
    architecture = VARIANTS[name].architecture
    with torch.device("meta"):
        network = VGG(architecture, initialise=False).eval()
        modules = [*network.features, network.avgpool, nn.Flatten(), *network.classifier]
        x = torch.zeros(1, 3, size, size)
    table = iter(rows(architecture, size))
    for module in modules:
        x = module(x)
        if isinstance(module, nn.Flatten):
            continue
        row = next(table)
        assert row.output == tuple(x.shape[1:])
        assert row.parameters == sum(parameter.numel() for parameter in module.parameters())
        kind = type(module).__name__
        assert row.kind == (kind if kind == "Conv2d" else kind.removesuffix("2d"))
        if isinstance(module, nn.Conv2d):
            assert row.macs == x.numel() * prod(module.weight.shape[1:])
    assert next(table, None) is None


def test_the_plain_form_has_one_line_a_layer_and_the_total(vgg: Vgg) -> None:
    lines = [line.split("\t") for line in vgg("summary", "vgg11").out.splitlines()]

    assert lines[0] == ["conv1-1", "Conv2d", "[64, 224, 224]", "3x3", "1792", "86704128"]
    assert lines[2] == ["pool1", "MaxPool", "[64, 112, 112]", "2x2", "0", "0"]
    assert lines[-1] == ["total", "", "", "", "132863336", "7609090048"]
    assert {len(line) for line in lines} == {6}


def test_json_holds_the_same(vgg: Vgg) -> None:
    plain = [line.split("\t") for line in vgg("summary", "vgg13_bn").out.splitlines()]
    data = json.loads(vgg("summary", "vgg13_bn", "-f", "json").out)
    layers = data.pop("layers")

    assert data == {
        "network": "vgg13_bn",
        "input_size": 224,
        "classes": 1000,
        "parameters": int(plain[-1][4]),
        "multiply_adds": int(plain[-1][5]),
    }
    assert [[str(value) for value in layer.values()] for layer in layers] == plain[:-1]
    assert list(layers[0]) == ["name", "type", "output_shape", "kernel", "parameters", "multiply_adds"]


def test_classes_and_input_size_are_free(vgg: Vgg) -> None:
    data = json.loads(vgg("summary", "VGG-16", "--num-classes", "10", "--input-size", "100", "-f", "json").out)
    by_name = {layer["name"]: layer for layer in data["layers"]}

    assert (data["classes"], data["input_size"]) == (10, 100)
    assert by_name["fc8"]["output_shape"] == [10]
    assert by_name["fc8"]["parameters"] == 40_970
    assert [by_name[f"pool{n}"]["output_shape"][1:] for n in range(1, 6)] == [[n, n] for n in (50, 25, 12, 6, 3)]
    assert by_name["avgpool"]["output_shape"] == [512, 7, 7]
    assert data["parameters"] == 138_357_544 - 990 * 4097


@pytest.mark.parametrize("size", ["31", "1"])
def test_an_input_that_the_poolings_use_up_is_refused(size: str, vgg: Vgg) -> None:
    output = vgg("summary", "vgg16", "--input-size", size)

    assert (output.code, output.out) == (2, "")
    assert output.err == (
        f"vgg: cannot take an input of {size}x{size}: five poolings need at least 32. Use --input-size 32 or more.\n"
    )
    assert vgg("summary", "vgg16", "--input-size", "32").code == 0


@pytest.mark.parametrize("option", ["--input-size", "--num-classes"])
@pytest.mark.parametrize("value", ["0", "-1", "x"])
def test_numbers_that_are_none_are_wrong_usage(option: str, value: str, vgg: Vgg) -> None:
    output = vgg("summary", "vgg16", option, value)

    assert (output.code, output.out) == (2, "")
    assert f"Invalid value for '{option}'" in output.err


# Of files


@pytest.mark.parametrize("kind", [Torchvision, Staged, Sequential, Timm])
def test_a_file_is_summarised_as_its_network(kind: type[nn.Module], tmp_path: Path, vgg: Vgg) -> None:
    network = kind(STAGES["vgg11"], NARROW, classes=3)
    path = save(network.state_dict(), tmp_path / "w.pth", "zip")
    output = vgg("summary", path, "-f", "table")
    data = json.loads(vgg("summary", path, "-f", "json").out)

    assert "weights     w.pth\n" in output.out
    assert f"dialect     {kind.__name__.lower()}\n" in output.out
    assert data["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert data["classes"] == 3


def test_a_whole_file_and_its_variant_have_one_table(tmp_path: Path, vgg: Vgg) -> None:
    state = hollow(shapes_of(Torchvision, STAGES["vgg16"], hidden=4096, classes=1000))
    path = save(state, tmp_path / "w.pth", "zip")

    assert vgg("summary", path).out == vgg("summary", "vgg16_bn").out


def test_a_network_without_the_adaptive_pool_takes_its_own_size_only(tmp_path: Path, vgg: Vgg) -> None:
    path = save(Staged(widths=NARROW, pool=1).state_dict(), tmp_path / "w.pth", "zip")
    data = json.loads(vgg("summary", path, "-f", "json").out)
    refused = vgg("summary", path, "--input-size", "64")

    assert data["input_size"] == 32
    assert "avgpool" not in [layer["name"] for layer in data["layers"]]
    assert vgg("summary", path, "--input-size", "32").code == 0
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        "vgg: cannot take an input of 64x64: without an adaptive pool its classifier takes 32x32 only. "
        "Leave --input-size out.\n"
    )


def test_the_demo(vgg: Vgg) -> None:
    data = json.loads(vgg("summary", "demo", "-f", "json").out)

    assert (data["network"], data["classes"], data["parameters"]) == ("demo", 10, 350_826)


def test_a_folder_of_a_variants_name_hides_nothing(tmp_path: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vgg16").mkdir()

    assert vgg("summary", "vgg16").out.endswith("\t138357544\t15470264320\n")


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (
            "vgg17",
            2,
            "unknown architecture vgg17: no such variant. The nearest names are vgg19, vgg16, vgg13.",
        ),
        ("vgg16.pth", 3, "cannot read weights vgg16.pth: there is no such file. Check the path."),
        ("a/vgg16", 3, "cannot read weights a/vgg16: there is no such file. Check the path."),
    ],
)
def test_neither_variant_nor_file_is_explained(name: str, code: int, message: str, vgg: Vgg) -> None:
    output = vgg("summary", name)

    assert (output.code, output.out, output.err) == (code, "", f"vgg: {message}\n")
