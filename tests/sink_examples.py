"""Records, settings and codecs that the tests of the writers share: predictions, and vectors as a second kind."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from vggcli.output.codec import R, RowCodec, RowPlace, path_of
from vggcli.output.predictions import PredictionCodec
from vggcli.output.sidecar import RunSettings
from vggcli.records import INFORMATION, Failure, Prediction, Provenance, Record

SETTINGS = Provenance(
    version="1.2.3",
    weights="vgg16_bn-6c64b313.pth",
    weights_fingerprint="sha256:6c64b313",
    variant="vgg16_bn",
    dialect="torchvision",
    preprocessing="squash 224",
    labels="0123456789abcdef",
    engine="torch",
    device="cpu",
    precision="fp32",
    top_k=2,
)

GOOD = Record("a.jpg", (Prediction(1, 258, "Samoyed", 0.87324567), Prediction(2, 104, "=HYPERLINK(1)", 1e-7)))
BAD = Record("b\t\n.jpg", failure=Failure("empty", "no bytes"))
CUT = Record(
    "d/é\udcff\x1b[31m.jpg", (Prediction(1, 0, 'tench, "Tinca"', 1.0), Prediction(2, 1, "x", 0.0)), truncated=True
)
RECORDS = (GOOD, BAD, CUT)
TOP_2 = PredictionCodec(2)


@dataclass(frozen=True)
class Vector:
    """What a layer gave for one input: float32 values, which may be NaN, or a failure."""

    path: str | None
    values: tuple[float, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True)
class VectorSettings:
    """Shares names with those of predictions, but not all."""

    version: str = field(metadata=INFORMATION)
    weights_fingerprint: str
    layer: str

    def describe(self) -> str:
        return f"{self.layer} of {self.weights_fingerprint}"


class VectorCodec(RowCodec[Vector]):
    """One row per input, whose last cell is the vector."""

    kind = "vectors"
    columns = ("path", "status", "vector")
    text_columns = frozenset({"path", "status"})

    def rows(self, record: Vector) -> list[tuple[str, ...]]:
        status = "ok" if record.failure is None else str(record.failure)
        return [(path_of(record), status, " ".join(map(str, record.values)))]

    def place(self, row: Sequence[str]) -> RowPlace:
        path, status, vector = row
        for value in vector.split():
            float(value)
        if (status == "ok") != bool(vector):
            raise ValueError("a vector or a failure")
        return RowPlace(path, 1, is_last=True, failed=status != "ok")

    def to_json(self, record: Vector) -> dict[str, Any]:
        if record.failure is not None:
            error = {"kind": record.failure.kind, "message": record.failure.message}
            return {"path": path_of(record), "status": "error", "error": error}
        values = [value if math.isfinite(value) else None for value in record.values]
        return {"path": path_of(record), "status": "ok", "vector": values}

    def schema(self) -> Any:
        import pyarrow as pa

        error = pa.struct([("kind", pa.string()), ("message", pa.string())])
        return pa.schema(
            [("path", pa.string()), ("status", pa.string()), ("error", error), ("vector", pa.list_(pa.float32()))]
        )

    def from_parquet(self, row: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in row.items() if value is not None}


def float32(value: float) -> float:
    """The nearest number that float32 holds."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


@dataclass(frozen=True)
class Kind(Generic[R]):
    """A kind of record, and records of it: what a stand-in network says depends on the path alone."""

    codec: RowCodec[R]
    settings: RunSettings

    def record(self, path: str, failure: Failure | None = None) -> R:
        raise AssertionError("an abstract kind")

    def __str__(self) -> str:
        return self.codec.kind


class Predictions(Kind[Record]):
    def record(self, path: str, failure: Failure | None = None) -> Record:
        if failure is not None:
            return Record(path, failure=failure)
        first = seed(path)
        return Record(
            path, (Prediction(1, first, f"label {first}, =x", 0.75), Prediction(2, 7, "-other", first / 3600))
        )


class Vectors(Kind[Vector]):
    def record(self, path: str, failure: Failure | None = None) -> Vector:
        if failure is not None:
            return Vector(path, failure=failure)
        return Vector(path, (float32(seed(path) / 3600), -0.5, math.nan))


def seed(path: str) -> int:
    return sum(path.encode("utf-8", "surrogateescape")) % 900


KINDS: tuple[Kind[Any], ...] = (
    Predictions(TOP_2, SETTINGS),
    Vectors(VectorCodec(), VectorSettings("1.2.3", "sha256:6c64b313", "fc7")),
)
