"""Predictions of a finished run, read back: the same records from every format, and nobody else's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sink_examples import RECORDS, SETTINGS, TOP_2, VectorCodec

from vggcli.errors import UsageError
from vggcli.output.finished import read_records, settings_of
from vggcli.output.resume import open_output
from vggcli.records import Prediction, Record

EMPTY = Record("none\\left.jpg")
ALL = (*RECORDS, EMPTY, Record("=1+1.jpg", (Prediction(1, 7, "-x", 0.5),), truncated=True))
PREDICTION = (
    '{"path": "a", "status": "ok", "predictions": [{"rank": 1, "index": 1, "label": "x", "probability": 0.5}]}\n'
)


def written(path: Path, format: str) -> Path:
    with open_output(format, path, type(TOP_2)(2, 0.1), SETTINGS) as output:
        for record in ALL:
            output.write(record)
    return path


@pytest.mark.parametrize("format", ["jsonl", "tsv", "csv", "parquet"])
def test_every_format_gives_the_same_records(format: str, tmp_path: Path) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    path = written(tmp_path / f"out.{format}", format)

    def rounded(record: Record) -> tuple[object, ...]:
        classes = [(p.rank, p.index, p.label, round(p.probability, 6)) for p in record.predictions]
        return record.path, classes, record.failure, record.truncated

    assert list(map(rounded, read_records(path))) == list(map(rounded, ALL))
    assert settings_of(path)["weights"] == SETTINGS.weights


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "out.jsonl", "jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])

    assert [record.path for record in read_records(path)] == [record.path for record in ALL[:-1]]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jsonl", '{"path": "a.jpg"}\n', "line 1 is not one that vgg predict wrote"),
        ("a.jsonl", "[]\n", "line 1 is not one that vgg predict wrote"),
        ("a.jsonl", '{"path": 1, "status": "ok", "predictions": []}\n', "line 1 is not"),
        ("a.jsonl", '{"path": "a", "status": "ok", "predictions": [{"rank": 1, "index": "x"}]}\n', "line 1 is not"),
        ("a.jsonl", PREDICTION.replace("0.5", "7"), "line 1 is not"),
        ("a.jsonl", PREDICTION.replace("0.5", "1" + 400 * "0"), "line 1 is not"),
        ("a.jsonl", PREDICTION.replace('"index": 1', '"index": true'), "line 1 is not"),
        ("a.tsv", "a\t1\tx\tone\t0.5\t\n", "line 1 is not"),
        ("a.csv", "path,label\na.jpg,cat\n", "line 1 is not"),
        ("a.csv", "path,rank,index,label,probability,error\na.jpg,2,0,x,0.5,\n", "line 2 is not"),
        ("a.tsv", "a.jpg\t1\t0\tx\t0.5\t\nb.jpg\t2\t0\tx\t0.5\t\n", "line 2 is not"),
        ("a.tsv", "a.jpg\t1\t0\tx\t0.5\t\na.jpg\t2\t1\ty\tinf\t\n", "line 2 is not"),
        ("a.tsv", "a.jpg\t\t\t\t\tno colon\n", "line 1 is not"),
        ("a.tsv", "\udcff\tx\n", "line 1 is not"),
        ("a.parquet", "no parquet", "it is not a readable Parquet file"),
        ("a.html", "", "its ending is none of .tsv, .csv, .jsonl, .ndjson, .parquet"),
        ("missing/a.csv", None, "there is no such file"),
    ],
)
def test_what_is_no_file_of_predictions_is_refused(name: str, content: str | None, why: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as caught:
        list(read_records(tmp_path / name))

    assert caught.value.why.startswith(why)
    assert caught.value.where == str(tmp_path / name)


def test_a_folder_of_shards_is_to_be_joined_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"it is a folder. Make one file of its shards with vgg predict --join"):
        list(read_records(tmp_path))


def test_records_of_another_kind_are_told_by_their_settings(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    (tmp_path / "out.jsonl.vgg.json").write_text(json.dumps({"format": "jsonl", "records": VectorCodec.kind}))
    with pytest.raises(UsageError, match=f"its records are {VectorCodec.kind}"):
        settings_of(path)
    (tmp_path / "out.jsonl.vgg.json").write_text("{")
    with pytest.raises(UsageError, match=r"cannot read settings .*: it is no JSON"):
        settings_of(path)
    (tmp_path / "out.jsonl.vgg.json").unlink()
    assert settings_of(path) == {}
