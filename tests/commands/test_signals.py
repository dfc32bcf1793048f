"""`vgg predict` interrupted, killed and left by its reader: rows stay whole, and a resumed run ends as an unbroken one.

Every run here waits on a list of inputs that the test holds open, or on a reader that does not read, so it cannot end
by itself; the test waits for a line of it, never for a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from predict_examples import COUNTS, DEMO_NOTE, command, digit, launch

PATIENCE = 60  # seconds until a process that should have ended fails the test
LEAVING = 10  # the promise is 2 seconds after a signal; a busy machine gets some more


def lines_after_note(err: bytes) -> list[str]:
    first, *rest = err.decode().splitlines()
    assert first == DEMO_NOTE
    return rest


# SIGKILL


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve small images, and after every third a path without a file."""
    folder = tmp_path_factory.mktemp("many")
    generator = np.random.default_rng(5)
    paths: list[Path] = []
    for number in range(12):
        paths.append(folder / f"{number:02}.png")
        Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(paths[-1])
        if number % 3 == 2:
            paths.append(folder / f"missing{number:02}.png")
    return paths


def listed(paths: Sequence[Path]) -> bytes:
    return "".join(f"{path}\n" for path in paths).encode()


@pytest.mark.parametrize("format", [pytest.param("tsv", marks=pytest.mark.long), "jsonl"])
def test_a_run_killed_again_and_again_ends_as_an_unbroken_one(format: str, many: list[Path], tmp_path: Path) -> None:
    whole, torn = tmp_path / f"whole.{format}", tmp_path / f"torn.{format}"
    options = ["-k", "1", "--batch-size", "2", "--files-from", "-"]
    unbroken = subprocess.run(
        command("-o", whole, *options), input=listed(many), capture_output=True, timeout=PATIENCE, check=False
    )

    for count in (4, 8, 12):  # inputs so far, of which the last one fails
        with launch("-o", torn, "--resume", *options) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write(listed(many[:count]))
            while str(many[count - 1]).encode() not in process.stderr.readline():  # its row is written, and all before
                assert process.poll() is None
            process.kill()  # it waits for more
        assert torn.read_bytes().count(b"\n") == count
        os.truncate(torn, torn.stat().st_size - count)  # as a kill in the middle of a write leaves the last row
    last = subprocess.run(
        command("-o", torn, "--resume", *options),
        input=listed(many),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )

    assert last.returncode == unbroken.returncode == 1, last.stderr
    assert b" kept from before" in last.stderr
    assert torn.read_bytes() == whole.read_bytes()


# SIGINT and SIGTERM


def test_an_interrupted_parquet_file_can_be_resumed_and_the_run_says_so(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    out = tmp_path / "out.parquet"
    code, _, lines = interrupted(signal.SIGINT, "-o", out)

    assert code == 128 + signal.SIGINT
    assert lines[-1] == "vgg: interrupted: the same command with --resume goes on"
    resume = command("-k", "2", "-o", out, "--resume", "--files-from", "-")
    subprocess.run(resume, input=f"{digit('one')}\n/no/such.png\n".encode(), timeout=PATIENCE, check=False)
    assert out.is_file()


@pytest.mark.parametrize(
    ("way", "hint"),
    [("--overwrite", "with --resume instead of --overwrite goes on"), ("--resume", "goes on")],
)
def test_the_hint_is_a_command_that_goes_on(way: str, hint: str, tmp_path: Path) -> None:
    out = tmp_path / "out.tsv"
    out.touch()
    code, _, lines = interrupted(signal.SIGINT, "-o", out, way)

    assert code == 128 + signal.SIGINT
    assert lines[-1] == f"vgg: interrupted: the same command {hint}"
    resume = command("-k", "2", "-o", out, "--resume", "--files-from", "-")
    done = subprocess.run(
        resume, input=f"{digit('one')}\n/no/such.png\n".encode(), capture_output=True, timeout=PATIENCE, check=False
    )
    assert b", 1 kept from before" in done.stderr


def interrupted(number: signal.Signals, *options: str | Path) -> tuple[int, list[bytes], list[str]]:
    """Signal a run that waits for more inputs, after its first failure is said: exit code, rows, lines of stderr."""
    process = launch("-k", "2", *options, "--files-from", "-")
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(f"{digit('one')}\n/no/such.png\n".encode())
        err = process.stderr.readline() + process.stderr.readline()  # the note and the failure, which has its row
        process.send_signal(number)
        try:
            process.wait(LEAVING)  # the list is still open
        finally:
            process.kill()
        rows = process.stdout.read().splitlines(keepends=True)
        return process.returncode, rows, lines_after_note(err + process.stderr.read())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_whole_rows(number: signal.Signals) -> None:
    code, rows, lines = interrupted(number)

    assert code == 128 + number
    assert [row.count(b"\t") for row in rows] == [5, 5, 5]
    assert all(row.endswith(b"\n") for row in rows)
    assert lines[0] == "vgg: cannot classify /no/such.png: there is no such file"
    assert re.fullmatch(COUNTS, lines[1])
    assert lines[2:] == ["vgg: interrupted: the rows so far are written"]


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
def test_an_interrupted_run_with_a_file_can_be_resumed(number: signal.Signals, tmp_path: Path) -> None:
    out, inputs = tmp_path / "out.tsv", f"{digit('one')}\n/no/such.png\n{digit('two')}\n".encode()

    code, rows, lines = interrupted(number, "-o", out)

    assert (code, rows) == (128 + number, [])
    assert lines[-1] == "vgg: interrupted: the same command with --resume goes on"
    assert out.read_bytes().count(b"\n") == 3
    resume = command("-k", "2", "-o", out, "--resume", "--files-from", "-")
    resumed = subprocess.run(resume, input=inputs, capture_output=True, timeout=PATIENCE, check=False)
    unbroken = subprocess.run(
        command("-k", "2", "--files-from", "-"), input=inputs, capture_output=True, timeout=PATIENCE, check=False
    )
    assert resumed.returncode == unbroken.returncode == 1
    assert out.read_bytes() == unbroken.stdout


@contextmanager
def stuck_run() -> Iterator[subprocess.Popen[bytes]]:
    """A run that is inside the write of its second row, which its reader's pipe cannot hold."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    room = os.write(writing, b"x" * (1 << 20))  # as much as fits
    os.set_blocking(writing, True)
    page = os.sysconf("SC_PAGE_SIZE")
    os.read(reading, 2 * page)  # room for the first row and for the beginning of the second
    # Both are done long before the engine is open, so both rows are on their way when the first of them is said.
    process = launch("/no/such.png", "/" + "x" * room, stdin=subprocess.DEVNULL, stdout=writing)
    os.close(writing)
    try:
        assert process.stderr is not None
        process.stderr.readline()
        assert b"/no/such.png" in process.stderr.readline()
        while held(reading) <= room - page:
            assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()
        os.close(reading)


def held(pipe: int) -> int:
    """Bytes that wait in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
def test_a_reader_that_does_not_read_holds_up_no_interruption(number: signal.Signals) -> None:
    with stuck_run() as process:
        process.send_signal(number)
        process.wait(LEAVING)
        assert process.stderr is not None
        said = process.stderr.read()

    assert process.returncode == 128 + number
    assert said == b"vgg: interrupted: the rows so far are written\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_run_at_once(number: signal.Signals) -> None:
    with stuck_run() as process:
        process.send_signal(signal.SIGINT)
        while process.poll() is None:  # two that come together are one, so until it listens
            process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read()

    assert process.returncode == 128 + number
    assert said == b""  # it did not wait for the row, nor for the time that the first signal gives it


# A reader that leaves


@pytest.mark.parametrize("format", ["tsv", "jsonl", "table"])
def test_a_reader_that_leaves_after_one_line_is_no_fault(format: str) -> None:
    process = launch("-f", format, "--files-from", "-")
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{digit('one')}\n".encode())
        assert process.stdout.readline()
        process.stdout.close()
        process.stdin.write(f"{digit('two')}\n".encode() * 20)
        process.stdin.close()
        assert process.stderr is not None
        lines = lines_after_note(process.stderr.read())
        process.wait(PATIENCE)

    assert process.returncode == 4
    assert len(lines) == 1
    assert re.fullmatch(COUNTS, lines[0])


def test_interrupted_again_and_again_it_leaves_the_terminal_in_order(tmp_path: Path) -> None:
    keeper, terminal = os.openpty()
    options = command("-o", tmp_path / "out.tsv", "--files-from", "-")
    with subprocess.Popen(options, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=terminal) as process:
        os.close(terminal)
        assert process.stdin is not None
        process.stdin.write(f"{digit('one')}\n".encode())
        process.stdin.flush()
        shown = b""
        while b"1 images" not in shown:  # the progress line
            shown += os.read(keeper, 1 << 16)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # how Linux says that nobody holds the terminal any more
        while block := os.read(keeper, 1 << 16):
            shown += block
    os.close(keeper)

    assert process.returncode in (128 + signal.SIGINT, -signal.SIGINT)
    assert b"images" not in shown.rpartition(b"\x1b[J")[2].partition(b"\n")[0]  # erased
    assert b"\x1b[?25l" not in shown  # and the cursor was never hidden
