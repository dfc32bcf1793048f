"""`vgg predict` as people use it: one record an input, in order, and an exit code that tells how it went."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Vgg
from fakes import FakeEngine, save_picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from networks import NARROW, Torchvision, randomised

from vggcli.errors import DeviceError
from vggcli.ranking import best

Run = Callable[..., list[list[str]]]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """The engine of every run of this test: it reads the class off the picture."""
    fake = FakeEngine()
    monkeypatch.setattr("vggcli.engines.choice.open_engine", lambda *_, **__: fake)
    return fake


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures of the classes 0 to 5."""
    for label in range(6):
        save_picture(tmp_path / "photos" / f"{label}.png", label)
    return tmp_path / "photos"


def rows(text: str) -> list[list[str]]:
    """The fields of tsv."""
    return [line.split("\t") for line in text.splitlines()]


def labels(text: str) -> list[tuple[str, str]]:
    """File name and best class of each first-ranked row, or "?" and the kind of failure."""
    found = []
    for path, rank, _, label, _, error in rows(text):
        if rank in ("", "1"):
            found.append((os.path.basename(path), label or f"? {error.split(':')[0]}"))
    return found


# Records


def test_every_image_has_its_rows_in_order(vgg: Vgg, narrow_file: Path, photos: Path, engine: FakeEngine) -> None:
    done = vgg("predict", "-w", narrow_file, "-k", "2", photos)
    assert done.code == 0
    assert labels(done.out) == [(f"{label}.png", f"class {label}") for label in range(6)]
    assert [row[1] for row in rows(done.out)] == ["1", "2"] * 6


def test_more_classes_than_there_are_means_all(vgg: Vgg, narrow_file: Path, photos: Path, engine: FakeEngine) -> None:
    done = vgg("predict", "-w", narrow_file, "-k", "99", photos / "3.png")
    assert [row[1] for row in rows(done.out)] == [str(rank) for rank in range(1, 11)]
    assert sum(float(row[4]) for row in rows(done.out)) == pytest.approx(1, abs=1e-5)


def test_a_path_named_twice_has_two_records(vgg: Vgg, narrow_file: Path, photos: Path, engine: FakeEngine) -> None:
    done = vgg("predict", "-w", narrow_file, "-k", "1", photos / "4.png", photos / "1.png", photos / "4.png")
    assert [label for _, label in labels(done.out)] == ["class 4", "class 1", "class 4"]


@pytest.mark.parametrize("batch_size", [1, 3, 300])
def test_the_batch_size_changes_no_byte(
    vgg: Vgg, narrow_file: Path, photos: Path, batch_size: int, engine: FakeEngine
) -> None:
    usual = vgg("predict", "-w", narrow_file, photos).bytes
    assert vgg("predict", "-w", narrow_file, "-b", batch_size, photos).bytes == usual


def test_openvino_itself_changes_no_byte_with_the_batch_size(vgg: Vgg, narrow_file: Path, photos: Path) -> None:
    command = ("predict", "-w", narrow_file, "--engine", "openvino", "-f", "jsonl")
    outputs = {vgg(*command, "-b", size, photos).bytes for size in (1, 4, 8)}
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) == 6


def test_torch_itself_moves_no_probability_by_more_than_its_last_digit(
    vgg: Vgg, narrow_file: Path, photos: Path
) -> None:
    command = ("predict", "-w", narrow_file, "--engine", "torch", "--precision", "fp32", "-k", "10")
    one, four = (rows(vgg(*command, "-b", size, photos).out) for size in (1, 4))
    assert [row[:4] for row in one] == [row[:4] for row in four]
    for first, second in zip(one, four, strict=True):
        assert float(first[4]) == pytest.approx(float(second[4]), abs=2e-6)


POOL = ("good", "jpeg", "cut", "missing", "empty", "text", "fifo", "bomb", "dangling")
ANSWERS = {
    "cut": "? truncated",
    "missing": "? missing",
    "empty": "? empty",
    "text": "? unsupported",
    "fifo": "? not-a-file",
    "bomb": "? bomb",
    "dangling": "? missing",
}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of every kind, good ones of every class."""
    folder = tmp_path_factory.mktemp("pool")
    for label in range(10):
        save_picture(folder / f"good {label}", label, format="PNG")
        save_picture(folder / f"jpeg {label}", label, format="JPEG")
        (folder / f"cut {label}").write_bytes((folder / f"jpeg {label}").read_bytes()[:300])
        (folder / f"empty {label}").touch()
        (folder / f"text {label}").write_text("hello\n")
        os.mkfifo(folder / f"fifo {label}")
        (folder / f"bomb {label}").write_bytes(b"P6 99999 99999 255\n")
        os.symlink("nowhere", folder / f"dangling {label}")
    return folder


def answer(name: str) -> str:
    kind, _, label = name.partition(" ")
    return ANSWERS.get(kind, f"class {label}")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.builds("{} {}".format, st.sampled_from(POOL), st.integers(0, 9)), max_size=30),
    st.sampled_from(["tsv", "csv", "jsonl"]),
    st.integers(1, 4),
    st.integers(1, 9),
)
def test_any_mixture_of_files_gives_one_record_each_in_order(
    vgg: Vgg,
    narrow_file: Path,
    pool: Path,
    engine: FakeEngine,
    names: list[str],
    format: str,
    workers: int,
    batch_size: int,
) -> None:
    with tempfile.NamedTemporaryFile() as listed:
        listed.write(b"\0".join(os.fsencode(pool / name) for name in names))
        listed.flush()
        options = ("-k", "1", "-f", format, "-j", workers, "-b", batch_size)
        done = vgg("predict", "-w", narrow_file, *options, "-0", "--files-from", listed.name)
    if format == "jsonl":
        found = [
            (
                record["path"],
                record["predictions"][0]["label"] if record["predictions"] else "? " + record["error"]["kind"],
            )
            for record in map(json.loads, done.out.splitlines())
        ]
    else:
        lines = rows(done.out) if format == "tsv" else list(csv.reader(io.StringIO(done.out)))[1:]
        found = [(line[0], line[3] or "? " + line[5].split(":")[0]) for line in lines]
    assert found == [(str(pool / name), answer(name)) for name in names]
    failed = sum(answer(name).startswith("?") for name in names)
    assert done.code == (1 if failed else 0)
    # A line for each failure, and the closing one.
    assert done.err.count("cannot classify") == failed
    assert re.search(rf"^vgg: {len(names) - failed} ok{f', {failed} failed' if failed else ''}.*s", done.err, re.M)


def test_a_folder_of_everything_leaves_every_photo_its_label(
    vgg: Vgg, narrow_file: Path, pool: Path, tmp_path: Path, engine: FakeEngine
) -> None:
    folder = tmp_path / "everything"
    folder.mkdir()
    expected = []
    for number, kind in enumerate(POOL):
        for label, what in ((number, "good"), ((number + 3) % 10, kind)):
            name = f"{len(expected):02} {what} {label}.jpg"
            os.link(pool / f"{what} {label}", folder / name, follow_symlinks=False) if what != "missing" else None
            if what != "missing":
                expected.append((name, answer(f"{what} {label}")))
    done = vgg("predict", "-w", narrow_file, "-k", "1", folder)
    assert labels(done.out) == sorted(expected)
    assert done.code == 1


def test_standard_input_is_one_image(vgg: Vgg, narrow_file: Path, photos: Path, engine: FakeEngine) -> None:
    data = (photos / "3.png").read_bytes()
    done = vgg("predict", "-w", narrow_file, "-k", "1", "-", input=data)
    assert (done.code, labels(done.out)) == (0, [("-", "class 3")])
    done = vgg("predict", "-w", narrow_file, "-", input=b"")
    assert (done.code, labels(done.out)) == (1, [("-", "? empty")])


def test_a_list_on_standard_input(vgg: Vgg, narrow_file: Path, photos: Path, engine: FakeEngine) -> None:
    listed = f"{photos / '2.png'}\n{photos}\n".encode()
    done = vgg("predict", "-w", narrow_file, "-k", "1", "--files-from", "-", input=listed)
    assert [label for _, label in labels(done.out)] == [f"class {label}" for label in (2, 0, 1, 2, 3, 4, 5)]


def test_allow_truncated_flags_the_record(vgg: Vgg, narrow_file: Path, photos: Path, engine: FakeEngine) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    from PIL import Image

    Image.fromarray(noise).save(photos / "6.jpg")
    (photos / "6.jpg").write_bytes((photos / "6.jpg").read_bytes()[:1500])
    assert labels(vgg("predict", "-w", narrow_file, photos).out)[-1] == ("6.jpg", "? truncated")
    done = vgg("predict", "-w", narrow_file, "--allow-truncated", "-f", "jsonl", photos)
    flags = [json.loads(line).get("truncated", False) for line in done.out.splitlines()]
    assert (done.code, flags) == (0, [False] * 6 + [True])


def test_names_that_command_terminals_reach_none(
    vgg: Vgg, narrow_file: Path, tmp_path: Path, engine: FakeEngine
) -> None:
    save_picture(tmp_path / "d" / "a\x1b]0;owned\x07\x1b[31m.png", 1)
    (tmp_path / "d" / "b\x9b2J\r\u202e.png").write_text("no image")
    (tmp_path / "d" / "c\x1b[2J").write_text("passed over")
    names = "".join(f"name {number}\x1b[5m\n" for number in range(10))
    (tmp_path / "labels.txt").write_text(names)
    for format in ("tsv", "csv", "jsonl", "table"):
        done = vgg("predict", "-w", narrow_file, "--labels", tmp_path / "labels.txt", "-f", format, tmp_path / "d")
        assert done.code == 1
        for text in (done.out, done.err):
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text), (format, text)


# What is said beside the records


def test_what_is_passed_over_is_said(vgg: Vgg, narrow_file: Path, tmp_path: Path, engine: FakeEngine) -> None:
    save_picture(tmp_path / "d" / "inner" / "a.png", 1)
    (tmp_path / "d" / "notes.txt").write_text("hello")
    done = vgg("predict", "-w", narrow_file, tmp_path / "d")
    assert done.code == 0
    assert "vgg: passed over 1 file not named as images" in done.err
    assert "vgg: passed over 1 folder inside those named, e.g. " in done.err
    assert f"vgg: no images in {tmp_path / 'd'}" in done.err
    assert "passed over 1 folder" not in vgg("predict", "-w", narrow_file, "-r", tmp_path / "d").err


def test_the_closing_line_counts_by_kind(vgg: Vgg, narrow_file: Path, pool: Path, engine: FakeEngine) -> None:
    names = ("good 1", "cut 1", "missing 1", "cut 2", "good 2")
    done = vgg("predict", "-w", narrow_file, *(pool / name for name in names))
    closing = done.err.splitlines()[-1]
    assert re.fullmatch(r"vgg: 2 ok, 3 failed \(1 missing, 2 truncated\), [\d.]+ s, [\d.]+ images/s", closing)


# Exit codes


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-k", "0", "x.jpg"),
        ("-k", "-1", "x.jpg"),
        ("--workers", "0", "x.jpg"),
        ("--batch-size", "0", "x.jpg"),
        ("--max-pixels", "0", "x.jpg"),
        ("--max-errors", "-1", "x.jpg"),
        ("--format", "xml", "x.jpg"),
        ("--engine", "tensorflow", "x.jpg"),
        ("--device", "tpu", "x.jpg"),
        ("--device", "cuda:x", "x.jpg"),
        ("--engine", "openvino", "--device", "cuda", "x.jpg"),
        ("--files-from", "/nonexistent"),
        ("--null", "x.jpg"),
        ("-", "-"),
        ("-f", "parquet", "x.jpg"),
        ("-o", "out.xyz", "x.jpg"),
        ("--resume", "x.jpg"),
        ("--arch", "vgg17", "x.jpg"),
    ],
)
def test_wrong_usage_is_2_and_writes_nothing(vgg: Vgg, narrow_file: Path, options: tuple[str, ...]) -> None:
    done = vgg("predict", "-w", narrow_file, *options)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_labels_that_do_not_fit_are_2_with_both_numbers(
    vgg: Vgg, narrow_file: Path, photos: Path, tmp_path: Path, engine: FakeEngine
) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    done = vgg("predict", "-w", narrow_file, "--labels", tmp_path / "labels.txt", photos)
    assert done.code == 2
    assert "it has 2 names, the model has 10 classes" in done.err


def test_unusable_weights_are_3(vgg: Vgg, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><title>404</title>")
    for weights in (tmp_path / "page.pth", tmp_path / "missing.pth"):
        done = vgg("predict", "-w", weights, photos)
        assert (done.code, done.out) == (3, "")
        assert str(weights) in done.err


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_3_and_named(vgg: Vgg, photos: Path, tmp_path: Path, value: float) -> None:
    network = randomised(Torchvision(widths=NARROW))
    network.get_parameter("classifier.6.bias").data[3] = value
    torch.save(network.state_dict(), tmp_path / "nan.pth")
    done = vgg("predict", "-w", tmp_path / "nan.pth", photos)
    assert (done.code, done.out) == (3, "")
    assert "NaN or infinite values in classifier.6.bias" in done.err


def test_logits_that_are_no_numbers_are_a_failure_of_their_own(
    vgg: Vgg, narrow_file: Path, photos: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = engine.start

    def start(batch: np.ndarray) -> Callable[[], np.ndarray]:  # type: ignore[type-arg]
        logits = begin(batch)()
        logits[logits[:, 2] > 0, 7] = np.nan  # only pictures of class 2
        return lambda: logits

    monkeypatch.setattr(engine, "start", start)
    done = vgg("predict", "-w", narrow_file, "-k", "1", photos)
    assert done.code == 1
    assert labels(done.out)[2] == ("2.png", "? model")
    assert labels(done.out)[3] == ("3.png", "class 3")


def test_fail_fast_stops_behind_the_first_failure(vgg: Vgg, narrow_file: Path, pool: Path, engine: FakeEngine) -> None:
    names = ("good 1", "cut 1", "good 2")
    done = vgg("predict", "-w", narrow_file, "-k", "1", "--fail-fast", *(pool / name for name in names))
    assert (done.code, labels(done.out)) == (4, [("good 1", "class 1"), ("cut 1", "? truncated")])
    assert "vgg: stopped at " in done.err.splitlines()[-1]


@pytest.mark.parametrize(("limit", "written"), [(0, 2), (1, 4), (2, 5), (3, 6)])
def test_max_errors_stops_at_one_failure_more(
    vgg: Vgg, narrow_file: Path, pool: Path, engine: FakeEngine, limit: int, written: int
) -> None:
    names = ("good 1", "cut 1", "good 2", "text 1", "empty 1", "good 3")
    done = vgg("predict", "-w", narrow_file, "-k", "1", "--max-errors", limit, *(pool / name for name in names))
    assert [name for name, _ in labels(done.out)] == list(names[:written])
    assert done.code == (4 if limit < 3 else 1)


def test_an_unwritable_output_is_4_before_anything_is_read(vgg: Vgg, narrow_file: Path, tmp_path: Path) -> None:
    done = vgg("predict", "-w", narrow_file, "-o", tmp_path / "no" / "out.tsv", tmp_path / "no.jpg")
    assert done.code == 4
    assert "cannot classify" not in done.err


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "cuda:0,1"])
def test_a_gpu_that_is_not_there_is_5(
    vgg: Vgg, narrow_file: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = vgg("predict", "-w", narrow_file, "-d", device, photos)
    assert (done.code, done.out) == (5, "")
    assert "Run with --device cpu" in done.err


def test_an_engine_that_is_not_installed_is_5_with_the_command(
    vgg: Vgg, narrow_file: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vggcli.engines.openvino.installed", lambda: False)
    done = vgg("predict", "-w", narrow_file, "--engine", "openvino", photos)
    assert (done.code, done.out) == (5, "")
    assert "it is not installed. Run pip install 'vgg-cli[openvino]'." in done.err


def test_a_device_that_vanishes_is_5_and_the_rows_before_it_are_written(
    vgg: Vgg, narrow_file: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = DeviceError("cannot go on with", "cuda:0", "it is gone")
    fake = FakeEngine(batch_size=2, depth=1, fail_after=2, error=gone)
    monkeypatch.setattr("vggcli.engines.choice.open_engine", lambda *_, **__: fake)
    done = vgg("predict", "-w", narrow_file, "-k", "1", photos)
    assert done.code == 5
    assert labels(done.out) == [(f"{label}.png", f"class {label}") for label in range(sum(fake.batches))]
    assert "cannot go on with cuda:0: it is gone" in done.err


# Engines


def test_without_openvino_torch_runs_with_a_hint(
    vgg: Vgg, narrow_file: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vggcli.engines.choice._has_gpu", lambda: False)
    with_it = vgg("predict", "-w", narrow_file, "--precision", "fp32", photos)
    monkeypatch.setattr("vggcli.engines.openvino.installed", lambda: False)
    done = vgg("predict", "-w", narrow_file, "--precision", "fp32", photos)
    assert "PyTorch runs; OpenVINO is faster on a CPU and starts sooner: pip install 'vgg-cli[openvino]'" in done.err
    assert done.code == 0
    assert [row[:4] for row in rows(done.out)] == [row[:4] for row in rows(with_it.out)]


# Outputs


def test_an_existing_output_is_kept_unless_told_otherwise(
    vgg: Vgg, narrow_file: Path, photos: Path, tmp_path: Path, engine: FakeEngine
) -> None:
    output = tmp_path / "out.tsv"
    output.write_text("precious")
    done = vgg("predict", "-w", narrow_file, "-o", output, photos)
    assert (done.code, output.read_text()) == (2, "precious")
    assert vgg("predict", "-w", narrow_file, "-o", output, "--overwrite", photos).code == 0
    assert len(output.read_text().splitlines()) == 30
    assert vgg("predict", "-w", narrow_file, "-o", output, "--overwrite", "--resume", photos).code == 2


def test_resume_retries_what_failed_and_keeps_the_rest(
    vgg: Vgg, narrow_file: Path, photos: Path, tmp_path: Path, engine: FakeEngine
) -> None:
    command = ("predict", "-w", narrow_file, "-k", "1", photos, "-o")
    whole = tmp_path / "whole.tsv"
    assert vgg(*command, whole).code == 0
    data = (photos / "2.png").read_bytes()
    (photos / "2.png").write_bytes(data[:40])
    output = tmp_path / "out.tsv"
    done = vgg(*command, output, "--fail-fast")
    assert done.code == 4
    assert "--resume goes on" in done.err
    (photos / "2.png").write_bytes(data)
    engine.batches.clear()
    done = vgg(*command, output, "--resume")
    assert (done.code, output.read_bytes()) == (0, whole.read_bytes())
    assert "2 kept from before" in done.err
    assert sum(engine.batches) == 4


def test_resume_refuses_other_settings_by_name(
    vgg: Vgg, narrow_file: Path, photos: Path, tmp_path: Path, engine: FakeEngine
) -> None:
    output = tmp_path / "out.tsv"
    assert vgg("predict", "-w", narrow_file, "-o", output, photos).code == 0
    done = vgg("predict", "-w", narrow_file, "-o", output, "--resume", "--resize", "crop", photos)
    assert done.code == 2
    assert "its preprocessing is 'squash 224', this run's is 'crop 256/224'" in done.err


# Softmax

LOGITS = arrays.arrays(
    np.float32,
    st.integers(1, 30),
    elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_nan=False, allow_infinity=False),
)


@given(LOGITS, st.integers(1, 40))
def test_the_best_are_sorted_probabilities_whatever_the_logits(logits: np.ndarray, top_k: int) -> None:  # type: ignore[type-arg]
    names = tuple(f"class {index}" for index in range(len(logits)))
    found = best(logits, names, len(logits))
    assert sum(prediction.probability for prediction in found) == pytest.approx(1)
    assert sorted(prediction.index for prediction in found) == list(range(len(logits)))
    assert [prediction.rank for prediction in found] == list(range(1, len(logits) + 1))
    keys = [(-prediction.probability, prediction.index) for prediction in found]
    assert keys == sorted(keys)  # equal ones in index order
    assert found[0].probability == max(prediction.probability for prediction in found)
    assert best(logits, names, top_k) == found[:top_k]
