"""What images really show: folders of classes, and tables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vggcli.analysis.truth import Truth
from vggcli.analysis.truth_table import open_truth
from vggcli.errors import UsageError
from vggcli.network.class_index import ClassIndex

CLASSES = ClassIndex(("cat", "dog", "sea lion", "crane", "crane"))


def pictures(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def shown(truth: Truth) -> list[tuple[str, int, str]]:
    count, found = truth.check(), list(truth.examples())
    assert count == len(found)
    return [(os.path.relpath(example.item.path or "", truth.where), example.index, example.group) for example in found]


def test_folders_are_classes_by_name_and_never_by_order(tmp_path: Path) -> None:
    pictures(tmp_path, "sea_lion/b.png", "Cat/a.png", "1/x.jpg", "1/night/deep/y.jpg", "1/day/z.jpg", ".git/o.png")
    pictures(tmp_path, "loose.png", "notes.txt", "dog/readme.txt")
    truth = open_truth(str(tmp_path), CLASSES)

    assert shown(truth) == [
        ("1/day/z.jpg", 1, "day"),
        ("1/night/deep/y.jpg", 1, "night"),
        ("1/x.jpg", 1, "."),
        ("Cat/a.png", 0, "."),
        ("sea_lion/b.png", 2, "."),
    ]
    assert truth.notes == [f"1 images in no class's folder are not counted, e.g. {tmp_path / 'loose.png'}"]


def test_a_folder_with_colons_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path, "a::b/cat/x.png", "a::b/dog/deep/y.png")

    truth = open_truth("a::b", CLASSES)
    assert truth.check() == 2
    assert [(example.index, example.group) for example in truth.examples()] == [(0, "."), (1, "deep")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'path,label\na.png,cat\n"b,c.png",1\n\nd.png,Sea Lion\n'),
        ("bom.csv", '\ufeffid,label,path\r\n7,cat,a.png\r\n8,1,"b,c.png"\r\n9,sea_lion,d.png\r\n'),
        ("t.tsv", "a.png\tcat\nb,c.png\tdog\nd.png\t2\n"),
        ("h.tsv", "path\tlabel\na.png\tcat\nb,c.png\tdog\nd.png\t2\n"),
        (
            "t.jsonl",
            '{"path": "a.png", "label": "cat"}\n{"label": 1, "path": "b,c.png"}\n\n{"path":"d.png","label":"2"}',
        ),
    ],
)
def test_tables(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    pictures(tmp_path, "a.png")

    truth = open_truth(str(tmp_path / name), CLASSES)
    truth.check()
    assert [(e.item.path, e.index) for e in truth.examples()] == [
        (str(tmp_path / path), index) for path, index in (("a.png", 0), ("b,c.png", 1), ("d.png", 2))
    ]
    assert truth.notes == [f"the paths in {truth.where} begin at {tmp_path}, where a.png is"]


def test_relative_paths_begin_where_the_first_that_is_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "lists" / "t.csv"
    pictures(tmp_path, "lists/both.png", "both.png", "here.png")
    monkeypatch.chdir(tmp_path)
    for rows, first in (("gone.png,cat\nhere.png,cat", "gone.png"), ("both.png,cat", "lists/both.png")):
        table.write_text(f"path,label\n{rows}\n")
        truth = open_truth("lists/t.csv", CLASSES)
        truth.check()
        assert next(truth.examples()).item.path == first


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "path,label\na.png,cta\nb.png,x\nc.png,cta\n", r"unknown class 'cta'.*line 2 of .*nor has it 'x'"),
        ("t.csv", "path,label\na.png,Se_lion\n", r"The nearest are sea lion\."),
        ("t.csv", "path,label\na.png,crane\n", r"ambiguous class 'crane': line 2 .* 3 \(crane\) or 4 \(crane\).*index"),
        ("t.csv", "path,label\na.png,cat\n./a.png,dog\n", r"two classes for .*both 0 \(cat\) and 1 \(dog\)"),
        ("t.csv", "a.png,cat\n", "its first line is 'a.png,cat', and not path,label"),
        ("t.csv", "", "it is empty"),
        ("t.csv", "path,label\na.png\n", "line 2 has no path and label"),
        ("t.csv", "path,rank,index,label,probability,error\n", "goes behind --predictions"),
        ("t.jsonl", '{"path": "a.png", "status": "ok", "predictions": []}\n', "goes behind --predictions"),
        ("t.jsonl", '{"path": "a.png", "label": null}\n', "line 1 has no path and label"),
        ("t.jsonl", '{"path": "a.png", "label": true}\n', "line 1 has no path and label"),
        ("t.jsonl", "[1]\nx\n", "line 1 has no path and label"),
        ("t.jsonl", "{", "line 1: it is no JSON"),
        ("t.parquet", "", "its ending is none of"),
    ],
)
def test_tables_that_cannot_be_used(
    name: str, text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match=message):
        open_truth(name, CLASSES).check()


def test_an_image_under_two_classes_is_found_behind_links(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/a.png", "dog/b.png")
    (tmp_path / "dog" / "link.png").symlink_to(tmp_path / "cat" / "a.png")

    with pytest.raises(UsageError, match=r"link\.png: it, the same image as .*a\.png, is said to be both 0 .* and 1"):
        open_truth(str(tmp_path), CLASSES).check()


def test_copies_under_two_classes_are_named(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/empty.png", "dog/empty.png")
    for name, text in {
        "cat/a": "x",
        "cat/b": "x",
        "dog/a": "x",
        "dog/other": "y",
        "1/link": "z",
        "cat/alone": "zz",
    }.items():
        pictures(tmp_path, f"{name}.png")
        (tmp_path / f"{name}.png").write_text(text)
    truth = open_truth(str(tmp_path), CLASSES)

    assert (truth.check(), truth.contradictions) == (8, 3)
    (note,) = truth.notes
    assert note == (
        f"{tmp_path}/dog/a.png and {tmp_path}/cat/a.png are the same image, and said to be 1 (dog) and 0 (cat)"
    )


def test_an_image_named_twice_counts_twice_and_is_said(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/a.png")
    os.link(tmp_path / "cat" / "a.png", tmp_path / "cat" / "b.png")

    truth = open_truth(str(tmp_path), CLASSES)
    assert (truth.check(), truth.notes) == (2, ["of the 2 images 1 were named before, and count again"])


def test_a_folder_without_folders(tmp_path: Path) -> None:
    assert open_truth(str(tmp_path), CLASSES).check() == 0
    pictures(tmp_path, "a.png")
    with pytest.raises(UsageError, match="its images lie in no folder of a class"):
        open_truth(str(tmp_path), CLASSES)
    with pytest.raises(UsageError, match="there is no such file or folder"):
        open_truth(str(tmp_path / "none"), CLASSES)
