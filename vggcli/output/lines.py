"""Records as lines: tsv, csv, jsonl.

A record is encoded whole and written at once.  No line holds a raw control character, a line or paragraph separator,
a bidirectional override or a byte that is not UTF-8, so every tool counts the same lines (see `vggcli.text`).

Probabilities carry six decimals: float32 softmax holds about seven digits, and fewer would hide the differences
between engines and precisions that people compare these files for.  A probability that is not a number (a network
with NaN weights) is `nan` in tsv and csv and `null` in jsonl, which has no other word for it.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from typing import Any

from vggcli.output.stream import Stream
from vggcli.records import Record, Settings
from vggcli.text import escape, guard_formula

COLUMNS = ("path", "rank", "index", "label", "probability", "error")
DECIMALS = 6
TRUNCATED = "truncated: the image data ends early, the prediction rests on its first part"

_JSON_UNSAFE = re.compile(r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _rows(record: Record) -> list[tuple[str, ...]]:
    """The cells of a record, unescaped: one row a prediction, or the one row of a failure."""
    if record.failure is not None:
        return [(record.path, "", "", "", "", f"{record.failure.kind}: {record.failure.message}")]
    if not record.predictions:
        raise ValueError(f"record of {record.path!r} has neither predictions nor a failure")
    error = TRUNCATED if record.truncated else ""
    return [
        (record.path, str(p.rank), str(p.index), p.label, f"{p.probability:.{DECIMALS}f}", error)
        for p in record.predictions
    ]


def encode_tsv(record: Record) -> bytes:
    """The record as tab-separated rows, columns as in `COLUMNS`, cells escaped by `vggcli.text.escape`."""
    return "".join("\t".join(map(escape, row)) + "\n" for row in _rows(record)).encode()


def encode_csv(record: Record) -> bytes:
    """The record as RFC 4180 rows (lines end in a newline alone); text cells are guarded, then escaped.

    A path, label or error that a spreadsheet would run as a formula begins with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for path, rank, index, label, probability, error in _rows(record):
        path, label, error = (escape(guard_formula(cell)) for cell in (path, label, error))
        writer.writerow((path, rank, index, label, probability, error))
    return text.getvalue().encode()


def encode_jsonl(record: Record) -> bytes:
    """The record as one JSON object on one line; undecodable bytes of the path as lone surrogates (`\\udcXX`)."""
    fields: dict[str, Any] = {"path": record.path, "status": "error" if record.failure else "ok"}
    if record.failure:
        fields["error"] = {"kind": record.failure.kind, "message": record.failure.message}
    elif not record.predictions:
        raise ValueError(f"record of {record.path!r} has neither predictions nor a failure")
    if record.truncated:
        fields["truncated"] = True
    fields["predictions"] = [
        {
            "rank": p.rank,
            "index": p.index,
            "label": p.label,
            "probability": round(float(p.probability), DECIMALS) if math.isfinite(p.probability) else None,
        }
        for p in record.predictions
    ]
    text = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    # Outside its strings JSON is plain ASCII, so whatever is found here stands in a string, where \uXXXX is allowed.
    return (_JSON_UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text) + "\n").encode()


ENCODERS: dict[str, Callable[[Record], bytes]] = {"tsv": encode_tsv, "csv": encode_csv, "jsonl": encode_jsonl}
HEADERS = {"tsv": b"", "csv": (",".join(COLUMNS) + "\n").encode(), "jsonl": b""}


class LineSink:
    """Writes records as lines of one format.

    Args:
        format: a key of `ENCODERS`.
        stream: where the lines go; a header is written where the stream still stands at its beginning.
    """

    def __init__(self, format: str, stream: Stream) -> None:
        self.stream = stream
        self._encode, self._header = ENCODERS[format], HEADERS[format]

    def write(self, record: Record) -> None:
        """Write one record; see `Stream.write` for the errors."""
        self._begin()
        self.stream.write(self._encode(record))

    def _begin(self) -> None:
        if self._header and self.stream.position == 0:
            self.stream.write(self._header)

    def close(self, settings: Settings | None = None) -> None:
        """Finish; a csv without records is its header. The settings are not part of these formats."""
        self._begin()
        self.stream.close()

    def suspend(self) -> None:
        """Leave off in the middle of a run, with every record written so far in place."""
        self.stream.close()
