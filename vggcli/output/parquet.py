"""Records as a Parquet file, one row an input.

A Parquet file is unreadable until its last byte is written, so records first go, each at once, to a journal of JSON
lines beside it.  Closing turns the journal into the file, in bounded memory, and only then removes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vggcli.errors import OutputError, UsageError
from vggcli.output.atomic import replace_atomically
from vggcli.output.lines import LineSink, encode_jsonl
from vggcli.output.stream import open_file
from vggcli.records import Failure, Prediction, Record, Settings
from vggcli.text import from_unicode, to_unicode

if TYPE_CHECKING:
    import pyarrow as pa

# A row group ends at whichever comes first, so that memory is bounded for `--top-k 1000` as well (about 100 MB).
ROWS_IN_GROUP = 8192
PREDICTIONS_IN_GROUP = 131072


def journal_path(output: Path) -> Path:
    """The journal beside a Parquet file, present only while a run is unfinished."""
    return output.with_name(output.name + ".journal.jsonl")


class ParquetSink(LineSink):
    """Writes records to the journal, and the Parquet file when closed.

    Args:
        output: path of the Parquet file.
        overwrite: replace an existing file, when closing, and an existing journal, now.
        resume: go on with an existing journal.

    Raises:
        UsageError: there is a file or a journal and neither was asked for, or pyarrow is missing.
        OutputError: the path cannot be written.
    """

    def __init__(self, output: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        _pyarrow()
        self._output = Path(os.path.realpath(output))
        self._journal = journal_path(self._output)
        if self._output.is_dir():
            raise OutputError("cannot write", str(output), "is a directory", "Name a file with -o")
        if self._output.exists() and not (overwrite or resume):
            raise UsageError(
                "will not overwrite", str(output), "the file exists", "Add --resume to go on with it or --overwrite"
            )
        super().__init__("jsonl", open_file(self._journal, overwrite=overwrite, resume=resume))

    def close(self, settings: Settings | None = None) -> None:
        """Make the Parquet file and remove the journal.

        Raises:
            OutputError: no room, an input/output error; the journal is kept and `--resume` goes on from it.
        """
        super().close(settings)
        convert(self._journal, self._output)
        self._journal.unlink()


def convert(journal: Path, output: Path) -> None:
    """Write the records of a journal as a Parquet file, replacing `output` only when it is whole.

    The same records give the same bytes, with the same version of pyarrow.
    """
    pq, schema = _pyarrow().parquet, _schema()

    def write(file: BinaryIO) -> None:
        with open(journal, "rb") as lines, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for group in _groups(map(_row, lines)):
                writer.write_table(_pyarrow().Table.from_pylist(group, schema=schema), row_group_size=len(group))

    replace_atomically(output, write)


def restore(output: Path, journal: Path) -> None:
    """Write the records of a finished Parquet file as the journal that it was made from.

    Raises:
        UsageError: it is not a Parquet file that this tool wrote.
    """

    def write(file: BinaryIO) -> None:
        for row in _stored_rows(output):
            file.write(encode_jsonl(_record(row)))

    replace_atomically(journal, write)


def _stored_rows(output: Path) -> Iterator[dict[str, Any]]:
    pa = _pyarrow()
    next_step = "Name another output with -o, or start anew with --overwrite"
    try:
        with pa.parquet.ParquetFile(output) as source:
            if not source.schema_arrow.equals(_schema()):
                raise UsageError("cannot resume", str(output), "its columns are not those of this tool", next_step)
            for group in range(source.num_row_groups):
                yield from source.read_row_group(group).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UsageError("cannot resume", str(output), "it is not a readable Parquet file", next_step) from error


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            "cannot write parquet", "", "the package pyarrow is not installed", "Run `pip install pyarrow`"
        ) from error
    return pyarrow


def _schema() -> pa.Schema:
    pa = _pyarrow()
    prediction = pa.struct(
        [
            pa.field("rank", pa.int32(), nullable=False),
            pa.field("index", pa.int32(), nullable=False),
            pa.field("label", pa.string(), nullable=False),
            pa.field("probability", pa.float32()),
        ]
    )
    error = pa.struct([pa.field("kind", pa.string(), nullable=False), pa.field("message", pa.string(), nullable=False)])
    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            pa.field("error", error),
            pa.field("truncated", pa.bool_(), nullable=False),
            pa.field("predictions", pa.list_(pa.field("element", prediction, nullable=False)), nullable=False),
        ]
    )


def _row(line: bytes) -> dict[str, Any]:
    """A line of the journal as a row; text that is no Unicode is escaped (`vggcli.text.to_unicode`)."""
    fields = json.loads(line)
    error = fields.get("error")
    return {
        "path": to_unicode(fields["path"]),
        "status": fields["status"],
        "error": error and {key: to_unicode(text) for key, text in error.items()},
        "truncated": fields.get("truncated", False),
        "predictions": [p | {"label": to_unicode(p["label"])} for p in fields["predictions"]],
    }


def _record(row: dict[str, Any]) -> Record:
    """The record of a row; probabilities of six decimals survive float32."""
    error = row["error"]
    return Record(
        path=from_unicode(row["path"]),
        predictions=tuple(
            Prediction(
                p["rank"],
                p["index"],
                from_unicode(p["label"]),
                float("nan") if p["probability"] is None else p["probability"],
            )
            for p in row["predictions"]
        ),
        failure=error and Failure(from_unicode(error["kind"]), from_unicode(error["message"])),
        truncated=row["truncated"],
    )


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    predictions = 0
    for row in rows:
        group.append(row)
        predictions += len(row["predictions"])
        if len(group) >= ROWS_IN_GROUP or predictions >= PREDICTIONS_IN_GROUP:
            yield group
            group, predictions = [], 0
    if group:
        yield group
