"""The table: aligned at every width, safe on every terminal, coloured only where wanted."""

from __future__ import annotations

import io
import os
import re

import pytest
from rich.cells import cell_len
from sink_examples import BAD, CUT, GOOD, RECORDS, SETTINGS

from vggcli.output.paths import PathColumn, shorten
from vggcli.output.stream import Stream
from vggcli.output.table import TableSink, bar, percent
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
    sink = TableSink(Stream(screen, "screen", regular=False), is_terminal=is_terminal, top_k=5)
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
    assert "a.jpg" in writes[0]
    assert "empty: no bytes" in writes[1]
    assert "torch engine on cpu in fp32" in writes[-1]


def test_nothing_shown_is_nothing_but_the_footer() -> None:
    assert len(show()) == 1


def test_a_photo_is_one_line_of_bar_percent_label_and_path() -> None:
    assert show(GOOD)[0] == "████████▊   87.3%  Samoyed                          a.jpg\n"


@pytest.mark.parametrize("width", [20, 36, 40, 50, 60, 80, 100, 120, 200, 237])
def test_rows_fit_and_align_at_every_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    predictions = (Prediction(1, 999, "日本語" * 40, 0.5), Prediction(2, 1, "e\u0301" * 90, 0.25))
    wide = Record("写真/" * 40 + "é" * 30, predictions)
    lines = "".join(show(GOOD, wide, BAD, CUT)).splitlines()
    paths = [
        cell_len(line[: line.index(name)]) for line, name in zip((lines[0], lines[1]), ("a.jpg", "写真"), strict=True)
    ]

    assert all(cell_len(line) <= max(width, 36) for line in lines)
    assert len(set(paths)) == 1


def test_width_without_a_terminal_is_100_or_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    long = Record("x" * 300, GOOD.predictions)
    for columns, width in ((None, 100), ("nonsense", 100), ("70", 70)):
        if columns is not None:
            monkeypatch.setenv("COLUMNS", columns)
        assert cell_len(show(long)[0].splitlines()[0]) == width


def test_other_classes_are_rows_on_a_narrow_terminal_and_a_column_on_a_wide_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dogs = (("Pembroke", 0.5), ("Cardigan", 0.31), ("basenji", 0.0101), ("dingo", 0.0099), ("fox", 0.0))
    record = Record("a.jpg", tuple(Prediction(n + 1, n, *dog) for n, dog in enumerate(dogs)))
    monkeypatch.setenv("COLUMNS", "60")
    narrow = show(record)[0].splitlines()
    monkeypatch.setenv("COLUMNS", "120")
    wide = show(record)[0].splitlines()

    assert [line.split() for line in narrow[1:]] == [["31.0%", "Cardigan"], ["1.0%", "basenji"]]
    assert {cell_len(line.partition("%")[0]) for line in narrow} == {12}
    assert len(wide) == 1
    assert wide[0].endswith("Cardigan 31%, basenji 1%")


def test_an_input_without_predictions_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(Record("a.jpg"))[0].split() == ["-", "a.jpg"]


@pytest.mark.parametrize(
    ("probability", "shown"), [(1.0, "100.0%"), (0.0712, "  7.1%"), (0.0005, "  0.1%"), (0, "<0.1%")]
)
def test_a_probability_is_a_percent(probability: float, shown: str) -> None:
    assert percent(probability) == f"{shown:>6}"


@pytest.mark.parametrize(
    ("probability", "drawn"), [(1, "████"), (0.5, "██  "), (0.5313, "██▏ "), (0.97, "███▉"), (0, "▏   ")]
)
def test_a_bar_grows_with_the_probability(probability: float, drawn: str) -> None:
    assert bar(probability, 4) == drawn


def test_how_sure_it_is_has_its_colour() -> None:
    shown = [show(Record("a.jpg", (Prediction(1, 0, "x", p),)), is_terminal=True)[0] for p in (0.9, 0.5, 0.2)]
    assert [re.match(r"\x1b\[(\d+)m", text)[1] for text in shown] == ["32", "33", "31"]  # type: ignore[index]


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
    row = show(Record("x" * 300, GOOD.predictions), is_terminal=True)[0].splitlines()[0]
    assert cell_len(re.sub(r"\x1b\[\d*m", "", row)) == 61


# Paths that are too long


@pytest.mark.parametrize("width", [18, 26, 36, 92])
def test_no_two_paths_look_the_same(width: int) -> None:
    folders = [f"photos/{year}/{place}/{'x' * 70}" for year in range(2000, 2012) for place in ("beach", "home", "写真")]
    paths = [f"{folder}/IMG_{number:04}_edited_for_the_album.JPEG" for folder in folders for number in range(30)]
    column = PathColumn(width)
    shown = [column.cut(path) for path in paths]

    assert len(set(shown)) == len(paths)
    assert max(map(cell_len, shown)) <= width
    assert column.cut(paths[-1]) == shown[-1]


def test_of_paths_that_look_the_same_the_place_where_they_differ_is_shown() -> None:
    column = PathColumn(30)
    first, second = (f"albums-of-2024/{name}/summer/of/the/year/IMG_0001.JPEG" for name in ("train", "valid"))

    assert column.cut(first) == "albums-of-…/year/IMG_0001.JPEG"
    assert column.cut(second) == "albums-…4/valid/sum…_0001.JPEG"


def test_names_that_differ_only_in_what_is_not_seen_are_told_apart() -> None:
    column = PathColumn(18)
    assert column.cut("a\x1b" + "x" * 40) != column.cut("a\\x1b" + "x" * 40)


def test_paths_far_back_are_forgotten() -> None:
    column = PathColumn(18)
    for number in range(10_100):
        column.cut(f"{number}{'x' * 40}")

    assert len(column._shown) == 10_000
