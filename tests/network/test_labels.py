"""Class names: the user's file, else the checkpoint's own, else ImageNet's, else numbers."""

from __future__ import annotations

import json
import os
import re
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torchvision.models import get_model_weights

from vggcli.errors import UsageError
from vggcli.network import labels

THREE = ("cat", "dog", "fox")


def test_imagenets_names_are_torchvisions() -> None:
    theirs = get_model_weights("vgg16")["IMAGENET1K_V1"].meta["categories"]
    # ImageNet has two cranes and two maillots, and torchvision adds a word to tell them apart.
    differing = {
        index: names for index, names in enumerate(zip(labels.imagenet(), theirs, strict=True)) if len(set(names)) > 1
    }

    assert differing == {134: ("crane", "crane bird"), 639: ("maillot", "maillot tank suit")}


def test_every_imagenet_class_has_its_wordnet_id() -> None:
    ids = labels.imagenet_wordnet_ids()
    by_name = dict(zip(labels.imagenet(), ids, strict=True))

    assert all(re.fullmatch(r"n\d{8}", one) for one in ids)
    assert list(ids) == sorted(set(ids)), "ImageNet numbers its classes in the order of their ids"
    assert (ids[0], ids[258], ids[999]) == ("n01440764", "n02111889", "n15075141")
    assert by_name["tiger shark"] == "n01491361"
    assert by_name["Samoyed"] == "n02111889"
    assert by_name["toilet tissue"] == "n15075141"
    assert (ids[134], ids[517]) == ("n02012849", "n03126707"), "the bird and the machine, both called crane"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"cat\ndog\nfox\n", THREE),
        (b"cat\ndog\nfox", THREE),
        (b"\xef\xbb\xbfcat\r\ndog\r\nfox\r\n\r\n", THREE),
        (b"cat\n\nfox\n", ("cat", "", "fox")),
        ("\N{CAT FACE} \u2028x\n b \n".encode(), ("\N{CAT FACE} \u2028x", " b ")),
    ],
)
def test_a_file_has_one_name_a_line(text: bytes, names: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(text)

    assert labels.read(str(path)) == names


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "the file is empty. Put one name on each line."),
        (lambda path: path.write_bytes(b"\r\n\n"), "the file is empty. Put one name on each line."),
        (lambda path: path.write_bytes(b"caf\xe9\n"), "it is not UTF-8 text. Save it as UTF-8."),
        (lambda path: path.mkdir(), "is a directory. Give --labels a text file, one name a line."),
        (lambda path: None, "no such file or directory. Give --labels a text file, one name a line."),
    ],
)
def test_an_unusable_file_is_explained(write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    write(path)
    with pytest.raises(UsageError) as caught:
        labels.read(str(path))

    assert str(caught.value) == f"cannot read the labels {path}: {message}"


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    zeros = tmp_path / "names.txt"
    zeros.symlink_to("/dev/zero")
    tracemalloc.start()
    with pytest.raises(UsageError, match="it has more than 16 MiB"):
        labels.read(str(zeros))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 64 << 20


def test_what_is_no_name_of_a_file_is_refused() -> None:
    with pytest.raises(UsageError, match="embedded null byte"):
        labels.read("a\0b")


def test_a_pipe_may_give_the_names(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "names")
    writer = threading.Thread(target=(tmp_path / "names").write_bytes, args=(b"cat\ndog\n",))
    writer.start()

    assert labels.read(str(tmp_path / "names")) == ("cat", "dog")
    writer.join()


def test_another_number_of_names_is_refused_with_both_numbers(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("cat\ndog\nfox\n")
    with pytest.raises(UsageError) as caught:
        labels.for_model(10, str(path), None)

    assert str(caught.value) == (
        f"cannot use the labels {path}: it has 3 names, the model has 10 classes. "
        "Give one name a line, in the order of the classes."
    )


def test_the_users_names_come_before_the_checkpoints_and_those_before_imagenets(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(THREE))
    many = [f"n{index}" for index in range(1000)]

    assert labels.for_model(3, str(path), ["a", "b", "c"]) == THREE
    assert labels.for_model(3, None, ["a", "b", "c"]) == ("a", "b", "c")
    assert labels.for_model(1000, None, many) == tuple(many)
    assert labels.for_model(1000, None, None) == labels.imagenet()
    assert labels.for_model(1000, None, ["a"]) == labels.imagenet()
    assert labels.for_model(3, None, ["a"]) == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize("key", ["labels", "classes", "class_names", "categories"])
def test_a_list_beside_the_weights_is_found(key: str) -> None:
    assert labels.in_checkpoint({"epoch": 3, key: list(THREE)}, {}) == THREE
    assert labels.in_checkpoint({}, {key: json.dumps(THREE)}) == THREE


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("idx_to_class", {0: "cat", 1: "dog", 2: "fox"}),
        ("idx_to_class", {2: "fox", 0: "cat", 1: "dog"}),
        ("id2label", {"0": "cat", "1": "dog", "2": "fox"}),
        ("class_to_idx", {"fox": 2, "cat": 0, "dog": 1}),
        ("label2id", {"cat": 0, "dog": 1, "fox": 2}),
    ],
)
def test_a_map_beside_the_weights_is_found(key: str, value: dict[Any, Any]) -> None:
    assert labels.in_checkpoint({key: value}, {}) == THREE
    assert labels.in_checkpoint([], {key: json.dumps(value)}) == THREE


def test_names_that_are_digits_keep_their_places() -> None:
    assert labels.in_checkpoint({"class_to_idx": {"7": 0, "3": 1}}, {}) == ("7", "3")


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        ["cat", 3],
        "cat",
        "[1, 2",
        "[" * 100_000,
        None,
        {0: "cat", 2: "fox"},
        {0: "cat", float("inf"): "dog"},
        {0: "cat", float("nan"): "dog"},
        {0: "cat", 1: None},
        {"cat": "dog"},
        {(0, 1): "cat"},
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_list_of_names_is_passed_over(value: object) -> None:
    for key in ("classes", "idx_to_class"):
        assert labels.in_checkpoint({key: value}, {}) is None
        assert labels.in_checkpoint({key: value, "label2id": {"cat": 0}}, {}) == ("cat",)


def test_a_digest_tells_lists_apart() -> None:
    assert labels.digest(THREE) == labels.digest(list(THREE))
    assert labels.digest(THREE) != labels.digest(("dog", "cat", "fox"))
    assert len(labels.digest(["\udcff"])) == len(labels.digest(["\ud800"])) == 12


# Names that are no names


@pytest.mark.parametrize("key", ["classes", "idx_to_class"])
def test_one_name_too_long_makes_the_list_unusable(key: str) -> None:
    names = ["cat", "x" * 1_000, "y" * 1_001]
    value = names if key == "classes" else dict(enumerate(names))

    with pytest.raises(labels.UnusableError, match=r"name 3 has 1,001 characters, 1,000 at most are read"):
        labels.in_checkpoint({key: value}, {})
    assert labels.in_checkpoint({key: names[:2]}, {}) == tuple(names[:2])


def test_one_name_for_every_class_does_not_multiply() -> None:
    with pytest.raises(labels.UnusableError, match=r"its 20,000 names have 20,000,000 characters together"):
        labels.in_checkpoint({"classes": ["x" * 1_000] * 20_000}, {})


def test_a_file_with_a_line_longer_than_any_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("cat\n" + "x" * 5_000)

    with pytest.raises(UsageError, match=r"name 2 has 5,000 characters"):
        labels.read(str(path))
