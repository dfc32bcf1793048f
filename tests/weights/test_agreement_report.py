"""Reports beside weights files: what is kept, and what makes one of no use."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from vggcli.analysis.agreement import AgreementCounter, Difference
from vggcli.weights import agreement_report
from vggcli.weights.agreement_report import AgreementReport, find, report_path, save


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "net.pth"
    path.write_bytes(b"weights")
    return path


def agreement(images: int, equal: int, change: float = 0.001) -> dict[str, Any]:
    counter = AgreementCounter()
    for number in range(images):
        counter.count(Difference(number < equal, change, 1.0))
    return counter.result().to_json()


def test_what_is_saved_is_found(weights: Path) -> None:
    saved = save(weights, "bf16", agreement(300, 299), {"vgg": "0.1"})

    assert find(weights, "bf16") == saved
    assert (saved.images, saved.equal_labels, str(saved)) == (300, 299, "bf16 kept 299 of 300 labels")
    assert find(weights, "fp16") is None
    assert sorted(path.name for path in weights.parent.iterdir()) == ["net.pth", "net.pth.agreement.json"]
    assert json.loads(report_path(weights).read_text())["sha256"] == hashlib.sha256(b"weights").hexdigest()


def test_without_a_report_there_is_none(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert find(weights, "bf16") is None
    assert caplog.records == []


@pytest.mark.parametrize(
    ("images", "equal", "change", "is_harmless"),
    [
        (189, 189, 0.001, True),
        (188, 188, 0.001, False),
        (300, 299, 0.001, True),
        (300, 298, 0.001, False),
        (1436, 1431, 0.0015, True),
        (1436, 1436, 0.02, False),
    ],
)
def test_it_takes_many_images_with_few_differences(
    weights: Path, images: int, equal: int, change: float, is_harmless: bool
) -> None:
    assert save(weights, "bf16", agreement(images, equal, change), {}).is_harmless == is_harmless


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "another"},
        {"against": "bf16"},
        {"fingerprint": "sha256:00"},
        {"images": 10},
        {"images": True},
        {"images": "300"},
        {"equal_labels": -1},
        {"interval": []},
        {"interval": ["1", 1]},
        {"interval": [2, 1]},
        {"mean_change": None},
        {"mean_change": -0.1},
    ],
)
def test_a_report_that_cannot_be_is_ignored_with_a_word(
    weights: Path, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "vggcli")
    save(weights, "bf16", agreement(300, 300), {})
    entries = json.loads(report_path(weights).read_text()) | change
    report_path(weights).write_text(json.dumps(entries))

    assert find(weights, "bf16") is None
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("net.pth.agreement.json is ignored: ")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"kind": NaN}'])
def test_what_is_no_report_is_ignored(weights: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    report_path(weights).write_bytes(content)

    assert find(weights, "bf16") is None
    assert len(caplog.messages) == 1


def test_a_report_that_cannot_be_written_leaves_the_earlier_one(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(weights, "bf16", agreement(300, 300), {})
    before = report_path(weights).read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        save(weights, "bf16", agreement(10, 0), {})

    assert report_path(weights).read_bytes() == before
    assert len(list(weights.parent.iterdir())) == 2


def test_the_bounds_are_those_of_the_docs() -> None:
    text = (Path(agreement_report.__file__).parents[2] / "docs" / "numbers.md").read_text("utf-8")

    assert "at least 98 %" in text
    assert "at most 0.01" in text
    assert (agreement_report.LEAST_EQUAL, agreement_report.MOST_MEAN_CHANGE) == (0.98, 0.01)
    assert AgreementReport("bf16", 189, 189, 0.98, 0.01).is_harmless
