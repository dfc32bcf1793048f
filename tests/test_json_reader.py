"""JSON of strangers: its value, or one short sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vggcli.json_reader import MOST_BYTES, MOST_LEVELS, parse_json, read_json, shown


def test_json_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes('\ufeff{"a": [1, 2.5, null, "é\\ud800", {"b": true}]}'.encode())

    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None, "é\ud800", {"b": True}]}
    assert parse_json("[" * MOST_LEVELS + "]" * MOST_LEVELS) is not None
    assert len(parse_json("[" + "[],{}," * 1000 + "[]]")) == 2001  # many brackets, few levels


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is no JSON: expecting value in line 1"),
        (b'{"a": 1', "it is no JSON: expecting ',' delimiter in line 1"),
        (b"\xff", "it is not UTF-8 text"),
        (b"[NaN]", "it holds NaN, which is no JSON"),
        (b"[1e1, -Infinity]", "it holds -Infinity, which is no JSON"),
        (b"[" * 200_000, f"it is nested more than {MOST_LEVELS} levels deep"),
        (b'{"a":' * 200_000, f"it is nested more than {MOST_LEVELS} levels deep"),
        (b"[" * (MOST_LEVELS + 1) + b"]" * (MOST_LEVELS + 1), f"it is nested more than {MOST_LEVELS} levels deep"),
        (b'[{"a":' * 40 + b"1" + b"}]" * 40, f"it is nested more than {MOST_LEVELS} levels deep"),
        (b" " * (MOST_BYTES + 1), f"it is longer than {MOST_BYTES} bytes"),
    ],
    ids=lambda value: str(value[:20]) if isinstance(value, bytes) else "",
)
def test_everything_else_is_a_sentence(data: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(data)

    with pytest.raises(ValueError, match="it ") as refused:
        read_json(tmp_path / "a.json")
    assert str(refused.value) == why


def test_a_deep_stack_changes_nothing() -> None:
    def parse_at(depth: int) -> object:
        return parse_at(depth - 1) if depth else parse_json("[" * 500 + "]" * 500)

    with pytest.raises(ValueError, match="nested more than"):
        parse_at(sys.getrecursionlimit() - 300)


@pytest.mark.parametrize(
    "value", ["x" * 10_000_000, "\0" * 200, ["x" * 1000], {"a": 10**300}], ids=lambda value: type(value).__name__
)
def test_a_long_value_is_cut(value: object) -> None:
    assert len(shown(value)) < 100
    assert shown(value).endswith("... (cut)")
    assert shown("vgg16") == "'vgg16'"
