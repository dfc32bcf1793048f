"""Only the very file whose bytes were hashed gets the name, whoever else writes beside its owner."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vggcli.web.retry import TransferError
from vggcli.weights.download.partial import PartialFile

MEGABYTE = random.Random(1).randbytes(1_000_000)


@pytest.fixture
def partial(tmp_path: Path) -> Iterator[PartialFile]:
    with PartialFile(tmp_path / "w.pth") as opened:
        yield opened


def begun(partial: PartialFile, data: bytes = MEGABYTE) -> None:
    partial.restart(len(data), '"1"')
    partial.write(data)


def test_what_is_hashed_is_the_file_on_the_disk(partial: PartialFile) -> None:
    begun(partial)
    assert partial.sha256() == hashlib.sha256(MEGABYTE).hexdigest()
    with partial.path.open("r+b") as stranger:
        stranger.write(b"spoiled")
    assert partial.sha256() == hashlib.sha256(b"spoiled" + MEGABYTE[7:]).hexdigest()


def lengthen(path: Path) -> None:
    with path.open("ab") as stranger:
        stranger.write(b"more")


def replace(path: Path) -> None:
    path.with_name("new").write_bytes(path.read_bytes())
    path.with_name("new").replace(path)


DISTURBANCES: list[Callable[[Path], object]] = [
    lengthen,
    replace,
    lambda path: os.truncate(path, 0),
    lambda path: path.unlink(),
    lambda path: path.rename(path.with_name("w.pth")),
]


@pytest.mark.parametrize("disturb", DISTURBANCES)
@pytest.mark.parametrize(
    "act",
    [
        lambda partial: partial.write(b"x"),
        lambda partial: partial.restart(None, None),
        lambda partial: partial.sha256(),
        lambda partial: partial.finish(),
        lambda partial: partial.set_aside(),
    ],
)
def test_a_second_writer_is_noticed_and_his_file_left_alone(
    partial: PartialFile, disturb: Callable[[Path], object], act: Callable[[PartialFile], object]
) -> None:
    begun(partial)
    partial.sha256()
    disturb(partial.path)
    before = {path.name: path.read_bytes() for path in partial.path.parent.iterdir()}
    with pytest.raises(TransferError, match="another process is writing the same file"):
        act(partial)
    partial.discard()
    assert {path.name: path.read_bytes() for path in partial.path.parent.iterdir()} == before


def test_what_changes_after_the_hash_gets_no_name(partial: PartialFile) -> None:
    begun(partial)
    partial.sha256()
    with partial.path.open("r+b") as stranger:
        stranger.write(b"spoiled")
    os.utime(partial.path, ns=(0, partial.path.stat().st_mtime_ns + 1))  # however coarse the clock of the file system
    with pytest.raises(TransferError, match="another process"):
        partial.finish()
    assert not partial.target.exists()


def test_two_writers_of_one_file_do_not_mix_their_bytes(partial: PartialFile) -> None:
    """As when each has a lock of its own: one of the two is told, and what the other leaves is right."""
    with PartialFile(partial.target) as other:
        for writer in (partial, other):
            writer.restart(len(MEGABYTE), '"1"')
        partial.write(MEGABYTE[:1000])
        with pytest.raises(TransferError, match="another process"):
            other.write(MEGABYTE[:1000])
    partial.write(MEGABYTE[1000:])
    assert partial.sha256() == hashlib.sha256(MEGABYTE).hexdigest()
    partial.finish()
    assert partial.target.read_bytes() == MEGABYTE


@pytest.mark.parametrize("note", ["[" * 200_000, '{"total":' * 200_000, "[]", '{"total": NaN, "validator": null}'])
def test_a_note_that_is_no_note_makes_the_bytes_worthless(note: str, tmp_path: Path) -> None:
    (tmp_path / "w.pth.part").write_bytes(MEGABYTE)
    (tmp_path / "w.pth.part.json").write_text(note)
    with PartialFile(tmp_path / "w.pth") as partial:
        assert (partial.size, partial.path.stat().st_size) == (0, 0)


def test_a_link_in_the_place_of_the_unfinished_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "w.pth.part").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic links"):
        PartialFile(tmp_path / "w.pth")
    assert (tmp_path / "victim").read_bytes() == b"precious"
