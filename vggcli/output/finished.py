"""The records of a finished run of `vgg predict`, read back whole: jsonl, csv, tsv or parquet."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vggcli.errors import UsageError
from vggcli.json_reader import parse_json, read_json
from vggcli.output.predictions import PredictionCodec
from vggcli.output.readback import LONGEST_LINE
from vggcli.records import TRUNCATED, Failure, Prediction, Record
from vggcli.text import unescape, unguard_formula

_ENDINGS = {".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_WHAT = "cannot read the predictions"
_NEXT = "Give a jsonl, csv, tsv or parquet file that vgg predict wrote"
_CODEC = PredictionCodec(1)


def read_records(path: str) -> Iterator[Record]:
    """Every record of a file, one at a time, in its order; a last line that a kill tore is passed over.

    Raises:
        UsageError: at the first record where the file cannot be read or has another ending than those of the formats;
            later where a line is not one that `vgg predict` writes.
    """
    format = _ENDINGS.get(Path(path).suffix.lower())
    if format is None:
        raise UsageError(_WHAT, path, f"its ending is none of {', '.join(_ENDINGS)}", _NEXT)
    try:
        if format == "parquet":
            yield from map(_of_json, map(json.loads, _parquet_lines(path)))
            return
        with open(path, "rb") as file:
            lines = _whole_lines(iter(lambda: file.readline(LONGEST_LINE), b""))
            yield from _of_lines(lines, path) if format == "jsonl" else _of_rows(lines, format, path)
    except OSError as error:
        raise UsageError(_WHAT, path, (error.strerror or str(error)).lower(), _NEXT) from error


def read_settings(path: str) -> dict[str, Any]:
    """The settings of the run that wrote a file, as its sidecar has them; empty where there is none to be read."""
    from vggcli.output.sidecar import sidecar_path

    try:
        found = read_json(sidecar_path(Path(path)))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _parquet_lines(path: str) -> Iterator[bytes]:
    from vggcli.output.parquet import read_lines

    try:
        yield from read_lines(_CODEC, Path(path), path)
    except UsageError as error:
        raise UsageError(_WHAT, path, error.why, _NEXT) from error


def _whole_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
            return
        yield number, line


def _of_lines(lines: Iterable[tuple[int, bytes]], path: str) -> Iterator[Record]:
    for number, line in lines:
        try:
            yield _of_json(parse_json(line, LONGEST_LINE))
        except (ValueError, KeyError, TypeError) as error:
            raise _foreign(path, number) from error


def _of_json(fields: dict[str, Any]) -> Record:
    """The record of an object that `PredictionCodec.to_json` gave; ValueError, KeyError or TypeError for another."""
    path = fields["path"]
    if not isinstance(path, str):
        raise TypeError("a path is text")
    if not {"ok": True, "error": False}[fields["status"]]:
        return Record(path, failure=Failure(str(fields["error"]["kind"]), str(fields["error"]["message"])))
    found = tuple(_prediction(p["rank"], p["index"], p["label"], p["probability"]) for p in fields["predictions"])
    return Record(path, found, truncated=bool(fields.get("truncated", False)))


def _prediction(rank: object, index: object, label: object, probability: object) -> Prediction:
    """A prediction of values as they were read; ValueError or TypeError where they are none."""
    number = math.nan if probability is None else float(probability)  # type: ignore[arg-type]
    if type(rank) is not int or type(index) is not int or not isinstance(label, str):
        raise TypeError("no prediction")
    if number == number and not 0 <= number <= 1:
        raise ValueError("no probability")
    return Prediction(rank, index, label, number)


def _of_rows(lines: Iterable[tuple[int, bytes]], format: str, path: str) -> Iterator[Record]:
    """Rows that begin with rank 1, or have none, begin a record."""
    record: Record | None = None
    for number, line in lines:
        try:
            cells = _cells(line.decode(), format)
            if number == 1 and format == "csv":
                if cells != list(_CODEC.columns):
                    raise ValueError("another header")
                continue
            name, rank, index, label, probability, error = cells
            if rank in ("", "1") and record is not None:
                yield record
                record = None
            if rank == "":
                yield Record(name, failure=_failure(error))
                continue
            found = _prediction(int(rank), int(index), label, float(probability))
            before = record.predictions if record is not None and record.path == name else ()
            if found.rank != len(before) + 1:
                raise ValueError("a rank is missing")
            record = Record(name, (*before, found), truncated=error == TRUNCATED)
        except (ValueError, TypeError, csv.Error) as wrong:
            raise _foreign(path, number) from wrong
    if record is not None:
        yield record


def _cells(line: str, format: str) -> list[str]:
    if format == "tsv":
        return [unescape(cell) for cell in line[:-1].split("\t")]
    (row,) = csv.reader([line], strict=True)
    cells: Sequence[tuple[str, str]] = list(zip(_CODEC.columns, map(unescape, row), strict=True))
    return [unguard_formula(cell) if column in _CODEC.text_columns else cell for column, cell in cells]


def _failure(error: str) -> Failure | None:
    if error in ("", TRUNCATED):
        return None  # no class was probable enough
    kind, _, message = error.partition(": ")
    return Failure(kind, message)


def _foreign(path: str, line: int) -> UsageError:
    return UsageError(_WHAT, path, f"line {line} is not one that vgg predict writes", _NEXT)
