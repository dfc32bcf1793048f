"""Where records go as bytes: standard output, a device or FIFO, or a regular file that only ever holds whole records.

Python's own buffers are passed by.  A record is handed to the operating system at once, so a kill loses none, and
nothing is left over that would fail a second time when the interpreter ends.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from vggcli import files
from vggcli.errors import OutputError, UsageError

_STDOUT_NAMES = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
# Names of open descriptors: even where one leads to a regular file, that file is the shell's business, not ours.
_ANOTHER = "Name another output with -o"
_DESCRIPTOR_FOLDERS = ("/dev/stderr", "/dev/fd/", "/proc/self/fd/")


class _Raw(Protocol):
    def write(self, data: memoryview, /) -> int | None: ...
    def flush(self) -> None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


def is_stdout(output: Path | None) -> bool:
    """Whether results go to standard output: no `-o`, `-o -`, or one of the names of descriptor 1."""
    return output is None or str(output) in _STDOUT_NAMES


def is_regular(output: Path) -> bool:
    """Whether the output is, or will be, a regular file, which can be cut back, replaced and resumed."""
    if str(output).startswith(_DESCRIPTOR_FOLDERS):
        return False
    try:
        return stat.S_ISREG(output.stat().st_mode)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise cannot_write(output, error) from error


def cannot_write(output: Path | str, error: OSError, *, resumable: bool = True) -> OutputError:
    """The error for an output that cannot be opened or written, in plain words."""
    room = "Make room and run the same command again with --resume" if resumable else _ANOTHER
    steps = {errno.ENOENT: "Make the folder first, or name another with -o", errno.ENOSPC: room, errno.EDQUOT: room}
    why = (error.strerror or str(error)).lower()
    return OutputError("cannot write", str(output), why, steps.get(error.errno or 0, _ANOTHER))


def _is_gone(where: str) -> OutputError:
    why = "it was removed, moved or replaced while this run wrote it"
    return OutputError("cannot write", where, why, "Run the same command again, and leave its output in place")


@contextmanager
def in_plain_words(where: Path | str, *, resumable: bool = True) -> Iterator[None]:
    """Turn what the system says while this output is opened or written into an `OutputError`.

    Args:
        where: the output, for messages.
        resumable: whether room made on a full disk would let `--resume` go on.
    """
    try:
        yield
    except BrokenPipeError:  # nobody reads any more: no fault, and the caller ends the run in silence
        raise
    except OSError as error:
        raise cannot_write(where, error, resumable=resumable) from error


class Stream:
    """A place for whole records.

    Attributes:
        where: its name, for messages.
        position: bytes of whole records so far, counted from the start of the file (0 at first for a pipe).
    """

    def __init__(self, raw: _Raw, where: str, *, regular: bool, is_ours: bool = True) -> None:
        self._raw, self.where, self._regular, self._is_ours = raw, where, regular, is_ours
        self.position = 0
        self._gave_way = False
        # Where links are counted at all: some network file systems know none.
        self._watches_links = regular and os.fstat(raw.fileno()).st_nlink > 0

    @property
    def is_terminal(self) -> bool:
        """Whether a person is looking at it."""
        try:
            return os.isatty(self._raw.fileno())
        except OSError:  # io.UnsupportedOperation: a stand-in for standard output, without a descriptor
            return False

    def write(self, data: bytes) -> None:
        """Hand the bytes to the operating system, all or none (a pipe or device may still tear them).

        Raises:
            BrokenPipeError: nobody reads any more.
            OutputError: no room, an input/output error, ...; a regular file is cut back to its last whole record.
        """
        with in_plain_words(self.where, resumable=self._regular):
            if self._watches_links and os.fstat(self._raw.fileno()).st_nlink == 0:
                raise _is_gone(self.where)
            try:
                self._write_all(memoryview(data))
            except BaseException:
                if self._regular:
                    self._truncate(self.position)
                raise
        self.position += len(data)

    def _write_all(self, rest: memoryview) -> None:
        while rest:
            written = self._raw.write(rest)
            if written is None:  # a non-blocking pipe that is full just now
                select.select([], [self._raw.fileno()], [])
            else:
                rest = rest[written:]
        self._raw.flush()

    def write_at(self, place: int, data: bytes) -> None:
        """Write over bytes of a regular file, and stay at its end; for the errors see `write`."""
        with in_plain_words(self.where):
            os.lseek(self._raw.fileno(), place, os.SEEK_SET)
            try:
                self._write_all(memoryview(data))
            finally:
                os.lseek(self._raw.fileno(), self.position, os.SEEK_SET)

    def cut(self, size: int) -> None:
        """Drop everything behind the first `size` bytes of a regular file and go on from there."""
        with in_plain_words(self.where):
            self._truncate(size)
        self.position = size

    def _truncate(self, size: int) -> None:
        os.ftruncate(self._raw.fileno(), size)
        os.lseek(self._raw.fileno(), size, os.SEEK_SET)

    def check_is_in_place(self) -> None:
        """Find out that what was written will be lost on closing, since its name is gone or another file's.

        Raises:
            OutputError: somebody removed, moved or replaced the file while it was written.
        """
        if not self._regular or self._gave_way:
            return
        try:
            is_in_place = os.path.samestat(os.fstat(self._raw.fileno()), os.stat(self.where))
        except FileNotFoundError:
            is_in_place = False
        except OSError:  # a folder that may not be searched any more: the file itself is as it was
            return
        if not is_in_place:
            raise _is_gone(self.where)

    def give_way(self) -> None:
        """Let another file, made from this one, take its place; see `check_is_in_place` for the error."""
        self.check_is_in_place()
        self._gave_way = True

    def close(self) -> None:
        """Close what this object opened; some file systems report a full disk only here."""
        if self._is_ours:
            with in_plain_words(self.where):
                self._raw.close()


def open_stdout() -> Stream:
    """Standard output as bytes, whatever the locale.

    Raises:
        OutputError: it is closed (`>&-`).
    """
    if sys.stdout is None:
        raise OutputError("cannot write", "standard output", "it is closed", "Name an output with -o")
    with in_plain_words("standard output", resumable=False):
        sys.stdout.flush()
    buffer = sys.stdout.buffer
    return Stream(getattr(buffer, "raw", buffer), "standard output", regular=False, is_ours=False)


def open_file(output: Path, *, overwrite: bool = False, resume: bool = False, follow_links: bool = True) -> Stream:
    """Open an output file, or a device or FIFO in its place.

    Args:
        output: the path as given.
        follow_links: take a symbolic link for the file that it leads to; a file whose name the person did not choose
            is refused where it is a link or has a second name, which somebody else may have put there.
        overwrite: empty an existing regular file instead of refusing it.
        resume: keep what an existing regular file holds; the caller cuts it to the place to go on from.

    Raises:
        UsageError: the file exists and neither was asked for, or another run is writing it.
        OutputError: it cannot be opened for writing.
    """
    try:
        if not follow_links:
            with contextlib.suppress(FileNotFoundError):
                _refuse_links(output.lstat(), output)
        elif not is_regular(output):
            _refuse_block_device(output)
            return Stream(io.FileIO(os.open(output, os.O_WRONLY | os.O_APPEND), "w"), str(output), regular=False)
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
        if not (overwrite or resume):
            flags |= os.O_EXCL
        if not follow_links:
            flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # it may have become a FIFO since
        descriptor = os.open(os.path.realpath(output) if follow_links else output, flags, 0o666)
    except FileExistsError as error:
        raise _exists(output) from error
    except OSError as error:
        raise cannot_write(output, error) from error
    raw = io.FileIO(descriptor, "w")  # which alone closes the descriptor from here on
    stream = Stream(raw, str(output), regular=True)
    try:
        if not follow_links:
            _refuse_links(os.fstat(descriptor), output)
        _lock(descriptor, output)
        stream.cut(os.fstat(descriptor).st_size if resume else 0)
    except BaseException:
        raw.close()
        raise
    return stream


def check_file(output: Path, *, replace: bool) -> None:
    """Refuse early what `open_file` would refuse later, before weights are fetched and models compiled.

    Args:
        replace: an existing file is to be overwritten or resumed.

    Raises:
        UsageError: the file exists and is not to be replaced.
        OutputError: its folder does not exist or may not be written.
    """
    exists = os.path.exists(output)
    if not replace and is_regular(output) and exists:
        raise _exists(output)
    folder = Path(os.path.realpath(output)).parent
    number = 0
    if os.path.isdir(output):
        number = errno.EISDIR
    elif exists:
        number = 0 if os.access(output, os.W_OK) else errno.EACCES
    elif not os.access(folder, os.W_OK | os.X_OK):
        number = errno.EACCES if folder.is_dir() else errno.ENOENT
    if number:
        raise cannot_write(output, OSError(number, os.strerror(number)))


def _exists(output: Path) -> UsageError:
    return UsageError(
        "will not overwrite", str(output), "the file exists", "Add --resume to go on with it or --overwrite"
    )


def _refuse_block_device(output: Path) -> None:
    if stat.S_ISBLK(output.stat().st_mode):
        raise OutputError("cannot write", str(output), "it is a block device", "Name another output with -o")


def _refuse_links(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise OutputError("cannot write", str(path), "it is a link, or no file", "Remove it, or name another output")


def _lock(descriptor: int, output: Path) -> None:
    """Take the file for this process; the lock ends with it, however it ends."""
    try:
        files.lock(descriptor)
    except BlockingIOError as error:
        raise UsageError(
            "cannot write", str(output), "another run is writing it", "Wait for that run, or name another output"
        ) from error
    except OSError:  # a file system without locks: two runs at once are then the person's care
        return
