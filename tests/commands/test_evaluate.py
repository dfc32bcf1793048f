"""`vgg evaluate`: what it prints, leaves behind and exits with; and the temperature that predict takes from it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Vgg
from PIL import Image
from predict_examples import DIGITS, LABELS, digit

import vggcli
from vggcli.network import zoo
from vggcli.weights import origin, store
from vggcli.weights.locate import DEMO_FILE

DEMO = ("--weights", "demo", "--size", "128", "--precision", "fp32", "--quiet")
FIRST_KEYS = ["images", "failed", "top1", "top5", "top1_interval", "ece", "per_class", "confusion", "mistakes"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The digits in folders named in three ways, six of them wrong on purpose, in two folders below."""
    named = {label: str(index) if index % 3 else label.upper() for index, label in enumerate(LABELS)}
    for label in LABELS:
        into = tmp_path / "val" / named["nine" if label == "six" else label] / ("odd" if label == "six" else "")
        into.mkdir(parents=True, exist_ok=True)
        shutil.copy(digit(label), into)
    return tmp_path / "val"


def test_what_is_found_as_json(folder: Path, vgg: Vgg) -> None:
    (folder / "1" / "broken.png").write_bytes(digit("one").read_bytes()[:300])
    with vggcli.load("demo", size=128, precision="fp32") as demo:
        records = {label: demo.classify(digit(label)) for label in LABELS}
    done = vgg("evaluate", folder, *DEMO, "-f", "json")
    found = json.loads(done.out)

    assert list(found)[:9] == FIRST_KEYS
    assert done.code == 1
    assert done.err.startswith(f"vgg: cannot evaluate on {folder}/1/broken.png: the image data ends early")
    right = [label for label in LABELS if records[label].predictions[0].label == label != "six"]
    assert (found["images"], found["failed"], found["failures"]) == (10, 1, {"truncated": 1})
    assert found["top1"] == len(right) / 10
    assert sum(pair["images"] for pair in found["confusion"]) == 10
    assert sum(pair["images"] for pair in found["confusion"] if pair["true"] == pair["predicted"]) == len(right)
    mistake = next(m for m in found["mistakes"] if m["path"].endswith("six.png"))
    best = records["six"].predictions[0]
    assert (mistake["true"], mistake["predicted"]) == ("nine", best.label)
    assert mistake["probability"] == pytest.approx(best.probability)
    assert [m["probability"] for m in found["mistakes"]] == sorted(
        (m["probability"] for m in found["mistakes"]), reverse=True
    )
    assert [(s["folder"], s["images"], s["failed"]) for s in found["slices"]] == [(".", 9, 1), ("odd", 1, 0)]
    assert (found["run"]["precision"], found["published"]) == ("fp32", None)


def test_the_lines_in_a_pipe(folder: Path, vgg: Vgg) -> None:
    lines = vgg("evaluate", folder, *DEMO, "--mistakes", "1")

    assert (lines.code, lines.err) == (0, "")
    rows = [line.split("\t") for line in lines.out.splitlines()]
    assert rows[0] == ["images", "10"]
    assert sum(row[0] == "mistake" for row in rows) == 1
    assert sum(row[0] == "class" for row in rows) == 10


def test_predictions_are_judged_as_the_network_is(folder: Path, tmp_path: Path, vgg: Vgg) -> None:
    ran = json.loads(vgg("evaluate", folder, *DEMO, "-f", "json").out)
    for name, top_k in (("r.jsonl", "5"), ("r.csv", "1")):
        assert vgg("predict", "-r", folder, *DEMO, "-k", top_k, "-o", tmp_path / name).code == 0
        done = vgg("evaluate", folder, "--predictions", tmp_path / name, "-f", "json")
        found = json.loads(done.out)

        assert (done.code, done.err) == (0, "")
        for key in ("images", "top1", "confusion", "per_class", "slices"):
            assert found[key] == ran[key]
        assert found["top5"] == (ran["top5"] if top_k == "5" else None)
        assert found["ece"] == pytest.approx(ran["ece"], abs=1e-5)
        assert [m["path"] for m in found["mistakes"]] == [m["path"] for m in ran["mistakes"]]
    assert "not known" in vgg("evaluate", folder, "--predictions", tmp_path / "r.csv", "-f", "table").out


def test_predictions_and_truth_that_do_not_fit(
    folder: Path, tmp_path: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "r.jsonl"
    assert vgg("predict", digit("two"), folder / "1", *DEMO, "-o", results).code == 0

    done = vgg("evaluate", folder, "--predictions", results, "-f", "json")
    found = json.loads(done.out)
    assert (done.code, found["images"], found["failures"], found["unlabelled"]) == (1, 1, {"absent": 9}, 1)
    assert done.err.splitlines() == [
        f"vgg: 1 rows of {results} are of images without a known class, and do not count",
        f"vgg: 9 images of {folder} have no row in {results}, and count as failed",
    ]
    (trained := tmp_path / "trained.safetensors").write_bytes(DEMO_FILE.read_bytes()[:-1] + b"\0")
    other = vgg("evaluate", folder, "--predictions", results, "--weights", trained)
    assert (other.code, other.out) == (2, "")
    assert "they are of another network, demo, and not of trained.safetensors" in other.err
    (names := tmp_path / "names.txt").write_text("\n".join(LABELS[::-1]))
    found = vgg("evaluate", folder, "--predictions", results, "--labels", names)
    assert (found.code, "made with other classes, by demo" in found.err) == (2, True)
    sidecar = tmp_path / "r.jsonl.vgg.json"
    replaced = vgg("evaluate", folder, "--predictions", results, "--confusion", sidecar, "--overwrite")
    assert (replaced.code, "this run reads" in replaced.err) == (2, True)
    sidecar.unlink()  # then the rows themselves tell
    found = vgg("evaluate", folder, "--predictions", results, "--labels", names)
    assert (found.code, "of another network: its class 1 is 'one', and here that is 'eight'" in found.err) == (2, True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("path,label\nx.png,two\n")
    nothing = vgg("evaluate", "t.csv", "--predictions", results, "--weights", "demo")
    assert (nothing.code, "none of its 2 paths is one of an image in t.csv" in nothing.err) == (2, True)
    vgg("predict", digit("two"), *DEMO, "--min-prob", "1", "-o", "m.csv")
    (tmp_path / "t.csv").write_text(f"path,label\n{digit('two')},two\n")
    assert "Predict again with --min-prob 0" in vgg("evaluate", "t.csv", "--predictions", "m.csv", *DEMO).err


@pytest.mark.parametrize(
    ("make", "options", "code", "message"),
    [
        ("twoo", (), 2, "unknown class 'twoo': the network has no class of that name among its 10"),
        ("", (), 1, "there was nothing to evaluate"),
        ("two", ("--calibrate", "t.json", "--calibration", "c.json"), 2, "fitted on logits as they are"),
        ("two", ("--calibrate", "t.json", "--predictions", "r.csv"), 2, "hold only probabilities"),
        ("two", ("--html", "x", "--confusion", "x"), 2, "several files were given that name"),
        ("two", ("--confusion", "no/c.csv"), 4, "cannot write no/c.csv"),
        ("two", ("--confusion", "there.csv"), 2, "will not overwrite there.csv: the file exists. Add --overwrite"),
        ("two", ("--predictions", "none.csv"), 2, "cannot read predictions none.csv: there is no such file"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_computed(
    make: str,
    options: tuple[str, ...],
    code: int,
    message: str,
    vgg: Vgg,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "val" / make).mkdir(parents=True)
    (tmp_path / "val" / make / ".keep").touch()
    if make:
        shutil.copy(digit("two"), tmp_path / "val" / make)
    (tmp_path / "there.csv").touch()

    done = vgg("evaluate", "val", *DEMO, *options)

    assert (done.code, done.out) == (code, "")
    assert message in done.err


def test_copies_under_two_classes_are_said(folder: Path, vgg: Vgg) -> None:
    shutil.copy(digit("two"), folder / "1" / "copy.png")
    done = vgg("evaluate", folder, *DEMO, "-f", "json")

    assert (done.code, json.loads(done.out)["images"]) == (1, 11)
    assert "copy.png are the same image, and said to be" in done.err


def test_what_is_no_truth_is_said_before_weights_are_fetched(tmp_path: Path, vgg: Vgg) -> None:
    done = vgg("evaluate", tmp_path / "none", "--weights", "vgg11", "--offline")

    assert (done.code, "there is no such file or folder" in done.err) == (2, True)


def test_only_unreadable_images_and_a_single_class(tmp_path: Path, vgg: Vgg) -> None:
    (tmp_path / "val" / "two").mkdir(parents=True)
    (tmp_path / "val" / "two" / "x.png").write_text("no image")
    done = vgg("evaluate", tmp_path / "val", *DEMO, "-f", "table")

    assert (done.code, done.out.splitlines()[0]) == (1, "images      0, and 1 failed (1 unsupported)")
    shutil.copy(digit("two"), tmp_path / "val" / "two" / "x.png")
    found = json.loads(vgg("evaluate", tmp_path / "val", *DEMO, "-f", "json").out)
    assert (found["top1"], [row["label"] for row in found["per_class"]]) == (1.0, ["two"])


def test_the_files_that_are_left(folder: Path, tmp_path: Path, vgg: Vgg) -> None:
    page, confusion = tmp_path / "page.html", tmp_path / "confusion.csv"
    found = vgg("evaluate", folder, *DEMO, "--html", page, "--confusion", confusion, "-f", "json")
    pairs = {(p["true"], p["predicted"]): p["images"] for p in json.loads(found.out)["confusion"]}

    assert found.code == 0
    text = page.read_text()
    assert text.count("data:image/jpeg") == len(json.loads(found.out)["mistakes"])
    assert f"{folder}/NINE/odd/six.png" in text
    header, *rows = csv.reader(confusion.read_text().splitlines())
    assert header == ["true", *(label for label in LABELS if any(label in pair for pair in pairs))]
    cells = {(row[0], header[n]): int(cell) for row in rows for n, cell in enumerate(row) if n}
    assert {key: count for key, count in cells.items() if count} == pairs


# The temperature


@pytest.fixture
def shades(tmp_path: Path) -> Path:
    """Digits under noise, which the demo is often wrong about."""
    random = np.random.default_rng(0)
    for label in LABELS:
        (tmp_path / "shades" / label).mkdir(parents=True)
        pixels = np.asarray(Image.open(digit(label)).convert("RGB").resize((28, 28)), np.float64)
        for number in range(3):
            noisy = np.clip(pixels + random.normal(0, 40 + 40 * number, pixels.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / "shades" / label / f"{number}.png")
    return tmp_path / "shades"


def test_a_temperature_is_fitted_and_used(shades: Path, tmp_path: Path, vgg: Vgg) -> None:
    path, kept = tmp_path / "t.json", tmp_path / "kept.tsv"
    done = vgg("evaluate", shades, *DEMO, "--calibrate", path, "-f", "json")
    found, entries = json.loads(done.out), json.loads(path.read_text())

    assert done.code == 0
    assert entries["temperature"] == found["calibration"]["temperature"] > 1
    assert entries["images"] == 30
    assert entries["ece_before"] == pytest.approx(found["ece"])
    assert entries["nll_before"] == pytest.approx(found["nll"])
    assert entries["nll_after"] < entries["nll_before"]
    judged = json.loads(vgg("evaluate", shades, *DEMO, "--calibration", path, "-f", "json").out)
    assert judged["top1"] == found["top1"]
    assert judged["nll"] < found["nll"]
    with vggcli.load("demo", size=128) as plain, vggcli.load("demo", size=128, calibration=path) as calibrated:
        assert calibrated.temperature == entries["temperature"]
        for image in sorted(shades.rglob("*.png"))[:3]:
            before, after = plain.classify(image, 10).predictions, calibrated.classify(image, 10).predictions
            assert [p.index for p in before] == [p.index for p in after]
            roots = np.array([p.probability for p in before]) ** (1 / entries["temperature"])
            assert [p.probability for p in after] == pytest.approx((roots / roots.sum()).tolist(), rel=1e-4)
    table = vgg("predict", digit("two"), *DEMO, "--calibration", path, "-f", "table").out
    assert f"temperature {entries['temperature']:.4g} (t.json)" in table
    assert vgg("predict", digit("two"), *DEMO, "--calibration", path, "-o", kept).code == 0
    assert json.loads((tmp_path / "kept.tsv.vgg.json").read_text())["temperature"] == entries["temperature"]
    resumed = vgg("predict", digit("two"), *DEMO, "-o", kept, "--resume")
    assert (resumed.code, "its temperature is" in resumed.err) == (2, True)


def test_a_temperature_is_refused_where_it_does_not_belong(tmp_path: Path, vgg: Vgg) -> None:
    path = tmp_path / "t.json"
    store_of = store.fingerprint(DEMO_FILE)
    right = {"kind": "vgg temperature", "temperature": 2.0, "weights": "demo", "weights_fingerprint": store_of}
    right["preprocessing"] = "squash 128"
    options = (digit("two"), *DEMO, "--calibration", path)

    def said(entries: object) -> str:
        path.write_text(json.dumps(entries))
        done = vgg("predict", *options)
        assert (done.code, done.out) == (2, "")
        return done.err

    path.write_text(json.dumps(right))
    assert vgg("predict", *options, "--max-pixels", "100000").code == 0  # which changes no number
    assert "made with 'crop 146/128'" in said(right | {"preprocessing": "crop 146/128"})
    assert "it is of other weights, 'mine'" in said(right | {"weights": "mine", "weights_fingerprint": "sha256:0"})
    for temperature in (0, -1, 1e9, "2", True, None):
        assert f"its temperature is {temperature!r}" in said(right | {"temperature": temperature})
    assert "it is no file of vgg evaluate --calibrate" in said([])
    path.unlink()
    assert "no such file" in vgg("predict", *options).err


def test_what_cannot_be_fitted_is_said_after_the_figures(tmp_path: Path, vgg: Vgg) -> None:
    for label in ("two", "seven"):
        (tmp_path / "val" / label).mkdir(parents=True)
        shutil.copy(digit(label), tmp_path / "val" / label)
    done = vgg("evaluate", tmp_path / "val", *DEMO, "--calibrate", tmp_path / "t.json", "-f", "json")

    assert (done.code, json.loads(done.out)["top1"], (tmp_path / "t.json").exists()) == (1, 1.0, False)
    assert "the lower the temperature the better" in done.err


# What was published


def test_published_figures_stand_beside_those_measured(
    tmp_path: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.safetensors"
    shutil.copy(DEMO_FILE, file)
    row = zoo.VARIANTS["vgg11_bn"]._replace(
        weights=zoo.WeightsFile(f"small-{store.verify(file)[:8]}.pth", "vgg11_bn"),
        size_mib=round(file.stat().st_size / (1 << 20), 3),
    )
    monkeypatch.setattr(origin.zoo, "VARIANTS", zoo.VARIANTS | {"vgg11_bn": row})
    shutil.copytree(DIGITS, tmp_path / "val" / "3")
    arguments = ("evaluate", tmp_path / "val", "-w", file, "--recipe", "imagenet", "-q", "-f", "json")

    found = json.loads(vgg(*arguments).out)["published"]
    assert (found["top1"], found["top5"], found["same_preprocessing"]) == (0.7037, 0.8981, False)
    assert "this run's squash 224 is not the preprocessing behind it" in found["says"]
    assert json.loads(vgg(*arguments, "--resize", "crop").out)["published"]["same_preprocessing"]
