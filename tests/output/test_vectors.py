"""Vectors on disk: readable at all times, in step with their lines, and the same bytes after any interruption."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from vggcli.errors import OutputError, UsageError
from vggcli.images.discover import Input
from vggcli.output.array_file import HEADER_BYTES, HEADERS
from vggcli.output.resume import ResumableOutput
from vggcli.output.stream import Stream
from vggcli.output.vectors import VectorCodec, open_vectors, paths_path, vector_format
from vggcli.records import INFORMATION, Embedding, Failure

FLOAT32, FLOAT16 = np.dtype("<f4"), np.dtype("<f2")
PATHS = ("a.jpg", "b\t\n.jpg", "d/é\udcff.jpg", "bad.jpg", "e.jpg", "f.jpg")
FORMATS = ("npy", "safetensors", "parquet")


@dataclass(frozen=True)
class Made:
    """The settings of a run."""

    version: str = field(default="1", metadata=INFORMATION)
    layer: str = "fc7"

    def describe(self) -> str:
        return self.layer


def record(path: str, dtype: np.dtype[Any] = FLOAT32, *, fails: bool = True) -> Embedding:
    if path == "bad.jpg" and fails:
        return Embedding(path, failure=Failure("empty", "no bytes"))
    first = sum(path.encode("utf-8", "surrogateescape")) / 128
    return Embedding(path, np.array([first, -0.5, first / 4], dtype))


def opened(path: Path, dtype: np.dtype[Any] = FLOAT32, **options: Any) -> ResumableOutput[Embedding]:
    made = options.pop("made", Made())
    return open_vectors(path, VectorCodec(3, dtype), made, **options)


def write(output: ResumableOutput[Embedding], paths: Iterable[str] = PATHS, **options: Any) -> None:
    with output:
        for item in output.inputs(map(Input, paths)):
            assert item.path is not None
            output.write(record(item.path, **options))


def array_of(path: Path) -> Any:
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".safetensors":
        return load_file(path)["features"]
    return np.array(pq.read_table(path)["features"].to_pylist())


def lines_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in paths_path(path).read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT16], ids=str)
@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_by_others(format: str, dtype: np.dtype[Any], tmp_path: Path) -> None:
    path = tmp_path / f"out.{format}"
    write(opened(path, dtype), dtype=dtype)

    array = array_of(path).astype(dtype)
    expected = [record(path, dtype).vector for path in PATHS if path != "bad.jpg"]
    np.testing.assert_array_equal(np.delete(array, 3, 0), np.stack([row for row in expected if row is not None]))
    assert np.isnan(array[3]).all()
    lines = lines_of(path)
    assert [line["status"] for line in lines] == ["ok", "ok", "ok", "error", "ok", "ok"]
    assert lines[3]["error"] == {"kind": "empty", "message": "no bytes"}
    if format == "parquet":
        assert set(contents(tmp_path)) == {"out.parquet", "out.parquet.vgg.json"}
        assert pq.read_schema(path).field("features").type.list_size == 3
    else:
        assert [line["path"] for line in lines] == list(PATHS)
        assert json.loads((tmp_path / f"out.{format}.vgg.json").read_text())["records"] == "vectors"


@pytest.mark.parametrize("format", ["npy", "safetensors"])
def test_it_can_be_read_after_every_row(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"out.{format}"
    with opened(path) as output:
        for number, item in enumerate(output.inputs(map(Input, PATHS))):
            assert array_of(path).shape == (number, 3)
            assert item.path is not None
            output.write(record(item.path))


def test_a_header_has_room_for_any_number_of_any_vectors() -> None:
    for make in HEADERS.values():
        assert {len(make(count, 64 * 224**2, FLOAT32)) for count in (0, 10**12)} == {HEADER_BYTES}


@pytest.mark.parametrize("format", ["npy", "safetensors"])
def test_a_run_torn_anywhere_goes_on_to_the_same_bytes(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"out.{format}"
    write(opened(path))
    whole = contents(tmp_path)
    lines = paths_path(path)
    torn = [(size, None) for size in (0, 1, *range(HEADER_BYTES - 1, len(whole[path.name]), 9))]
    torn += [(None, size) for size in range(0, len(whole[lines.name]), 23)]
    torn += [(HEADER_BYTES + 20, 90), (HEADER_BYTES + 60, 60)]
    for array_size, lines_size in torn:
        for name, content in whole.items():
            (tmp_path / name).write_bytes(content)
        if array_size is not None:
            os.truncate(path, array_size)
        if lines_size is not None:
            os.truncate(lines, lines_size)
        write(opened(path, resume=True))
        assert contents(tmp_path) == whole, (array_size, lines_size)


@pytest.mark.parametrize("format", FORMATS)
def test_failed_rows_are_retried_in_their_places(format: str, tmp_path: Path) -> None:
    path, other = tmp_path / f"out.{format}", tmp_path / f"other.{format}"
    write(opened(path))
    write(opened(other), fails=False)

    write(opened(path, resume=True), fails=False)

    np.testing.assert_array_equal(array_of(path), array_of(other))
    assert lines_of(path) == lines_of(other)


@pytest.mark.parametrize("format", FORMATS)
def test_a_suspended_run_goes_on_where_it_left_off(format: str, tmp_path: Path) -> None:
    path, whole = tmp_path / f"out.{format}", tmp_path / f"whole.{format}"
    write(opened(whole))
    output = opened(path)
    for item in output.inputs(map(Input, PATHS[:4])):
        assert item.path is not None
        output.write(record(item.path))
    output.suspend()

    again = opened(path, resume=True)
    write(again)

    assert again.kept == 3
    assert path.read_bytes() == whole.read_bytes()


def test_a_resumed_run_with_other_settings_or_inputs_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "out.npy"
    write(opened(path))
    before = contents(tmp_path)

    with pytest.raises(UsageError, match="its layer is 'fc7', this run's is 'pool5'"):
        opened(path, resume=True, made=Made(layer="pool5"))
    with pytest.raises(UsageError, match="its record 2 is of"):
        write(opened(path, resume=True), ["a.jpg", "x.jpg"])
    with pytest.raises(UsageError, match="they contradict each other"):
        opened(path, resume=True, overwrite=True)
    assert contents(tmp_path) == before


def test_an_array_of_somebody_else_is_not_written_into(tmp_path: Path) -> None:
    path = tmp_path / "out.npy"
    write(opened(path))
    np.save(path, np.zeros((100, 4), np.float32))
    theirs = path.read_bytes()

    with pytest.raises(UsageError, match="its header is not one that this run would write"):
        write(opened(path, resume=True))
    assert path.read_bytes() == theirs
    paths_path(path).unlink()
    with pytest.raises(UsageError, match="its paths are not beside it"):
        opened(path, resume=True)
    with pytest.raises(UsageError, match="the file exists"):
        opened(path)
    assert path.read_bytes() == theirs


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.npy"
    with opened(path) as output:
        output.write(record("a.jpg"))
        with pytest.raises(UsageError, match="another run is writing it"):
            opened(path, overwrite=True)
    assert array_of(path).shape == (1, 3)


def test_paths_of_somebody_else_leave_no_array_behind(tmp_path: Path) -> None:
    (tmp_path / "out.npy.paths.jsonl").write_text("theirs")

    with pytest.raises(UsageError, match="the file exists"):
        opened(tmp_path / "out.npy")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out.npy.paths.jsonl": "theirs"}


def test_overwriting_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "out.npy"
    write(opened(path))
    write(opened(path, FLOAT16, overwrite=True), ["a.jpg"], dtype=FLOAT16)

    assert (array_of(path).shape, array_of(path).dtype) == ((1, 3), np.float16)
    assert len(lines_of(path)) == 1


@pytest.mark.parametrize("full", ["out.npy", "out.npy.paths.jsonl"])
def test_a_full_disk_leaves_both_files_at_the_same_row(
    full: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole = tmp_path / "out.npy", tmp_path / "whole.npy"
    write(opened(whole))
    plain, room = Stream._write_all, 3 if full == "out.npy.paths.jsonl" else 7  # a row is two writes

    def write_all(stream: Stream, rest: memoryview) -> None:
        nonlocal room
        if stream.where == str(tmp_path / full):
            room -= 1
            if room < 0:
                plain(stream, rest[:1])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(stream, rest)

    with monkeypatch.context() as patch:
        patch.setattr(Stream, "_write_all", write_all)
        output = opened(path)
        with pytest.raises(OutputError, match="no space left on device"):
            write(output)
    assert (
        (path.stat().st_size - HEADER_BYTES) // 12
        == len(array_of(path))
        == len(paths_path(path).read_bytes().splitlines())
    )

    write(opened(path, resume=True))
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (None, "cannot write vectors to standard output: the header of an array is written last"),
        ("-", "cannot write vectors to standard output"),
        ("out.tsv", "its ending is none of .npy, .safetensors, .parquet"),
    ],
)
def test_vectors_need_a_file_of_a_known_ending(name: str | None, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        vector_format(None if name is None else Path(name))
    assert vector_format(Path("x.NPY")) == "npy"


def test_a_record_of_another_form_is_no_row(tmp_path: Path) -> None:
    with opened(tmp_path / "out.npy") as output:
        with pytest.raises(ValueError, match="is not a vector of 3"):
            output.write(Embedding("a.jpg", np.zeros(4, np.float32)))
        with pytest.raises(ValueError, match="is not a vector of 3"):
            output.write(Embedding("a.jpg", np.zeros(3, np.float64)))
    assert array_of(tmp_path / "out.npy").shape == (0, 3)


def test_parquet_of_many_rows_has_groups_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vggcli.output.vector_tables._GROUP_BYTES", 24)
    path = tmp_path / "out.parquet"
    write(opened(path))

    assert pq.ParquetFile(path).num_row_groups == 3
    again = opened(path, resume=True)
    write(again, [*PATHS, "g.jpg"])
    assert again.kept == 5
    assert len(lines_of(path)) == 7
