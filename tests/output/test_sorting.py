"""Sorting loses no image and touches none that is there, whatever names, labels, disks and interruptions there are."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vggcli.errors import InputError, OutputError, UsageError
from vggcli.images.item import Input
from vggcli.output.sorting import Sorter, folder_of
from vggcli.text import unescape

Tree = dict[str, bytes | str]


def tree(folder: Path) -> Tree:
    """Everything in a folder: bytes of files, targets of links."""
    return {
        os.path.relpath(path, folder): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


def image(path: Path, data: bytes = b"an image") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "sorted"


def test_a_copy_has_the_bytes_the_time_and_the_permissions(tmp_path: Path, into: Path) -> None:
    source = image(tmp_path / "a.jpg", os.urandom(3_000_000))
    os.chmod(source, 0o600)
    os.utime(source, ns=(10**18, 10**18 + 1))

    target = Sorter(into).place(Input(source), "cat")

    assert target == str(into / "cat" / "a.jpg")
    assert Path(target).read_bytes() == Path(source).read_bytes()
    status = os.stat(target)
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o600, 10**18 + 1)
    assert tree(into).keys() == {"cat/a.jpg"}


def test_a_link_leads_to_the_image_from_anywhere(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image(tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)

    Sorter(Path("sorted"), link=True).place(Input("a.jpg"), "cat")

    assert tree(into) == {"cat/a.jpg": str(tmp_path / "a.jpg")}
    assert (into / "cat" / "a.jpg").read_bytes() == b"an image"


@pytest.mark.parametrize("name", ["a\nb.jpg", " spaces ", "-rf", "\udcff.jpg", "a\\tb.jpg", "~.jpg", "~2", "no ending"])
@pytest.mark.parametrize("link", [False, True])
def test_names_are_kept_as_they_are(name: str, link: bool, tmp_path: Path, into: Path) -> None:
    source = image(tmp_path / name)

    for _ in range(2):
        Sorter(into, link=link).place(Input(source), "cat")

    assert tree(into) == {f"cat/{name}": source if link else b"an image"}


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("tench, Tinca tinca", "tench, Tinca tinca"),
        ("a/b", "a\\x2fb"),
        ("/etc", "\\x2fetc"),
        ("..", "\\x2e."),
        (".", "\\x2e"),
        ("../../up", "\\x2e.\\x2f..\\x2fup"),
        (".hidden", "\\x2ehidden"),
        ("two\nlines", "two\\nlines"),
        ("a\\x2fb", "a\\\\x2fb"),
    ],
)
def test_a_label_is_one_folder_that_says_what_it_is(label: str, folder: str, tmp_path: Path, into: Path) -> None:
    assert folder_of(label) == folder
    assert unescape(folder) == label

    Sorter(into).place(Input(image(tmp_path / "a.jpg")), label)

    assert tree(tmp_path) == {"a.jpg": b"an image", f"sorted/{folder}/a.jpg": b"an image"}


def test_empty_and_long_labels_have_folders_of_their_own(tmp_path: Path, into: Path) -> None:
    labels = ["", "empty", "é" * 500, "é" * 501, "\n" * 500]
    for label in labels:
        Sorter(into).place(Input(image(tmp_path / "a.jpg")), label)

    assert len(list(into.iterdir())) == len(labels)
    assert folder_of("") == "\\empty"


@pytest.mark.parametrize("link", [False, True])
def test_images_of_the_same_name_all_arrive_and_arrive_once(link: bool, tmp_path: Path, into: Path) -> None:
    # The first and the third are the same to the byte, and a fourth is named as a second would be.
    images = [image(tmp_path / str(number) / "a.jpg", data) for number, data in enumerate([b"x", b"yy", b"x", b"z"])]
    images.append(image(tmp_path / "4" / "a~2.jpg", b"w"))

    whole: Tree = {}
    for _ in range(3):
        sorter = Sorter(into, link=link)
        for path in images:
            sorter.place(Input(path), "cat")
        whole = whole or tree(into)
        assert tree(into) == whole
    assert sorted(whole) == [f"cat/{name}.jpg" for name in ("a", "a~2", "a~2~2", "a~3", "a~4")]
    assert sorted(whole.values()) == (sorted(images) if link else [b"w", b"x", b"x", b"yy", b"z"])


def test_whatever_order_they_come_in_the_next_time(tmp_path: Path, into: Path) -> None:
    images = [image(tmp_path / str(number) / "a.jpg", data) for number, data in enumerate([b"x", b"yy", b"zzz"])]
    for order in (images, images[::-1], images[1:]):
        sorter = Sorter(into)
        for path in order:
            sorter.place(Input(path), "cat")

    assert sorted(tree(into).values()) == [b"x", b"yy", b"zzz"]


def test_thousands_of_one_name_are_not_looked_at_again_for_each(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    real = os.lstat
    monkeypatch.setattr("os.lstat", lambda path, **options: looks.append(str(path)) or real(path, **options))
    sorter = Sorter(into, link=True)
    for number in range(200):
        sorter.place(Input(image(tmp_path / str(number) / "a.jpg")), "cat")

    assert len(tree(into)) == 200
    assert len([path for path in looks if path.startswith(str(into))]) < 1000


def test_the_longest_name_has_room_for_its_number(tmp_path: Path, into: Path) -> None:
    name = "é" * 125 + ".jpg"
    sorter = Sorter(into)
    for number in range(2):
        sorter.place(Input(image(tmp_path / str(number) / name, b"%d" % number)), "cat")

    assert sorted(tree(into).values()) == [b"0", b"1"]


@pytest.mark.parametrize("link", [False, True])
def test_nothing_that_is_there_is_touched(link: bool, tmp_path: Path, into: Path) -> None:
    victim = image(tmp_path / "victim", b"precious")
    there: list[Callable[[Path], Any]] = [
        lambda path: path.write_bytes(b"of somebody else"),
        lambda path: path.symlink_to(victim),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
    ]
    for number, make in enumerate(there):
        source = image(tmp_path / f"{number}.jpg", b"precious")
        (into / "cat").mkdir(parents=True, exist_ok=True)
        make(into / "cat" / f"{number}.jpg")
        before = os.lstat(into / "cat" / f"{number}.jpg")

        for _ in range(2):
            assert Sorter(into, link=link).place(Input(source), "cat") in (str(into / "cat" / f"{number}~2.jpg"), None)

        after = os.lstat(into / "cat" / f"{number}.jpg")
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert Path(victim).read_bytes() == b"precious"
    assert len(list((into / "cat").iterdir())) == 2 * len(there)


def test_a_full_disk_leaves_no_half_image_and_is_gone_on_from(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = image(tmp_path / "a.jpg", b"x" * 100)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OutputError, match=r"no space left on device\. Make room and run the same command again\.$"):
            Sorter(into).place(Input(source), "cat")
    assert tree(into) == {}

    Sorter(into).place(Input(source), "cat")
    assert tree(into) == {"cat/a.jpg": b"x" * 100}


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path, into: Path) -> None:
    half = image(into / "cat" / ".vgg-0123456789abcdef.part", b"ha")

    Sorter(into).place(Input(image(tmp_path / "a.jpg")), "cat")

    assert not os.path.exists(half)


def test_a_disk_without_hard_links(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("os.link", refuse)
    sorter = Sorter(into)
    for number in range(2):
        sorter.place(Input(image(tmp_path / str(number) / "a.jpg", b"%d" % number)), "cat")

    assert tree(into) == {"cat/a.jpg": b"0", "cat/a~2.jpg": b"1"}


def test_an_image_that_is_gone_or_no_file_any_more(tmp_path: Path, into: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    for path in (tmp_path / "gone.jpg", tmp_path / "fifo", tmp_path):
        with pytest.raises(InputError):
            Sorter(into).place(Input(str(path)), "cat")
    with pytest.raises(InputError, match="where the sorted images are"):
        Sorter(into).place(Input(image(into / "cat" / "a.jpg")), "dog")
    assert tree(into) == {"cat/a.jpg": b"an image"}


def test_a_dry_run_names_what_would_be_and_makes_nothing(tmp_path: Path, into: Path) -> None:
    images = [image(tmp_path / str(number) / "a.jpg") for number in range(3)]
    dry = Sorter(into, dry_run=True)
    planned = [dry.place(Input(path), "cat") for path in images]
    assert not into.exists()

    sorter = Sorter(into)
    assert [sorter.place(Input(path), "cat") for path in images] == planned
    assert sorter.placed == dry.placed == 3
    again = Sorter(into, dry_run=True)
    assert [again.place(Input(path), "cat") for path in images] == [None] * 3


def test_a_folder_that_would_feed_itself_is_refused(tmp_path: Path, into: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (tmp_path / "link").symlink_to(photos)

    for folder, inputs in (
        (photos / "sorted", [str(photos)]),
        (tmp_path / "link" / "sorted", [str(photos)]),
        (photos, [str(photos)]),
        (tmp_path, [str(photos / "a.jpg")]),
    ):
        with pytest.raises(UsageError, match="the sorted images would be among the inputs in "):
            Sorter(folder).check(inputs, recursive=True)
    with pytest.raises(UsageError, match="it has no name"):
        Sorter(into).check(["-"], recursive=False)
    Sorter(photos / "sorted").check([str(photos)], recursive=False)
    Sorter(into).check([str(photos), "none.png", "a\0b"], recursive=True)


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_label_whose_folder_is_a_link_elsewhere_is_refused(dry_run: bool, tmp_path: Path, into: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "elsewhere").mkdir()
    into.mkdir(exist_ok=True)
    (into / "cat").symlink_to(tmp_path / "elsewhere")
    (into / "kitten").symlink_to("dog")  # two labels in one folder, which is inside
    sorter = Sorter(into, dry_run=dry_run)

    with pytest.raises(OutputError, match="it is a link to another place"):
        sorter.place(Input(str(tmp_path / "a.png")), "cat")

    assert not list((tmp_path / "elsewhere").iterdir())
    (into / "dog").mkdir()
    assert sorter.place(Input(str(tmp_path / "a.png")), "kitten") == str(into / "kitten" / "a.png")


def test_a_folder_that_cannot_be_made_is_found_at_once(tmp_path: Path) -> None:
    image(tmp_path / "file")

    for folder in (tmp_path / "file", tmp_path / "file" / "sorted"):
        with pytest.raises(UsageError, match="not a directory"):
            Sorter(folder).check([], recursive=False)
