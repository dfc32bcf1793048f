"""Paths in a column of a table: of a parquet file by its ending, else of a csv or tsv with a header."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from vggcli.errors import UsageError

if TYPE_CHECKING:
    import pyarrow.parquet

_STDIN = "-"
_NAMED = 8  # columns in a message
_ROWS = 4096  # of a parquet file, read at a time


def open_column(table: str, column: str) -> Iterator[str]:
    """The paths of a column as they are read; empty cells are no paths.

    Args:
        table: a file, or "-" for csv on standard input.
        column: its name.

    Raises:
        UsageError: at once where the table cannot be read, has no such column, or one of another type; while iterating
            where it breaks later.
    """
    if table.lower().endswith((".parquet", ".pq")):
        return _of_parquet(_opened_parquet(table, column), table, column)
    return _of_csv(*_opened_csv(table, column), table)


def _unreadable(table: str, why: str) -> UsageError:
    where = "standard input" if table == _STDIN else table
    return UsageError("cannot read the table of inputs", where, why, "Give --files-from a parquet or csv file")


def _absent(table: str, column: str, names: list[str]) -> UsageError:
    known = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    where = "standard input" if table == _STDIN else table
    return UsageError(f"there is no column {column} in", where, f"its columns are {known}", "Name one with --column")


def _opened_csv(table: str, column: str) -> tuple[TextIO, Any, int]:
    """The file, its rows behind the header, and the number of the column."""
    try:
        # Undecodable bytes as in all paths; a mark of the byte order is no part of the first name.
        source: Any = sys.stdin.fileno() if table == _STDIN else table
        file = open(  # noqa: SIM115
            source, encoding="utf-8-sig", errors="surrogateescape", newline="", closefd=table != _STDIN
        )
    except OSError as error:
        raise _unreadable(table, (error.strerror or str(error)).lower()) from error
    try:
        rows = csv.reader(file, delimiter="\t" if table.lower().endswith(".tsv") else ",")
        names = next(rows, [])
        if column not in names:
            raise _absent(table, column, names)
    except BaseException as error:
        file.close()
        if isinstance(error, OSError | csv.Error):
            raise _unreadable(table, str(error)) from error
        raise
    return file, rows, names.index(column)


def _of_csv(file: TextIO, rows: Any, number: int, table: str) -> Iterator[str]:
    with file:
        try:
            for row in rows:
                if len(row) > number and row[number]:
                    yield row[number]
        except (OSError, csv.Error) as error:
            raise _unreadable(table, f"line {rows.line_num}: {error}") from error


def _opened_parquet(table: str, column: str) -> pyarrow.parquet.ParquetFile:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        why = "pyarrow, which reads parquet, is not installed"
        raise UsageError("cannot read the table of inputs", table, why, "Run pip install pyarrow") from error
    try:
        file = parquet.ParquetFile(table)
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(table, " ".join(str(error).split())) from error
    schema = file.schema_arrow
    if column not in schema.names:
        raise _absent(table, column, schema.names)
    kind = schema.field(column).type
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise UsageError(
            f"cannot read paths from the column {column} of", table, f"it holds {kind}", "Name another one"
        )
    return file


def _of_parquet(file: pyarrow.parquet.ParquetFile, table: str, column: str) -> Iterator[str]:
    import pyarrow

    with file:
        try:
            for batch in file.iter_batches(_ROWS, columns=[column]):
                yield from filter(None, batch.column(0).to_pylist())
        except (OSError, pyarrow.ArrowException) as error:
            raise _unreadable(table, " ".join(str(error).split())) from error
