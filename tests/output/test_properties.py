"""For every record whatsoever: exactly its rows, nothing raw, and the same values when read back."""

from __future__ import annotations

import csv
import io
import json
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vggcli.output.lines import COLUMNS, encode_csv, encode_jsonl, encode_tsv
from vggcli.output.parquet import _record, _row
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


@st.composite
def records(draw: st.DrawFn) -> Record:
    path = draw(paths)
    if draw(st.booleans()):
        return Record(path, failure=Failure(draw(st.sampled_from(["empty", "bomb"])), draw(texts)))
    predictions = tuple(
        Prediction(rank, draw(st.integers(0, 99999)), draw(texts), draw(probabilities)) for rank in range(1, TOP_K + 1)
    )
    return Record(path, predictions, truncated=draw(st.booleans()))


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
    text = assert_plain(encode_tsv(record), len(rows), "\t\n")
    for line, row in zip(text.split("\n")[:-1], rows, strict=True):
        cells = line.split("\t")
        assert len(cells) == len(COLUMNS)
        assert [unescape(cell) for cell in cells][: len(row)] == [str(cell) for cell in row]
        assert cells[5].startswith("truncated: ") or not record.truncated


@relaxed
@given(records())
def test_csv_gives_the_same_values_back_and_no_formula(record: Record) -> None:
    rows = expected_rows(record)
    text = assert_plain(encode_csv(record), len(rows), "\n")
    for cells, row in zip(csv.reader(io.StringIO(text, newline=""), strict=True), rows, strict=True):
        assert len(cells) == len(COLUMNS)
        assert not any(unescape(cell).strip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20")) for cell in cells)
        assert [unguard_formula(unescape(cell)) for cell in cells][: len(row)] == [str(cell) for cell in row]


@relaxed
@given(records())
def test_jsonl_gives_the_same_values_back(record: Record) -> None:
    text = assert_plain(encode_jsonl(record), 1, "\n")
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


@relaxed
@given(records())
def test_a_parquet_row_gives_the_same_journal_line_back(record: Record) -> None:
    row = _row(encode_jsonl(record))
    json.dumps(row, ensure_ascii=False).encode()  # no lone surrogates are left
    assert encode_jsonl(_record(row)) == encode_jsonl(record)


@relaxed
@given(st.lists(records(), max_size=5), st.integers(0, 60))
def test_a_file_cut_anywhere_gives_its_whole_records_back(made: list[Record], torn: int) -> None:
    for format, encode in (("tsv", encode_tsv), ("csv", encode_csv), ("jsonl", encode_jsonl)):
        header = (",".join(COLUMNS) + "\n").encode() if format == "csv" else b""
        blocks = [encode(record) for record in made]
        data = header + b"".join(blocks)
        data = data[: max(len(header), len(data) - torn)]
        ends = [len(header) + sum(map(len, blocks[: number + 1])) for number in range(len(blocks))]
        whole = [
            (record.path, record.failure is not None, end)
            for record, end in zip(made, ends, strict=True)
            if end <= len(data)
        ]
        file = io.BytesIO(data)
        assert header_end(file, format, "out") == len(header)
        assert [(w.path, w.failed, w.end) for w in read_back(file, format, TOP_K, "out")] == whole
