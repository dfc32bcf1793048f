"""Inputs of every kind for `vgg predict`, what becomes of each, and the records it writes read back."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conftest import Output

from vggcli.network import zoo
from vggcli.text import unescape, unguard_formula
from vggcli.weights.locate import DEMO_FILE

LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS = DEMO_FILE.parent / "digits"
DEMO = ("predict", "--weights", "demo")
DEMO_NOTE = f"vgg: the demo weights are {zoo.DEMO_WHAT}"
COUNTS = r"vgg: \d+ ok.*, \d+\.\d s.*"


def digit(label: str) -> Path:
    """A shipped image that the demo classifies as this label."""
    return DIGITS / f"{label}.png"


def make_inputs(folder: Path) -> dict[str, str]:
    """One input of every kind in `folder`: path -> what becomes of it, a label or a kind of failure.

    A folder among them stands for the two images in it, see `expected`.
    """
    (folder / "cut.png").write_bytes(digit("one").read_bytes()[:400])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("this is no picture\n" * 20)
    os.mkfifo(folder / "fifo.png")
    (folder / "folder").mkdir()
    for label in ("four", "two"):
        (folder / "folder" / f"{label}.png").write_bytes(digit(label).read_bytes())
    names = {
        "cut.png": "truncated",
        "empty.png": "empty",
        "text.png": "unsupported",
        "fifo.png": "not-a-file",
        "missing.png": "missing",
        "folder": "",
    }
    found = {str(folder / name): outcome for name, outcome in names.items()}
    return found | {str(digit(label)): label for label in LABELS[:4]}


def expected(paths: Sequence[str], outcomes: dict[str, str]) -> list[tuple[str, str]]:
    """Path and outcome of every record, in order."""
    records = []
    for path in paths:
        if outcomes[path]:
            records.append((path, outcomes[path]))
        else:
            records += [(os.path.join(path, f"{label}.png"), label) for label in ("four", "two")]
    return records


def objects(text: str) -> list[dict[str, Any]]:
    """The records of a jsonl output."""
    return [json.loads(line) for line in text.splitlines()]


def outcomes_of_jsonl(text: str) -> list[tuple[str, str]]:
    """Path, and the best label or the kind of failure, of each record."""
    found = []
    for record in objects(text):
        assert record["status"] == ("error" if "error" in record else "ok")
        best = record["error"]["kind"] if "error" in record else record["predictions"][0]["label"]
        found.append((record["path"], best))
    return found


def outcomes_of_rows(text: str, format: str) -> list[tuple[str, str]]:
    """The same of a tsv or csv output with one prediction a record."""
    if format == "csv":
        header, *rows = csv.reader(io.StringIO(text))
        assert header == ["path", "rank", "index", "label", "probability", "error"]
    else:
        rows = [line.split("\t") for line in text.splitlines()]
    found = []
    for path, rank, index, label, probability, error in rows:
        assert (rank, bool(index), bool(probability)) == (("", False, False) if error else ("1", True, True))
        path = unescape(path)
        found.append((unguard_formula(path) if format == "csv" else path, label or error.partition(":")[0]))
    return found


def notes(output: Output) -> list[str]:
    """The lines on standard error, less the note about the demo that every run with it begins with."""
    first, *rest = output.err.splitlines()
    assert first == DEMO_NOTE
    return rest


def command(*arguments: str | Path) -> list[str]:
    """`vgg predict --weights demo` as a process of its own."""
    return [sys.executable, "-m", "vggcli", *DEMO, *map(str, arguments)]


def launch(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start it with pipes all around, unbuffered, so that what one reads is what was written."""
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "bufsize": 0,
    }
    return subprocess.Popen(command(*arguments), **(pipes | options))
