"""Previews on a terminal: they fit, they are the picture, and what is read stays readable without colours."""

from __future__ import annotations

import io
import os
import re

import numpy as np
import pytest
from rich.cells import cell_len
from sink_examples import BAD, CUT, GOOD, SETTINGS

from vggcli.output.preview import Box, Previews, PreviewSink, half_blocks, shades
from vggcli.output.stream import Stream
from vggcli.records import Prediction, Record

STYLE = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")


def show(width: int, monkeypatch: pytest.MonkeyPatch, *records: Record, top_k: int = 5) -> list[str]:
    """The lines on a terminal of that width; each image is red above and blue below."""
    monkeypatch.setattr("shutil.get_terminal_size", lambda fallback: os.terminal_size((width, 24)))
    screen, previews = io.BytesIO(), Previews()
    sink = PreviewSink(Stream(screen, "screen", regular=False, is_ours=False), top_k=top_k, previews=previews)
    for record in records:
        if all(previews.box) and record.ok:
            columns, rows = previews.box.pixels
            previews.picture = np.zeros((rows - 3, columns - 4, 3), np.uint8)
            previews.picture[: rows // 2] = 255, 0, 0
            previews.picture[rows // 2 :] = 0, 0, 255
        sink.write(record)
    sink.close(SETTINGS)
    return screen.getvalue().decode().splitlines()


@pytest.mark.parametrize("width", [20, 36, 44, 64, 80, 100, 200])
@pytest.mark.parametrize("colours", ["truecolor", "256", "none"])
def test_everything_fits_and_stands_in_one_column(width: int, colours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if colours == "none":
        monkeypatch.setenv("NO_COLOR", "1")
    elif colours == "256":
        monkeypatch.delenv("COLORTERM")
    wide = Record(
        "写真/" * 60 + "é" * 30, (Prediction(1, 999, "日本語" * 40, 0.5), Prediction(2, 1, "e\u0301" * 90, 0.25))
    )
    hostile = Record("[red]x \x1b]0;owned\x07\u202egpj.jpg", (Prediction(1, 0, "\x9b31m\r\n[b]", 0.9),))
    lines = show(width, monkeypatch, GOOD, wide, hostile, BAD, CUT)
    plain = [STYLE.sub("", line) for line in lines]

    assert all(cell_len(line) <= max(width, 36) for line in plain)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", "".join(plain))
    indent = Box.of(width).columns + 2 if Box.of(width).columns else 0
    for name in ("a.jpg", "写真", "[red]x", "b\\t\\n.jpg"):
        (line,) = [line for line in plain if name in line]
        assert cell_len(line[: line.index(name)]) == indent
    assert "87.3%  Samoyed" in "".join(plain)
    assert "✗ empty: no bytes" in "".join(plain)
    if colours == "none":
        assert not re.search(r"\x1b\[(?!1m|0m|2m)[\d;]+m", "".join(lines))


def test_every_class_that_was_asked_for_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record("a.jpg", tuple(Prediction(n, n, f"class {n}", 0.5**n) for n in range(1, 13)))
    plain = [STYLE.sub("", line) for line in show(80, monkeypatch, record, top_k=12)]

    assert [line.split("  ")[-1] for line in plain[1:13]] == [f"class {n}" for n in range(1, 13)]
    assert plain[13] == ""


def test_a_record_without_a_picture_has_its_room_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    line = STYLE.sub("", show(80, monkeypatch, BAD)[0])
    assert line == " " * (Box.of(80).columns + 2) + "b\\t\\n.jpg"


def test_half_blocks_have_two_rows_of_pixels_each() -> None:
    picture = np.array([[[255, 0, 0], [255, 0, 0]], [[0, 0, 255], [0, 0, 255]], [[9, 9, 9], [200, 200, 200]]], np.uint8)

    assert half_blocks(picture, 1 << 24) == [
        "\x1b[38;2;255;0;0;48;2;0;0;255m▀▀\x1b[0m",
        "\x1b[38;2;9;9;9;49m▀\x1b[38;2;200;200;200;49m▀\x1b[0m",
    ]
    assert half_blocks(picture, 256) == [
        "\x1b[38;5;196;48;5;21m▀▀\x1b[0m",
        "\x1b[38;5;232;49m▀\x1b[38;5;251;49m▀\x1b[0m",
    ]


def test_the_256_colours_are_the_nearest() -> None:
    """Against all of them, as terminals have them."""
    levels = (0, 95, 135, 175, 215, 255)
    known = [(r, g, b) for r in levels for g in levels for b in levels] + [(8 + 10 * n,) * 3 for n in range(24)]
    picture = np.random.default_rng(0).integers(0, 256, (2, 200, 3), np.uint8)
    picture[:, 100:] = picture[:, 100:, :1]
    for column in range(picture.shape[1]):
        (line,) = half_blocks(picture[:, column : column + 1], 256)
        for pixel, number in zip(picture[:, column].astype(int), re.findall(r"5;(\d+)", line), strict=True):
            distances = ((np.array(known) - pixel) ** 2).sum(-1)
            assert distances[int(number) - 16] == distances.min()


def test_shades_go_from_dark_to_light() -> None:
    ramp = np.repeat(np.linspace(50, 200, 5).astype(np.uint8)[None, :, None], 3, 2)
    assert shades(np.concatenate([ramp] * 3)) == [" ░▒▓█", " ░▒▓█"]
    assert shades(np.full((2, 3, 3), 7, np.uint8)) == ["   "]
