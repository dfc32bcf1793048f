"""`vgg predict` on archives, addresses and tables: what holds for files holds for them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Vgg
from httpserver import FaultServer, reply
from predict_examples import DEMO, DIGITS, LABELS, digit, notes, outcomes_of_jsonl
from source_examples import tar, written, zip_of

import vggcli
from vggcli.images.counting import UncountableError, count

NAMES = [f"{label}.png" for label in LABELS]
MEMBERS = {name: (DIGITS / name).read_bytes() for name in NAMES}
BROKEN = {**dict(list(MEMBERS.items())[:3]), "text.png": b"no image\n" * 9, **dict(list(MEMBERS.items())[3:])}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def sources(tmp_path: Path, server: FaultServer) -> dict[str, list[tuple[str, str]]]:
    """What may be named, and the path and outcome of each of its records."""
    for name, data in {"a.tar": tar(BROKEN), "a.tgz": tar(BROKEN, "w:gz"), "a.zip": zip_of(BROKEN)}.items():
        written(tmp_path / name, data)
    outcomes = [(name, "unsupported" if name == "text.png" else name[:-4]) for name in BROKEN]
    named = [str(tmp_path / name) for name in ("a.tar", "a.tgz", "a.zip")] + [server.add(tar(BROKEN), "b.tar")]
    found = {path: [(f"{path}::{name}", outcome) for name, outcome in outcomes] for path in named}
    found |= {server.add(data, name): [(f"{server.url}/{name}", dict(outcomes)[name])] for name, data in BROKEN.items()}
    return found | {str(DIGITS): [(str(digit(label)), label) for label in sorted(LABELS)]}


Sources = dict[str, list[tuple[str, str]]]


def test_one_record_for_every_input_in_order(sources: Sources, vgg: Vgg) -> None:
    output = vgg(*DEMO, "-f", "jsonl", "--allow-private", "-j", "1", *sources)
    assert output.code == 1
    assert outcomes_of_jsonl(output.out) == [record for records in sources.values() for record in records]


def test_numbers_are_those_of_the_files(tmp_path: Path, sources: Sources) -> None:
    with vggcli.load("demo", allow_private=True, batch_size=1) as vgg:
        plain = {record.path: record.predictions for record in vgg.predict(str(DIGITS))}
        for record in vgg.predict(list(sources)):
            if record.ok and record.path is not None:
                name = record.path.replace("::", "/").rpartition("/")[2]
                assert record.predictions == plain[str(DIGITS / name)]
        assert vgg.classify(f"{tmp_path}/a.tgz::two.png").predictions[0].label == "two"


@pytest.mark.parametrize("kept", [4, 47])
def test_a_resumed_run_ends_with_the_same_bytes_and_tries_failures_again(
    kept: int, sources: Sources, tmp_path: Path, vgg: Vgg, server: FaultServer
) -> None:
    whole, out = tmp_path / "whole.tsv", tmp_path / "out.tsv"
    options = [*DEMO, "-k", "1", "--allow-private", "-b", "1", *sources]
    vgg(*options, "-o", whole)
    lines = whole.read_bytes().splitlines(keepends=True)
    failed = [line for line in lines if b"\t\t\t\t\t" in line]
    assert len(lines) == sum(map(len, sources.values()))
    out.write_bytes(b"".join(lines[:kept]))
    Path(f"{out}.vgg.json").write_bytes(Path(f"{whole}.vgg.json").read_bytes())

    output = vgg(*options, "-o", out, "--resume")

    again = sum(line in failed for line in lines[:kept])
    assert f", {kept - again} kept from before" in notes(output)[-1] or kept in (0, again)
    assert out.read_bytes() == whole.read_bytes()


def test_a_bucket_of_failures_stops_where_it_shall(server: FaultServer, vgg: Vgg) -> None:
    server.always = reply(404)
    output = vgg(*DEMO, "--allow-private", "--max-errors", "1", *(f"{server.url}/{number}.png" for number in range(9)))
    assert output.code == 4
    assert len(output.out.splitlines()) == 2


def test_sorted_copies_of_members_and_objects(sources: Sources, tmp_path: Path, vgg: Vgg) -> None:
    evil = dict.fromkeys(("../../up.png", "/abs.png", "x\n.png", "d/..", ".png"), MEMBERS["one.png"])
    sources[written(tmp_path / "e.tar", tar(evil))] = []
    into = tmp_path / "sorted"
    for placed in (6 * 10 + 4, 0):
        output = vgg(*DEMO, "-k", "1", "--allow-private", *sources, "--sort-into", into, "-f", "tsv")
        assert f", {placed} sorted into " in output.err
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "a.tgz", "a.zip", "e.tar", "sorted"]
    names = {path.name for path in (into / "one").iterdir()}
    assert names == {"one.png", *(f"one~{n}.png" for n in range(2, 7)), "up.png", "abs.png", "x\\n.png", "\\x2e."}
    assert (into / "two" / "two~6.png").read_bytes() == MEMBERS["two.png"]


def test_links_to_what_is_no_file_are_refused(tmp_path: Path, sources: Sources, vgg: Vgg) -> None:
    listed = written(tmp_path / "list", f"{tmp_path}/a.tar::two.png\n".encode())
    output = vgg(*DEMO, "--files-from", listed, "--sort-into", tmp_path / "s", "--link")
    assert output.code == 1
    assert "it is no file of its own" in output.err
    for name in (f"{tmp_path}/a.tar", f"{tmp_path}/a.tar::two.png", "https://example.org/a.png"):
        output = vgg(*DEMO, name, "--sort-into", tmp_path / "s", "--link")
        assert (output.code, output.out) == (2, "")


def test_an_archive_that_is_read_is_never_written(tmp_path: Path, sources: Sources, vgg: Vgg) -> None:
    archive = tmp_path / "a.tar"
    before = archive.read_bytes()
    for name in (archive, f"{archive}::two.png", f"file://{archive}"):
        output = vgg(*DEMO, name, "-o", archive, "--overwrite", "-f", "csv")
        assert (output.code, "this run reads" in output.err) == (2, True)
    assert archive.read_bytes() == before


def test_paths_from_columns(tmp_path: Path, sources: Sources, vgg: Vgg) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    paths = [str(digit("two")), "", f"{tmp_path}/a.zip::six.png", f"{tmp_path}/a.tar"]
    expected = [(paths[0], "two"), (paths[2], "six"), *sources[paths[3]]]
    rows = "".join(f'{number},"{path}"\r\n' for number, path in enumerate(paths))
    tables = [written(tmp_path / "t.csv", f"\ufeffid,path\r\n{rows}\r\n9\r\n".encode())]
    tables.append(written(tmp_path / "t.tsv", ("path\tid\n" + "".join(f"{path}\t7\n" for path in paths)).encode()))
    tables.append(str(tmp_path / "t.parquet"))
    parquet.write_table(pyarrow.table({"path": [path or None for path in paths], "n": [1, 2, 3, 4]}), tables[2])
    for table in tables:
        output = vgg(*DEMO, "-f", "jsonl", "--files-from", table, "--column", "path")
        assert outcomes_of_jsonl(output.out) == expected
        assert list(count((), table, recursive=False, null=False, column="path"))[-1] == len(expected)
        output = vgg(*DEMO, "--files-from", table, "--column", "none")
        assert (output.code, "there is no column none in" in output.err) == (2, True)
    for arguments, word in (
        (["--files-from", tables[2], "--column", "n"], "it holds int64"),
        (["--files-from", written(tmp_path / "x.parquet", b"PAR1"), "--column", "path"], "cannot read the table"),
        (["--files-from", tmp_path / "none.csv", "--column", "path"], "no such file"),
        (["--column", "path"], "there is none"),
        (["--files-from", tables[0], "--column", "path", "-0"], "contradict"),
    ):
        output = vgg(*DEMO, str(DIGITS), *arguments)
        assert (output.code, word in output.err) == (2, True), output


def test_two_sides_are_compared_on_what_a_column_names(tmp_path: Path, sources: Sources, vgg: Vgg) -> None:
    url = next(path for path in sources if path.startswith("http") and path.endswith("two.png"))
    table = tmp_path / "list.csv"
    table.write_text(f"where\n{tmp_path}/a.tar::two.png\n{url}\n")
    arguments = ("compare", *DEMO[1:], "-q", "--files-from", table, "--column", "where", "--against-engine", "torch")

    refused, found = vgg(*arguments, "-f", "json"), vgg(*arguments, "--allow-private", "-f", "json")

    assert (refused.code, json.loads(refused.out)["images"], json.loads(refused.out)["failures"]) == (
        1,
        1,
        {"network": 1},
    )
    assert (found.code, json.loads(found.out)["images"], json.loads(found.out)["failures"]) == (0, 2, {})


def test_what_can_be_counted_is_counted(tmp_path: Path, sources: Sources, server: FaultServer) -> None:
    def counted(*inputs: str) -> int:
        return list(count(inputs, None, recursive=False, null=False))[-1]

    tarred, gzipped, zipped, remote, *_ = sources
    assert counted(tarred, zipped, f"{zipped}::six.png", f"{server.url}/x.png", str(DIGITS)) == 11 + 11 + 1 + 1 + 10
    assert counted(f"file://{DIGITS}", f"{tmp_path}/{{a,b}}.tar") == 10 + 12
    for uncountable in (gzipped, remote, "s3://bucket/"):
        with pytest.raises(UncountableError):
            counted(uncountable)


def test_what_was_named_is_looked_for_before_weights_are_fetched(tmp_path: Path, sources: Sources, vgg: Vgg) -> None:
    written(tmp_path / "empty.tar", tar({"a.txt": b"x"}))
    fetching = ("predict", "--offline", "--arch", "vgg11")
    assert vgg(*fetching, tmp_path / "empty.tar").code == 1
    for name in (f"{tmp_path}/none.tar", f"{tmp_path}/none.zip::a.png"):
        assert vgg(*fetching, name).code == 2
    for name in (*list(sources)[:5], f"{tmp_path}/a.tar::two.png", "https://example.org/a.png"):
        assert vgg(*fetching, name).code == 3  # the weights are what is missing


def test_times_that_cannot_be_are_refused(vgg: Vgg) -> None:
    for seconds in ("0", "-1", "nan", "inf"):
        assert vgg(*DEMO, digit("two"), "--timeout", seconds).code == 2
    with pytest.raises(TypeError, match="timeout"):
        vggcli.load("demo", timeout="soon")  # type: ignore[arg-type]
