"""`vgg predict --report` and `--show`, and `vgg report`: the page of a run, and what else may become of it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from conftest import Vgg
from predict_examples import DEMO, digit, notes
from report_examples import Page

from tools.draw_terminal import output_on_a_terminal


def labels(page: Page) -> list[str]:
    """What every row says: its best class, or its kind of failure."""
    return [row[1] if isinstance(row[1], str) else page.data["classes"][row[2][0]][1] for row in page.data["rows"]]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three digits and a text."""
    folder = tmp_path / "images"
    folder.mkdir()
    for label in ("one", "two", "seven"):
        (folder / f"{label}.png").write_bytes(digit(label).read_bytes())
    (folder / "text.png").write_text("no image\n" * 20)
    return folder


NAMES = ["one", "seven", "unsupported", "two"]


def test_a_page_is_made_beside_the_same_rows(images: Path, tmp_path: Path, vgg: Vgg) -> None:
    without = vgg(*DEMO, images, "-f", "jsonl")
    output = vgg(*DEMO, images, "-f", "jsonl", "--report", tmp_path / "page.html")
    page = Page.read(tmp_path / "page.html")

    assert (output.code, output.bytes) == (1, without.bytes)
    assert re.fullmatch(rf"vgg: {tmp_path}/page.html shows 4 images in \d+ KB", notes(output)[-1])
    assert labels(page) == NAMES
    assert [row[0] for row in page.data["rows"]] == [json.loads(line)["path"] for line in without.out.splitlines()]
    assert [bool(thumbnail) for thumbnail in page.thumbnails] == [True, True, False, True]
    for text in ("demo", "openvino", "squash 224", "unsupported", "it is a text file"):
        assert text in page.text


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_resumed_run_makes_the_page_of_all_rows(format: str, images: Path, tmp_path: Path, vgg: Vgg) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    rows, path = tmp_path / f"rows.{format}", tmp_path / "page.html"
    vgg(*DEMO, images / "one.png", images / "seven.png", "-o", rows)
    arguments = (*DEMO, *(images / f"{name}.png" for name in ("one", "seven", "text", "two")), "-o", rows, "--resume")
    for _ in range(2):  # the page of a finished run may be replaced by that of the same run
        output = vgg(*arguments, "--report", path)
        assert output.code == 1
        assert labels(Page.read(path)) == NAMES
        assert [bool(thumbnail) for thumbnail in Page.read(path).thumbnails] == [True, True, False, True]


def test_a_run_that_stops_early_writes_no_page(images: Path, tmp_path: Path, vgg: Vgg) -> None:
    output = vgg(*DEMO, images, "--fail-fast", "--report", tmp_path / "page.html", "-o", tmp_path / "rows.csv")

    assert output.code == 4
    assert f"vgg: {tmp_path}/page.html is not written: the run has not come to its end" in notes(output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "rows.csv", "rows.csv.vgg.json"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--report", "images"], "cannot write a report images: it needs a file that can be replaced."),
        (["--report", "-"], "cannot write a report -: it needs a file that can be replaced."),
        (["--report", "rows.csv", "-o", "rows.csv"], "cannot write a report rows.csv: the rows go there."),
        (["--report", "r.csv.vgg.json", "-o", "r.csv"], "cannot write a report r.csv.vgg.json: the rows go there."),
        (["--report", "there.html"], "will not overwrite there.html: the file exists. Add --overwrite, or name"),
        (
            ["--report", "no/page.html"],
            "cannot write no/page.html: no such file or directory. Name another",
        ),
        (["--report", "images/one.png", "--overwrite"], "cannot write images/one.png: this run reads"),
        (["--report", "page.html", "--ray", "local", "-o", "d"], "--report: a cluster's nodes make no thumbnails."),
        (["--show", "--ray", "local", "-o", "d"], "--show: a cluster's images are not seen here."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_a_page_is_refused_before_anything_is_done(
    arguments: list[str], said: str, images: Path, tmp_path: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.html").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    output = vgg(*DEMO, "images/one.png", *arguments)

    assert output.code in (2, 4)
    assert output.err.startswith(f"vgg: {said}")
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("there.html").read_text() == "mine"


def test_without_jinja2_it_is_said_before_anything_is_done(
    images: Path, tmp_path: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    said = "vgg: cannot write a report: the package jinja2 is not installed. Run `pip install jinja2`.\n"
    (tmp_path / "rows.jsonl").touch()

    for command in ((*DEMO, images, "--report"), ("report", tmp_path / "rows.jsonl", "-o")):
        output = vgg(*command, tmp_path / "page.html")
        assert (output.code, output.out, output.err) == (2, "", said)


# Finished runs


@pytest.fixture
def rows(images: Path, tmp_path: Path, vgg: Vgg) -> Path:
    vgg(*DEMO, images, "-o", tmp_path / "rows.jsonl")
    return tmp_path / "rows.jsonl"


def test_the_page_of_a_finished_run_is_that_of_the_run_itself(
    images: Path, rows: Path, tmp_path: Path, vgg: Vgg
) -> None:
    vgg(*DEMO, images, "-o", rows, "--overwrite", "--report", tmp_path / "first.html")
    output = vgg("report", rows, "-o", tmp_path / "second.html")

    assert (output.code, output.out) == (0, "")
    assert re.fullmatch(rf"vgg: {tmp_path}/second.html shows 4 images in \d+ KB\n", output.err)
    assert (tmp_path / "second.html").read_bytes() == (tmp_path / "first.html").read_bytes()


def test_images_that_are_gone_are_shown_without_a_thumbnail_and_counted(
    images: Path, rows: Path, tmp_path: Path, vgg: Vgg
) -> None:
    (images / "seven.png").unlink()
    with rows.open("a") as file:
        for path in ("https://example.org/x.png", "-", ""):
            file.write(json.dumps({"path": path, "status": "ok", "predictions": []}) + "\n")
    output = vgg("report", rows, "-o", tmp_path / "page.html", "--quiet")
    page = Page.read(tmp_path / "page.html")

    said = "4 images could not be read again and have no thumbnail"
    assert (output.code, output.err) == (0, f"vgg: {tmp_path}/page.html: {said}\n")
    assert [bool(thumbnail) for thumbnail in page.thumbnails] == [True, False, False, True, False, False, False]
    assert said.capitalize() in page.text


def test_no_image_is_read_where_none_is_wanted(
    rows: Path, tmp_path: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vggcli.images.decode.ImageLoader.load", lambda *_: pytest.fail("an image is read"))
    vgg("report", rows, "-o", tmp_path / "page.html", "--no-thumbnails", "--limit", "2")
    page = Page.read(tmp_path / "page.html")

    assert labels(page) == NAMES[:2]
    assert page.thumbnails == [b"", b""]


def test_the_limits_are_those_of_predict(rows: Path, tmp_path: Path, vgg: Vgg) -> None:
    output = vgg("report", rows, "-o", tmp_path / "page.html", "--max-pixels", "700", "-q")

    assert "3 images could not be read again" in output.err


def test_what_is_no_run_or_would_be_overwritten_is_refused(rows: Path, tmp_path: Path, vgg: Vgg) -> None:
    page = tmp_path / "page.html"
    (tmp_path / "empty.jsonl").touch()
    for arguments, code, said in (
        ((tmp_path / "none.jsonl", "-o", page), 2, "there is no such file"),
        ((digit("one"), "-o", page), 2, "its ending is none of"),
        ((tmp_path, "-o", page), 2, "it is a folder"),
        ((rows, "-o", rows, "--overwrite"), 2, "this run reads"),
        ((rows, "-o", digit("one")), 2, "the file exists"),
        ((tmp_path / "empty.jsonl", "-o", page), 1, "there are no predictions in"),
    ):
        output = vgg("report", *arguments)
        assert (output.code, output.out, len(output.err.splitlines())) == (code, "", 1), output
        assert said in output.err
        assert not page.exists()
    page.write_text("mine")
    assert "Add --overwrite, or name another with -o." in vgg("report", rows, "-o", page).err
    assert page.read_text() == "mine"
    assert vgg("report", rows, "-o", page, "--overwrite").code == 0


# On a terminal


def test_without_a_terminal_nothing_is_drawn_and_the_rows_are_as_ever(images: Path, vgg: Vgg) -> None:
    without, output = vgg(*DEMO, images), vgg(*DEMO, images, "--show")

    assert (output.code, output.bytes) == (without.code, without.bytes)
    assert output.err.startswith("vgg: --show draws nothing: standard output is no terminal\n")


def test_on_a_terminal_each_image_has_a_preview_and_the_file_its_rows(
    images: Path, tmp_path: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    command = f"{sys.executable} -m vggcli predict -w demo -k 2 --show -o {tmp_path}/rows.csv {images}"
    shown = output_on_a_terminal(command, 80)
    vgg(*DEMO, "-k", "2", "-o", tmp_path / "expected.csv", images)

    assert (tmp_path / "rows.csv").read_text() == (tmp_path / "expected.csv").read_text()
    assert shown.count("▀") == 3 * 14 * 7
    assert "38;2;" in shown
    for text in ("one.png", "seven.png", "✗ unsupported: it is a text file", "demo, weights demo"):
        assert text in shown
    assert "cannot classify" not in shown  # its red line says it
