"""Top-k predictions as rows, JSON, Parquet and a table.

Probabilities carry six decimals: float32 softmax holds about seven digits, and fewer would hide the differences
between engines and precisions that people compare these files for.  A probability that is not a number (a network
with NaN weights) is `nan` in tsv and csv and `null` in jsonl and parquet: JSON has no other word for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vggcli.output.codec import RowCodec, RowPlace, path_of
from vggcli.output.formats import FORMATS
from vggcli.output.sinks import Sink
from vggcli.output.stream import Stream
from vggcli.records import TRUNCATED, Record

if TYPE_CHECKING:
    import pyarrow as pa

DECIMALS = 6


class PredictionCodec(RowCodec[Record]):
    """Records of classified images: in tsv and csv one row per prediction, or the one row of a failure.

    Args:
        top_k: predictions that every classified input has, so that the end of its rows can be told.
        min_prob: above 0, those below it were left out, and an input that has none left is one row without rank.
    """

    kind = "predictions"
    columns = ("path", "rank", "index", "label", "probability", "error")
    text_columns = frozenset({"path", "label", "error"})
    formats = FORMATS

    def __init__(self, top_k: int, min_prob: float = 0.0) -> None:
        self._top_k, self._min_prob = top_k, min_prob

    def rows(self, record: Record) -> list[tuple[str, ...]]:
        path = path_of(record)
        if record.failure is not None:
            return [(path, "", "", "", "", str(record.failure))]
        self._check(record)
        error = TRUNCATED if record.truncated else ""
        if not record.predictions:
            return [(path, "", "", "", "", error)]
        return [
            (path, str(p.rank), str(p.index), p.label, f"{p.probability:.{DECIMALS}f}", error)
            for p in record.predictions
        ]

    def place(self, row: Sequence[str]) -> RowPlace:
        path, rank, _, label, _, error = row
        if rank == "":
            return RowPlace(path, 1, is_last=True, failed=error not in ("", TRUNCATED))
        is_last = True if int(rank) == self._top_k else None if self._min_prob > 0 else False
        return RowPlace(path, int(rank), is_last, failed=False, label=label if int(rank) == 1 else "")

    def label_of(self, fields: dict[str, Any]) -> str:
        predictions = fields["predictions"]
        label = predictions[0]["label"] if predictions else ""
        if not isinstance(label, str):
            raise TypeError("a label is text")
        return label

    def to_json(self, record: Record) -> dict[str, Any]:
        fields: dict[str, Any] = {"path": path_of(record), "status": "ok" if record.ok else "error"}
        if record.failure is not None:
            fields["error"] = {"kind": record.failure.kind, "message": record.failure.message}
        else:
            self._check(record)
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
        return fields

    def schema(self) -> pa.Schema:
        import pyarrow as pa

        def required(name: str, type: pa.DataType) -> pa.Field:
            return pa.field(name, type, nullable=False)

        prediction = [required("rank", pa.int32()), required("index", pa.int32()), required("label", pa.string())]
        prediction.append(pa.field("probability", pa.float32()))
        return pa.schema(
            [
                required("path", pa.string()),
                required("status", pa.string()),
                pa.field("error", pa.struct([required("kind", pa.string()), required("message", pa.string())])),
                required("truncated", pa.bool_()),
                required("predictions", pa.list_(required("element", pa.struct(prediction)))),
            ]
        )

    def to_parquet(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"truncated": False, **fields}

    def from_parquet(self, row: dict[str, Any]) -> dict[str, Any]:
        # Only what `to_json` writes stays, in its order, and a probability of six decimals survives float32.
        fields = {"path": row["path"], "status": row["status"]}
        fields |= {key: row[key] for key in ("error", "truncated") if row[key]}
        fields["predictions"] = [
            p | {"probability": None if p["probability"] is None else round(p["probability"], DECIMALS)}
            for p in row["predictions"]
        ]
        return fields

    def table(self, stream: Stream, *, is_terminal: bool) -> Sink[Record]:
        from vggcli.output.table import TableSink

        return TableSink(stream, is_terminal=is_terminal, top_k=self._top_k)

    def _check(self, record: Record) -> None:
        found = len(record.predictions)
        if not (found == self._top_k or (self._min_prob > 0 and found < self._top_k)):
            raise ValueError(f"record of {record.path!r} has {found} predictions, not {self._top_k}, and no failure")
