"""What `vgg predict` wrote, read back whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from vggcli.errors import UsageError
from vggcli.output.finished import read_records, read_settings
from vggcli.output.predictions import PredictionCodec
from vggcli.output.sinks import open_sink
from vggcli.records import Failure, Prediction, Record

RECORDS = (
    Record("a.png", (Prediction(1, 3, "three", 0.75), Prediction(2, 0, "=zero\t,", 0.125))),
    Record("b\udcff\n.png", failure=Failure("missing", "there is no such file: really")),
    Record("=c.png", (Prediction(1, 1, "o\\ne", 0.5), Prediction(2, 2, "\u202etwo", 0.25)), truncated=True),
    Record("a.png", (Prediction(1, 3, "three", 0.75), Prediction(2, 0, "=zero\t,", 0.125))),
)


def written(folder: Path, format: str, records: tuple[Record, ...] = RECORDS, min_prob: float = 0.0) -> Path:
    path = folder / f"r.{format}"
    sink = open_sink(format, path, PredictionCodec(2, min_prob))
    for record in records:
        sink.write(record)
    sink.close()
    return path


@pytest.mark.parametrize("format", ["jsonl", "csv", "tsv", "parquet"])
def test_every_format_gives_the_same_records(format: str, tmp_path: Path) -> None:
    assert tuple(read_records(str(written(tmp_path, format)))) == RECORDS


@pytest.mark.parametrize("format", ["jsonl", "csv", "tsv"])
def test_records_that_min_prob_has_shortened(format: str, tmp_path: Path) -> None:
    records = tuple(Record(f"{count}.png", RECORDS[0].predictions[:count]) for count in (0, 1, 2, 1))

    assert tuple(read_records(str(written(tmp_path, format, records, min_prob=0.1)))) == records


@pytest.mark.parametrize("format", ["jsonl", "csv", "tsv"])
def test_a_torn_last_line_is_passed_over(format: str, tmp_path: Path) -> None:
    path = written(tmp_path, format)
    path.write_bytes(path.read_bytes()[:-3])

    assert len(list(read_records(str(path)))) in (3, 4)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r.jsonl", "[]\n"),
        ("r.jsonl", '{"path": "a", "status": "ok", "predictions": [{"rank": 1, "index": "x"}]}\n'),
        (
            "r.jsonl",
            '{"path": "a", "status": "ok", "predictions": [{"rank":1,"index":1,"label":"x","probability":7}]}\n',
        ),
        ("r.csv", "path,label\na,b\n"),
        ("r.tsv", "a\t2\t1\tone\t0.5\t\n"),
        ("r.tsv", "a\t1\tx\tone\t0.5\t\n"),
        ("r.parquet", "no parquet"),
        ("r.txt", "a"),
    ],
)
def test_other_files_are_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(UsageError, match=r"cannot read the predictions .*vgg predict wrote\."):
        list(read_records(str(tmp_path / name)))


def test_the_settings_beside_a_file(tmp_path: Path) -> None:
    (tmp_path / "r.csv.vgg.json").write_text('{"labels": "abc"}')

    assert read_settings(str(tmp_path / "r.csv")) == {"labels": "abc"}
    (tmp_path / "r.csv.vgg.json").write_text("[]")
    assert read_settings(str(tmp_path / "r.csv")) == read_settings(str(tmp_path / "none.csv")) == {}
