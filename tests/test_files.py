"""A file changes whole or not at all, and nothing that a killed process leaves stays for ever."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import BinaryIO

import pytest

from vggcli import files

LEFT_BEHIND = ".vgg-0123456789abcdef.part"


def replace(path: Path, data: bytes = b"new") -> None:
    files.replace_file(path, lambda file: file.write(data))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def test_the_old_file_stays_until_the_new_one_is_whole(target: Path) -> None:
    target.write_bytes(b"old")

    def write(file: BinaryIO) -> None:
        file.write(b"ne")
        file.flush()
        assert target.read_bytes() == b"old"
        file.write(b"w")

    files.replace_file(target, write)
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["target"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(error: BaseException, target: Path) -> None:
    target.write_bytes(b"old")

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        files.replace_file(target, write)
    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == ["target"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_permissions_are_kept_from_the_first_byte_on(mode: int, target: Path) -> None:
    target.touch()
    target.chmod(mode)
    seen = []
    files.replace_file(target, lambda file: seen.append(stat.S_IMODE(os.fstat(file.fileno()).st_mode)))
    assert [*seen, stat.S_IMODE(target.stat().st_mode)] == [mode, mode]


def test_a_file_that_was_not_there_gets_the_permissions_of_any_new_file(target: Path, tmp_path: Path) -> None:
    replace(target)
    (tmp_path / "other").touch()
    assert target.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_planted_under_the_new_name_is_not_written_through(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.urandom", bytes)
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / ".vgg-0000000000000000.part").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        replace(target)
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not target.exists()


def test_file_and_then_name_are_on_the_disk(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), target.exists()))

    monkeypatch.setattr("os.fsync", fsync)
    replace(target)
    assert synced == [(False, False), (True, True)]


def test_a_folder_that_cannot_be_synced_is_no_failure(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse_folders(path: Path, flags: int, mode: int = 0o777) -> int:
        if Path(path) == target.parent:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, flags, mode)

    monkeypatch.setattr("os.open", refuse_folders)
    replace(target)
    assert target.read_bytes() == b"new"


def test_a_name_as_long_as_a_name_may_be_is_replaced(tmp_path: Path) -> None:
    replace(tmp_path / ("x" * 255))
    assert os.listdir(tmp_path) == ["x" * 255]


def test_no_new_file_is_found_before_anything_is_done(target: Path, tmp_path: Path) -> None:
    files.check_replaceable(target)
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        files.check_replaceable(tmp_path / "missing" / "target")
    with pytest.raises(OSError, match="name too long"):
        files.check_replaceable(tmp_path / ("x" * 256))
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    others = [".vgg-0123.part", "vgg-0123456789abcdef.part", LEFT_BEHIND + "s"]
    for name in (*others, LEFT_BEHIND):
        (tmp_path / name).write_bytes(b"left behind")
    (tmp_path / ".vgg-aaaaaaaaaaaaaaaa.part").symlink_to(tmp_path / others[0])
    (tmp_path / ".vgg-bbbbbbbbbbbbbbbb.part").mkdir()
    files.remove_stale(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, ".vgg-aaaaaaaaaaaaaaaa.part", ".vgg-bbbbbbbbbbbbbbbb.part"])
    files.remove_stale(tmp_path / "missing")


def test_what_another_is_writing_is_not_removed(target: Path) -> None:
    files.replace_file(target, lambda _: files.remove_stale(target.parent))
    assert os.listdir(target.parent) == ["target"]


def test_where_there_are_no_locks_nothing_is_removed_and_files_are_replaced(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / LEFT_BEHIND).touch()
    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", refuse)
        files.remove_stale(tmp_path)
        replace(target)
    with monkeypatch.context() as patch:
        patch.setattr(files, "fcntl", None)
        files.remove_stale(tmp_path)
        replace(target, b"newer")
    assert sorted(os.listdir(tmp_path)) == [LEFT_BEHIND, "target"]
    assert target.read_bytes() == b"newer"


@pytest.mark.parametrize("is_locked", [False, True])
def test_a_new_file_removed_before_it_was_locked_is_made_again(
    is_locked: bool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one moment in which `remove_stale` of another process can take it for left behind."""
    flock = fcntl.flock
    taken = []

    def lock_after_another(descriptor: int, operation: int) -> None:
        if not taken:
            taken.append(descriptor)
            (new,) = target.parent.iterdir()
            new.unlink()
            if is_locked:
                raise BlockingIOError(errno.EWOULDBLOCK, "Resource temporarily unavailable")
        flock(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", lock_after_another)
    replace(target)
    assert target.read_bytes() == b"new"
    assert taken
