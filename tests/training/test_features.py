"""Features are computed once: for files that are new, and not for those that moved or only look new."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_examples import stripes, write_stripes

import vggcli
from vggcli.classifier import Classifier
from vggcli.training import features
from vggcli.training.dataset import read
from vggcli.training.feature_files import LINES, ROWS
from vggcli.training.features import Computed
from vggcli.training.observer import InterruptedError


class Nobody:
    """An observer that listens to nothing; `stops_after` images it stops the work."""

    name = ""

    def __init__(self, stops_after: int = 0) -> None:
        self._stops_after = stops_after

    def say(self, text: str) -> None:
        pass

    warn = say

    @contextmanager
    def watching(self, work: Any, images: int) -> Iterator[Nobody]:
        self._work = work
        yield self

    def advance(self, classified: int, failed: int, kept: int = 0) -> None:
        if self._stops_after and classified >= self._stops_after:
            self._work.stop()


@pytest.fixture(scope="module")
def demo() -> Iterator[Classifier]:
    with vggcli.load("demo", threads=1) as classifier:
        yield classifier


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_stripes(tmp_path / "data", 3)


def computed(demo: Classifier, data: Path, observer: Nobody | None = None) -> Computed:
    examples = read(str(data)).examples
    return features.compute(demo, examples, data.parent / "cache", observer or Nobody())


def test_they_are_what_the_last_layer_sees(demo: Classifier, data: Path) -> None:
    found = computed(demo, data)

    items = demo.activations([str(data)], ["relu7"], recursive=True)
    assert found.new == len(found.rows) == 6
    assert all(np.array_equal(found.matrix[found.rows[str(item.path)]], item["relu7"]) for item in items)


def test_a_second_run_computes_what_is_new(demo: Classifier, data: Path) -> None:
    first = computed(demo, data)
    shutil.copy(data / "down" / "0.png", data / "down" / "copy.png")
    os.rename(data / "down" / "1.png", data / "across" / "moved.png")
    (data / "down" / "2.png").write_bytes((data / "across" / "2.png").read_bytes())
    os.utime(data / "across" / "0.png")
    stripes("down", 99).save(data / "down" / "new.png")

    again = computed(demo, data)

    assert (again.new, len(again.rows)) == (1, 8)
    assert again.rows[str(data / "down" / "copy.png")] == first.rows[str(data / "down" / "0.png")]
    assert again.rows[str(data / "across" / "moved.png")] == first.rows[str(data / "down" / "1.png")]
    assert again.rows[str(data / "down" / "2.png")] == first.rows[str(data / "across" / "2.png")]
    assert np.array_equal(again.matrix[:6], first.matrix)
    assert computed(demo, data).new == 0


def test_an_interrupted_run_keeps_what_it_had(demo: Classifier, tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "data", 60)
    with pytest.raises(InterruptedError):
        computed(demo, data, Nobody(stops_after=1))

    again = computed(demo, data)
    assert (len(again.rows), again.new < 120) == (120, True)


@pytest.mark.parametrize("damage", ["a torn line", "a torn row", "a foreign line", "a deep line", "rows that are gone"])
def test_what_a_kill_leaves_is_mended(damage: str, demo: Classifier, data: Path) -> None:
    first = computed(demo, data)
    expected = np.array(first.matrix)
    lines, rows = first.folder / LINES, first.folder / ROWS
    if damage == "a torn line":
        lines.write_bytes(lines.read_bytes()[:-20])
    elif damage == "a torn row":
        rows.write_bytes(rows.read_bytes() + b"\0" * 100)
    elif damage == "a foreign line":
        lines.write_bytes(lines.read_bytes() + b'{"path": 3}\n')
    elif damage == "a deep line":
        lines.write_bytes(lines.read_bytes() + b"[" * 100_000 + b"\n")
    else:
        rows.write_bytes(rows.read_bytes()[: 3 * rows.stat().st_size // 6])

    again = computed(demo, data)

    assert again.new == {"a torn line": 1, "rows that are gone": 3}.get(damage, 0)
    order = [again.rows[path] for path in sorted(first.rows, key=first.rows.__getitem__)]
    assert np.array_equal(again.matrix[order], expected)
    assert len(lines.read_bytes().splitlines()) == 6


def test_what_cannot_be_read_is_told_and_tried_again(demo: Classifier, data: Path) -> None:
    whole = (data / "down" / "0.png").read_bytes()
    for name in ("0.png", "copy.png"):
        (data / "down" / name).write_bytes(whole[:500])
    (data / "down" / "gone.png").symlink_to("nowhere")

    found = computed(demo, data)

    assert sorted(map(os.path.basename, found.failures)) == ["0.png", "copy.png", "gone.png"]
    assert len(found.rows) == 5
    (data / "down" / "0.png").write_bytes(whole)
    assert computed(demo, data).new == 1


def test_another_recipe_is_another_folder(demo: Classifier, data: Path) -> None:
    first = computed(demo, data)
    with vggcli.load("demo", resize="letterbox", threads=1) as other:
        second = computed(other, data)

    assert (second.new, second.folder.parent) == (6, first.folder.parent)
    about = json.loads((second.folder / "about.json").read_text())
    assert (about["layer"], about["recipe"]["resize"]) == ("relu7", "letterbox")
