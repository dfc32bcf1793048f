"""`vgg predict --sort-into`: every classified image once in the folder of its class, also after an interruption."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Vgg
from predict_examples import DEMO, digit, notes, outcomes_of_jsonl


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two folders with images of the same names, one with a newline, and a file that is no image."""
    for folder, labels in (("a", ("one", "two")), ("b", ("one", "seven"))):
        for name, label in zip(("x.png", "new\nline.png"), labels, strict=True):
            (tmp_path / "photos" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "photos" / folder / name).write_bytes(digit(label).read_bytes())
    (tmp_path / "photos" / "b" / "text.png").write_text("no image")
    return tmp_path / "photos"


SORTED = {
    "one/x.png": "one",
    "one/x~2.png": "one",
    "two/new\nline.png": "two",
    "seven/new\nline.png": "seven",
}


def found(folder: Path) -> dict[str, bytes]:
    return {os.path.relpath(path, folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_images_lie_in_the_folders_of_their_classes(photos: Path, tmp_path: Path, vgg: Vgg) -> None:
    expected = {name: digit(label).read_bytes() for name, label in SORTED.items()}
    for link in ("--copy", "--link"):
        into = tmp_path / link
        for placed in (4, 0):  # the second run has nothing left to do
            output = vgg(*DEMO, "-r", "-f", "jsonl", photos, "--sort-into", into, link)
            assert output.code == 1  # for the file that is none
            assert f", {placed} sorted into {into}, " in notes(output)[-1]
            assert len(outcomes_of_jsonl(output.out)) == 5
            assert found(into) == expected
        assert all(path.is_symlink() == (link == "--link") for path in into.rglob("*.png"))


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "parquet"])
@pytest.mark.parametrize("before", [[], ["--sort-into"], ["--sort-into", "--min-prob"]])
def test_a_resumed_run_sorts_what_is_missing_and_doubles_nothing(
    format: str, before: list[str], photos: Path, tmp_path: Path, vgg: Vgg
) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    out, into = tmp_path / f"out.{format}", tmp_path / "sorted"
    options = [*DEMO, "-k", "2", *["--min-prob", "0.00001"] * ("--min-prob" in before), "-o", out]
    vgg(*options, "-r", photos / "a", *["--sort-into", into] * ("--sort-into" in before))

    output = vgg(*options, "--resume", "-r", photos / "a", photos / "b", "--sort-into", into)

    assert output.code == 1
    assert found(into) == {name: digit(label).read_bytes() for name, label in SORTED.items()}


def test_what_has_no_class_left_is_not_sorted(photos: Path, tmp_path: Path, vgg: Vgg) -> None:
    vgg(*DEMO, "-r", photos, "--sort-into", tmp_path / "sorted", "--min-prob", "1")

    assert not (tmp_path / "sorted").exists()


def test_a_dry_run_says_what_it_would_do(photos: Path, tmp_path: Path, vgg: Vgg) -> None:
    output = vgg(*DEMO, photos / "a", "--sort-into", tmp_path / "sorted", "--dry-run")

    assert output.code == 0
    assert notes(output)[:2] == [
        f"vgg: would copy {photos}/a/new\\nline.png to {tmp_path}/sorted/two/new\\nline.png",
        f"vgg: would copy {photos}/a/x.png to {tmp_path}/sorted/one/x.png",
    ]
    assert not (tmp_path / "sorted").exists()


def test_an_image_that_cannot_be_copied_is_a_failure_beside_its_row(tmp_path: Path, vgg: Vgg) -> None:
    into = tmp_path / "sorted"
    (into / "one").mkdir(parents=True)
    (into / "one" / "a.png").write_bytes(digit("one").read_bytes())

    output = vgg(*DEMO, "-f", "jsonl", "--files-from", "-", "--sort-into", into, input=f"{into}/one/a.png\n".encode())

    assert output.code == 1
    assert outcomes_of_jsonl(output.out) == [(f"{into}/one/a.png", "one")]
    assert notes(output)[0].startswith(f"vgg: cannot sort {into}/one/a.png: it lies in {into}, ")


@pytest.mark.parametrize("option", ["--link", "--dry-run"])
def test_how_to_sort_needs_where(option: str, vgg: Vgg) -> None:
    output = vgg(*DEMO, option, digit("one"))

    assert output.code == 2
    assert "Add --sort-into." in output.err
