"""Vectors as a Parquet file: one row per input, the vector a list of fixed size, in row groups of bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from vggcli import files
from vggcli.errors import UsageError
from vggcli.json_reader import parse_json
from vggcli.output.array_file import TENSOR, read_rows
from vggcli.output.lines import json_line
from vggcli.output.parquet import import_pyarrow
from vggcli.output.readback import LONGEST_LINE
from vggcli.output.stream import check_file, in_plain_words
from vggcli.text import from_unicode, to_unicode

if TYPE_CHECKING:
    from vggcli.output.vectors import VectorCodec

_GROUP_BYTES = 32 << 20  # of the vectors in a row group
_MOST_ROWS = 8192  # in one


def check(target: Path, output: Path, *, replace: bool) -> None:
    """Refuse early what would fail at the end.

    Raises:
        UsageError: pyarrow is missing, or the file exists and is not to be replaced.
        OutputError: its folder cannot be written.
    """
    import_pyarrow()
    check_file(target, replace=replace)


def convert(codec: VectorCodec, array: Path, lines: Path, output: Path) -> None:
    """Write an array and its lines as a Parquet file, replacing `output` only when it is whole.

    Raises:
        OutputError: no room, an input/output error.
        UsageError: somebody else has written in the lines.
    """
    pa, schema = import_pyarrow(), codec.schema()

    def write(file: BinaryIO) -> None:
        with lines.open("rb") as source, pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for block in read_rows(array, codec.dimensions, codec.dtype, _rows_in_group(codec)):
                records = [_with_text(parse_json(line, LONGEST_LINE)) for line in islice(source, len(block))]
                named = {name: [record.get(name) for record in records] for name in ("path", "status", "error")}
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), type=schema.field(TENSOR).type)
                columns = [pa.array(values, schema.field(name).type) for name, values in named.items()]
                writer.write_table(pa.Table.from_arrays([*columns, vectors], schema=schema))

    try:
        with in_plain_words(output):
            files.replace_file(output, write)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # those of Arrow among them
        why = f"a line of {lines.name} is not one that this tool wrote there"
        raise UsageError("cannot finish", str(output), why, "Start anew with --overwrite") from error


def restore(codec: VectorCodec, output: Path, array: Path, header: Callable[[int], bytes], lines: Path) -> None:
    """Write the array and the lines that a finished Parquet file was made of.

    Raises:
        UsageError: it is not a Parquet file that this tool wrote.
        OutputError: no room, an input/output error.
    """
    pa = import_pyarrow()

    def write_array(file: BinaryIO) -> None:
        with pa.parquet.ParquetFile(output) as table:
            if not table.schema_arrow.equals(codec.schema()):
                raise ValueError("its columns are not those of this tool")
            file.write(header(table.metadata.num_rows))
            for group in range(table.num_row_groups):
                column = table.read_row_group(group, columns=[TENSOR]).column(0)
                for chunk in column.chunks:
                    file.write(np.ascontiguousarray(chunk.flatten().to_numpy(zero_copy_only=False), codec.dtype).data)

    def write_lines(file: BinaryIO) -> None:
        with pa.parquet.ParquetFile(output) as table:
            for group in range(table.num_row_groups):
                for row in table.read_row_group(group, columns=["path", "status", "error"]).to_pylist():
                    fields = {key: value for key, value in row.items() if value is not None}
                    file.write(json_line(_changed(fields, from_unicode)))

    try:
        with in_plain_words(array):
            files.replace_file(array, write_array)
            files.replace_file(lines, write_lines)
    except (pa.ArrowException, ValueError) as error:
        why = "it is not a Parquet file that this tool wrote"
        raise UsageError("cannot resume", str(output), why, "Start anew with --overwrite") from error


def _rows_in_group(codec: VectorCodec) -> int:
    return max(1, min(_MOST_ROWS, _GROUP_BYTES // codec.row_bytes))


def _with_text(fields: dict[str, Any]) -> dict[str, Any]:
    return _changed(fields, to_unicode)


def _changed(fields: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """A record with its texts changed: Parquet holds only valid Unicode (`vggcli.text.to_unicode`)."""
    return {
        key: {name: change(text) for name, text in value.items()} if isinstance(value, dict) else change(value)
        for key, value in fields.items()
    }
