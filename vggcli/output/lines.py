"""Records as lines: tsv, csv, jsonl.

A record is encoded whole and written at once.  No line holds a raw control character, a line or paragraph separator,
a character that reorders or is not seen, or a byte that is not UTF-8, so every tool counts the same lines (see
`vggcli.text`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic

from vggcli.output.codec import R, RowCodec
from vggcli.output.stream import Stream
from vggcli.text import escape, escape_json, guard_formula

if TYPE_CHECKING:
    from vggcli.output.sidecar import RunSettings

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)  # `json.dumps` would make one for each record


def encode_tsv(codec: RowCodec[R], record: R) -> bytes:
    """The record as tab-separated rows, cells escaped by `vggcli.text.escape`."""
    return "".join("\t".join(map(escape, row)) + "\n" for row in codec.rows(record)).encode()


def encode_csv(codec: RowCodec[R], record: R) -> bytes:
    """The record as RFC 4180 rows (lines end in a newline alone); text cells are guarded, then all are escaped.

    A path, label or error that a spreadsheet would run as a formula begins with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in codec.rows(record):
        writer.writerow(
            escape(guard_formula(cell) if column in codec.text_columns else cell)
            for column, cell in zip(codec.columns, row, strict=True)
        )
    return text.getvalue().encode()


def encode_jsonl(codec: RowCodec[R], record: R) -> bytes:
    """The record as one JSON object on one line; undecodable bytes of the path as lone surrogates (`\\udcXX`)."""
    return json_line(codec.to_json(record))


def json_line(fields: dict[str, Any]) -> bytes:
    """A JSON object on one line.

    Raises:
        ValueError: it holds NaN or an infinity.
    """
    text = _JSON.encode(fields)
    # Outside its strings JSON is plain ASCII, so whatever is found here stands in a string, where \uXXXX is allowed.
    return (escape_json(text) + "\n").encode()


ENCODERS: dict[str, Callable[[RowCodec[Any], Any], bytes]] = {
    "tsv": encode_tsv,
    "csv": encode_csv,
    "jsonl": encode_jsonl,
}


def header(format: str, codec: RowCodec[Any]) -> bytes:
    """What stands before the first record of a file: the names of the columns in csv, nothing in tsv and jsonl."""
    return (",".join(codec.columns) + "\n").encode() if format == "csv" else b""


class LineSink(Generic[R]):
    """Writes records as lines of one format.

    Args:
        format: a key of `ENCODERS`.
        codec: of the records.
        stream: where the lines go; a header is written where the stream still stands at its beginning.
    """

    def __init__(self, format: str, codec: RowCodec[R], stream: Stream) -> None:
        self.stream = stream
        self._encode, self._codec, self._header = ENCODERS[format], codec, header(format, codec)

    def encode(self, record: R) -> bytes:
        """The lines of one record."""
        return self._encode(self._codec, record)

    def write(self, record: R) -> None:
        """Write one record; see `Stream.write` for the errors."""
        lines = self.encode(record)
        self._begin()
        self.stream.write(lines)

    def write_again(self, number: int, record: R) -> bytes:
        """Take another record in the place of one that was written.

        Args:
            number: of the record that it replaces, from 0.

        Returns:
            Its lines, for whoever puts them into their place.
        """
        return self.encode(record)

    def cut(self, size: int, count: int) -> None:
        """Drop everything behind the first `count` records, which end at the byte `size`."""
        self.stream.cut(size)

    def _begin(self) -> None:
        if self._header and self.stream.position == 0:
            self.stream.write(self._header)

    def close(self, settings: RunSettings | None = None) -> None:
        """Finish; a csv without records is its header. The settings are not part of these formats."""
        self._begin()
        self.stream.check_is_in_place()
        self.stream.close()

    def suspend(self) -> None:
        """Leave off in the middle of a run, with every record written so far in place."""
        self.stream.close()
