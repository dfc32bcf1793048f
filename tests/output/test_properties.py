"""For every record whatsoever: exactly its rows, nothing raw, and the same values when read back."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sink_examples import Vector, VectorCodec

from vggcli.output.codec import RowCodec
from vggcli.output.lines import ENCODERS, encode_csv, encode_jsonl, encode_tsv, header
from vggcli.output.parquet import convert, restore
from vggcli.output.predictions import PredictionCodec
from vggcli.output.readback import header_end, read_back
from vggcli.records import Failure, Prediction, Record
from vggcli.text import unescape, unguard_formula

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

NASTY = "\\\t\n\r\v\f\x1c\x00\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066\udc80\udcff\ud800'=+-@\uff1d \",;[]é日😀"


texts = st.text(st.sampled_from(NASTY) | st.characters(), max_size=20).filter(
    lambda text: not re.search(r"[\ud800-\udbff][\udc00-\udfff]", text)
)
paths = texts | st.binary(max_size=20).map(lambda name: name.decode("utf-8", "surrogateescape"))
probabilities = st.floats(0, 1)
TOP_K = 3
CODEC = PredictionCodec(TOP_K)


@st.composite
def records(draw: st.DrawFn) -> Record:
    path = draw(paths)
    if draw(st.booleans()):
        return Record(path, failure=Failure(draw(st.sampled_from(["empty", "bomb"])), draw(texts)))
    predictions = tuple(
        Prediction(rank, draw(st.integers(0, 99999)), draw(texts), draw(probabilities)) for rank in range(1, TOP_K + 1)
    )
    return Record(path, predictions, truncated=draw(st.booleans()))


@st.composite
def vectors(draw: st.DrawFn) -> Vector:
    path = draw(paths)
    if draw(st.booleans()):
        return Vector(path, failure=Failure(draw(st.sampled_from(["empty", "bomb"])), draw(texts)))
    return Vector(path, tuple(draw(st.lists(st.floats(width=32, allow_infinity=False), min_size=1, max_size=5))))


both_kinds = pytest.mark.parametrize(
    ("codec", "some"), [(CODEC, records()), (VectorCodec(), vectors())], ids=["predictions", "vectors"]
)


def assert_plain(data: bytes, rows: int, separators: str) -> str:
    """The text of the output, which holds so many lines for every reader and no raw control."""
    text = data.decode()
    assert data.count(b"\n") == len(data.splitlines()) == len(text.splitlines()) == rows
    for separator in separators:
        text = text.replace(separator, "")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)
    return data.decode()


def expected_rows(record: Record) -> list[list[object]]:
    if record.failure:
        return [[record.path, "", "", "", "", f"{record.failure.kind}: {record.failure.message}"]]
    return [[record.path, p.rank, p.index, p.label, f"{p.probability:.6f}"] for p in record.predictions]


@relaxed
@given(records())
def test_tsv_gives_the_same_values_back(record: Record) -> None:
    rows = expected_rows(record)
    text = assert_plain(encode_tsv(CODEC, record), len(rows), "\t\n")
    for line, row in zip(text.split("\n")[:-1], rows, strict=True):
        cells = line.split("\t")
        assert len(cells) == len(CODEC.columns)
        assert [unescape(cell) for cell in cells][: len(row)] == [str(cell) for cell in row]
        assert cells[5].startswith("truncated: ") or not record.truncated


@relaxed
@given(records())
def test_csv_gives_the_same_values_back_and_no_formula(record: Record) -> None:
    rows = expected_rows(record)
    text = assert_plain(encode_csv(CODEC, record), len(rows), "\n")
    for cells, row in zip(csv.reader(io.StringIO(text, newline=""), strict=True), rows, strict=True):
        assert len(cells) == len(CODEC.columns)
        assert not any(unescape(cell).strip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20")) for cell in cells)
        assert [unguard_formula(unescape(cell)) for cell in cells][: len(row)] == [str(cell) for cell in row]


@relaxed
@given(records())
def test_jsonl_gives_the_same_values_back(record: Record) -> None:
    text = assert_plain(encode_jsonl(CODEC, record), 1, "\n")
    fields = json.loads(text)
    assert list(fields) == (
        ["path", "status"]
        + ["error"] * (record.failure is not None)
        + ["truncated"] * record.truncated
        + ["predictions"]
    )
    assert fields["path"] == record.path
    assert [(p["rank"], p["index"], p["label"]) for p in fields["predictions"]] == [
        (p.rank, p.index, p.label) for p in record.predictions
    ]
    for written, p in zip(fields["predictions"], record.predictions, strict=True):
        assert abs(written["probability"] - p.probability) <= 0.5000001e-6
    if record.failure:
        assert fields["error"] == {"kind": record.failure.kind, "message": record.failure.message}


@both_kinds
@pytest.mark.parametrize("format", ENCODERS)
def test_every_kind_is_plain_lines_without_formulas(
    format: str, codec: RowCodec[Any], some: st.SearchStrategy[Any]
) -> None:
    @relaxed
    @given(some)
    def check(record: Any) -> None:
        data = ENCODERS[format](codec, record)
        rows = 1 if format == "jsonl" else len(codec.rows(record))
        text = assert_plain(data, rows, "\t\n")
        if format == "csv":
            for cells in csv.reader(io.StringIO(text, newline=""), strict=True):
                named = dict(zip(codec.columns, map(unescape, cells), strict=True))
                assert not any(named[name].strip().startswith(tuple("=+-@")) for name in codec.text_columns)

    check()


@both_kinds
def test_a_parquet_file_gives_the_same_journal_back(
    codec: RowCodec[Any], some: st.SearchStrategy[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # hundreds of files need not wait for the disk

    @relaxed
    @given(st.lists(some, max_size=4))
    def check(made: list[Any]) -> None:
        lines = b"".join(encode_jsonl(codec, record) for record in made)
        (tmp_path / "journal").write_bytes(lines)
        convert(codec, tmp_path / "journal", tmp_path / "out.parquet")
        restore(codec, tmp_path / "out.parquet", tmp_path / "restored")
        assert (tmp_path / "restored").read_bytes() == lines

    check()


@both_kinds
@pytest.mark.parametrize("format", ENCODERS)
def test_a_file_cut_anywhere_gives_its_whole_records_back(
    format: str, codec: RowCodec[Any], some: st.SearchStrategy[Any]
) -> None:
    @relaxed
    @given(st.lists(some, max_size=5), st.integers(0, 60))
    def check(made: list[Any], torn: int) -> None:
        start = header(format, codec)
        blocks = [ENCODERS[format](codec, record) for record in made]
        data = start + b"".join(blocks)
        data = data[: max(len(start), len(data) - torn)]
        ends = [len(start) + sum(map(len, blocks[: number + 1])) for number in range(len(blocks))]
        whole = [
            (record.path, record.failure is not None, end)
            for record, end in zip(made, ends, strict=True)
            if end <= len(data)
        ]
        file = io.BytesIO(data)
        assert header_end(file, format, codec, "out") == len(start)
        assert [(w.path, w.failed, w.end) for w in read_back(file, format, codec, "out")] == whole

    check()
