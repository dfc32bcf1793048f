"""Which labelled images a folder or csv means, and what is refused before anything is opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from training_examples import write_stripes

from vggcli.errors import UsageError
from vggcli.training.dataset import Dataset, read


def names(found: Dataset) -> list[tuple[str, str, str]]:
    return [(os.path.basename(example.path), example.name, example.part) for example in found.examples]


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    found = read(str(touch(tmp_path, "dog/1.png", "cat/2.png", "cat/old/1.jpg", "cat/notes.txt", ".git/3.png")))

    assert found.classes == ("cat", "dog")
    assert names(found) == [("2.png", "cat", ""), ("1.jpg", "cat", ""), ("1.png", "dog", "")]
    assert any("notes.txt" in note for note in found.notes)


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_train_and_val(val: str, tmp_path: Path) -> None:
    found = read(str(touch(tmp_path, "train/a/1.png", "train/b/2.png", f"{val}/a/3.png", "test/a/4.png")))

    assert names(found) == [("1.png", "a", "train"), ("2.png", "b", "train"), ("3.png", "a", "val")]
    assert found.notes == (f"passed over beside train and {val} in {tmp_path}: test",)


def test_train_alone_is_split_and_classes_may_be_called_so(tmp_path: Path) -> None:
    alone = read(str(touch(tmp_path / "one", "train/a/1.png", "train/b/2.png")))
    called = read(str(touch(tmp_path / "two", "train/1.png", "val/2.png")))

    assert names(alone) == [("1.png", "a", ""), ("2.png", "b", "")]
    assert names(called) == [("1.png", "train", ""), ("2.png", "val", "")]


def test_what_is_passed_over_is_said(tmp_path: Path) -> None:
    found = read(str(touch(tmp_path, "a/1.png", "b/1.png", "loose.png", "empty/.keep")))

    assert found.classes == ("a", "b")
    assert found.notes == (
        f"images in {tmp_path} that are in no class's folder are passed over",
        "no class, since there are no images in it: empty",
    )


def test_a_csv_with_odd_labels(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text('\ufeffpath,label,split\na.jpg,"two\nlines",train\nb.jpg,n/a,val\nc.jpg, n/a ,\nd.jpg,été,\n')

    found = read(str(table))

    assert found.classes == ("n/a", "two\nlines", "été")
    assert names(found)[1:3] == [("b.jpg", "n/a", "val"), ("c.jpg", "n/a", "")]


def test_classes_that_are_almost_the_same_are_told(tmp_path: Path) -> None:
    found = read(str(touch(tmp_path, "Cat/1.png", "cat/1.png", "dog/1.png")))

    assert found.notes == ("these classes have almost the same name, and are trained as different ones: Cat, cat",)


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        (("cat/1.png",), "it has one class, cat"),
        (("cat/1.txt",), "there are no images in folders of classes"),
        (("train/a/1.png", "train/b/1.png", "val/c/1.png"), "classes of val that train has not: c"),
        ((os.fsdecode(b"caf\xe9/1.png"), "b/1.png"), r"the class caf\\xe9 has a name that is no UTF-8"),
    ],
)
def test_folders_that_are_refused(paths: tuple[str, ...], why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why):
        read(str(touch(tmp_path, *paths)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file,class\na,b\n", "no column path and none label; its columns are file, class"),
        ("path,label\na.png,x\nb.png,\n", "line 3: its label is empty"),
        ("path,label\n,x\n", "line 2: its path is empty"),
        ("path,label,split\na.png,x,test\n", "its split is test"),
        ("path,label\na.png," + "x" * 1001 + "\nb.png,y\n", "has 1,001 characters"),
        ("", "its columns are none"),
    ],
)
def test_tables_that_are_refused(text: str, why: str, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(text)

    with pytest.raises(UsageError, match=why):
        read(str(table))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder or csv"):
        read(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="it is no folder and no csv"):
        read(str(write_stripes(tmp_path / "data", 1) / "down" / "0.png"))
