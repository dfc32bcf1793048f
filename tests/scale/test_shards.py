"""One shard and one note for each block: the same bytes however often it is done, and failures tried again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from scale.scale_examples import CODEC, FORMATS, classify, done, spooled

from vggcli.images.item import Input
from vggcli.output.lines import ENCODERS, header
from vggcli.records import Record
from vggcli.scale.blocks import Block, read_block
from vggcli.scale.notes import Note, Shards, note_name, read_note, shard_name
from vggcli.scale.shards import ShardWriter
from vggcli.scale.storage import Folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("part-")}


@pytest.mark.parametrize("format", FORMATS)
def test_a_shard_and_its_note(format: str, tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    spooled(storage)
    notes = done(storage, [1, 0], format, mended=False)

    for note, failures in zip(notes, ({"unreadable": 1}, {"unreadable": 1}), strict=True):
        data = (tmp_path / shard_name(note.block, format)).read_bytes()
        assert (note.rows, note.bytes, note.failures) == (3, len(data), failures)
        assert note.sha256 == hashlib.sha256(data).hexdigest()
        assert read_note(storage, note.block) == note
        if format != "parquet":
            records = classify(read_block(storage, note.block).items, mended=False)
            lines = (ENCODERS[format](CODEC, record) for record in records)
            assert data == header(format, CODEC) + b"".join(lines)
    assert {path.name for path in tmp_path.iterdir()} == {
        "blocks",
        *(shard_name(number, format) for number in (0, 1)),
        *(note_name(number) for number in (0, 1)),
    }


@pytest.mark.parametrize("format", FORMATS)
def test_failures_are_tried_again_and_the_rest_is_left(format: str, tmp_path: Path) -> None:
    for name, mended in (("at once", True), ("later", False)):
        storage = Folder(str(tmp_path / name))
        spooled(storage)
        done(storage, range(4), format, mended=mended)
    tried: list[str | None] = []
    writer = ShardWriter(storage, format, CODEC, "2", retries=True)

    def again(items: object) -> list[Record]:
        items = list(items)  # type: ignore[call-overload]
        tried.extend(item.path for item in items)
        return list(classify(items))

    notes = [writer.write(number, read_block(storage, number), again) for number in range(4)]
    assert tried == ["broken.jpg", "flaky,1.jpg", "flaky,2.jpg"]
    assert [note.failed for note in notes] == [1, 0, 0, 0]
    shards = (bytes_of(tmp_path / name) for name in ("at once", "later"))
    first, second = ({name: data for name, data in found.items() if not name.endswith(".note")} for found in shards)
    assert first == second


def test_a_block_that_comes_twice_is_done_once(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    spooled(storage)
    (note,) = done(storage, [0], mended=False)

    def never(_: object) -> list[Record]:
        raise AssertionError("it was classified again")

    writer = ShardWriter(storage, "jsonl", CODEC, note.run, retries=True)
    assert writer.write(0, read_block(storage, 0), never) == note


@pytest.mark.parametrize("damage", ["gone", "cut", "other bytes", "no note", "torn note", "other inputs"])
def test_a_shard_that_is_not_whole_is_made_again(damage: str, tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    spooled(storage)
    done(storage, [0])
    expected = bytes_of(tmp_path)[shard_name(0, "jsonl")]
    shard, note = tmp_path / shard_name(0, "jsonl"), tmp_path / note_name(0)
    if damage == "gone":
        shard.unlink()
    elif damage == "cut":
        shard.write_bytes(expected[:-10])
    elif damage == "other bytes":
        shard.write_bytes(expected.replace(b"cat", b"dog"))
    elif damage == "no note":
        note.unlink()
    elif damage == "torn note":
        note.write_bytes(note.read_bytes()[:20])
    else:
        shard.write_bytes(expected.replace(b"a.jpg", b"z.jpg"))

    done(storage, [0], run="2")
    assert shard.read_bytes() == expected
    assert read_note(storage, 0).sha256 == hashlib.sha256(expected).hexdigest()


def test_what_classifying_raises_leaves_nothing(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))

    def breaks(items: object) -> object:
        yield from classify(items)  # type: ignore[arg-type]
        raise MemoryError

    writer = ShardWriter(storage, "csv", CODEC, "1", retries=False)
    with pytest.raises(MemoryError):
        writer.write(0, Block((Input("a"),)), breaks)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_input_without_a_record_makes_no_shard_whole(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))

    def loses(items: object) -> list[Record]:
        return list(classify(items))[1:]  # type: ignore[arg-type]

    writer = ShardWriter(storage, "jsonl", CODEC, "1", retries=False)
    with pytest.raises(RuntimeError, match="2 inputs and 1 records"):
        writer.write(0, Block((Input("a"), Input("b"))), loses)
    assert read_note(storage, 0) is None


def test_a_driver_keeps_few_bytes_for_each_shard(tmp_path: Path) -> None:
    shards, digest = Shards(), hashlib.sha256(b"").hexdigest()
    for block in (2, 0, 1, 2):
        shards.add(Note(block, rows=5, bytes=7 << 40, sha256=digest, failures={"empty": block}))

    assert (shards.finished, shards.rows, shards.failures) == (3, 15, {"empty": 3})
    assert [shard["block"] for shard in shards.described()] == [0, 1, 2]
    assert list(shards.described())[2] == {
        "block": 2,
        "rows": 5,
        "failures": 2,
        "bytes": 7 << 40,
        "sha256": digest,
    }
    assert not shards.is_finished(3)
    assert json.dumps(list(shards.described()))
