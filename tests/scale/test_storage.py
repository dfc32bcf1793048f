"""Folders and buckets alike: files appear whole or not at all, and two runs do not share one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from scale.scale_examples import FORMATS, PATHS, done, spooled

from vggcli.errors import OutputError, UsageError
from vggcli.scale.attempts import Attempt
from vggcli.scale.blocks import read_block
from vggcli.scale.notes import read_note
from vggcli.scale.storage import Bucket, Folder, Storage, open_storage, read, write_bytes


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    where = str(tmp_path / "out") if request.param == "folder" else f"memory://{tmp_path.name}/out/"
    yield open_storage(where)
    memory = fsspec.filesystem("memory")
    memory.store.clear()


def test_what_is_written_is_read(storage: Storage) -> None:
    assert list(storage.sizes()) == list(storage.sizes("a")) == []
    write_bytes(storage, "a/b", b"12")
    write_bytes(storage, "c", b"123")
    write_bytes(storage, "c", b"1234")

    assert read(storage, "c", 2) == b"12"
    assert list(storage.sizes()) == [("c", 4)]
    assert list(storage.sizes("a")) == [("b", 2)]
    storage.remove("c")
    storage.remove("c")
    with pytest.raises(FileNotFoundError):
        read(storage, "c")


def test_a_writer_that_fails_leaves_what_was_there(storage: Storage) -> None:
    write_bytes(storage, "a", b"old")

    def fails(file: object) -> None:
        file.write(b"new")  # type: ignore[attr-defined]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        storage.write("a", fails)
    assert read(storage, "a") == b"old"
    assert [name for name, _ in storage.sizes()] == ["a"]


@pytest.mark.parametrize("format", FORMATS)
def test_shards_in_a_bucket_are_those_in_a_folder(format: str, tmp_path: Path) -> None:
    folder, bucket = Folder(str(tmp_path)), open_storage(f"memory://{tmp_path.name}/{format}")
    assert isinstance(bucket, Bucket)
    for storage in (folder, bucket):
        spooled(storage)
        done(storage, range(4), format, mended=False)
        done(storage, range(4), format, run="2")

    for number in range(4):
        name = f"part-{number:08}.{format}"
        assert read(bucket, name) == read(folder, name)
        assert read_note(bucket, number) == read_note(folder, number)
        assert read_block(bucket, number) == read_block(folder, number)
    assert [item.path for number in range(4) for item in read_block(bucket, number).items] == PATHS


def test_attempts_are_noted_in_a_bucket(tmp_path: Path) -> None:
    bucket = open_storage(f"memory://{tmp_path.name}/attempts")
    Attempt(bucket, 3).__enter__()
    with Attempt(bucket, 3) as second:
        assert second.deaths == 1
        assert list(second.begun([])) == []
    assert list(bucket.sizes("attempts")) == []


def test_two_runs_into_one_bucket_are_refused(tmp_path: Path) -> None:
    where = f"memory://{tmp_path.name}/two"
    one, other, again = (open_storage(where).reserve() for _ in range(3))
    with one, pytest.raises(UsageError, match="another run is writing it"), other:
        pass
    with again:
        pass


def test_a_run_that_was_killed_is_forgotten_after_a_while(tmp_path: Path) -> None:
    bucket = open_storage(f"memory://{tmp_path.name}/killed")
    write_bytes(bucket, "running.json", json.dumps({"owner": "node 17 x", "seconds": time.time() - 1000}).encode())
    with bucket.reserve():
        assert json.loads(read(bucket, "running.json"))["owner"] != "node 17 x"
    write_bytes(bucket, "running.json", b"no json")
    with bucket.reserve():
        pass


def test_a_bucket_that_may_not_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = open_storage(f"memory://{tmp_path.name}/closed")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied\nfor ever")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "put_file", denied)
    with pytest.raises(OutputError, match=r"cannot write memory://.*/closed/a: Access Denied"):
        write_bytes(bucket, "a", b"")


@pytest.mark.parametrize("where", ["nosuch://a/b", "s3-typo://a"])
def test_addresses_that_nothing_knows_are_refused(where: str) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        open_storage(where)
