"""What was measured of a weights file at lower precision: the report that `vgg compare --save` leaves beside it.

It names its file by fingerprint, so that other weights under the same name do not inherit it; that of a large file
takes a few milliseconds (see `store.fingerprint`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vggcli import files
from vggcli.json_reader import read_json, why_unread
from vggcli.weights import store

_log = logging.getLogger("vggcli")

_ENDING = ".agreement.json"
_KIND = "vgg agreement"
# Measured without batch norm (docs/numbers.md): networks that were trained have lower ends of 98.2 to 99.5 % and mean
# changes of 0.001 to 0.002, those of random features of 94.0 % at most, and 0.035 to 0.057.
LEAST_EQUAL = 0.98  # of the share of equal labels, with 95 % confidence: 189 images without a difference are enough
MOST_MEAN_CHANGE = 0.01  # of the best class's probability


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """What a report says of its file.

    Attributes:
        precision: what was held against fp32, e.g. "bf16".
        images: how many were compared.
        equal_labels: for how many of them both precisions gave the same label.
        least_equal: lower end of the 95 % interval of that share.
        mean_change: of the best class's probability.
    """

    precision: str
    images: int
    equal_labels: int
    least_equal: float
    mean_change: float

    @property
    def is_harmless(self) -> bool:
        """Whether the precision may be taken without being asked for."""
        return self.least_equal >= LEAST_EQUAL and self.mean_change <= MOST_MEAN_CHANGE

    def __str__(self) -> str:
        return f"{self.precision} kept {self.equal_labels:,} of {self.images:,} labels"


def report_path(weights: Path) -> Path:
    """Where the report of a weights file lies."""
    return weights.with_name(weights.name + _ENDING)


def save(weights: Path, precision: str, agreement: Mapping[str, Any], about: Mapping[str, Any]) -> AgreementReport:
    """Leave a report beside a weights file, in the place of an earlier one.

    Args:
        weights: the file.
        precision: what was held against its fp32.
        agreement: `Agreement.to_json` of at least one image.
        about: for people: engine, device, preprocessing, ...

    Raises:
        OSError: it cannot be written; an earlier one is as before.
        WeightsError: the weights cannot be read.
    """
    identity = {"weights": weights.name, "sha256": store.verify(weights), "fingerprint": store.fingerprint(weights)}
    entries = {"kind": _KIND, **identity, "precision": precision, "against": "fp32", **agreement, **about}
    data = (json.dumps(entries, indent=2, allow_nan=False) + "\n").encode()
    files.replace_file(report_path(weights), lambda file: file.write(data))
    return _report(entries)


def find(weights: Path, precision: str) -> AgreementReport | None:
    """The report beside a weights file, if there is one of this file and this precision; else None.

    A report that cannot be used is ignored, and a warning in the log says why.
    """
    path = report_path(weights)
    try:
        entries = read_json(path)
        if not isinstance(entries, dict) or entries.get("kind") != _KIND or entries.get("against") != "fp32":
            raise ValueError("it is no report of agreement with fp32")
        report = _report(entries)
        if report.precision != precision:
            return None
        if entries.get("fingerprint") != store.fingerprint(weights):
            raise ValueError(f"it is of other weights than {weights.name}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s is ignored: %s", path.name, why_unread(error))
        return None
    return report


def _report(entries: Mapping[str, Any]) -> AgreementReport:
    """The report of a JSON object; ValueError where it holds something that no report can."""
    images, equal, change = (entries.get(name) for name in ("images", "equal_labels", "mean_change"))
    interval = entries.get("interval")
    low = interval[0] if isinstance(interval, list) and interval else None
    if not all(type(count) is int for count in (images, equal)):
        raise ValueError("it does not say how many labels are equal")
    assert isinstance(images, int)
    assert isinstance(equal, int)
    if not (0 <= equal <= images and _is_share(low) and _is_share(change)):
        raise ValueError("its numbers are none that can be")
    return AgreementReport(str(entries.get("precision")), images, equal, float(low), float(change))  # type: ignore[arg-type]


def _is_share(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1  # type: ignore[operator]
