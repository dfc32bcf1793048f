"""How far a run is, as a terminal and as a log see it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from predict_examples import digit

from vggcli.cli import progress
from vggcli.cli.console import Console
from vggcli.cli.gauge import Gauge, Speed, duration
from vggcli.cli.line import Line
from vggcli.cli.progress import RunProgress, Transfer

FULL = Gauge("vgg16_bn-6c64b313.pth", 0.42, "420/1,000", "images", "3 failed", "12.3 images/s", 47.2)
BEGINNING = Gauge("", None, "1,420", "images", "", "", None)
VGG = (sys.executable, "-m", "vggcli")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", text)


class Terminal:
    """Standard error on a terminal, and what it has shown."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._keeper, theirs = os.openpty()
        self._stream = open(theirs, "w", encoding="utf-8")  # noqa: SIM115 (closed below)
        monkeypatch.setattr(sys, "stderr", self._stream)  # by the test itself: pytest puts its own back between phases

    def shown(self) -> str:
        self._stream.close()
        return read_to_end(self._keeper).decode()


def read_to_end(keeper: int) -> bytes:
    """All that a terminal shows until nobody holds it any more; Linux says so by an error."""
    text = b""
    with open(keeper, "rb", buffering=0) as stream, contextlib.suppress(OSError):
        while block := stream.read(1 << 16):
            text += block
    return text


# The words


@pytest.mark.parametrize("gauge", [FULL, BEGINNING])
@pytest.mark.parametrize("width", [1, 8, 20, 39, 59, 79, 199])
def test_a_bar_fits_every_width(gauge: Gauge, width: int) -> None:
    assert len(plain(gauge.drawn(width))) <= width


def test_what_matters_most_stays_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    monkeypatch.setenv("NO_COLOR", "1")

    assert FULL.drawn(39) == " 42% ━━━━━         420/1,000  0:47 left"
    assert FULL.drawn(79).endswith("  420/1,000 images  3 failed  12.3 images/s  0:47 left")
    assert FULL.drawn(119).startswith(" 42% ━━━")
    assert BEGINNING.drawn(39) == "1,420 images"


def test_without_unicode_or_colour_a_bar_is_still_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert re.fullmatch(r" 42% #+-+  420/1,000  0:47 left", FULL.drawn(39))


def test_a_plain_line_says_all() -> None:
    assert FULL.plain() == "420/1,000 images, 3 failed, 12.3 images/s, 0:47 left"
    assert BEGINNING.plain() == "1,420 images"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0:00"), (61, "1:01"), (3600, "1:00:00"), (2 * 86400 + 3 * 3600 + 62, "2 d 3:01:02")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_speed_is_that_of_the_last_half_minute() -> None:
    speed = Speed()
    assert speed.per_second(0, 0) == 0
    assert speed.per_second(10, 100) == 10
    for second in range(11, 101):
        latest = speed.per_second(second, 100 + (second - 10))
    assert latest == pytest.approx(1.0)


# What is counted


def test_a_run_knows_its_total_from_the_last_count() -> None:
    counted = RunProgress(None, print, iter([1, 2, 400]))
    counted.advance(9, 1, 90)
    assert counted.gauge().share is None
    counted.count()

    gauge = counted.gauge()
    assert (gauge.share, gauge.counts, gauge.failed) == (0.25, "100/400", "1 failed")
    counted.advance(400, 1)
    assert (counted.gauge().share, counted.gauge().counts) == (None, "401")  # the folder has grown


def test_a_list_that_cannot_be_counted_gives_no_total() -> None:
    def counts() -> Iterator[int]:
        yield 1
        raise OSError

    counted = RunProgress(None, print, counts())
    counted.count()
    assert counted.gauge().share is None


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    told = threading.Event()
    monkeypatch.setattr(progress, "_FIRST_SECONDS", 0.0)

    def say(text: str) -> None:
        lines.append(text)
        told.set()

    before = threading.active_count()
    with RunProgress(None, say, ()) as running:
        running.advance(3, 1)
        assert told.wait(60)
    assert threading.active_count() == before
    assert lines[-1].startswith(("0 images", "4 images, 1 failed"))


def test_lines_in_a_log_grow_rare() -> None:
    assert [progress.pause(seconds) for seconds in (0, 600, 1800, 1e6)] == [10, 10, 30, 60]


# The terminal


def test_lines_go_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, line = Terminal(monkeypatch), Line()
    with line:
        line.draw("42%")
        line.above("a note")
        line.draw("43%")
    line.above("another")

    erase = "\r\x1b[J"
    assert terminal.shown() == f"{erase}42%\r{erase}a note\r\n42%\r{erase}43%\r{erase}another\r\n"


def test_names_in_a_note_beside_a_bar_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, console = Terminal(monkeypatch), Console()
    with console.progress(wanted=True):
        console.note("cannot classify :heart:_:bomb:[red]\u200b\x1b[31m.jpg")

    assert "vgg: cannot classify :heart:_:bomb:[red]\\u200b\\x1b[31m.jpg\r\n" in terminal.shown()


def test_nothing_is_drawn_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, line = Terminal(monkeypatch), Line()
    line.draw("42%")
    line.leave()
    line.draw("43%")

    assert terminal.shown() == "\r\x1b[J42%\r\r\x1b[J"


def test_a_download_leaves_its_last_state(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    transfer = Transfer("w.pth", Line(), print)
    transfer.begin(400_000, 1_000_000)
    transfer.moved(1_000_000)
    transfer.close()

    last = plain(terminal.shown()).rpartition("\x1b[J")[2]
    assert last.startswith("100% ━")
    assert "1.0/1.0 MB" in last
    assert last.endswith("\r\n")


def files(kind: str, tmp_path: Path) -> tuple[int, ...]:
    if kind == "file":
        return (os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT),)
    return os.pipe() if kind == "pipe" else os.openpty() if kind == "terminal" else (os.open(os.devnull, os.O_RDWR),)


@pytest.mark.parametrize(
    ("out", "err", "shares"),
    [
        ("terminal", "terminal", True),
        ("pipe", "terminal", True),
        ("file", "terminal", False),
        ("null", "terminal", False),
        ("pipe", "file", False),
        ("file", "pipe", False),
        ("same", "file", True),
        ("same", "pipe", True),
    ],
)
def test_who_shares_the_terminal(
    out: str, err: str, shares: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_files = [files(err, tmp_path), *([] if out == "same" else [files(out, tmp_path)])]
    with open(open_files[0][-1], "w", closefd=False) as stderr, open(open_files[-1][-1], "w", closefd=False) as stdout:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(sys, "stdout", stdout)
        assert Console().shares_terminal is shares
        monkeypatch.undo()
    for descriptor in sum(open_files, ()):
        os.close(descriptor)


def on_a_terminal(command: str, *arguments: str | Path) -> str:
    """What a command of the shell shows on a terminal that is all it has."""
    keeper, theirs = os.openpty()
    words = ["sh", "-c", command, *map(str, arguments)]
    environment = os.environ | {"TERM": "xterm-256color"}
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        return read_to_end(keeper).decode()


def test_a_pipe_to_the_same_terminal_is_left_alone() -> None:
    """`| cut` prints where the bar would be."""
    text = on_a_terminal('"$0" -m vggcli predict -w demo -k 1 "$1" "$1" | cut -f2,4', sys.executable, digit("one"))

    assert "\x1b" not in text
    assert text.count("1\tone\r\n") == 2


@pytest.mark.parametrize("place", ['-o "$2"', '> "$2"'])
def test_a_file_leaves_the_terminal_to_the_bar(place: str, tmp_path: Path) -> None:
    out = tmp_path / "out.tsv"
    text = on_a_terminal(f'"$0" -m vggcli predict -w demo "$1" {place}', sys.executable, digit("one"), out)

    assert re.search(r"\r\x1b\[J[^\n]*\d(/1)? images", plain(text))
    assert text.rpartition("\x1b[J")[2].startswith("vgg: 1 ok")  # nothing of it is left
    assert out.read_text().count("\n") == 5


@pytest.mark.skipif(not hasattr(signal, "SIGTSTP"), reason="needs job control")
def test_ctrl_z_gives_back_the_terminal_and_fg_draws_again(tmp_path: Path) -> None:
    keeper, theirs = os.openpty()
    command = [*VGG, "predict", "-w", "demo", "-o", str(tmp_path / "out.tsv"), "--files-from", "-"]
    # In a group of its own, as a shell starts it: Ctrl-Z does not stop a group that nobody could wake again.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=theirs, preexec_fn=os.setpgrp) as process:
        os.close(theirs)
        assert process.stdin is not None
        process.stdin.write(f"{digit('one')}\n".encode())
        process.stdin.flush()
        text = b""
        while b"1 images" not in text:
            text += os.read(keeper, 1 << 16)
        process.send_signal(signal.SIGTSTP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        while not text.endswith(b"\r\x1b[J"):
            text += os.read(keeper, 1 << 16)
        process.send_signal(signal.SIGCONT)
        text = b""
        while b"1 images" not in text:
            text += os.read(keeper, 1 << 16)
        process.stdin.close()
        text = read_to_end(keeper)

    assert process.returncode == 0
    assert b"vgg: 1 ok" in text
