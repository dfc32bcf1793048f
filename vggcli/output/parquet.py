"""Records as a Parquet file, one row per input.

A Parquet file is unreadable until its last byte is written, so records first go, each at once, to a journal of JSON
lines beside it.  Closing turns the journal into the file, in bounded memory, and only then removes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vggcli import files
from vggcli.errors import OutputError, UsageError
from vggcli.json_reader import parse_json
from vggcli.output.codec import R, RowCodec
from vggcli.output.lines import LineSink, json_line
from vggcli.output.readback import LONGEST_LINE
from vggcli.output.stream import in_plain_words, open_file
from vggcli.text import from_unicode, to_unicode

if TYPE_CHECKING:
    from vggcli.output.sidecar import RunSettings

# A row group ends at whichever comes first, so that memory is bounded for long rows as well: the values are those in
# the lists of the rows, of which a prediction holds four (about 100 MB for `--top-k 1000`).
ROWS_IN_GROUP = 8192
VALUES_IN_GROUP = 524288

_Row = dict[str, Any]


def journal_path(output: Path) -> Path:
    """The journal beside a Parquet file, present only while a run is unfinished."""
    return output.with_name(output.name + ".journal.jsonl")


class ParquetSink(LineSink[R]):
    """Writes records to the journal, and the Parquet file when closed.

    Args:
        codec: of the records.
        output: path of the Parquet file.
        overwrite: replace an existing file, when closing, and an existing journal, now.
        resume: go on with an existing journal.

    Raises:
        UsageError: there is a file or a journal and neither was asked for, or pyarrow is missing.
        OutputError: the path cannot be written.
    """

    def __init__(self, codec: RowCodec[R], output: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        import_pyarrow()
        self._output = Path(os.path.realpath(output))
        self._journal = journal_path(self._output)
        if self._output.is_dir():
            raise OutputError("cannot write", str(output), "is a directory", "Name a file with -o")
        if self._output.exists() and not (overwrite or resume):
            raise UsageError(
                "will not overwrite", str(output), "the file exists", "Add --resume to go on with it or --overwrite"
            )
        super().__init__(
            "jsonl", codec, open_file(self._journal, overwrite=overwrite, resume=resume, follow_links=False)
        )

    def close(self, settings: RunSettings | None = None) -> None:
        """Make the Parquet file and remove the journal.

        Raises:
            OutputError: no room, an input/output error; the journal is kept and `--resume` goes on from it.
        """
        super().close(settings)
        convert(self._codec, self._journal, self._output)
        self._journal.unlink()


def convert(codec: RowCodec[Any], journal: Path, output: Path) -> None:
    """Write the records of a journal as a Parquet file, replacing `output` only when it is whole.

    The same records give the same bytes, with the same version of pyarrow.

    Raises:
        OutputError: no room, an input/output error.
        UsageError: somebody else has written in the journal.
    """
    import_pyarrow()

    def write(file: BinaryIO) -> None:
        with open(journal, "rb") as lines:
            write_parquet(codec, lines, file)

    try:
        with in_plain_words(output):
            files.replace_file(output, write)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # those of Arrow among them
        why = f"a line of {journal.name} is not one that this tool wrote there"
        raise UsageError("cannot finish", str(output), why, "Start anew with --overwrite") from error


def write_parquet(codec: RowCodec[Any], lines: Iterable[bytes], file: Any) -> None:
    """Write lines of JSON as a Parquet file, in bounded memory; see `convert`.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: a line that this tool does not write.
    """
    pa, schema = import_pyarrow(), codec.schema()
    with pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        rows = (_with_text(codec.to_parquet(parse_json(line, LONGEST_LINE)), to_unicode) for line in lines)
        for group in _groups(rows):
            writer.write_table(pa.Table.from_pylist(group, schema=schema), row_group_size=len(group))


def read_lines(codec: RowCodec[Any], source: Path | BinaryIO, where: str) -> Iterator[bytes]:
    """The lines of JSON that a Parquet file was made of.

    Args:
        codec: of the records.
        source: the file.
        where: its name, for messages.

    Raises:
        UsageError: it is not a Parquet file that this tool wrote.
    """
    for row in _stored_rows(codec, source, where):
        yield json_line(codec.from_parquet(_with_text(row, from_unicode)))


def restore(codec: RowCodec[Any], output: Path, journal: Path) -> None:
    """Write the records of a finished Parquet file as the journal that it was made from.

    Raises:
        UsageError: it is not a Parquet file that this tool wrote.
        OutputError: no room for the journal, an input/output error.
    """

    def write(file: BinaryIO) -> None:
        file.writelines(read_lines(codec, output, str(output)))

    with in_plain_words(journal):
        files.replace_file(journal, write)


def _stored_rows(codec: RowCodec[Any], source: Path | BinaryIO, where: str) -> Iterator[_Row]:
    pa = import_pyarrow()
    next_step = "Name another output with -o, or start anew with --overwrite"
    try:
        with pa.parquet.ParquetFile(source) as file:
            if not file.schema_arrow.equals(codec.schema()):
                raise UsageError("cannot resume", where, "its columns are not those of this tool", next_step)
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UsageError("cannot resume", where, "it is not a readable Parquet file", next_step) from error


def import_pyarrow() -> Any:
    """The package, with its part for Parquet.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            "cannot write parquet", "", "the package pyarrow is not installed", "Run `pip install pyarrow`"
        ) from error
    return pyarrow


def _with_text(value: Any, change: Callable[[str], str]) -> Any:
    """A row with every text in it changed: Parquet holds only valid Unicode (`vggcli.text.to_unicode`)."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _with_text(item, change) for key, item in value.items()}
    if isinstance(value, list) and any(isinstance(item, str | dict | list) for item in value):
        return [_with_text(item, change) for item in value]
    return value


def _groups(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    group: list[_Row] = []
    values = 0
    for row in rows:
        group.append(row)
        values += sum(_count(value) for value in row.values() if isinstance(value, list))
        if len(group) >= ROWS_IN_GROUP or values >= VALUES_IN_GROUP:
            yield group
            group, values = [], 0
    if group:
        yield group


def _count(values: list[Any]) -> int:
    return len(values) * (len(values[0]) if values and isinstance(values[0], dict | list) else 1)
