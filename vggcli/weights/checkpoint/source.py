"""Where the bytes of a checkpoint come from, and a cursor that reads them in order without reading ahead much."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import threading
from typing import Protocol

from vggcli.errors import CheckpointError
from vggcli.web.urls import shown
from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.problems import Unreadable, damaged_pickle, truncated

WHAT = "cannot read weights"
BLOCK = 1 << 16  # bytes a cursor reads at a time


class Source(Protocol):
    """Bytes at random positions.

    Attributes:
        name: path or URL, for messages.
        size: bytes.
    """

    name: str
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`, or raise `CheckpointError`."""
        ...


class FileSource:
    """A regular file on disk, read piecewise; mapped only when the numbers of a tensor are asked for.

    The map is private and copy-on-write: arrays over it can be written to without changing the file. There is one map
    of a file, whichever thread asks first; any thread may read, and any close.

    Args:
        path: the file.

    Raises:
        CheckpointError: it is missing, a folder, not a regular file, or may not be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._fd = -1
        self._map: mmap.mmap | None = None
        # Also around reads: a descriptor that another thread closes may be another file's a moment later.
        self._lock = threading.Lock()
        self.name = os.fsdecode(path)
        self._fd = _open(self.name)
        self.size = os.fstat(self._fd).st_size
        # Headers lie far apart: reading ahead would pull megabytes of numbers from the disk for nothing.
        self._advise("POSIX_FADV_RANDOM")

    def _advise(self, advice: str) -> None:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._fd, 0, 0, getattr(os, advice))

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        parts, wanted = [], length
        while wanted > 0:
            part = self._read_some(offset + length - wanted, wanted)
            if not part:
                problem = truncated(self.size, offset + length)
                raise CheckpointError(WHAT, self.name, problem.why, problem.next_step)
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

    def _read_some(self, offset: int, length: int) -> bytes:
        with self._lock:
            self._check_open()
            try:
                return os.pread(self._fd, length, offset)
            except OSError as error:
                raise CheckpointError(WHAT, self.name, (error.strerror or str(error)).lower()) from error

    def view(self, offset: int, length: int) -> memoryview:
        """Return `length` bytes from `offset` without reading them: a writeable view over the private map."""
        with self._lock:
            self._check_open()
            if os.fstat(self._fd).st_size < self.size:  # touching pages beyond the end would kill the process
                raise CheckpointError(WHAT, self.name, "the file became shorter while it was read", "Try again")
            if self._map is None:
                self._map = self._mapped()
            return memoryview(self._map)[offset : offset + length]

    def _mapped(self) -> mmap.mmap:
        self._advise("POSIX_FADV_NORMAL")
        try:
            return mmap.mmap(self._fd, self.size, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                WHAT, self.name, f"it cannot be mapped into memory ({error})", "Copy it to a local disk"
            ) from error

    def forget_pages(self) -> None:
        """Drop the resident pages of the map; they come back from the file when they are touched again.

        Only for those who do not write to the arrays: what was written to the private map is lost.
        """
        with self._lock:
            if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)

    def _check_open(self) -> None:
        if self._fd < 0:
            raise CheckpointError(WHAT, self.name, "the checkpoint was closed", "Open it again")

    def close(self) -> None:
        """Give up the file. Arrays made before stay valid: the map goes when the last of them goes."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd, self._map = -1, None

    def __del__(self) -> None:
        self.close()


def _open(name: str) -> int:
    """Open a regular file for reading; O_NONBLOCK, because a FIFO would otherwise wait for a writer."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    irregular = "it is not a regular file (a pipe, socket or device)"
    try:
        fd = os.open(name, flags)
    except FileNotFoundError as error:
        raise CheckpointError(WHAT, shown(name), "there is no such file", "Check the path") from error
    except PermissionError as error:
        raise CheckpointError(WHAT, name, "permission denied", "Make the file readable for this user") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        if getattr(error, "errno", None) == errno.ENXIO:
            raise CheckpointError(WHAT, name, irregular, "Save the weights to a file first") from error
        raise CheckpointError(
            WHAT, shown(name), getattr(error, "strerror", None) or str(error), "Check the path"
        ) from error
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise CheckpointError(WHAT, name, "it is a folder", "Name the weights file inside it")
    raise CheckpointError(WHAT, name, irregular, "Save the weights to a file first")


class Cursor:
    """Reads a range of a source from front to back.

    Args:
        source: the bytes.
        start: first byte.
        end: one past the last byte.
    """

    def __init__(self, source: Source, start: int, end: int) -> None:
        self._source, self._end = source, end
        self._block, self._at, self._read = b"", 0, start  # the buffer, the place in it, where the next block starts
        self.stop = start + limits.PICKLE_BYTES

    def tell(self) -> int:
        """Return the position in the source of the next byte."""
        return self._read - len(self._block) + self._at

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes; nothing is allocated for a length that is not there."""
        if self._at + length > len(self._block):
            self._need(length)
        self._at += length
        return self._block[self._at - length : self._at]

    def line(self) -> bytes:
        """Return the bytes before the next newline and step over it."""
        searched = 0
        while True:
            found = self._block.find(b"\n", self._at + searched)
            if found >= 0:
                text = self._block[self._at : found]
                self._at = found + 1
                return text
            searched = len(self._block) - self._at
            if searched > limits.LINE_BYTES:
                raise Unreadable("its pickle is damaged: a line without an end")
            self._need(searched + 1)

    def _need(self, length: int) -> None:
        """Have at least `length` bytes in the buffer."""
        here = self.tell()
        if here + length > self._end:
            if self._end < self._source.size:
                raise damaged_pickle("it ends early")
            raise truncated(self._source.size, here + length)
        if here + length > self.stop:
            raise Unreadable(
                f"its pickle is larger than {limits.PICKLE_BYTES >> 20} MiB", "Name a file of the weights alone"
            )
        rest = self._block[self._at :]
        more = min(max(BLOCK, length - len(rest)), self._end - self._read)
        self._block, self._at = rest + self._source.read(self._read, more), 0
        self._read += more
