"""The Parquet file: every value and type, the same bytes each time, bounded groups, and its way back to a journal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sink_examples import KINDS, RECORDS, SETTINGS, TOP_2, Kind, Vector, VectorCodec

from vggcli.errors import UsageError
from vggcli.output.codec import RowCodec
from vggcli.output.lines import encode_jsonl
from vggcli.output.parquet import ROWS_IN_GROUP, convert, journal_path, restore
from vggcli.output.predictions import PredictionCodec
from vggcli.output.sinks import open_sink
from vggcli.records import Prediction, Record

pq = pytest.importorskip("pyarrow.parquet")


def write_all(output: Path, records: Sequence[Any] = RECORDS, codec: RowCodec[Any] = TOP_2) -> None:
    sink = open_sink("parquet", output, codec)
    for record in records:
        sink.write(record)
    sink.close(SETTINGS)


def test_one_row_an_input_with_every_value(tmp_path: Path) -> None:
    write_all(tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "path": "string",
        "status": "string",
        "error": "struct<kind: string not null, message: string not null>",
        "truncated": "bool",
        "predictions": "list<element: struct<rank: int32 not null, index: int32 not null, label: string not null, "
        "probability: float> not null>",
    }
    rows = table.to_pylist()
    assert [row["path"] for row in rows] == ["a.jpg", "b\t\n.jpg", "d/é\\xff\\x1b[31m.jpg"]
    assert [row["status"] for row in rows] == ["ok", "error", "ok"]
    assert [row["error"] for row in rows] == [None, {"kind": "empty", "message": "no bytes"}, None]
    assert [row["truncated"] for row in rows] == [False, False, True]
    assert [len(row["predictions"]) for row in rows] == [2, 0, 2]
    first = rows[0]["predictions"][0]
    assert (first["rank"], first["index"], first["label"]) == (1, 258, "Samoyed")
    assert first["probability"] == pytest.approx(0.873246, abs=1e-7)


def test_the_same_records_give_the_same_bytes_and_no_other_file_stays(tmp_path: Path) -> None:
    for name in ("one.parquet", "two.parquet"):
        write_all(tmp_path / name)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.parquet", "two.parquet"]


def test_no_records_are_an_empty_table(tmp_path: Path) -> None:
    write_all(tmp_path / "out.parquet", ())
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_row_groups_are_bounded(tmp_path: Path) -> None:
    line = encode_jsonl(PredictionCodec(1), Record("a.jpg", (Prediction(1, 0, "x", 0.5),)))
    (tmp_path / "journal").write_bytes(line * (2 * ROWS_IN_GROUP + 1))
    convert(TOP_2, tmp_path / "journal", tmp_path / "out.parquet")
    metadata = pq.ParquetFile(tmp_path / "out.parquet").metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [ROWS_IN_GROUP, ROWS_IN_GROUP, 1]


def test_row_groups_of_many_predictions_hold_fewer_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vggcli.output.parquet.VALUES_IN_GROUP", 16)
    write_all(tmp_path / "out.parquet", RECORDS * 2)
    metadata = pq.ParquetFile(tmp_path / "out.parquet").metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [3, 3]


def test_records_are_in_the_journal_at_once_and_the_file_appears_when_closed(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    sink = open_sink("parquet", output, TOP_2)
    sink.write(RECORDS[0])
    assert journal_path(output).read_bytes() == encode_jsonl(TOP_2, RECORDS[0])
    assert not output.exists()
    sink.suspend()
    assert journal_path(output).exists()
    assert not output.exists()


def test_a_journal_of_an_interrupted_run_is_refused_without_overwrite(tmp_path: Path) -> None:
    journal_path(tmp_path / "out.parquet").write_bytes(encode_jsonl(TOP_2, RECORDS[0]))
    with pytest.raises(UsageError, match=r"journal\.jsonl: the file exists"):
        open_sink("parquet", tmp_path / "out.parquet", TOP_2)


def test_restore_gives_the_journal_back_to_the_byte(tmp_path: Path) -> None:
    records = (*RECORDS, Record("n.jpg", (Prediction(1, 0, "literal \\xff", float("nan")), Prediction(2, 1, "", 0.0))))
    records += tuple(
        Record("", (Prediction(1, 0, "x", n / 4999), Prediction(2, 0, "x", 1 - n / 4999))) for n in range(2500)
    )
    write_all(tmp_path / "out.parquet", records)
    restore(TOP_2, tmp_path / "out.parquet", tmp_path / "journal")
    assert (tmp_path / "journal").read_bytes() == b"".join(encode_jsonl(TOP_2, record) for record in records)


def test_vectors_are_a_column_of_float32(tmp_path: Path) -> None:
    write_all(tmp_path / "out.parquet", [Vector("a.jpg", (0.5, -1e-30)), Vector("b.jpg", (1e30,))], VectorCodec())
    vectors = pq.read_table(tmp_path / "out.parquet").column("vector")
    assert str(vectors.type) == "list<element: float>"
    assert vectors.to_pylist() == [[0.5, pytest.approx(-1e-30)], [pytest.approx(1e30)]]


def test_row_groups_of_long_vectors_hold_fewer_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vggcli.output.parquet.VALUES_IN_GROUP", 16)
    write_all(tmp_path / "out.parquet", [Vector("a.jpg", (0.5,) * 8)] * 5, VectorCodec())
    metadata = pq.ParquetFile(tmp_path / "out.parquet").metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [2, 2, 1]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_restore_refuses_records_of_another_kind(kind: Kind[Any], tmp_path: Path) -> None:
    (other,) = (other for other in KINDS if other is not kind)
    write_all(tmp_path / "out.parquet", [other.record("a.jpg")], other.codec)
    with pytest.raises(UsageError, match="columns are not those"):
        restore(kind.codec, tmp_path / "out.parquet", tmp_path / "journal")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", b"text\n"])
def test_restore_refuses_what_is_no_parquet_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "out.parquet").write_bytes(content)
    with pytest.raises(UsageError, match="not a readable Parquet file"):
        restore(TOP_2, tmp_path / "out.parquet", tmp_path / "journal")
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_restore_refuses_a_table_of_others(tmp_path: Path) -> None:
    import pyarrow as pa

    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "out.parquet")
    with pytest.raises(UsageError, match="columns are not those"):
        restore(TOP_2, tmp_path / "out.parquet", tmp_path / "journal")


def test_without_pyarrow_the_hint_comes_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="pip install pyarrow"):
        open_sink("parquet", tmp_path / "out.parquet", TOP_2)
    assert list(tmp_path.iterdir()) == []
