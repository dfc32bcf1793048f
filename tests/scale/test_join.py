"""`vgg predict --join`: one file of the shards, the bytes of a run on one machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import Vgg
from predict_examples import DEMO
from scale.scale_examples import CODEC, FORMATS, PATHS, classify, done, spooled
from sink_examples import SETTINGS

from vggcli.images.item import Input
from vggcli.output.resume import open_output
from vggcli.scale import directory
from vggcli.scale.directory import ClusterSettings
from vggcli.scale.notes import Shards
from vggcli.scale.storage import Folder


def finished(folder: Path, format: str, *, mended: bool = True) -> Path:
    """A run into shards."""
    storage = Folder(str(folder))
    fields = {name: getattr(SETTINGS, name) for name in SETTINGS.__dataclass_fields__}
    directory.begin(storage, format, ClusterSettings(**fields, block_size=3), resume=False)
    spooled(storage)
    shards = Shards()
    for note in done(storage, range(4), format, mended=mended):
        shards.add(note)
    directory.write_manifest(storage, shards)
    return folder


def plain(output: Path, format: str, *, mended: bool = True) -> bytes:
    """The same on one machine."""
    with open_output(format, output, CODEC, SETTINGS) as run:
        for record in classify(map(Input, PATHS), mended):
            run.write(record)
    return output.read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_joined_shards_are_a_plain_run(format: str, vgg: Vgg, tmp_path: Path) -> None:
    out = finished(tmp_path / "out", format, mended=False)
    joined = tmp_path / f"all.{format}"
    done = vgg("predict", "--join", out, "-o", joined)

    assert done.code == 1  # since some of them failed
    assert done.err == f"vgg: 10 rows of 4 shards are in {joined}\n"
    assert joined.read_bytes() == plain(tmp_path / f"plain.{format}", format, mended=False)
    assert vgg("predict", "--join", out, "-o", joined).code == 2
    assert vgg("predict", "--join", out, "-o", joined, "--overwrite", "--quiet").err == ""


@pytest.mark.parametrize(("shards", "format"), [("jsonl", "parquet"), ("parquet", "jsonl")])
def test_json_and_parquet_become_each_other(shards: str, format: str, vgg: Vgg, tmp_path: Path) -> None:
    out = finished(tmp_path / "out", shards)
    assert vgg("predict", "--join", out, "-o", tmp_path / f"all.{format}").code == 1
    assert (tmp_path / f"all.{format}").read_bytes() == plain(tmp_path / f"plain.{format}", format)


@pytest.mark.parametrize("format", FORMATS)
def test_lines_go_to_standard_output(format: str, vgg: Vgg, tmp_path: Path) -> None:
    lines = "jsonl" if format == "parquet" else format
    done = vgg("predict", "--join", finished(tmp_path / "out", format), "-q")
    assert (done.bytes, done.err) == (plain(tmp_path / f"plain.{lines}", lines), "")


def test_what_cannot_be_joined_is_said(vgg: Vgg, tmp_path: Path) -> None:
    out = finished(tmp_path / "out", "jsonl")
    assert "the shards are jsonl" in vgg("predict", "--join", out, "-o", tmp_path / "all.csv").err
    assert "there is no run in it" in vgg("predict", "--join", tmp_path / "none", "-o", tmp_path / "a.jsonl").err
    inside = vgg("predict", "--join", out, "-o", out / "part-00000000.jsonl", "--overwrite")
    assert (inside.code, "among the shards" in inside.err) == (2, True)
    os.unlink(out / "manifest.json")
    unfinished = vgg("predict", "--join", out, "-o", tmp_path / "all.jsonl")
    assert (unfinished.code, "is not finished" in unfinished.err) == (2, True)
    assert not list(tmp_path.glob("all.*"))


@pytest.mark.parametrize("damage", ["bytes", "note"])
def test_a_damaged_shard_is_found_and_nothing_is_put_in_place(damage: str, vgg: Vgg, tmp_path: Path) -> None:
    out = finished(tmp_path / "out", "jsonl")
    shard, note = out / "part-00000002.jsonl", out / "part-00000002.note"
    if damage == "bytes":
        shard.write_bytes(shard.read_bytes().replace(b"cat", b"dog"))
    else:
        note.unlink()
    done = vgg("predict", "--join", out, "-o", tmp_path / "all.jsonl")

    assert done.code == 4
    assert "part-00000002.jsonl" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--join", "out", "photos"], "it classifies nothing, so it takes no inputs"),
        (["--join", "out", "--ray", "local"], "it takes no --ray"),
        (["photos", "--block-size", "5"], "--block-size: it says how large shards are, and there are none"),
        (["photos", "--ray", "local"], "it writes shards into a folder. Name a folder with -o DIR"),
        (["photos", "--ray", "local", "-o", "-"], "it writes shards into a folder"),
        (["photos", "--ray", "local", "-o", "all.jsonl"], "it is a file"),
        (["photos", "--ray", "local", "-o", "out", "-f", "table"], "no such format of shards table"),
        (["photos", "--ray", "local", "-o", "out", "--sort-into", "x"], "a cluster's nodes do not sort images"),
        (["photos", "--ray", "local", "-o", "out", "--resume", "--overwrite"], "they contradict each other"),
        (["photos", "--ray", "local", "-o", "nosuch://x"], "cannot write nosuch://x"),
        (["--ray", "local", "-o", "out"], "nothing to classify"),
    ],
)
def test_command_lines_that_cannot_be(
    arguments: list[str], why: str, vgg: Vgg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all.jsonl").touch()
    done = vgg(*DEMO, *arguments)

    assert (done.code, done.out) == (2, "")
    assert why in done.err
    assert len(done.err.splitlines()) == 1


def test_a_folder_with_a_run_is_not_overwritten_unasked(vgg: Vgg, tmp_path: Path) -> None:
    out = finished(tmp_path / "out", "jsonl")
    before = json.loads((out / "manifest.json").read_text())
    done = vgg(*DEMO, tmp_path, "--ray", "local", "-o", out)
    assert (done.code, "there is a run in it" in done.err) == (2, True)
    assert json.loads((out / "manifest.json").read_text()) == before
