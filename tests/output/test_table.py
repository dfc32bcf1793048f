"""The table: aligned at every width, safe on every terminal, coloured only where wanted."""

from __future__ import annotations

import io
import os
import re

import pytest
from rich.cells import cell_len
from sink_examples import BAD, GOOD, RECORDS, SETTINGS

from vggcli.output.stream import Stream
from vggcli.output.table import TableSink, shorten
from vggcli.records import Prediction, Record


class Screen(io.BytesIO):
    """Keeps what was written, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, data: object) -> int:
        text = bytes(data)  # type: ignore[call-overload]
        self.writes.append(text.decode())
        return len(text)


def show(*records: Record, is_terminal: bool = False) -> list[str]:
    screen = Screen()
    sink = TableSink(Stream(screen, "screen", regular=False), is_terminal=is_terminal)
    for record in records:
        sink.write(record)
    sink.close(SETTINGS)
    return screen.writes


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_every_record_is_shown_by_one_write_of_its_own() -> None:
    writes = show(*RECORDS)
    assert len(writes) == len(RECORDS) + 1
    assert writes[0].startswith("path ")
    assert "a.jpg" in writes[0]
    assert "empty: no bytes" in writes[1]
    assert "torch engine on cpu in fp32" in writes[-1]


def test_nothing_shown_is_nothing_but_the_footer() -> None:
    assert len(show()) == 1


@pytest.mark.parametrize("width", [20, 50, 80, 100, 237])
def test_rows_fit_and_align_at_every_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    wide = Record(
        "写真/" * 40 + "é" * 30, (Prediction(1, 999, "日本語" * 40, 0.5), Prediction(2, 1, "e\u0301" * 90, 0.25))
    )
    text = "".join(show(GOOD, wide, BAD))
    lines = text.splitlines()
    assert all(cell_len(line) <= max(width, 45) for line in lines)
    ends = [cell_len(line) for line in lines if re.search(r"(probability|0\.\d{4})$", line)]
    assert len(ends) == 5
    assert len(set(ends)) == 1


def test_width_without_a_terminal_is_100_or_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cell_len(show(GOOD)[0].splitlines()[0]) == 100
    monkeypatch.setenv("COLUMNS", "nonsense")
    assert cell_len(show(GOOD)[0].splitlines()[0]) == 100
    monkeypatch.setenv("COLUMNS", "70")
    assert cell_len(show(GOOD)[0].splitlines()[0]) == 70


def test_colour_only_on_a_terminal_and_never_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[31m" in show(BAD, is_terminal=True)[0]
    assert "\x1b" not in "".join(show(*RECORDS))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in "".join(show(BAD, is_terminal=True))


def test_names_are_text_not_markup_and_not_commands() -> None:
    name = "[red]x[/red] :smile: \x1b]0;owned\x07\x9b31m\r\n\u202egpj.jpg"
    text = "".join(show(Record(name, (Prediction(1, 0, name, 0.5), Prediction(2, 1, "b", 0.5)))))
    assert "[red]x[/red]" in text
    assert ":smile:" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_a_long_path_keeps_both_ends() -> None:
    shown = shorten("2024-holiday/" + "x" * 100 + "/IMG_0001.jpg", 30)
    assert cell_len(shown) == 30
    assert shown.startswith("2024-holi")
    assert shown.endswith("/IMG_0001.jpg")
    assert shorten("short.jpg", 30) == "short.jpg"


def test_terminal_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda fallback: os.terminal_size((61, 24)))
    header = re.sub(r"\x1b\[\d*m", "", show(GOOD, is_terminal=True)[0].splitlines()[0])
    assert cell_len(header) == 61
