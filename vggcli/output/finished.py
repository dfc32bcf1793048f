"""The predictions of a finished run, read back as records from any format that programs read."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from vggcli.errors import UsageError
from vggcli.json_reader import parse_json, read_json
from vggcli.output.formats import FOR_ENDINGS, Format
from vggcli.output.predictions import PredictionCodec
from vggcli.output.readback import LONGEST_LINE
from vggcli.output.sidecar import sidecar_path
from vggcli.records import TRUNCATED, Failure, Prediction, Record
from vggcli.text import unescape, unguard_formula

_COLUMNS = PredictionCodec.columns
_STEP = "Give the -o FILE of a vgg predict"


def format_of(path: Path) -> Format:
    """The format of a file of predictions, by its ending.

    Raises:
        UsageError: it is not there, a folder, or has another ending.
    """
    if path.is_dir():
        step = "Make one file of its shards with vgg predict --join"
        raise UsageError("cannot read predictions", str(path), "it is a folder", step)
    if not path.exists():
        raise UsageError("cannot read predictions", str(path), "there is no such file", "Check the spelling")
    format = FOR_ENDINGS.get(path.suffix.lower())
    if format is None:
        why = f"its ending is none of {', '.join(FOR_ENDINGS)}"
        raise UsageError("cannot read predictions", str(path), why, _STEP)
    return format


def settings_of(path: Path) -> dict[str, Any]:
    """What a run kept beside its output; empty where nothing is there.

    Raises:
        UsageError: the records are of another kind, or the settings cannot be read.
    """
    try:
        settings = read_json(sidecar_path(path))
        if not isinstance(settings, dict):
            raise ValueError("it is not an object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        where = str(sidecar_path(path))
        raise UsageError("cannot read settings", where, str(error), "Remove it, and they are left out") from error
    kind = settings.get("records", PredictionCodec.kind)
    if kind != PredictionCodec.kind:
        raise UsageError("cannot read predictions", str(path), f"its records are {str(kind)[:40]}", _STEP)
    return settings


def read_records(path: Path, format: Format | None = None) -> Iterator[Record]:
    """The records of a file, in order and one at a time; a last line that a kill has torn is passed over.

    Args:
        format: None for what its ending says.

    Raises:
        UsageError: see `format_of`; a line that `vgg predict` does not write; pyarrow is missing.
    """
    format = format or format_of(path)
    try:
        if format == "parquet":
            yield from _from_parquet(path)
            return
        with path.open("rb") as file:
            yield from _from_json(file, path) if format == "jsonl" else _from_rows(file, format, path)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError("cannot read predictions", str(path), why, "Look after the file") from error


def _from_parquet(path: Path) -> Iterator[Record]:
    from vggcli.output.parquet import read_lines

    try:
        for line in read_lines(PredictionCodec(1), path, str(path)):
            yield _of_object(parse_json(line, LONGEST_LINE))
    except UsageError as error:
        raise UsageError("cannot read predictions", str(path), error.why, _STEP) from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UsageError("cannot read predictions", str(path), "its rows are not those of this tool", _STEP) from error


def _from_json(file: BinaryIO, path: Path) -> Iterator[Record]:
    return _each(_lines(file), lambda line: _of_object(parse_json(line, LONGEST_LINE)), path)


def _each(lines: Iterable[tuple[int, str]], read: Callable[[str], Record], path: Path) -> Iterator[Record]:
    for number, line in lines:
        try:
            yield read(line)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise _foreign(path, number) from error


def _from_rows(file: BinaryIO, format: str, path: Path) -> Iterator[Record]:
    rows: list[list[str]] = []  # of the record that is not complete yet
    for number, line in _lines(file):
        try:
            row = _row(line, format)
            if number == 1 and format == "csv":
                if row != list(_COLUMNS):
                    raise ValueError("another header")
                continue
            if row[1] in ("", "1"):
                if rows:
                    yield _of_rows(rows)
                rows = []
            elif not rows or row[0] != rows[0][0] or int(row[1]) != len(rows) + 1:
                raise ValueError("a row out of its place")
            rows.append(row)
            _of_rows(rows[-1:])  # so that a line that is none of ours is named by its own number
        except (ValueError, csv.Error) as error:
            raise _foreign(path, number) from error
    if rows:
        yield _of_rows(rows)


def _lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    """Whole lines and their numbers; a byte that is no UTF-8 makes a line that is none of ours."""
    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
        if line.endswith(b"\n"):
            yield number, line.decode("utf-8", "replace").rstrip("\r\n")
        elif len(line) == LONGEST_LINE:
            yield number, ""


def _row(line: str, format: str) -> list[str]:
    if format == "csv":
        (cells,) = csv.reader([line], strict=True)
    else:
        cells = line.split("\t")
    if len(cells) != len(_COLUMNS):
        raise ValueError("not the columns of this tool")
    texts = [unescape(cell) for cell in cells]
    if format == "tsv":
        return texts
    texts_of_strangers = PredictionCodec.text_columns
    return [
        unguard_formula(cell) if column in texts_of_strangers else cell
        for column, cell in zip(_COLUMNS, texts, strict=True)
    ]


def _of_rows(rows: list[list[str]]) -> Record:
    path, rank, *_, error = rows[0]
    if rank == "":
        if error in ("", TRUNCATED):
            return Record(path, truncated=error == TRUNCATED)
        kind, colon, message = error.partition(": ")
        if not colon:
            raise ValueError("no failure of this tool")
        return Record(path, failure=Failure(kind, message))
    predictions = tuple(
        _prediction(int(rank), int(index), label, float(probability)) for _, rank, index, label, probability, _ in rows
    )
    return Record(path, predictions, truncated=error == TRUNCATED)


def _of_object(fields: dict[str, Any]) -> Record:
    path, status = _text(fields["path"]), fields["status"]
    if status == "error":
        error = fields["error"]
        return Record(path, failure=Failure(_text(error["kind"]), _text(error["message"])))
    if status != "ok":
        raise ValueError("no status of this tool")
    predictions = tuple(_prediction(p["rank"], p["index"], p["label"], p["probability"]) for p in fields["predictions"])
    return Record(path, predictions, truncated=bool(fields.get("truncated")))


def _prediction(rank: Any, index: Any, label: Any, probability: Any) -> Prediction:
    if type(rank) is not int or type(index) is not int:
        raise TypeError("not a whole number")
    number = math.nan if probability is None else float(probability)
    if not (math.isnan(number) or 0 <= number <= 1):
        raise ValueError("no probability")
    return Prediction(rank, index, _text(label), number)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _foreign(path: Path, line: int) -> UsageError:
    why = f"line {line} is not one that vgg predict wrote"
    return UsageError("cannot read predictions", str(path), why, _STEP)
