"""What a search finds as rows: the nearest images of a query, and the members of groups of near duplicates.

Cosines carry six decimals, as probabilities do.  Nothing of this is resumed: a search is short.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vggcli.output.codec import RowCodec, RowPlace
from vggcli.output.formats import FORMATS
from vggcli.output.sinks import Sink
from vggcli.output.stream import Stream
from vggcli.records import Failure
from vggcli.text import printable

if TYPE_CHECKING:
    import pyarrow as pa

    from vggcli.output.sidecar import RunSettings

DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Match:
    """One image that is like a query.

    Attributes:
        query: the path of the image that was searched for, or of the row that it is.
        path: of the image found; None for a query that failed, or that nothing is like.
        rank: 1 for the most similar.
        similarity: cosine of the two vectors.
        failure: why the query has no vector.
    """

    query: str
    path: str | None = None
    rank: int | None = None
    similarity: float | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One image of a group of near duplicates.

    Attributes:
        group: its number, from 1, in the order of their first images.
        path: of the image.
        similarity: cosine to the first image of the group.
    """

    group: int
    path: str
    similarity: float


class MatchCodec(RowCodec[Match]):
    """One row per image found; a query that failed, or that nothing is like, is one row without rank."""

    kind = "matches"
    columns = ("query", "rank", "path", "similarity", "error")
    text_columns = frozenset({"query", "path", "error"})
    formats = FORMATS

    def rows(self, record: Match) -> list[tuple[str, ...]]:
        error = "" if record.failure is None else str(record.failure)
        if record.rank is None or record.path is None or record.similarity is None:
            return [(record.query, "", "", "", error)]
        return [(record.query, str(record.rank), record.path, f"{record.similarity:.{DECIMALS}f}", error)]

    def place(self, row: Sequence[str]) -> RowPlace:
        query, _, _, _, error = row
        return RowPlace(query, 1, is_last=True, failed=error != "")

    def to_json(self, record: Match) -> dict[str, Any]:
        fields: dict[str, Any] = {"query": record.query, "status": "ok" if record.failure is None else "error"}
        if record.failure is not None:
            fields["error"] = {"kind": record.failure.kind, "message": record.failure.message}
        similarity = None if record.similarity is None else round(record.similarity, DECIMALS)
        return fields | {"rank": record.rank, "path": record.path, "similarity": similarity}

    def schema(self) -> pa.Schema:
        import pyarrow as pa

        error = [pa.field(name, pa.string(), nullable=False) for name in ("kind", "message")]
        return pa.schema(
            [
                pa.field("query", pa.string(), nullable=False),
                pa.field("status", pa.string(), nullable=False),
                pa.field("error", pa.struct(error)),
                pa.field("rank", pa.int32()),
                pa.field("path", pa.string()),
                pa.field("similarity", pa.float32()),
            ]
        )

    def table(self, stream: Stream, *, is_terminal: bool) -> Sink[Match]:
        return SectionSink(stream, lambda match: match.query, _match_line)


class MemberCodec(RowCodec[Member]):
    """One row per image of a group."""

    kind = "duplicates"
    columns = ("group", "path", "similarity")
    text_columns = frozenset({"path"})
    formats = FORMATS

    def rows(self, record: Member) -> list[tuple[str, ...]]:
        return [(str(record.group), record.path, f"{record.similarity:.{DECIMALS}f}")]

    def place(self, row: Sequence[str]) -> RowPlace:
        return RowPlace(row[1], 1, is_last=True, failed=False)

    def to_json(self, record: Member) -> dict[str, Any]:
        return {"group": record.group, "path": record.path, "similarity": round(record.similarity, DECIMALS)}

    def schema(self) -> pa.Schema:
        import pyarrow as pa

        kinds = {"group": pa.int64(), "path": pa.string(), "similarity": pa.float32()}
        return pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])

    def table(self, stream: Stream, *, is_terminal: bool) -> Sink[Member]:
        return SectionSink(stream, lambda member: f"group {member.group}", _member_line)


def _match_line(match: Match) -> str:
    if match.failure is not None:
        return f"✗ {match.failure}"
    return "-" if match.path is None or match.similarity is None else f"{match.similarity:.4f}  {match.path}"


def _member_line(member: Member) -> str:
    return f"{member.similarity:.4f}  {member.path}"


S = TypeVar("S")


class SectionSink(Generic[S]):
    """Writes records for people: a heading where it changes, and a line for each record below it.

    Args:
        stream: where the text goes, UTF-8.
        heading, line: of a record.
    """

    def __init__(self, stream: Stream, heading: Callable[[S], str], line: Callable[[S], str]) -> None:
        self._stream, self._heading, self._line = stream, heading, line
        self._last: str | None = None

    def write(self, record: S) -> None:
        """Write one record; see `Stream.write` for the errors."""
        heading, text = self._heading(record), f"  {printable(self._line(record))}\n"
        if heading != self._last:
            text = f"{printable(heading)}\n{text}"
        self._stream.write(text.encode())
        self._last = heading

    def close(self, settings: RunSettings | None = None) -> None:
        """Finish."""
        self._stream.close()

    def suspend(self) -> None:
        """Leave off."""
        self._stream.close()
