"""Explained images as rows and JSON: a row for each picture, or the one of a failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vggcli.errors import UsageError
from vggcli.output.codec import RowCodec, RowPlace, path_of
from vggcli.output.formats import Format
from vggcli.output.predictions import DECIMALS
from vggcli.records import TRUNCATED, Failure

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Picture:
    """One class of one image.

    Attributes:
        rank, index, label, probability: see `records.Explanation`.
        picture: path of the PNG.
        map: path of the map as computed; empty where it was not asked for.
    """

    rank: int
    index: int
    label: str
    probability: float
    picture: str
    map: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """One input: its pictures, or why there are none."""

    path: str | None
    pictures: tuple[Picture, ...] = ()
    failure: Failure | None = None
    truncated: bool = False


class ExplanationCodec(RowCodec[Explained]):
    """Records of explained images.

    Args:
        count: pictures that every input has that did not fail.
    """

    kind = "explanations"
    columns = ("path", "rank", "index", "label", "probability", "picture", "error")
    text_columns = frozenset({"path", "label", "picture", "error"})
    formats: tuple[Format, ...] = ("tsv", "csv", "jsonl")

    def __init__(self, count: int) -> None:
        self._count = count

    def rows(self, record: Explained) -> list[tuple[str, ...]]:
        path = path_of(record)
        if record.failure is not None:
            return [(path, "", "", "", "", "", str(record.failure))]
        self._check(record)
        error = TRUNCATED if record.truncated else ""
        return [
            (path, str(p.rank), str(p.index), p.label, f"{p.probability:.{DECIMALS}f}", p.picture, error)
            for p in record.pictures
        ]

    def place(self, row: Sequence[str]) -> RowPlace:
        raise ValueError("a row of a named class does not tell its number")

    def to_json(self, record: Explained) -> dict[str, Any]:
        fields: dict[str, Any] = {"path": path_of(record), "status": "ok" if record.failure is None else "error"}
        if record.failure is not None:
            fields["error"] = {"kind": record.failure.kind, "message": record.failure.message}
        else:
            self._check(record)
        if record.truncated:
            fields["truncated"] = True
        fields["explanations"] = [
            {
                "rank": p.rank,
                "index": p.index,
                "label": p.label,
                "probability": round(p.probability, DECIMALS),
                "picture": p.picture,
            }
            | ({"map": p.map} if p.map else {})
            for p in record.pictures
        ]
        return fields

    def schema(self) -> pa.Schema:
        raise UsageError("cannot write parquet", "", f"there is none of {self.kind}", "Choose a format with -f")

    def _check(self, record: Explained) -> None:
        if len(record.pictures) != self._count:
            raise ValueError(f"record of {record.path!r} has {len(record.pictures)} pictures, not {self._count}")
