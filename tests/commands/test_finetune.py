"""`vgg finetune` from end to end: the file, what it knows of itself, and what is refused, told or survived."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Output, Vgg
from PIL import Image
from predict_examples import digit
from training_examples import TINY, stripes, write_stripes

import vggcli
from vggcli.network.module import VGG
from vggcli.training import checkpoint, features
from vggcli.training.fit import Fit
from vggcli.training.state import State

FROZEN = ("-w", "demo", "--threads", "1", "--epochs", "8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stripes(tmp_path_factory.mktemp("labelled") / "data")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "mine.pth"


def loaded(path: Path) -> dict[str, Any]:
    """The file as torch reads it without running anything."""
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = (loaded(path)["state_dict"] for path in (one, other))
    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) for key in first)


# What comes out


def test_the_last_layer_on_features_and_predictions_without_an_option(vgg: Vgg, data: Path, output: Path) -> None:
    done = vgg("finetune", data, "-o", output, *FROZEN)

    assert done.code == 0, done
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [row[:3] for row in rows] == [["across", "8", "2"], ["down", "8", "2"], ["all", "16", "4"]]
    assert "features of 20 images, 20 of them computed now" in done.err
    assert str(features.cache_folder()) in done.err
    file = loaded(output)
    assert list(file) == ["state_dict", "class_names", "recipe", "settings", "split", "metrics", "data"]
    assert file["class_names"] == ["across", "down"]
    assert (file["settings"]["weights"], file["settings"]["unfreeze"]) == ("demo", "last")
    assert sorted(file["split"]["train"] + file["split"]["val"]) == sorted(
        f"{name}/{number}.png" for name in ("across", "down") for number in range(10)
    )
    held_out = [data / path for path in file["split"]["val"]]
    predicted = vgg("predict", "-w", output, "-k", "1", "-f", "jsonl", *held_out)
    assert "vgg: mine.pth" not in predicted.err  # nothing is assumed of it
    labels = [json.loads(line)["predictions"][0]["label"] for line in predicted.out.splitlines()]
    right = sum(label == path.parent.name for label, path in zip(labels, held_out, strict=True))
    assert right == file["metrics"]["right"] >= 3


def test_a_second_run_takes_the_features_and_gives_the_same_bytes(vgg: Vgg, data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.pth", tmp_path / "b.pth"
    vgg("finetune", data, "-o", first, *FROZEN, "-q")
    done = vgg("finetune", data, "-o", second, *FROZEN)

    assert "features of 20 images, all from the run before" in done.err
    assert_same_weights(first, second)
    vgg("finetune", data, "-o", second, *FROZEN, "--overwrite", "--seed", "1", "-q")
    assert loaded(first)["split"]["digest"] != loaded(second)["split"]["digest"]


def test_inspect_shows_classes_recipe_and_settings(vgg: Vgg, data: Path, output: Path) -> None:
    vgg("finetune", data, "-o", output, *FROZEN, "--resize", "letterbox", "--class-weights", "balanced")

    shown = vgg("inspect", output, "-f", "table", env={"COLUMNS": "400"}).out
    told = json.loads(vgg("inspect", output, "-f", "json").out)

    for line in (
        r"recipe +letterbox 224, imagenet \(file\)",
        "names +across, down",
        "settings .*weights demo, .*class_weights balanced, .*seed 0",
        "images +16 train, 4 val",
        r"held out +\d of 4 \(\d+\.0%\) right; .* with 95 % confidence",
    ):
        assert re.search(line, shown), line
    assert told["labels"] == ["across", "down"]
    assert told["trained"]["settings"]["epochs"] == 8
    assert told["recipe"]["source"] == "file"


def test_strange_words_under_the_same_names_are_no_danger(vgg: Vgg, data: Path, output: Path) -> None:
    vgg("finetune", data, "-o", output, *FROZEN, "-q")
    file = loaded(output)
    file["settings"] |= {"vgg": torch.ones(3), "deep": [[[[[[[[3]]]]]]]], "x": float("nan"), "long": "y" * 10_000}
    file["metrics"] |= {"right": "all", "interval": 5}
    file["split"] |= {"images": 3}
    torch.save(file, output)

    told = vgg("inspect", output, "-f", "json")

    assert told.code == 0
    assert json.loads(told.out)["trained"]["settings"]["x"] is None
    assert len(vgg("inspect", output, "-f", "table").out) < 10_000


def test_a_csv_with_odd_labels_comes_back_as_it_was(vgg: Vgg, data: Path, output: Path, tmp_path: Path) -> None:
    names = {"across": "a/b", "down": 'two\nlines, "é"'}
    rows = [(data / name / f"{n}.png", label) for name, label in names.items() for n in range(10)]
    table = tmp_path / "labels.csv"
    quoted = "".join('{},"{}"\n'.format(path, label.replace('"', '""')) for path, label in rows)
    table.write_text("path,label\n" + quoted, "utf-8")

    assert vgg("finetune", table, "-o", output, *FROZEN).code == 0

    with vggcli.load(output) as classifier:
        assert classifier.labels == ("a/b", 'two\nlines, "é"')
    assert len(vgg("predict", "-w", output, data / "down" / "0.png").out.splitlines()) == 2


def test_torchs_module_gives_the_same_logits(vgg: Vgg, data: Path, output: Path) -> None:
    vgg("finetune", data, "-o", output, *FROZEN, "-q")
    with vggcli.load(output, engine="torch", precision="fp32") as classifier:
        network = VGG(classifier.architecture)
        network.load_state_dict(loaded(output)["state_dict"])
        (item,) = classifier.activations(data / "down" / "0.png", ["fc8"])
        pixels = Image.open(data / "down" / "0.png").resize((224, 224), Image.Resampling.BILINEAR)
    recipe = classifier.recipe
    inputs = (torch.from_numpy(np.array(pixels)) / 255 - torch.tensor(recipe.mean)) / torch.tensor(recipe.std)
    with torch.inference_mode():
        logits = network.eval()(inputs.permute(2, 0, 1)[None])[0].numpy()

    assert np.abs(logits - item["fc8"]).max() <= 1e-4 * np.abs(logits).max()


@pytest.mark.parametrize("depth", ["fc6", "conv5"])
def test_deeper_trains_from_there_on_and_nothing_before(depth: str, vgg: Vgg, data: Path, output: Path) -> None:
    options = ("--unfreeze", depth, "--augment", "none", "-b", "16")
    done = vgg("finetune", data, "-o", output, *FROZEN[:4], "--epochs", "1", "--size", "64", *options)

    assert done.code == 0, done
    with vggcli.load("demo") as classifier:
        before, layers = classifier.model.arrays(), classifier.architecture.layers()
        first = layers.index(classifier.architecture.layer("conv5-1" if depth == "conv5" else "fc6"))
        frozen = {key for layer in layers[:first] for key in layer.tensors()}
        after = loaded(output)["state_dict"]
    changed = {key for key, array in before.items() if not np.array_equal(array, after[key].numpy())}
    assert not changed & frozen
    assert {key for key in before if key.endswith("weight")} - frozen <= changed
    assert not checkpoint.path_of(output).exists()


def test_from_scratch_learns_and_is_read_as_it_was_drawn(vgg: Vgg, data: Path, output: Path) -> None:
    options = ("--arch", "vgg11_bn", "--width", "0.05", "--epochs", "10", "-b", "4", "--dropout", "0")
    done = vgg("finetune", data, "-o", output, *TINY, *options)

    assert done.code == 0, done
    metrics = loaded(output)["metrics"]
    assert metrics["accuracy"] == 1.0
    assert metrics["interval"][0] == pytest.approx(0.51, abs=0.01)
    with vggcli.load(output) as classifier:
        assert (classifier.recipe.size, classifier.recipe.source) == (32, "file")
        assert classifier.architecture.pool == 1
        assert classifier.classify(data / "down" / "3.png").predictions[0].label == "down"


def test_bf16_is_mixed_in_and_the_file_is_float32(vgg: Vgg, data: Path, output: Path) -> None:
    options = ("--arch", "vgg11_bn", "--epochs", "1", "--precision", "bf16", "--init", "kaiming")
    done = vgg("finetune", data, "-o", output, *TINY, *options)

    assert done.code == 0, done
    file = loaded(output)
    assert file["metrics"]["precision"] == "bf16"
    assert {tensor.dtype for tensor in file["state_dict"].values()} == {torch.float32, torch.int64}


# What is told


def test_what_is_wrong_with_the_data_is_told_and_the_rest_trained(
    vgg: Vgg, data: Path, output: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    (folder / "down" / "cut.png").write_bytes(digit("one").read_bytes()[:400])
    (folder / "empty").mkdir()
    (folder / "one").mkdir()
    stripes("down", 77).save(folder / "one" / "image.png")

    done = vgg("finetune", folder, "-o", output, *FROZEN, "-q")

    assert done.code == 1
    assert "vgg: no class, since there are no images in it: empty\n" in done.err
    assert f"vgg: cannot read {folder / 'down' / 'cut.png'}: " in done.err
    assert "vgg: nothing is held out of these classes, which have too few images: one\n" in done.err
    assert "vgg: 1 of 22 images could not be read and were left out\n" in done.err
    assert loaded(output)["class_names"] == ["across", "down", "one"]


def test_copies_across_a_split_of_the_persons_are_told(vgg: Vgg, data: Path, output: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data" / "train")
    for name in ("across", "down"):
        (tmp_path / "data" / "val" / name).mkdir(parents=True)
        shutil.copy(data / name / "3.png", tmp_path / "data" / "val" / name / "x.png")

    done = vgg("finetune", tmp_path / "data", "-o", output, *FROZEN, "-q")

    assert "vgg: 2 images of val are in train too, so its accuracy says too much" in done.err
    assert loaded(output)["split"]["images"] == {"train": 20, "val": 2}


def test_a_class_of_unreadable_images_alone_is_left_out(vgg: Vgg, data: Path, output: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "bad").mkdir()
    (tmp_path / "data" / "bad" / "x.png").write_bytes(b"no picture")

    done = vgg("finetune", tmp_path / "data", "-o", output, *FROZEN, "-q")

    assert (done.code, loaded(output)["class_names"]) == (1, ["across", "down"])
    assert "no class, since none of its images can be read: bad" in done.err
    shutil.rmtree(tmp_path / "data" / "down")
    refused = vgg("finetune", tmp_path / "data", "-o", output, *FROZEN, "--overwrite")
    assert refused.code == 2
    assert "one class, across, has images that can be read" in refused.err


# What is refused


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("-o", "x.bin"), 2, "the name of such a file ends in .pth or .pt"),
        (("--width", "0.5"), 2, "they are for training from scratch"),
        (("--from-scratch", "-w", "demo"), 2, "they contradict each other"),
        (("--from-scratch", "--unfreeze", "fc6"), 2, "drawn weights are no use unless all are trained"),
        (("--from-scratch", "--size", "16"), 2, "the pools leave nothing of less than 32 pixels"),
        (("--from-scratch", "--precision", "int8"), 2, "it is for predictions"),
        (("--resume", "--overwrite"), 2, "they contradict each other"),
        (("--unfreeze", "fc6", "-d", "cuda:99", "-w", "demo"), 5, "Run with --device cpu"),
        (("--unfreeze", "fc6", "--precision", "fp16", "-d", "cpu", "-w", "demo"), 5, "Use bf16 or fp32"),
        (("-w", "none.pth"), 3, "there is no such file"),
        (("-w", "demo", "--lr", "nan"), 2, "cannot use learning rate nan: it must be a finite number"),
        (("-w", "demo", "--val-fraction", "nan"), 2, "it must be a finite number"),
        (("--from-scratch", "--width", "nan"), 2, "cannot use width nan"),
        (("-o", "missing/mine.pth"), 4, "Make the folder first"),
        (("-w", "demo", "--features", "/dev/null"), 4, "Make room, or name another folder with --features"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: tuple[str, ...], code: int, why: str, vgg: Vgg, data: Path, output: Path
) -> None:
    done = vgg("finetune", data, "-o", output, *arguments)

    assert (done.code, done.out) == (code, "")
    assert why in done.err
    assert not list(output.parent.iterdir())


def test_nothing_is_overwritten_unasked(vgg: Vgg, data: Path, output: Path) -> None:
    output.write_bytes(b"mine")
    assert "Add --overwrite to replace it" in vgg("finetune", data, "-o", output, *FROZEN).err
    finished = vgg("finetune", data, "-o", output, *FROZEN, "--resume")
    assert (finished.code, "nothing to resume" in finished.err) == (0, True)
    output.unlink()
    checkpoint.path_of(output).write_bytes(b"a checkpoint")
    assert "Add --resume to go on" in vgg("finetune", data, "-o", output, *FROZEN).err


# What ends it early


DEEP = ("-w", "demo", "--unfreeze", "fc6", "--size", "64", "--augment", "none", "--threads", "1", "-b", "8")


def scratch(vgg: Vgg, data: Path, output: Path, *options: str, kind: tuple[str, ...] = TINY) -> Output:
    return vgg("finetune", data, "-o", output, *kind, "--epochs", "5", "--patience", "0", *options)


@pytest.mark.parametrize("kind", [TINY, DEEP], ids=["from scratch", "deeper"])
def test_an_interrupted_training_goes_on_to_the_same_weights(
    kind: tuple[str, ...], vgg: Vgg, data: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scratch(vgg, data, tmp_path / "whole.pth", kind=kind).code == 0
    keep = Fit._keep

    def interrupted(self: Fit, epoch: Any, state: Any) -> None:
        keep(self, epoch, state)
        if epoch.number == 2 and self._save is not None:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as context:
        context.setattr(Fit, "_keep", interrupted)
        stopped = scratch(vgg, data, output, kind=kind)
    assert stopped.code == 130, stopped
    assert "vgg: interrupted: what was computed is kept; the same command with --resume goes on" in stopped.err
    assert not output.exists()

    other = scratch(vgg, data, output, "--seed", "1", "--resume", kind=kind)
    assert (other.code, "its split is" in other.err) == (3, True)
    resumed = scratch(vgg, data, output, "--resume", kind=kind)
    assert (resumed.code, "going on behind epoch 2" in resumed.err) == (0, True)

    assert_same_weights(output, tmp_path / "whole.pth")
    assert not checkpoint.path_of(output).exists()


def test_classes_that_differ_from_the_checkpoint_are_named(vgg: Vgg, data: Path, output: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    kept = checkpoint.path_of(output)
    run = {"classes": ["across", "up"]}
    checkpoint.CheckpointFile(kept, run).save(State(weights={"w": torch.zeros(1)}))

    done = scratch(vgg, tmp_path / "data", output, "--resume")

    assert done.code == 3
    assert "its classes are others: it does not know down and it knows up" in done.err


def test_a_loss_that_is_no_number_keeps_the_best_epoch(
    vgg: Vgg, data: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Fit._step
    monkeypatch.setattr(Fit, "_step", lambda self, *batch: step(self, *batch) if step_left() else float("nan"))
    left = [3]

    def step_left() -> bool:
        left[0] -= 1
        return left[0] >= 0

    done = vgg("finetune", data, "-o", output, *FROZEN)
    assert done.code == 4
    assert "the loss was no finite number any more: epoch" in done.err
    assert loaded(output)["metrics"]["epochs"] == 3

    left[0] = 0
    nothing = vgg("finetune", data, "-o", output, *FROZEN, "--overwrite")
    assert nothing.code == 4
    assert "there is nothing to keep. Use a smaller --lr" in nothing.err


def test_without_torchvision_images_are_not_varied_and_that_is_said(
    vgg: Vgg, data: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torchvision", "torchvision.transforms"):
        monkeypatch.setitem(sys.modules, name, None)
    options = [option for option in TINY if option not in ("--augment", "none")]

    done = vgg("finetune", data, "-o", output, *options)

    assert done.code == 5
    assert "images to train on" not in done.err  # it is said before anything is computed
    assert "Install the torchvision that belongs to this torch, or add --augment none" in done.err


@pytest.mark.training
def test_ten_kills_end_with_the_same_weights(data: Path, output: Path, tmp_path: Path) -> None:
    base = [sys.executable, "-m", "vggcli", "finetune", str(data)]
    options = [*TINY, "--epochs", "200", "--patience", "0", "-q"]
    subprocess.run([*base, "-o", str(tmp_path / "whole.pth"), *options], check=True, capture_output=True)
    drawn, kept = random.Random(0), checkpoint.path_of(output)
    for _ in range(10):
        before = kept.stat().st_ino if kept.exists() else None
        running = subprocess.Popen([*base, "-o", str(output), *options, "--resume"], stdout=subprocess.DEVNULL)
        # Another epoch has to be over, so that there is an end; then it is killed anywhere in one of the next.
        while running.poll() is None and (kept.stat().st_ino if kept.exists() else None) == before:
            with suppress(subprocess.TimeoutExpired):
                running.wait(0.005)
        with suppress(subprocess.TimeoutExpired):
            running.wait(drawn.uniform(0, 0.2))
        assert running.returncode is None  # it had epochs left
        running.kill()
        running.wait()
    assert not output.exists()

    subprocess.run([*base, "-o", str(output), *options, "--resume"], check=True, capture_output=True)

    assert_same_weights(output, tmp_path / "whole.pth")


@pytest.mark.training
@pytest.mark.usefixtures("no_sockets")
def test_the_first_run_of_the_page_without_a_network(vgg: Vgg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "finetune.md").read_text("utf-8")
    first = page.partition("## A first run")[2].partition("## Data")[0]
    (program,) = re.findall(r"```python\n(.*?)```", first, re.DOTALL)
    (shown,) = re.findall(r"```console\n(.*?)```", first, re.DOTALL)
    commands = [shlex.split(line) for line in shown.splitlines() if line.startswith("$ ")]
    monkeypatch.chdir(tmp_path)
    Path("shapes.py").write_text(program)
    subprocess.run([sys.executable, "shapes.py"], check=True)
    assert [command[1:3] for command in commands] == [
        ["python", "shapes.py"],
        ["vgg", "finetune"],
        ["vgg", "predict"],
        ["vgg", "evaluate"],
    ]

    trained, predicted, evaluated = (vgg(*command[2:]) for command in commands[1:])

    assert float(trained.out.splitlines()[-1].split("\t")[4]) > 0.9
    assert [line.split("\t")[3] for line in predicted.out.splitlines()] == ["circle", "square", "triangle"]
    figures = dict(line.split("\t")[:2] for line in evaluated.out.splitlines())
    assert float(figures["top1"]) > 0.85


@pytest.mark.training
def test_the_digits_of_the_readme(vgg: Vgg, output: Path, tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    found = load_digits()
    for number, (image, label) in enumerate(zip(found.images, found.target, strict=True)):
        folder = tmp_path / "digits" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 - image * 15.9375).astype(np.uint8)).save(folder / f"{number}.png")
    options = ("--from-scratch", "--arch", "vgg11_bn", "--width", "0.125", "--size", "32", "--augment", "crop")

    done = vgg("finetune", tmp_path / "digits", "-o", output, *options, "--epochs", "8", "--dropout", "0.2")

    assert done.code == 0
    assert loaded(output)["metrics"]["accuracy"] >= 0.95
