"""`vgg predict` from end to end: one record for every input in input order, whatever the inputs and options."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import Vgg
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from predict_examples import (
    COUNTS,
    DEMO,
    DIGITS,
    LABELS,
    command,
    digit,
    expected,
    launch,
    make_inputs,
    notes,
    objects,
    outcomes_of_jsonl,
    outcomes_of_rows,
)

PATIENCE = 60  # seconds until a process that should have ended fails the test
NAMES = (
    "cut.png",
    "empty.png",
    "text.png",
    "fifo.png",
    "missing.png",
    "folder",
    *(f"{name}.png" for name in LABELS[:4]),
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def named(names: list[str], outcomes: dict[str, str]) -> list[str]:
    by_name = {Path(path).name: path for path in outcomes}
    return [by_name[name] for name in names]


# One record for every input


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=12),
    batch_size=st.integers(1, 4),
    workers=st.integers(1, 4),
    listed=st.booleans(),
)
@example(names=list(NAMES) * 2, batch_size=3, workers=2, listed=False)
@example(names=["empty.png"] * 30, batch_size=2, workers=4, listed=True)
def test_every_input_has_one_record_in_input_order(
    names: list[str], batch_size: int, workers: int, listed: bool, outcomes: dict[str, str], vgg: Vgg
) -> None:
    paths = named(names, outcomes)
    options = [*DEMO, "-f", "jsonl", "-b", str(batch_size), "-j", str(workers)]

    if listed:
        output = vgg(*options, "--files-from", "-", input="".join(f"{path}\n" for path in paths).encode())
    else:
        output = vgg(*options, *paths)

    records = expected(paths, outcomes)
    assert outcomes_of_jsonl(output.out) == records
    assert output.code == (0 if all(outcome in LABELS for _, outcome in records) else 1)


@pytest.mark.parametrize("format", ["tsv", "csv"])
def test_rows_are_one_an_input_in_input_order(format: str, outcomes: dict[str, str], vgg: Vgg) -> None:
    paths = named([*reversed(NAMES), *NAMES], outcomes)

    output = vgg(*DEMO, "-f", format, "-k", "1", *paths)

    assert outcomes_of_rows(output.out, format) == expected(paths, outcomes)
    assert output.code == 1


def test_without_a_terminal_the_records_are_tsv(vgg: Vgg) -> None:
    auto, tsv = vgg(*DEMO, DIGITS), vgg(*DEMO, "-f", "tsv", DIGITS)

    assert auto.bytes == tsv.bytes
    assert auto.code == 0


def test_the_first_row_is_out_while_the_list_goes_on() -> None:
    process = launch("-k", "1", "--files-from", "-")
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{digit('three')}\n".encode())
        first = process.stdout.readline()  # the list is open: nothing but this row can end the wait
        out, err = process.communicate(f"{digit('five')}\n".encode(), timeout=PATIENCE)

    assert [first.split(b"\t")[3], out.split(b"\t")[3]] == [b"three", b"five"]
    assert process.returncode == 0, err


@pytest.mark.parametrize("format", ["tsv", "jsonl"])
def test_the_batch_size_changes_no_byte(format: str, outcomes: dict[str, str], vgg: Vgg) -> None:
    paths = named(list(NAMES), outcomes)

    one, three, thousand = (vgg(*DEMO, "-f", format, "-b", size, DIGITS, *paths) for size in ("1", "3", "1000"))

    assert one.bytes == three.bytes == thousand.bytes
    assert len(one.out.splitlines()) > len(paths)


def test_both_engines_agree(vgg: Vgg) -> None:
    ours, reference = (
        vgg(*DEMO, "-f", "jsonl", "-k", "10", "--precision", "fp32", "--engine", engine, DIGITS)
        for engine in ("openvino", "torch")
    )

    assert ours.code == reference.code == 0
    assert len(objects(ours.out)) == 10
    for one, other in zip(objects(ours.out), objects(reference.out), strict=True):
        assert one["path"] == other["path"]
        assert one["predictions"][0]["label"] == other["predictions"][0]["label"] == Path(one["path"]).stem
        by_class = {prediction["index"]: prediction["probability"] for prediction in other["predictions"]}
        for prediction in one["predictions"]:
            assert prediction["probability"] == pytest.approx(by_class[prediction["index"]], abs=1e-4)


# How many classes, and their names


@pytest.mark.parametrize("count", ["10", "11", "1000000000"])
def test_more_classes_than_there_are_means_all(count: str, vgg: Vgg) -> None:
    (record,) = objects(vgg(*DEMO, "-f", "jsonl", "-k", count, digit("six")).out)

    assert [prediction["rank"] for prediction in record["predictions"]] == list(range(1, 11))
    assert {prediction["label"] for prediction in record["predictions"]} == set(LABELS)
    probabilities = [prediction["probability"] for prediction in record["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)


def test_five_classes_unless_asked_otherwise(vgg: Vgg) -> None:
    assert len(vgg(*DEMO, digit("six")).out.splitlines()) == 5


def test_labels_come_from_the_file_that_is_named(tmp_path: Path, vgg: Vgg) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"Ziffer {number}\n" for number in range(10)))

    output = vgg(*DEMO, "-k", "1", "-f", "jsonl", "--labels", names, DIGITS)

    found = [record["predictions"][0]["label"] for record in objects(output.out)]
    assert found == [f"Ziffer {LABELS.index(path.stem)}" for path in sorted(DIGITS.iterdir())]


# Inputs from elsewhere


def test_an_image_on_standard_input(vgg: Vgg) -> None:
    output = vgg(*DEMO, "-k", "1", digit("one"), "-", digit("two"), input=digit("nine").read_bytes())

    assert outcomes_of_rows(output.out, "tsv") == [
        (str(digit("one")), "one"),
        ("-", "nine"),
        (str(digit("two")), "two"),
    ]
    assert output.code == 0


def test_an_empty_standard_input_is_one_failed_input(vgg: Vgg) -> None:
    output = vgg(*DEMO, "-f", "jsonl", "-", input=b"")

    assert outcomes_of_jsonl(output.out) == [("-", "empty")]
    assert output.code == 1


@pytest.mark.parametrize("inputs", [["-"], ["--files-from", "-"]])
def test_a_closed_standard_input_is_wrong_usage(inputs: list[str]) -> None:
    closing = ["sh", "-c", 'exec "$@" <&-', "sh", *command(*inputs)]
    done = subprocess.run(closing, capture_output=True, timeout=PATIENCE, check=False)

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"vgg: cannot read standard input: it is closed. ")


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("standard_input", [False, True])
def test_a_list_of_inputs(null: bool, standard_input: bool, tmp_path: Path, vgg: Vgg) -> None:
    odd = tmp_path / ("a\nline.png" if null else " spaces .png")
    odd.write_bytes(digit("seven").read_bytes())
    end = b"\0" if null else b"\n"
    listing = end.join(os.fsencode(path) for path in (digit("one"), odd, tmp_path / "none.png"))  # the last has no end
    (tmp_path / "list").write_bytes(listing)
    options = ["-0"] * null + ["--files-from", "-" if standard_input else str(tmp_path / "list")]

    output = vgg(*DEMO, "-f", "jsonl", *options, digit("zero"), input=listing if standard_input else None)

    inputs = [(digit("zero"), "zero"), (digit("one"), "one"), (odd, "seven"), (tmp_path / "none.png", "missing")]
    assert outcomes_of_jsonl(output.out) == [(str(path), outcome) for path, outcome in inputs]


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A folder with an image, a text file, and a folder with an image."""
    (tmp_path / "nested" / "sub").mkdir(parents=True)
    (tmp_path / "nested" / "a.png").write_bytes(digit("eight").read_bytes())
    (tmp_path / "nested" / "b.txt").write_text("about the images")
    (tmp_path / "nested" / "sub" / "c.png").write_bytes(digit("nine").read_bytes())
    return tmp_path / "nested"


def test_subfolders_are_for_recursive(nested: Path, vgg: Vgg) -> None:
    flat, deep = vgg(*DEMO, "-f", "jsonl", nested), vgg(*DEMO, "-f", "jsonl", "-r", nested)

    image, inner = (str(nested / "a.png"), "eight"), (str(nested / "sub" / "c.png"), "nine")
    assert outcomes_of_jsonl(flat.out) == [image]
    assert outcomes_of_jsonl(deep.out) == [image, inner]


def test_what_is_passed_over_is_said(nested: Path, vgg: Vgg) -> None:
    files = f"vgg: passed over 1 file not named as images and without an image's first bytes, e.g. {nested / 'b.txt'}"
    folders = f"vgg: passed over 1 folder inside those named, e.g. {nested / 'sub'}; --recursive descends into them"

    assert notes(vgg(*DEMO, nested))[1:] == [files, folders]
    assert notes(vgg(*DEMO, "-r", nested))[1:] == [files]


def test_nothing_to_classify_is_a_failure_unless_it_may_be(tmp_path: Path, vgg: Vgg) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list").touch()
    (tmp_path / "deep" / "sub").mkdir(parents=True)
    (tmp_path / "deep" / "sub" / "a.png").write_bytes(digit("one").read_bytes())
    nothing = "vgg: there was nothing to classify; with --allow-empty that is no failure"

    for inputs, words in (
        ([tmp_path / "empty"], f"vgg: no images in {tmp_path / 'empty'}"),
        (["--files-from", tmp_path / "list"], None),
        ([tmp_path / "deep"], f"vgg: no images in {tmp_path / 'deep'}"),
    ):
        output, allowed = vgg(*DEMO, *inputs), vgg(*DEMO, "--allow-empty", *inputs)
        assert (output.code, output.out) == (1, "")
        assert re.fullmatch(r"vgg: 0 ok, \d+\.\d s", notes(output)[0])
        assert notes(output)[-1] == nothing
        assert words is None or words in notes(output)
        assert (allowed.code, allowed.out) == (0, "")
        assert words is None or words in notes(allowed)
        assert nothing not in notes(allowed)


def test_an_empty_folder_beside_others_is_only_said(tmp_path: Path, vgg: Vgg) -> None:
    output = vgg(*DEMO, tmp_path, digit("one"))

    assert output.code == 0
    assert notes(output)[1:] == [f"vgg: no images in {tmp_path}"]


def test_a_finished_run_that_is_gone_on_with_is_not_empty(tmp_path: Path, vgg: Vgg) -> None:
    for _ in range(2):
        assert vgg(*DEMO, "-o", tmp_path / "out.csv", "--resume", digit("one")).code == 0


# What is said beside the records


def test_each_failure_has_its_line_and_the_last_line_counts(outcomes: dict[str, str], vgg: Vgg) -> None:
    paths = named(["two.png", "missing.png", "fifo.png", "missing.png", "three.png", "text.png"], outcomes)

    output = vgg(*DEMO, "-f", "jsonl", *paths)

    *failures, counts = notes(output)
    wrong = [record for record in objects(output.out) if "error" in record]
    assert failures == [f"vgg: cannot classify {record['path']}: {record['error']['message']}" for record in wrong]
    kinds = r"vgg: 2 ok, 4 failed \(2 missing, 1 not-a-file, 1 unsupported\), \d+\.\d s, \d+\.\d images/s"
    assert re.fullmatch(kinds, counts)


def test_the_demo_says_that_it_knows_digits_only(vgg: Vgg) -> None:
    assert len(notes(vgg(*DEMO, digit("one")))) == 1  # `notes` holds the first line to the demo's words


def test_a_table_ends_with_what_ran(vgg: Vgg) -> None:
    output = vgg(*DEMO, "-f", "table", "--engine", "openvino", "--precision", "fp32", "-k", "2", digit("five"))

    lines = output.out.splitlines()
    assert lines[0].split()[2] == "five"
    assert lines[0].endswith("five.png")
    footer = " ".join(lines[1:])
    assert "handwritten" not in footer  # the note has said it
    for words in ("weights demo", "squash 224", "openvino engine on cpu in fp32"):
        assert words in footer


# Outputs


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".jsonl", ".ndjson"])
def test_the_ending_of_the_output_is_its_format(ending: str, tmp_path: Path, vgg: Vgg) -> None:
    format = {".ndjson": "jsonl"}.get(ending, ending[1:])

    output = vgg(*DEMO, "-o", tmp_path / f"out{ending}", digit("one"))

    assert (output.code, output.out) == (0, "")
    assert (tmp_path / f"out{ending}").read_bytes() == vgg(*DEMO, "-f", format, digit("one")).bytes


def test_overwrite_replaces_what_is_there(tmp_path: Path, vgg: Vgg) -> None:
    out = tmp_path / "out.jsonl"
    vgg(*DEMO, "-o", out, DIGITS)

    output = vgg(*DEMO, "-o", out, "--overwrite", digit("one"))

    assert output.code == 0
    assert outcomes_of_jsonl(out.read_text()) == [(str(digit("one")), "one")]


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl"])
def test_resume_tries_again_what_had_failed(format: str, tmp_path: Path, vgg: Vgg) -> None:
    image, out = tmp_path / "late.png", tmp_path / f"out.{format}"
    inputs = [digit("one"), image, tmp_path / "never.png", digit("two")]
    assert vgg(*DEMO, "-o", out, *inputs).code == 1
    image.write_bytes(digit("four").read_bytes())

    resumed = vgg(*DEMO, "-o", out, "--resume", *inputs, digit("six"))

    assert resumed.code == 1
    assert out.read_bytes() == vgg(*DEMO, "-f", format, *inputs, digit("six")).bytes
    assert re.search(r"^vgg: 2 ok, 1 failed \(1 missing\), 2 kept from before, ", notes(resumed)[-1])
    assert all(re.fullmatch(COUNTS, line) or "never.png" in line for line in notes(resumed))


# Filtering


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "parquet"])
def test_classes_below_a_probability_are_left_out_and_the_input_never(format: str, tmp_path: Path, vgg: Vgg) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    out, late = tmp_path / f"out.{format}", tmp_path / "late.png"
    inputs = [digit("one"), tmp_path / "none.png", digit("six"), late, digit("zero")]
    options = (*DEMO, "--min-prob", "0.999", "-k", "3", "-o")
    assert vgg(*options, out, *inputs[:4]).code == 1
    late.write_bytes(digit("two").read_bytes())

    resumed = vgg(*options, out, "--resume", *inputs)
    assert resumed.code == 1
    assert vgg(*options, tmp_path / f"whole.{format}", *inputs).code == 1
    assert out.read_bytes() == (tmp_path / f"whole.{format}").read_bytes()
    other = vgg(*DEMO, "-k", "3", "-o", out, "--resume", *inputs)
    assert other.code == 2
    assert "its min_prob is 0.999, this run's is 0.0" in other.err
    if format == "tsv":
        rows = [line.split("\t") for line in out.read_text().splitlines()]
        assert [row[:4] for row in rows] == [
            [str(digit("one")), "1", "1", "one"],
            [str(inputs[1]), "", "", ""],
            [str(digit("six")), "", "", ""],
            [str(late), "", "", ""],
            [str(digit("zero")), "", "", ""],
        ]
        assert [row[5] for row in rows] == ["", "missing: there is no such file", "", "", ""]
    if format == "jsonl":
        found = [(record["status"], len(record["predictions"])) for record in objects(out.read_text())]
        assert found == [("ok", 1), ("error", 0), ("ok", 0), ("ok", 0), ("ok", 0)]


@pytest.mark.parametrize("value", ["-0.1", "1.1", "many"])
def test_a_probability_lies_between_0_and_1(value: str, vgg: Vgg) -> None:
    assert vgg(*DEMO, "--min-prob", value, digit("one")).code == 2


# Quiet


def test_quiet_says_nothing_but_failures(nested: Path, tmp_path: Path, vgg: Vgg) -> None:
    output = vgg(*DEMO, "--quiet", "-f", "jsonl", nested, tmp_path / "none.png", digit("one"))

    assert output.code == 1
    assert output.err == f"vgg: cannot classify {tmp_path / 'none.png'}: there is no such file\n"
    assert vgg(*DEMO, "-q", digit("one")).err == ""
    assert vgg(*DEMO, "-q", "--device", "nowhere", digit("one")).err != ""


# What a person may have meant


def test_paths_that_no_shell_has_replaced_are_explained(tmp_path: Path, vgg: Vgg) -> None:
    listing = tmp_path / "list"
    listing.write_text(f"# my favourites\n# and others\n{digit('one')}\n")

    output = vgg(*DEMO, "photos/*.jpg", "~/cat.jpg", "plain.jpg", "--files-from", listing)

    assert output.code == 1
    assert notes(output)[-3:] == [
        "vgg: there is no photos/*.jpg: the shell replaces a pattern only without quotes and if it matches",
        "vgg: there is no ~/cat.jpg: the shell takes ~ for a home only without quotes, and no list does",
        "vgg: there is no # my favourites: every line of --files-from is a path, so leave comments out of it",
    ]


def test_a_name_may_begin_with_a_hash(tmp_path: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "# 1.png").write_bytes(digit("one").read_bytes())

    output = vgg(*DEMO, "-f", "jsonl", "--files-from", "-", input=b"# 1.png\n")

    assert outcomes_of_jsonl(output.out) == [("# 1.png", "one")]
    assert len(notes(output)) == 1


@pytest.mark.usefixtures("no_sockets")
def test_nothing_is_fetched_for_what_is_not_there(tmp_path: Path, vgg: Vgg) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list").write_text(f"{tmp_path / 'a.png'}\n")

    for inputs, words in (
        (
            [tmp_path / "fotos/"],
            f"vgg: cannot find {tmp_path / 'fotos'}: there is no such file or folder. Check the spelling.\n",
        ),
        (
            ["*.jpg"],
            "vgg: cannot find *.jpg: there is no such file or folder. The shell replaces a pattern only without",
        ),
        (["--files-from", tmp_path / "list"], f"vgg: cannot find {tmp_path / 'a.png'}: "),
    ):
        output = vgg("predict", *inputs)
        assert (output.code, output.out) == (2, "")
        assert output.err.startswith(words)
    output = vgg("predict", tmp_path / "empty")
    assert (output.code, output.out) == (1, "")
    assert output.err.splitlines() == [
        f"vgg: no images in {tmp_path / 'empty'}",
        "vgg: there was nothing to classify; with --allow-empty that is no failure",
    ]


@pytest.mark.parametrize("inputs", [["{}"], ["none.png", "{}"], ["--allow-empty", "none.png"], ["-"]])
def test_weights_are_looked_for_as_soon_as_one_input_may_be_there(inputs: list[str], vgg: Vgg) -> None:
    output = vgg("predict", "--offline", *(word.format(digit("one")) for word in inputs), input=b"image")

    assert output.code == 3
    assert "--offline forbids it" in output.err
