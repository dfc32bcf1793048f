"""`vgg compare`: what it prints, leaves behind and exits with."""

from __future__ import annotations

import json
from pathlib import Path

import networks
import pytest
import torch
from conftest import Vgg
from predict_examples import DIGITS, digit

import vggcli
from vggcli.engines.openvino import import_openvino
from vggcli.weights.agreement_report import report_path

DEMO = ("compare", "--weights", "demo", "--quiet")
SMALL = ("--recipe", "cifar10", "--quiet")
HAS_BF16 = "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A narrow network without batch norm that is sure of class 7, whatever it is shown."""
    network = networks.randomised(networks.Torchvision(widths=networks.NARROW, batch_norm=False))
    network.classifier[6].bias.data[7] += 1000
    torch.save(network.state_dict(), tmp_path / "sure.pth")
    return tmp_path / "sure.pth"


def test_the_table_says_what_was_held_against_what(vgg: Vgg) -> None:
    found = vgg(*DEMO, DIGITS, "none.png", "--size", "32", "--precision", "fp32", "-f", "table")

    assert found.out.splitlines() == [
        "weights     demo, weights demo, squash 32, openvino engine on cpu in fp32",
        "against     demo, weights demo, squash 32, openvino engine on cpu in fp32",
        "images      10, and 1 failed (1 missing)",
        "equal       10 labels, 100.00% (72.25% to 100.00% with 95 % confidence)",
        "top 5       100.00% of the best classes in common",
        "mean change 0.000000 of the best class's probability",
        f"largest     0.000000, {digit('eight')}",
    ]
    assert found.err.splitlines() == [
        "vgg: cannot compare on none.png: there is no such file",
        "vgg: both sides are the same; --precision bf16, for one, makes them differ",
    ]
    assert found.code == 1


def test_labels_that_differ_are_shown_and_are_no_failure(narrow_file: Path, vgg: Vgg) -> None:
    arguments = (*DEMO, digit("two"), digit("four"), "--size", "32", "--against-weights", narrow_file)
    best = {}
    with vggcli.load("demo", size=32) as demo, vggcli.load(narrow_file, precision="fp32", size=32) as other:
        for name in ("two", "four"):
            best[name] = demo.classify(digit(name)).predictions[0], other.classify(digit(name)).predictions[0]

    found = json.loads((done := vgg(*arguments, "-f", "json")).out)

    assert done.code == 0
    assert (found["images"], found["equal_labels"], found["failures"]) == (2, 0, {})
    assert (found["weights"]["weights"], found["against"]["weights"]) == ("demo", narrow_file.name)
    differing = {Path(pair["path"]).stem: pair for pair in found["differing"]}
    for name, (ours, theirs) in best.items():
        pair = differing[name]
        assert pair["labels"] == [ours.label]
        assert pair["against_probability"] == pytest.approx(theirs.probability, abs=1e-6)
    table = vgg(*arguments, "-f", "table").out
    assert all(str(digit(name)) in table for name in best)
    lines = [line.split("\t") for line in vgg(*arguments).out.splitlines()]  # tsv where no terminal is
    assert [line[0] for line in lines[2:]] == [
        *("images", "equal_labels", "mean_change", "largest_change", "top5_overlap", "largest_change_path"),
        *("interval_low", "interval_high", "failed", "differs", "differs"),
    ]


def test_an_image_on_standard_input_is_read_for_both(weights: Path, tmp_path: Path, vgg: Vgg) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"size": 64}))
    other = tmp_path / "other.pth"
    other.write_bytes(weights.read_bytes())
    arguments = ("compare", "-", "-q", "-w", weights, "--against-weights", other, "--engine", "torch", "-f", "json")
    found = vgg(*arguments, "--against-engine", "openvino", "--size", "32", input=digit("two").read_bytes())
    shown = json.loads(found.out)

    assert (found.code, shown["images"], shown["equal_labels"]) == (0, 1, 1)
    assert (shown["weights"]["engine"], shown["against"]["engine"]) == ("torch", "openvino")


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ((), 2, "nothing to classify"),
        ((DIGITS, "--against-engine", "openvino", "--device", "cuda"), 2, "it runs on the CPU, not on cuda"),
        ((DIGITS, "--against-weights", "none.pth"), 3, "there is no such file"),
        ((DIGITS, "--save"), 2, "it is about bf16"),
        ((DIGITS, "--save", "--precision", "bf16"), 2, "the demo ships with vgg"),
        ((DIGITS, "--save", "--precision", "bf16", "--against-precision", "bf16"), 2, "held against its own fp32"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: tuple[str | Path, ...], code: int, why: str, vgg: Vgg) -> None:
    found = vgg(*DEMO, *arguments)

    assert (found.code, found.out) == (code, "")
    assert why in found.err
    assert len(found.err.splitlines()) == 1


def test_classes_that_differ_are_one_line(tmp_path: Path, vgg: Vgg) -> None:
    network = networks.randomised(networks.Torchvision(widths=networks.NARROW, classes=3))
    torch.save(network.state_dict(), tmp_path / "three.pth")
    found = vgg(*DEMO, DIGITS, "--against-weights", tmp_path / "three.pth", "--recipe", "imagenet")

    assert found.code == 3
    why = "the first has 10 classes and the second 3. Compare networks of the same classes."
    assert found.err == f"vgg: cannot compare demo with three.pth: {why}\n"


def test_without_images_nothing_is_claimed(tmp_path: Path, vgg: Vgg) -> None:
    found = vgg(*DEMO, tmp_path, "-f", "json")

    assert (found.code, json.loads(found.out)["mean_change"]) == (1, None)
    assert "there was nothing to compare on" in found.err
    assert vgg(*DEMO, tmp_path, "--allow-empty").code == 0


def test_a_report_lets_auto_take_bf16(weights: Path, tmp_path: Path, vgg: Vgg) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{digit('two')}\n" * 200)
    compare = ("compare", *SMALL, "-w", weights, "--files-from", listed, "--precision", "bf16", "--save")
    predict = ("predict", *SMALL, "-w", weights, digit("two"), "-f", "table")
    fast = "bf16" if HAS_BF16 else "fp32"
    before, saved, after = vgg(*predict), vgg(*compare), vgg(*predict)

    report = report_path(weights)
    assert saved.err == (
        f"vgg: wrote {report}: --precision auto takes bf16 for these weights where the hardware multiplies it\n"
    )
    why_not = " (without batch norm, and no report says that bf16 keeps its labels)" * HAS_BF16
    assert f"in fp32{why_not}" in " ".join(before.out.split())
    assert f"in {fast}{' (bf16 kept 200 of 200 labels)' * HAS_BF16}" in " ".join(after.out.split())
    entries = json.loads(report.read_text())
    assert (entries["images"], entries["precision"], entries["against"]) == (200, "bf16", "fp32")

    vgg("predict", *SMALL, "-w", weights, digit("two"), "-o", tmp_path / "out.csv")
    sidecar = json.loads((tmp_path / "out.csv.vgg.json").read_text())
    assert sidecar["precision"] == fast
    assert sidecar.get("precision_source", "") == "bf16 kept 200 of 200 labels" * HAS_BF16

    with weights.open("ab") as file:  # other weights, as far as anyone can tell
        file.write(b"\0")
    changed = vgg(*predict)
    assert "in fp32" in changed.out
    assert f"{report.name} is ignored: it is of other weights than {weights.name}" in changed.err


def test_a_report_of_few_images_changes_nothing(weights: Path, vgg: Vgg) -> None:
    saved = vgg("compare", *SMALL, "-w", weights, DIGITS, "--precision", "bf16", "--save")

    assert "--precision auto goes on as before, as it asks for 98% equal labels" in saved.err
    with vggcli.load(weights, recipe="cifar10") as classifier:
        assert classifier.precision == "fp32"


def test_a_report_that_cannot_be_written_is_said_before_anything_runs(
    weights: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("vggcli.files.check_replaceable", refuse)
    found = vgg("compare", *SMALL, "-w", weights, DIGITS, "--precision", "bf16", "--save")

    assert (found.code, found.out) == (4, "")
    assert str(report_path(weights)) in found.err
