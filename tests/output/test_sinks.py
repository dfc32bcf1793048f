"""Each format, whole: what a program or a person reads, and which format is chosen."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest
from sink_examples import BAD, CUT, GOOD, RECORDS, SETTINGS, TOP_2, VectorCodec

from vggcli.errors import OutputError, UsageError
from vggcli.output.formats import FOR_PROGRAMS, FORMATS, choose_format
from vggcli.output.predictions import PredictionCodec
from vggcli.output.sinks import open_sink
from vggcli.records import Prediction, Record

NOTE = "truncated: the image data ends early, the prediction rests on its first part"

TSV = (
    "a.jpg\t1\t258\tSamoyed\t0.873246\t\n"
    "a.jpg\t2\t104\t=HYPERLINK(1)\t0.000000\t\n"
    "b\\t\\n.jpg\t\t\t\t\tempty: no bytes\n"
    f'd/é\\xff\\x1b[31m.jpg\t1\t0\ttench, "Tinca"\t1.000000\t{NOTE}\n'
    f"d/é\\xff\\x1b[31m.jpg\t2\t1\tx\t0.000000\t{NOTE}\n"
)

CSV = (
    "path,rank,index,label,probability,error\n"
    "a.jpg,1,258,Samoyed,0.873246,\n"
    "a.jpg,2,104,'=HYPERLINK(1),0.000000,\n"
    "b\\t\\n.jpg,,,,,empty: no bytes\n"
    f'd/é\\xff\\x1b[31m.jpg,1,0,"tench, ""Tinca""",1.000000,"{NOTE}"\n'
    f'd/é\\xff\\x1b[31m.jpg,2,1,x,0.000000,"{NOTE}"\n'
)

JSONL = (
    '{"path": "a.jpg", "status": "ok", "predictions": ['
    '{"rank": 1, "index": 258, "label": "Samoyed", "probability": 0.873246}, '
    '{"rank": 2, "index": 104, "label": "=HYPERLINK(1)", "probability": 0.0}]}\n'
    '{"path": "b\\t\\n.jpg", "status": "error", "error": {"kind": "empty", "message": "no bytes"}, "predictions": []}\n'
    '{"path": "d/é\\udcff\\u001b[31m.jpg", "status": "ok", "truncated": true, "predictions": ['
    '{"rank": 1, "index": 0, "label": "tench, \\"Tinca\\"", "probability": 1.0}, '
    '{"rank": 2, "index": 1, "label": "x", "probability": 0.0}]}\n'
)

TABLE = """\
████████▊   87.3%  Samoyed                          a.jpg
✗ empty: no bytes                                   b\\t\\n.jpg
██████████ 100.0%  tench, "Tinca"                   d/é\\xff\\x1b[31m.jpg
                   truncated: the image data ends early, the prediction rests on its first part
vgg16_bn, weights vgg16_bn-6c64b313.pth, squash 224, torch engine on cpu in fp32
"""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def write_all(
    format: str, output: Path | None, records: tuple[Record, ...] = RECORDS, codec: PredictionCodec = TOP_2
) -> None:
    sink = open_sink(format, output, codec)
    for record in records:
        sink.write(record)
    sink.close(SETTINGS)


@pytest.mark.parametrize(("format", "text"), [("tsv", TSV), ("csv", CSV), ("jsonl", JSONL), ("table", TABLE)])
def test_whole_output_on_standard_output_and_in_a_file(
    format: str, text: str, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    write_all(format, None)
    assert capsysbinary.readouterr().out.decode() == text
    write_all(format, tmp_path / "out")
    assert (tmp_path / "out").read_bytes().decode() == text


@pytest.mark.parametrize(("format", "text"), [("tsv", ""), ("csv", CSV.splitlines()[0] + "\n"), ("jsonl", "")])
def test_output_of_no_records(format: str, text: str, tmp_path: Path) -> None:
    write_all(format, tmp_path / "out", ())
    assert (tmp_path / "out").read_bytes().decode() == text


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "table"])
def test_a_record_is_on_the_disk_before_the_next_is_made(format: str, tmp_path: Path) -> None:
    sink = open_sink(format, tmp_path / "out", TOP_2)
    sizes = []
    for record in RECORDS:
        sink.write(record)
        sizes.append((tmp_path / "out").stat().st_size)
    sink.suspend()
    assert sizes == sorted(set(sizes))
    assert (tmp_path / "out").stat().st_size == sizes[-1]


def test_a_probability_that_is_no_number_stays_valid_in_every_format(tmp_path: Path) -> None:
    record = Record("a.jpg", (Prediction(1, 0, "x", float("nan")),))
    for format in ("tsv", "csv", "jsonl"):
        write_all(format, tmp_path / format, (record,), PredictionCodec(1))
    assert (tmp_path / "tsv").read_text() == "a.jpg\t1\t0\tx\tnan\t\n"
    assert next(csv.DictReader(io.StringIO((tmp_path / "csv").read_text())))["probability"] == "nan"
    assert json.loads((tmp_path / "jsonl").read_text())["predictions"][0]["probability"] is None


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl"])
def test_a_record_of_nothing_is_a_mistake_of_the_program(format: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 predictions, not 2, and no failure"):
        write_all(format, tmp_path / "out", (Record("a.jpg"),))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("record", [dataclasses.replace(record, path=None) for record in (GOOD, BAD)])
def test_a_record_without_a_path_is_not_written(format: str, record: Record, tmp_path: Path) -> None:
    sink = open_sink(format, tmp_path / "out", TOP_2)
    with pytest.raises(ValueError, match="without a path"):
        sink.write(record)
    sink.suspend()


def test_a_kind_without_a_table_is_tsv_on_a_terminal_and_refuses_one(tmp_path: Path) -> None:
    assert choose_format("auto", None, True, VectorCodec.formats) == "tsv"
    with pytest.raises(UsageError, match=r"no such format table.*Known are auto, tsv, csv, jsonl, parquet"):
        choose_format("table", None, True, VectorCodec.formats)
    with pytest.raises(UsageError, match=r"cannot write a table: there is none of vectors\. Choose"):
        open_sink("table", tmp_path / "out", VectorCodec())
    assert ("table", *FOR_PROGRAMS) == FORMATS


@pytest.mark.parametrize(
    ("output", "is_terminal", "format"),
    [
        (None, True, "table"),
        (None, False, "tsv"),
        ("-", False, "tsv"),
        ("/dev/stdout", True, "table"),
        ("out.tsv", True, "tsv"),
        ("out.CSV", True, "csv"),
        ("out.jsonl", False, "jsonl"),
        ("out.ndjson", False, "jsonl"),
        ("out.parquet", False, "parquet"),
        ("/dev/null", False, "tsv"),
    ],
)
def test_auto_format(output: str | None, is_terminal: bool, format: str) -> None:
    assert choose_format("auto", Path(output) if output else None, is_terminal) == format


@pytest.mark.parametrize("format", ["table", "tsv", "csv", "jsonl"])
def test_the_format_asked_for_wins_over_the_ending(format: str) -> None:
    assert choose_format(format, Path("out.parquet"), True) == format
    assert choose_format(format, None, True) == format


@pytest.mark.parametrize(
    ("asked", "output", "words"),
    [
        ("auto", "out.xlsx", "ending is none of .tsv, .csv, .jsonl, .ndjson, .parquet"),
        ("auto", "out", "Name the format with -f"),
        ("json", None, "table, tsv, csv, jsonl, parquet"),
        ("parquet", None, "-o FILE"),
        ("parquet", "/dev/null", "-o FILE"),
    ],
)
def test_formats_that_cannot_be(asked: str, output: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace(".", r"\.")):
        choose_format(asked, Path(output) if output else None, False)


@pytest.mark.parametrize("format", FORMATS)
def test_an_existing_output_is_refused_and_left_alone_without_overwrite(format: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("precious")
    with pytest.raises(UsageError, match=r"exists.*--resume.*--overwrite"):
        open_sink(format, output, TOP_2)
    assert output.read_text() == "precious"
    sink = open_sink(format, output, TOP_2, overwrite=True)
    sink.write(GOOD)
    sink.close(SETTINGS)
    assert b"precious" not in output.read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_an_output_in_a_missing_folder_or_that_is_one_is_found_at_open(format: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such file or directory"):
        open_sink(format, tmp_path / "missing" / "out", TOP_2)
    with pytest.raises(OutputError, match="is a directory"):
        open_sink(format, tmp_path, TOP_2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "table"])
def test_a_link_to_a_file_is_written_through(format: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_all(format, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").stat().st_size > 0


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    first = open_sink("tsv", tmp_path / "out", TOP_2)
    first.write(GOOD)
    with pytest.raises(UsageError, match="another run"):
        open_sink("tsv", tmp_path / "out", TOP_2, overwrite=True)
    first.write(BAD)
    first.close()
    assert (tmp_path / "out").read_bytes().count(b"\n") == 3


def test_cut_is_marked_in_every_row_of_its_record(tmp_path: Path) -> None:
    write_all("tsv", tmp_path / "out", (CUT,))
    assert [row.split("\t")[5] for row in (tmp_path / "out").read_text().splitlines()] == [NOTE, NOTE]
