"""Which files a command line means, in which order, and how lazily they are found."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import save_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from vggcli.errors import UsageError
from vggcli.images.discover import Input, Skipped, discover, is_image_like, read_list


def found(*inputs: str | Path, **options: object) -> list[str]:
    """The paths that these inputs mean."""
    return [item.path for item in discover([str(i) for i in inputs], Skipped(), **options)]  # type: ignore[arg-type]


def touch(folder: Path, *names: str | bytes) -> list[str]:
    """Files of these names, as paths."""
    paths = [os.path.join(os.fsencode(folder), os.fsencode(name)) for name in names]
    for path in paths:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
    return [os.fsdecode(path) for path in paths]


class Standard:
    """Standard input that is a pipe, with the end that writes to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reading, self._writing = os.pipe()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(open(reading, "rb")))  # noqa: SIM115

    def send(self, data: bytes) -> None:
        os.write(self._writing, data)

    def close(self) -> None:
        os.close(self._writing)


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Standard]:
    standard = Standard(monkeypatch)
    yield standard
    sys.stdin.close()


def test_files_are_taken_as_they_are_named_whatever_they_are(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("missing.jpg", "notes.txt", ".hidden", "a.jpg")]
    assert found(*names) == names
    assert all(item.given for item in discover(names, Skipped()))


def test_a_path_named_twice_is_two_inputs(tmp_path: Path) -> None:
    (path,) = touch(tmp_path, "a.jpg")
    assert found(path, tmp_path, path) == [path] * 3


def test_a_folder_gives_its_images_in_name_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a.JPEG", "B.webp", "10.jpg", "9.jpg")
    assert [Path(path).name for path in found(tmp_path)] == ["10.jpg", "9.jpg", "B.webp", "a.JPEG", "b.png"]
    assert not any(item.given for item in discover([str(tmp_path)], Skipped()))


def test_paths_begin_with_the_folder_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "photos/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert found("photos") == found("photos/") == ["photos/a.jpg"]
    assert found("./photos//") == ["./photos//a.jpg"]
    assert found(".", recursive=True) == ["./photos/a.jpg"]


def test_folders_inside_are_only_entered_when_asked(tmp_path: Path) -> None:
    top, inner, deeper, last = touch(tmp_path, "a.jpg", "b/c.jpg", "b/d/e.jpg", "z.jpg")
    assert found(tmp_path) == [top, last]
    assert found(tmp_path, recursive=True) == [top, inner, deeper, last]


def test_folders_that_are_not_entered_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "b/c.jpg", "d/e.jpg")
    skipped = Skipped()
    assert list(discover([str(tmp_path)], skipped)) == []
    assert (skipped.folders.count, skipped.folders.example) == (2, str(tmp_path / "b"))
    assert skipped.empty_folders == [str(tmp_path)]


def test_names_of_every_kind_are_found(tmp_path: Path) -> None:
    names = [
        b"a b.jpg",
        b"line\nbreak.jpg",
        b"tab\t.png",
        b"\xff\xfe.gif",
        "ü\u202e.jpg".encode(),
        b"-.jpg",
        b"--help.jpg",
    ]
    paths = touch(tmp_path, *names)
    assert sorted(found(tmp_path)) == sorted(paths)


def test_what_is_hidden_is_passed_over_without_a_word(tmp_path: Path) -> None:
    (path,) = touch(tmp_path, "a.jpg")
    touch(tmp_path, ".b.jpg", ".thumbnails/c.jpg", ".DS_Store")
    skipped = Skipped()
    assert [item.path for item in discover([str(tmp_path)], skipped, recursive=True)] == [path]
    assert skipped == Skipped()


def test_what_is_no_image_is_counted_with_an_example(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt", "b", "c.jpg.zip")
    skipped = Skipped()
    assert list(discover([str(tmp_path)], skipped)) == []
    assert (skipped.files.count, skipped.files.example) == (3, str(tmp_path / "a.txt"))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "JPEG2000", "QOI"])
def test_a_photo_under_a_foreign_name_is_found(tmp_path: Path, format: str) -> None:
    save_picture(tmp_path / "IMG_0001", 1, format=format)
    save_picture(tmp_path / "photo.orig", 1, format=format)
    assert found(tmp_path) == [str(tmp_path / "IMG_0001"), str(tmp_path / "photo.orig")]


def test_looking_for_photos_opens_nothing_but_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.symlink("/dev/zero", tmp_path / "zero")
    os.symlink(tmp_path / "loop", tmp_path / "loop")
    os.symlink("gone", tmp_path / "dangling")
    assert found(tmp_path) == []
    assert not is_image_like(str(tmp_path / "pipe"))


def test_links_to_folders_are_followed_and_their_loops_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.jpg", "b/y.jpg")
    os.symlink(tmp_path, tmp_path / "a" / "up")
    os.symlink(tmp_path / "a", tmp_path / "a" / "self")
    os.symlink(tmp_path / "b", tmp_path / "a" / "side")
    names = ["a/side/y.jpg", "a/x.jpg", "b/y.jpg"]
    assert found(tmp_path, recursive=True) == [str(tmp_path / name) for name in names]


def test_two_folders_linked_to_each_other_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.jpg", "b/y.jpg")
    os.symlink(tmp_path / "b", tmp_path / "a" / "b")
    os.symlink(tmp_path / "a", tmp_path / "b" / "a")
    names = ["a/b/y.jpg", "a/x.jpg", "b/a/x.jpg", "b/y.jpg"]
    assert found(tmp_path, recursive=True) == [str(tmp_path / name) for name in names]


def test_folders_may_be_nested_deeper_than_calls(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 20
    folders = [tmp_path]
    for _ in range(depth):
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    photo = folders[-1] / "x.jpg"
    photo.touch()
    try:
        assert found(tmp_path, recursive=True) == [str(photo)]
    finally:  # pytest's own removal does recurse
        photo.unlink()
        for folder in reversed(folders[1:]):
            folder.rmdir()


def test_an_empty_folder_is_noted(tmp_path: Path) -> None:
    skipped = Skipped()
    assert list(discover([str(tmp_path)], skipped)) == []
    assert skipped.empty_folders == [str(tmp_path)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_an_unreadable_folder_is_an_input_so_that_it_gets_a_row() -> None:
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        touch(Path(top), "a/x.jpg", "b/y.jpg")
        os.chmod(Path(top, "a"), 0o700)
        os.seteuid(65534)
        try:
            assert found(top, recursive=True) == [f"{top}/a", f"{top}/b/y.jpg"]
            assert found(f"{top}/a") == [f"{top}/a"]
        finally:
            os.seteuid(0)


def test_a_folder_that_vanishes_is_an_input_so_that_it_gets_a_row(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.jpg", "b/y.jpg")
    items = discover([str(tmp_path)], Skipped(), recursive=True)
    assert next(items).path.endswith("x.jpg")
    (tmp_path / "b" / "y.jpg").unlink()
    (tmp_path / "b").rmdir()
    assert list(items) == [Input(str(tmp_path / "b"), given=False)]


def test_nothing_is_opened_before_it_is_asked_for(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b")
    items = discover([str(tmp_path)], Skipped())
    assert next(items).path.endswith("a.jpg")
    save_picture(tmp_path / "b", 1, format="PNG")
    assert [item.path for item in items] == [str(tmp_path / "b")]


def test_the_dash_is_standard_input_and_only_on_the_command_line(tmp_path: Path, stdin: Standard) -> None:
    (tmp_path / "list").write_text("-\n")
    items = discover(["-"], Skipped(), files_from=str(tmp_path / "list"))
    assert list(items) == [Input("-", is_stdin=True), Input("-")]


def test_a_list_comes_after_the_command_line_and_its_folders_are_entered(tmp_path: Path) -> None:
    first, second, third = touch(tmp_path, "1.jpg", "d/2.jpg", "e/3.jpg")
    (tmp_path / "list").write_text(f"{tmp_path}/d\n\n{third}\n{third}")
    assert found(first, files_from=str(tmp_path / "list")) == [first, second, third, third]


def test_a_list_may_hold_any_name(tmp_path: Path) -> None:
    names = touch(tmp_path, b"a b.jpg", b"line\nbreak.jpg", b"\xff.jpg", b" .jpg")
    (tmp_path / "null").write_bytes(b"\0".join(map(os.fsencode, names)) + b"\0")
    assert found(files_from=str(tmp_path / "null"), null=True) == names
    plain = [name for name in names if "\n" not in name]
    (tmp_path / "lines").write_bytes(b"\n".join(map(os.fsencode, plain)))
    assert found(files_from=str(tmp_path / "lines")) == plain


@pytest.mark.parametrize(("null", "end"), [(False, b"\n"), (True, b"\0")])
def test_a_list_from_a_slow_pipe_is_used_as_it_arrives(stdin: Standard, null: bool, end: bytes) -> None:
    items = discover([], Skipped(), files_from="-", null=null)
    stdin.send(b"first.jpg" + end)
    assert next(items).path == "first.jpg"  # would wait for ever if it read on
    stdin.send(b"second.jpg" + end + b"third")
    stdin.close()
    assert [item.path for item in items] == ["second.jpg", "third"]


class Dribble(io.BytesIO):
    """Gives out a few bytes at a time, like a pipe."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read(3)


def test_folders_that_link_to_one_another_are_each_entered_by_a_link_once(tmp_path: Path) -> None:
    """Every order of ten folders is a path of its own: without a limit the run would never end."""
    for name in range(10):
        (tmp_path / str(name)).mkdir()
        for other in range(10):
            (tmp_path / str(name) / f"to{other}").symlink_to(tmp_path / str(other))
    (tmp_path / "9" / "x.png").touch()

    assert len(found(tmp_path, recursive=True)) == 2  # where it lies, and by the first link


def test_a_list_from_windows_is_read_and_a_name_that_does_end_so_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.jpg\r").touch()
    assert list(read_list(io.BytesIO(b"a b.jpg\r\n\r\nodd.jpg\r\nc.jpg"), False)) == ["a b.jpg", "odd.jpg\r", "c.jpg"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=9).filter(lambda name: b"\0" not in name)))
def test_every_list_that_find_prints_is_read_back(names: list[bytes]) -> None:
    assert [os.fsencode(path) for path in read_list(Dribble(b"".join(name + b"\0" for name in names)), True)] == names
    lines = [name for name in names if b"\n" not in name and not name.endswith(b"\r")]
    assert [os.fsencode(path) for path in read_list(io.BytesIO(b"\n".join(lines)), False)] == lines


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ([], {}, "nothing to classify"),
        (["-", "-"], {}, "it was asked for twice"),
        (["-"], {"files_from": "-"}, "it was asked for twice"),
        (["a.jpg"], {"null": True}, "there is none"),
        ([], {"files_from": "/nonexistent/list"}, "no such file or directory"),
        ([], {"files_from": "/"}, "is a directory"),
    ],
)
def test_contradictions_are_refused_before_anything_is_done(
    inputs: list[str], options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        discover(inputs, Skipped(), **options)  # type: ignore[arg-type]


def test_a_terminal_is_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(UsageError, match="is a terminal"):
        discover(["-"], Skipped())


@pytest.mark.parametrize("options", [{"inputs": ["-"]}, {"inputs": [], "files_from": "-"}])
def test_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch, options: dict[str, object]) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input: it is closed"):
        discover(skipped=Skipped(), **options)  # type: ignore[arg-type]


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file whose reading fails")
def test_a_list_that_cannot_be_read_is_named() -> None:
    items = discover(["a.jpg"], Skipped(), files_from="/proc/self/mem")
    assert next(items).path == "a.jpg"
    with pytest.raises(UsageError, match="cannot read the list of inputs /proc/self/mem: input/output error"):
        next(items)
