"""Counting beside a run gives what the run will take."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from vggcli.errors import UsageError
from vggcli.images import counting
from vggcli.images.discover import Skipped, discover


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Folders in folders, links that lead back, aside and nowhere, hidden files, an image without an ending."""
    for folder in ("a/b/c", "d", ".hidden", "empty"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("1.jpg", "a/2.PNG", "a/b/3.gif", "a/b/c/4.tif", "a/notes.txt", ".hidden/5.jpg", ".6.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "d" / "no-ending").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "d" / "text").write_bytes(b"text")
    (tmp_path / "a" / "b" / "back").symlink_to(tmp_path)
    (tmp_path / "d" / "aside").symlink_to(tmp_path / "a")
    (tmp_path / "d" / "aside-again").symlink_to(tmp_path / "a")
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "none")
    return tmp_path


@pytest.mark.parametrize("recursive", [False, True])
def test_the_last_count_is_what_discovery_finds(tree: Path, recursive: bool) -> None:
    (tree / "list").write_text(f"{tree}/a\n\n{tree}/1.jpg\n{tree}/missing.jpg\n")
    for inputs in ([str(tree)], [str(tree / "d"), str(tree / "1.jpg"), "missing.png", str(tree), "-"], []):
        arguments = {"files_from": str(tree / "list"), "recursive": recursive, "null": False}
        found = len(list(discover([name for name in inputs if name != "-"], Skipped(), **arguments)))  # type: ignore[arg-type]
        counts = list(counting.count(inputs, **arguments))  # type: ignore[arg-type]

        assert counts[-1] == found + inputs.count("-")
        assert counts == sorted(counts)


def test_a_list_without_an_end_is_not_counted(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for endless in ("-", str(tmp_path / "fifo")):
        assert list(counting.count(["x.jpg"], endless, recursive=False, null=False)) == []


def test_a_list_that_cannot_be_read_is_no_count(tmp_path: Path) -> None:
    with pytest.raises((OSError, UsageError)):
        list(counting.count([], str(tmp_path / "none"), recursive=False, null=False))


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    def peak(folder: Path) -> int:
        tracemalloc.start()
        for _ in counting.count([str(folder)], None, recursive=False, null=False):
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    few, many = tmp_path / "few", tmp_path / "many"
    for folder, number in ((few, 10), (many, 5000)):
        folder.mkdir()
        for name in range(number):
            (folder / f"{name}.jpg").touch()
    peak(few)  # what is imported and cached once

    assert peak(many) < peak(few) + 50_000  # 5,000 names alone are 300,000 bytes
