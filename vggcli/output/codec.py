"""What the writers ask of a kind of record: its columns, its JSON object, its Parquet schema, and the way back.

A kind of record that brings a `RowCodec` gets every format, resuming and atomic replacement: `sinks`, `resume` and
`readback` know records only through it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from vggcli.errors import UsageError
from vggcli.output.formats import FOR_PROGRAMS, Format

if TYPE_CHECKING:
    import pyarrow as pa

    from vggcli.output.sinks import Sink
    from vggcli.output.stream import Stream


class HasPath(Protocol):
    """The one thing that all records have; a record that is written has one that is not None."""

    @property
    def path(self) -> str | None: ...


R = TypeVar("R", bound=HasPath)


class RowPlace(NamedTuple):
    """Where a row of tsv or csv stands.

    Attributes:
        path: the input that its record is of.
        number: 1 for the first row of the record.
        is_last: whether the record ends with it; None when only the row behind it tells.
        failed: whether the record is a failure, to be retried by a resumed run.
        label: the best class, in the first row of a record that has one.
    """

    path: str
    number: int
    is_last: bool | None
    failed: bool
    label: str = ""


class RowCodec(ABC, Generic[R]):
    """One kind of record.

    Attributes:
        kind: its name, in the plural; a sidecar tells the kinds of records apart by it.
        columns: of tsv (no header) and csv (header).
        text_columns: those of them that hold text from strangers (paths, labels, errors): in csv a spreadsheet must
            not take it for a formula. All cells are escaped.
        formats: what these records can be written as. One that names "table" gives a `table`.
    """

    kind: str
    columns: tuple[str, ...]
    text_columns: frozenset[str]
    formats: tuple[Format, ...] = FOR_PROGRAMS

    @abstractmethod
    def rows(self, record: R) -> list[tuple[str, ...]]:
        """The rows of a record, at least one: a cell per column, unescaped.

        Raises:
            ValueError: it is no whole record; see also `path_of`.
        """

    @abstractmethod
    def place(self, row: Sequence[str]) -> RowPlace:
        """Where a row stands that `rows` gave.

        Args:
            row: as many cells as there are columns.

        Raises:
            ValueError: `rows` gives no such row.
        """

    @abstractmethod
    def to_json(self, record: R) -> dict[str, Any]:
        """The record as a JSON object (no NaN), in the order of its keys.

        Two keys are fixed, since lines are read back by them: "path", and "status", which is "ok" or "error".

        Raises:
            ValueError: it is no whole record; see also `path_of`.
        """

    def label_of(self, fields: dict[str, Any]) -> str:
        """The best class in an object that `to_json` gave; empty where these records have none.

        Raises:
            ValueError, KeyError, TypeError: `to_json` gives no such object.
        """
        return ""

    @abstractmethod
    def schema(self) -> pa.Schema:
        """The Parquet columns, one row per record; called only where pyarrow is installed."""

    def to_parquet(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A Parquet row of the object that `to_json` gave: here unchanged, keys that it lacks are null."""
        return fields

    def from_parquet(self, row: dict[str, Any]) -> dict[str, Any]:
        """The inverse of `to_parquet`, so exact that it encodes to the same line; here unchanged."""
        return row

    def table(self, stream: Stream, *, is_terminal: bool) -> Sink[R]:
        """A writer for people, where `formats` names "table".

        Raises:
            UsageError: these records have none.
        """
        raise UsageError("cannot write a table", "", f"there is none of {self.kind}", "Choose a format with -f")


def path_of(record: HasPath) -> str:
    """The path of a record to be written.

    Raises:
        ValueError: it has none; only the library makes such records, and it writes none.
    """
    if record.path is None:
        raise ValueError("a record without a path cannot be written")
    return record.path
