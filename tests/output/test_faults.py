"""Closed pipes, full disks, devices: the records so far are whole, and the error says what to do."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import gc
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sink_examples import RECORDS, SETTINGS, TOP_2

from vggcli.errors import OutputError, UsageError
from vggcli.output.parquet import journal_path
from vggcli.output.predictions import PredictionCodec
from vggcli.output.sinks import open_sink
from vggcli.output.stream import Stream, open_file
from vggcli.records import Prediction, Record

LINE_FORMATS = ("tsv", "csv", "jsonl", "table")

WRITER = """
import sys
from pathlib import Path
from sink_examples import RECORDS, SETTINGS, TOP_2
from vggcli.errors import OutputError
from vggcli.output.sinks import open_sink

try:
    sink = open_sink(sys.argv[1], Path(sys.argv[2]) if sys.argv[2:] else None, TOP_2)
    for _ in range(2000):
        for record in RECORDS:
            sink.write(record)
    sink.close(SETTINGS)
except BrokenPipeError:
    sys.exit(7)
except OutputError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def start_writer(*arguments: str, program: str = WRITER, **options: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LC_ALL": "C"}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload]


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors.decode()


@pytest.mark.parametrize("format", LINE_FORMATS)
def test_a_reader_that_leaves_is_one_exception_and_no_noise_at_exit(format: str) -> None:
    process = start_writer(format, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    assert finish(process) == (7, "")


@pytest.mark.parametrize("arguments", [("tsv",), ("tsv", "/dev/full")])
def test_no_room_behind_a_device_is_an_output_error(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        code, errors = finish(start_writer(*arguments, stdout=full.fileno()))
    where = arguments[1] if len(arguments) > 1 else "standard output"
    assert (code, errors) == (
        4,
        f"cannot write {where}: no space left on device. Name another output with -o.\n",
    )


def test_closed_standard_output_is_an_output_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(OutputError, match="it is closed"):
        open_sink("tsv", None, TOP_2)


def test_a_fifo_is_written_like_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    process = start_writer("tsv", str(tmp_path / "fifo"))
    text = (tmp_path / "fifo").read_bytes()
    assert finish(process) == (0, "")
    assert text.count(b"\n") == 2000 * 5


def test_dev_null_and_dev_stdout_are_no_files_to_be_refused(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for output in ("/dev/null", "/dev/stdout", "-"):
        sink = open_sink("tsv", Path(output), TOP_2)
        sink.write(RECORDS[1])
        sink.close(SETTINGS)
    assert capfdbinary.readouterr().out == b"b\\t\\n.jpg\t\t\t\t\tempty: no bytes\n" * 2


def test_a_full_pipe_that_does_not_block_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = b"x" * 300_000 + b"\n"
    received = io.BytesIO()

    def read() -> None:
        while block := os.read(reading, 4096):
            received.write(block)

    reader = threading.Thread(target=read)
    reader.start()
    stream = Stream(io.FileIO(writing, "w"), "pipe", regular=False)
    stream.write(data)
    stream.close()
    reader.join(30)
    os.close(reading)
    assert received.getvalue() == data


@pytest.mark.parametrize("format", LINE_FORMATS)
def test_a_write_cut_short_leaves_only_whole_records(format: str, tmp_path: Path) -> None:
    """No file of the writing process grows beyond 10,000 bytes: the last write is cut short, the next one fails."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
    output = tmp_path / "out"
    code, said = finish(start_writer(format, str(output), program=limit + WRITER))
    assert code == 4, said
    assert "file too large" in said
    assert 9_000 < output.stat().st_size <= 10_000
    assert output.read_bytes().endswith(b"\n")


@pytest.fixture
def full_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path_factory.mktemp("disk")
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip(f"cannot mount a small tmpfs here: {os.strerror(ctypes.get_errno())}")
    yield folder
    libc.umount2(os.fsencode(folder), 2)


@pytest.mark.parametrize("format", LINE_FORMATS)
def test_a_full_disk_leaves_only_whole_records(format: str, full_disk: Path) -> None:
    assert_whole_at_the_end_of_room(format, full_disk / "out", 1_000_000, "no space left.*Make room.*--resume")
    (full_disk / "out").unlink()


def assert_whole_at_the_end_of_room(format: str, output: Path, least: int, words: str) -> None:
    record = Record("x" * 500, tuple(Prediction(rank, rank, "y" * 500, 0.5) for rank in (1, 2, 3)))
    sink = open_sink(format, output, PredictionCodec(3))
    size = 0
    with pytest.raises(OutputError, match=words) as error:  # noqa: PT012 -- the first failing write ends it
        while True:
            sink.write(record)
            size = output.stat().st_size
    assert error.value.exit_code == 4
    sink.suspend()
    assert output.stat().st_size == size > least - 3000
    assert output.read_bytes().endswith(b"\n")


def test_no_room_for_the_parquet_file_keeps_the_journal(full_disk: Path) -> None:
    pytest.importorskip("pyarrow")
    output = full_disk / "out.parquet"
    sink = open_sink("parquet", output, TOP_2)
    for record in RECORDS:
        sink.write(record)
    journal = journal_path(output).read_bytes()
    (full_disk / "filler").write_bytes(b"x" * (1_048_576 - 2 * 4096))
    with open(full_disk / "filler", "ab", buffering=0) as filler, pytest.raises(OSError, match="space"):  # noqa: PT012
        while True:
            filler.write(b"x" * 4096)
    with pytest.raises(OutputError, match=r"no space left.*--resume"):
        sink.close(SETTINGS)
    assert journal_path(output).read_bytes() == journal
    assert sorted(path.name for path in full_disk.iterdir()) == ["filler", "out.parquet.journal.jsonl"]


def test_a_failing_write_does_not_move_the_end_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = open_file(tmp_path / "out")
    stream.write(b"whole\n")
    raw = stream._raw

    class Failing:
        def write(self, data: memoryview) -> int:
            if len(data) < 6:
                raise OSError(5, "Input/output error")
            return raw.write(data[:3]) or 0

        def fileno(self) -> int:
            return raw.fileno()

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="input/output error"):  # noqa: PT012
        patch.setattr(stream, "_raw", Failing())
        stream.write(b"broken\n")
    assert (tmp_path / "out").read_bytes() == b"whole\n"
    stream.write(b"again\n")
    stream.close()
    assert (tmp_path / "out").read_bytes() == b"whole\nagain\n"


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EACCES, "permission denied"), (errno.EROFS, "read-only file system")]
)
@pytest.mark.parametrize("format", [*LINE_FORMATS, "parquet"])
def test_a_place_that_may_not_be_written_is_found_at_open(
    format: str, number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow.parquet")

    def refuse(path: object, *arguments: object) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(OutputError, match=f"{words}.*Name another output") as error:
        open_sink(format, tmp_path / "out", TOP_2)
    assert error.value.exit_code == 4


@pytest.mark.parametrize("format", LINE_FORMATS)
def test_a_file_is_no_folder_to_write_in(format: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="not a directory"):
        open_sink(format, tmp_path / "file" / "out", TOP_2)


def test_a_descriptor_by_name_is_added_to_not_emptied(tmp_path: Path) -> None:
    """`-o /dev/stderr 2>> log` keeps the log, although it is a regular file that exists."""
    (tmp_path / "log").write_bytes(b"before\n")
    with open(tmp_path / "log", "ab") as log:
        sink = open_sink("tsv", Path(f"/dev/fd/{log.fileno()}"), TOP_2)
        sink.write(RECORDS[1])
        sink.close(SETTINGS)
    assert (tmp_path / "log").read_bytes() == b"before\nb\\t\\n.jpg\t\t\t\t\tempty: no bytes\n"


def test_a_block_device_is_never_an_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stat.S_ISBLK", lambda mode: True)
    with pytest.raises(OutputError, match="it is a block device"):
        open_sink("tsv", Path("/dev/null"), TOP_2)


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    sink = open_sink("jsonl", tmp_path / "out", TOP_2)
    sink.write(RECORDS[1])
    sink.close(SETTINGS)
    assert (tmp_path / "out").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_that_is_in_use_is_closed_once(resume: bool, tmp_path: Path) -> None:
    """A descriptor closed a second time is, by then, another file of the process."""
    first = open_file(tmp_path / "out")
    with pytest.raises(UsageError, match="another run") as refused:
        open_file(tmp_path / "out", overwrite=not resume, resume=resume)
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    del refused  # and with the traceback all that `open_file` had in hand
    gc.collect()
    for other in others:
        os.close(other)
    first.close()


def test_a_disk_that_is_full_only_when_closed_is_an_output_error() -> None:
    class LateRaw(io.BytesIO):
        def close(self) -> None:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with pytest.raises(OutputError, match=r"disk quota exceeded.*--resume"):
        Stream(LateRaw(), "out", regular=False).close()


# Outputs that somebody takes away in mid-run, and names that somebody else has taken


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "table", "parquet"])
def test_an_output_that_is_deleted_in_mid_run_is_no_success(format: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sink = open_sink(format, out, TOP_2)
    sink.write(RECORDS[0])
    (journal_path(out) if format == "parquet" else out).unlink()

    with pytest.raises(OutputError, match="it was removed, moved or replaced while this run wrote it"):
        sink.write(RECORDS[1])
    sink.suspend()


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl", "parquet"])
def test_an_output_that_is_moved_away_or_replaced_is_no_success(format: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = journal_path(out) if format == "parquet" else out
    for replace in (False, True):
        sink = open_sink(format, out, TOP_2, overwrite=True)
        sink.write(RECORDS[0])
        lines.rename(tmp_path / "elsewhere")
        if replace:
            lines.write_text("of somebody else")

        with pytest.raises(OutputError, match="it was removed, moved or replaced while this run wrote it"):
            sink.close(SETTINGS)
        sink.suspend()


@pytest.mark.parametrize("link", ["symbolic", "hard", "fifo"])
def test_a_journal_is_never_written_through_what_somebody_put_in_its_place(link: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    victim, journal = tmp_path / "victim", journal_path(tmp_path / "out.parquet")
    victim.write_text("precious\n")
    {
        "symbolic": lambda: journal.symlink_to(victim),
        "hard": lambda: journal.hardlink_to(victim),
        "fifo": lambda: os.mkfifo(journal),
    }[link]()

    for way in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(OutputError, match="it is a link, or no file"):
            open_sink("parquet", tmp_path / "out.parquet", TOP_2, **way)
    assert victim.read_text() == "precious\n"
