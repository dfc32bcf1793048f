"""`vgg predict` refuses what cannot work, stops when it is told to, and lets no name drive the terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Vgg
from predict_examples import DEMO, DIGITS, digit, notes, objects, outcomes_of_jsonl, outcomes_of_rows
from safetensors.numpy import load_file, save_file

from vggcli.weights.locate import DEMO_FILE

# Exit code 2: wrong usage


@pytest.mark.parametrize("option", ["--top-k", "--workers", "--batch-size"])
@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_counts_begin_at_one(option: str, value: str, vgg: Vgg) -> None:
    output = vgg(*DEMO, option, value, digit("one"))

    assert (output.code, output.out) == (2, "")
    assert option in output.err


def test_a_batch_beyond_the_memory_is_refused_with_both_figures(vgg: Vgg) -> None:
    output = vgg(*DEMO, "--batch-size", "100000000", digit("one"))

    assert (output.code, output.out) == (2, "")
    figures = re.search(r"needs about ([\d.]+) GB of memory and ([\d.]+) GB are free", notes(output)[-1])
    assert figures is not None, output
    assert float(figures[1]) > float(figures[2]) > 0


def test_a_wrong_number_of_labels_is_refused_with_both_numbers(tmp_path: Path, vgg: Vgg) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{number}\n" for number in range(7)))

    output = vgg(*DEMO, "--labels", names, digit("one"))

    assert (output.code, output.out) == (2, "")
    assert output.err.startswith(f"vgg: cannot use the labels {names}: it has 7 names, the model has 10 classes. ")


@pytest.mark.parametrize("weights", ["demo", "/no/such/weights.pth"])
def test_an_existing_output_is_refused_before_the_weights_are_looked_at(weights: str, tmp_path: Path, vgg: Vgg) -> None:
    out = tmp_path / "out.tsv"
    out.write_text("mine\n")

    output = vgg("predict", "--weights", weights, "-o", out, digit("one"))

    assert (output.code, output.out) == (2, "")
    assert output.err.startswith(f"vgg: will not overwrite {out}: the file exists. ")
    assert len(output.err.splitlines()) == 1
    assert out.read_text() == "mine\n"


def test_resume_with_another_number_of_classes_is_refused_by_name(tmp_path: Path, vgg: Vgg) -> None:
    out = tmp_path / "out.tsv"
    vgg(*DEMO, "-o", out, "-k", "2", digit("one"))
    before = out.read_bytes()

    output = vgg(*DEMO, "-o", out, "-k", "3", "--resume", digit("one"), digit("two"))

    assert output.code == 2
    assert "its top_k is 2, this run's is 3" in output.err
    assert out.read_bytes() == before


def test_resume_with_another_limit_of_pixels_is_refused_by_name(tmp_path: Path, vgg: Vgg) -> None:
    out = tmp_path / "out.tsv"
    vgg(*DEMO, "-o", out, digit("one"))

    output = vgg(*DEMO, "-o", out, "--resume", "--max-pixels", "10", digit("one"))

    assert (output.code, output.out) == (2, "")
    assert "its preprocessing is 'squash 224', this run's is 'squash 224, at most 10 pixels'. " in output.err


def test_a_folder_as_output_is_refused_before_the_weights_are_looked_at(tmp_path: Path, vgg: Vgg) -> None:
    output = vgg("predict", "--weights", "/no/such/weights.pth", "-o", tmp_path, "-f", "tsv", digit("one"))

    assert (output.code, output.out) == (4, "")
    assert output.err == f"vgg: cannot write {tmp_path}: is a directory. Name another output with -o.\n"


def test_an_old_output_stays_when_the_new_run_cannot_begin(tmp_path: Path, vgg: Vgg) -> None:
    out = tmp_path / ("n" * 248 + ".tsv")  # a sidecar's name would be too long
    out.write_text("mine\n")

    output = vgg(*DEMO, "-o", out, "--overwrite", digit("one"))

    assert (output.code, output.out) == (4, "")
    assert "file name too long" in output.err
    assert out.read_text() == "mine\n"


def test_a_file_of_the_same_name_with_part_behind_it_is_not_ours(tmp_path: Path, vgg: Vgg) -> None:
    out, other = tmp_path / "out.csv", tmp_path / "out.csv.part"
    other.write_text("mine\n")
    vgg(*DEMO, "-o", out, digit("one"), tmp_path / "later.png")
    vgg(*DEMO, "-o", out, "--resume", digit("one"), tmp_path / "later.png")

    assert other.read_text() == "mine\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.part", "out.csv.vgg.json"]


def test_nothing_to_classify_is_wrong_usage(vgg: Vgg) -> None:
    output = vgg(*DEMO)

    assert (output.code, output.out) == (2, "")
    assert output.err.startswith("vgg: nothing to classify: ")


# Exit code 3: weights


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_weights_that_are_no_numbers_are_refused_by_name(value: float, engine: str, tmp_path: Path, vgg: Vgg) -> None:
    tensors = load_file(DEMO_FILE)
    name = "classifier.0.bias"
    tensors[name][3] = value
    save_file(tensors, tmp_path / "diverged.safetensors")

    output = vgg("predict", "--weights", tmp_path / "diverged.safetensors", "--engine", engine, digit("one"))

    assert (output.code, output.out) == (3, "")
    assert f"NaN or infinite values in {name}. " in output.err


def test_weights_that_are_not_there_are_exit_code_3(tmp_path: Path, vgg: Vgg) -> None:
    output = vgg("predict", "--weights", tmp_path / "none.pth", digit("one"))

    assert (output.code, output.out) == (3, "")
    assert str(tmp_path / "none.pth") in output.err


# Exit code 4: stopped early


@pytest.mark.parametrize("folder", ["missing", "a-file", "closed"])
def test_an_output_that_cannot_be_written_is_found_first(folder: str, tmp_path: Path, vgg: Vgg) -> None:
    if folder == "closed" and os.geteuid() == 0:
        pytest.skip("every folder is open to root")
    (tmp_path / "a-file").touch()
    (tmp_path / "closed").mkdir(mode=0o500)
    out = tmp_path / folder / "out.tsv"

    output = vgg("predict", "--weights", "/no/such/weights.pth", "-o", out, digit("one"))

    assert (output.code, output.out) == (4, "")
    assert output.err.startswith(f"vgg: cannot write {out}: ")
    assert len(output.err.splitlines()) == 1


@pytest.fixture
def mixed(tmp_path: Path) -> list[Path]:
    """Inputs of which every other one fails, the first included."""
    good = [digit("one"), digit("two"), digit("three"), digit("four")]
    return [path for number, image in enumerate(good) for path in (tmp_path / f"missing{number}.png", image)]


@pytest.mark.parametrize(
    ("options", "allowed"), [(["--fail-fast"], 0), (["--max-errors", "0"], 0), (["--max-errors", "2"], 2)]
)
def test_more_failures_than_allowed_end_the_run(options: list[str], allowed: int, mixed: list[Path], vgg: Vgg) -> None:
    output = vgg(*DEMO, "-f", "jsonl", *options, *mixed)

    assert output.code == 4
    written = mixed[: 2 * allowed + 1]  # the failure too many is the last record
    assert [record["path"] for record in objects(output.out)] == [str(path) for path in written]
    assert objects(output.out)[-1]["status"] == "error"
    failed = allowed + 1
    last = notes(output)[-1]
    assert last.startswith(
        f"vgg: stopped at {written[-1]}: {failed} input{'s' * (failed > 1)} failed and {allowed} may. "
    )
    assert "--resume" not in last


def test_as_many_failures_as_allowed_are_a_finished_run(mixed: list[Path], vgg: Vgg) -> None:
    output = vgg(*DEMO, "-f", "jsonl", "--max-errors", "4", *mixed)

    assert output.code == 1
    assert len(objects(output.out)) == len(mixed)


def test_a_run_that_stopped_can_be_resumed(mixed: list[Path], tmp_path: Path, vgg: Vgg) -> None:
    out = tmp_path / "out.tsv"
    stopped = vgg(*DEMO, "-o", out, "--max-errors", "1", *mixed)

    resumed = vgg(*DEMO, "-o", out, "--resume", *mixed)

    assert stopped.code == 4
    assert "the same command with --resume goes on from them" in notes(stopped)[-1]
    assert resumed.code == 1
    assert out.read_bytes() == vgg(*DEMO, "-f", "tsv", *mixed).bytes


# Exit code 5: the device


def test_a_device_that_is_not_there_is_exit_code_5(vgg: Vgg) -> None:
    output = vgg(*DEMO, "--device", "cuda:99", digit("one"))

    assert (output.code, output.out) == (5, "")
    assert "cuda:99" in notes(output)[-1]


# Names from strangers

NAMES = (
    b"\x1b[31m\x1b]0;title\x07.png",
    b"two\nlines\r.png",
    b"caf\xe9\xff.png",
    b"[red]x[bold].png",
    b"a\tb.png",
    "\u202egnp.exe".encode(),
    "\u009b31m.png".encode(),
    b"=1+1.png",
)
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "table"])
def test_no_name_reaches_the_terminal_raw(
    format: str, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vgg: Vgg
) -> None:
    monkeypatch.chdir(tmp_path)  # so that each path begins with its odd name
    paths = [os.fsdecode(name) for name in NAMES]
    for path in paths:
        Path(path).write_bytes(b"" if fails else digit("seven").read_bytes())

    output = vgg(*DEMO, "-k", "1", "-f", format, *paths)

    assert output.code == int(fails)
    assert not UNSAFE.search(output.out)  # decoded strictly: it is UTF-8 too
    assert not UNSAFE.search(output.err)
    assert "[red]x[bold].png" in output.out
    assert len(notes(output)) == 1 + fails * len(paths)
    outcomes = [(path, "empty" if fails else "seven") for path in paths]
    if format == "jsonl":
        assert outcomes_of_jsonl(output.out) == outcomes
    elif format != "table":
        assert outcomes_of_rows(output.out, format) == outcomes
    if format == "csv":
        assert "\n'=1+1.png," in output.out


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "table"])
def test_no_label_reaches_the_terminal_raw(format: str, tmp_path: Path, vgg: Vgg) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"[bold]\x1b[3{number}m\u202e{number}[/bold]\n" for number in range(10)), "utf-8")

    output = vgg(*DEMO, "-f", format, "-k", "10", "--labels", names, DIGITS)

    assert output.code == 0
    assert not UNSAFE.search(output.out)
    assert not UNSAFE.search(output.err)
    # The table shows no class that is next to impossible, and keeps to the first of digits that are sure.
    assert output.out.count("[bold]") == (10 if format == "table" else 100)


# What a run reads is not what it writes


def test_no_source_is_an_output(tmp_path: Path, vgg: Vgg) -> None:
    listing, photo, weights = tmp_path / "list.tsv", tmp_path / "photo.png", tmp_path / "weights.safetensors"
    listing.write_text(f"{digit('one')}\n" * 300)
    photo.write_bytes(digit("one").read_bytes())
    weights.write_bytes(DEMO_FILE.read_bytes())
    before = {path: path.read_bytes() for path in (listing, photo, weights)}
    runs: list[tuple[Path, list[str | Path]]] = [
        (listing, ["--weights", "demo", "--files-from", listing]),
        (photo, ["--weights", "demo", photo]),
        (photo, ["--weights", "demo", tmp_path]),
        (weights, ["--weights", weights, photo]),
    ]

    for output, options in runs:
        for way in ("--overwrite", "--resume"):
            done = vgg("predict", *options, "-f", "tsv", "-o", output, way)
            assert (done.code, done.out) == (2, "")
            assert re.fullmatch(
                r"vgg: (cannot write|will not overwrite) .*\. Name another output with -o\.\n", done.err
            )
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(tmp_path.iterdir()) == sorted(before)
