"""`vgg embed`: what torch hooks see, one row per input whatever becomes of it, and predict's ways to stop and go on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch
from conftest import Vgg
from numpy.typing import NDArray
from PIL import Image
from predict_examples import DIGITS, digit, make_inputs, notes

import vggcli

DEMO = ("embed", "--weights", "demo", "--precision", "fp32")
PATIENCE = 60  # seconds until a process that should have ended fails the test


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path.parent / f"{path.name}.paths.jsonl").read_text().splitlines()]


def sidecar(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path.parent / f"{path.name}.vgg.json").read_text())
    return found


@pytest.fixture(scope="module")
def hooked(narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, NDArray[np.float32]]]:
    """A folder of images of the network's size, and what its modules give for them."""
    folder = tmp_path_factory.mktemp("images")
    pixels = networks.images(3, 224)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")
    network = networks.Torchvision(widths=networks.NARROW)
    network.load_state_dict(torch.load(narrow_file, weights_only=True))
    modules = {"conv3-2": network.features[11], "pool5": network.features[28], "fc7": network.classifier[3]}
    seen: dict[str, NDArray[np.float32]] = {}
    for name, module in modules.items():
        module.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output.numpy().copy()}))
    networks.logits_of(network.eval(), pixels)
    return folder, seen


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("fc7", ("--engine", "torch", "--normalize")),
        ("pool5", ("--dtype", "fp16")),
        ("conv3_2", ("--pool", "max", "--normalize")),
    ],
)
def test_the_rows_are_what_torch_hooks_see(
    layer: str, options: tuple[str, ...], narrow_file: Path, hooked: Any, tmp_path: Path, vgg: Vgg
) -> None:
    folder, seen = hooked
    out = tmp_path / "out.npy"

    words = ("embed", "-w", narrow_file, "--precision", "fp32", "--layer", layer, *options, folder, "-o", out)
    assert vgg(*words).code == 0

    expected = seen[layer.replace("_", "-")]
    if "--pool" in options:
        expected = expected.max((2, 3))
    expected = expected.reshape(3, -1)
    if "--normalize" in options:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    array = np.load(out)
    assert array.dtype == (np.float16 if "fp16" in options else np.float32)
    np.testing.assert_allclose(array, expected, atol=(1e-3 if "fp16" in options else 1e-4) * np.abs(expected).max())
    assert [line["path"] for line in lines(out)] == [str(folder / f"{number}.png") for number in range(3)]


def test_the_rows_are_the_librarys_activations(tmp_path: Path, vgg: Vgg) -> None:
    out = tmp_path / "out.npy"
    assert vgg(*DEMO, "--layer", "relu7", DIGITS, "-o", out).code == 0

    with vggcli.load("demo", precision="fp32") as demo:
        expected = [item["relu7"] for item in demo.activations(str(DIGITS), ["relu7"])]

    np.testing.assert_array_equal(np.load(out), np.stack(expected))


def test_every_input_has_its_row_whatever_becomes_of_it(tmp_path: Path, vgg: Vgg) -> None:
    outcomes = make_inputs(tmp_path)
    out = tmp_path / "vectors" / "out.npy"
    out.parent.mkdir()

    output = vgg(*DEMO, *outcomes, "-o", out)

    array, found = np.load(out), lines(out)
    assert (output.code, len(array)) == (1, len(found))
    failed = [line["error"]["kind"] if "error" in line else None for line in found]
    assert failed == ["truncated", "empty", "unsupported", "not-a-file", "missing", *[None] * 6]
    assert np.isnan(array).all(1).tolist() == [kind is not None for kind in failed]
    assert f"vgg: cannot embed {tmp_path / 'missing.png'}: there is no such file" in notes(output)
    assert notes(output)[-1].startswith("vgg: 6 ok, 5 failed (1 empty, 1 missing, ")


def test_the_sidecar_tells_what_made_the_vectors(tmp_path: Path, vgg: Vgg) -> None:
    out = tmp_path / "out.safetensors"
    words = ("--layer", "relu5_2", "--pool", "avg", "--dtype", "fp16", "--resize", "crop", "--no-exif")
    assert vgg(*DEMO, *words, digit("two"), "-o", out).code == 0

    found = sidecar(out)
    expected = {"layer": "relu5-2", "pool": "avg", "normalize": False, "dtype": "fp16", "dimensions": 64, "exif": False}
    assert {name: found[name] for name in expected} == expected
    assert (found["weights_path"], found["recipe"]["resize"]) == ("demo", "crop")
    assert found["weights_fingerprint"].startswith("sha256:")


def test_failures_are_retried_and_new_inputs_appended(tmp_path: Path, vgg: Vgg) -> None:
    folder, out = tmp_path / "in", tmp_path / "out.npy"
    folder.mkdir()
    for label in ("one", "six", "two"):
        shutil.copy(digit(label), folder)
    (folder / "six.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert vgg(*DEMO, folder, "-o", out).code == 1
    shutil.copy(digit("six"), folder)
    shutil.copy(digit("zero"), folder)

    assert vgg(*DEMO, folder, "-o", out).code == 2
    resumed = vgg(*DEMO, folder, "-o", out, "--resume")

    whole = tmp_path / "whole.npy"
    assert vgg(*DEMO, folder, "-o", whole).code == 0
    assert resumed.code == 0
    assert "2 kept from before" in resumed.err
    assert out.read_bytes() == whole.read_bytes()
    assert lines(out) == lines(whole)


def test_a_run_of_another_layer_is_not_gone_on_with(tmp_path: Path, vgg: Vgg) -> None:
    out = tmp_path / "out.npy"
    vgg(*DEMO, digit("two"), "-o", out)

    output = vgg(*DEMO, "--layer", "fc6", "--dtype", "fp16", digit("two"), "-o", out, "--resume")

    assert output.code == 2
    assert "its layer is 'fc7', this run's is 'fc6'" in output.err
    assert "its dtype is 'fp32', this run's is 'fp16'" in output.err


def test_too_many_failures_stop_the_run(tmp_path: Path, vgg: Vgg) -> None:
    out = tmp_path / "out.npy"

    output = vgg(*DEMO, digit("two"), "none.png", digit("six"), "-o", out, "--fail-fast")

    assert output.code == 4
    assert "The rows so far are written, and the same command with --resume goes on from them" in output.err
    assert len(np.load(out)) == len(lines(out)) == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "cannot write vectors to standard output"),
        (("-o", "-"), "cannot write vectors to standard output"),
        (("-o", "out.tsv"), "its ending is none of .npy, .safetensors, .parquet"),
        (("-o", "out.npy", "--layer", "fc77"), "unknown layer fc77: the network has none of that name. The nearest"),
        (("-o", "out.npy", "--pool", "avg"), "cannot use --pool avg with fc7: it gives 64 features"),
        (("-o", "none/out.npy"), "no such file or directory"),
        (("-o", "out.npy", "--resume", "--overwrite"), "they contradict each other"),
        (("-o", "x.npy", "--files-from", "x.npy.paths.jsonl"), "this run reads"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    words: tuple[str, ...], why: str, tmp_path: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.npy.paths.jsonl").write_text("mine\n")

    output = vgg(*DEMO, digit("two"), *words)

    assert output.code in (2, 4)
    assert why in output.err
    assert os.listdir(tmp_path) == ["x.npy.paths.jsonl"]


def test_no_images_are_said_and_leave_an_array_without_rows(tmp_path: Path, vgg: Vgg) -> None:
    out = tmp_path / "out.npy"
    (tmp_path / "in").mkdir()

    output = vgg(*DEMO, tmp_path / "in", "-o", out)

    assert output.code == 1
    assert "there was nothing to embed; with --allow-empty that is no failure" in output.err
    assert np.load(out).shape == (0, 64)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_run_that_is_ended_goes_on_to_the_same_bytes(number: signal.Signals, tmp_path: Path, vgg: Vgg) -> None:
    out, whole = tmp_path / "out.npy", tmp_path / "whole.npy"
    images = [digit(label) for label in ("one", "two", "six")]
    words = [*DEMO[1:], "--threads", "1", "--files-from", "-", "-o", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "vggcli", "embed", *words],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    process.stdin.write(f"{images[0]}\n{images[1]}\nnone.png\n".encode())
    assert process.stderr is not None
    while b"none.png" not in (line := process.stderr.readline()):  # its row is written by then
        assert line, "it ended by itself"
    process.send_signal(number)
    process.stdin.close()
    assert process.wait(PATIENCE) == (-9 if number == signal.SIGKILL else 143)
    process.stderr.close()
    assert len(lines(out)) == 3

    listed = "".join(f"{path}\n" for path in (*images[:2], "none.png", images[2])).encode()
    vgg(*DEMO, "--threads", "1", "--files-from", "-", "-o", out, "--resume", input=listed)
    vgg(*DEMO, "--threads", "1", "--files-from", "-", "-o", whole, input=listed)

    assert out.read_bytes() == whole.read_bytes()
    assert lines(out) == lines(whole)
