"""From an input to a stream of its bytes: the system's side, whose errors become kinds of failure here."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from vggcli.errors import InputError
from vggcli.images.access import Access, UnreadableError
from vggcli.images.attempt import Attempt
from vggcli.images.item import Input, is_special


@contextmanager
def open_bytes(item: Input, access: Access, attempt: Attempt) -> Iterator[IO[bytes]]:
    """The bytes of an input, from its address, standard input or memory, as a stream that can seek.

    Args:
        item: not a picture or an array.
        access: what may be reached, and how many bytes; more are refused.
        attempt: begun when the bytes are here; a read after it was given up raises `GivenUpError`.

    Raises:
        InputError: it cannot be opened, or what the system says while it is read inside the context.
    """
    try:
        with _stream(item, access, attempt) as stream:
            yield stream
    except UnreadableError as error:
        raise InputError(error.kind, item.name, error.why) from error
    except OSError as error:
        raise from_system(error, item) from error


def from_system(error: OSError, item: Input) -> InputError:
    """The failure of an input that the system could not open or read."""
    if item.path is not None and isinstance(error, FileNotFoundError | NotADirectoryError):
        if os.path.islink(item.path):
            return InputError("missing", item.name, "it is a link to a file that does not exist")
        if item.given:
            return InputError("missing", item.name, "there is no such file")
        return InputError("vanished", item.name, "it was there when the folder was listed and is gone")
    if isinstance(error, PermissionError):
        return InputError("permission", item.name, "this user may not read it")
    why = os.strerror(error.errno).lower() if error.errno else str(error)
    return InputError("unreadable", item.name, f"the system says: {why}")


class _Watched(io.BufferedIOBase):
    """Reads end when nobody waits for the image any more."""

    attempt: Attempt

    def read(self, size: int | None = -1, /) -> bytes:
        self.attempt.check()
        return super().read(size)


class _File(_Watched, io.BufferedReader):
    pass


class _Memory(_Watched, io.BytesIO):
    pass


def _stream(item: Input, access: Access, attempt: Attempt) -> IO[bytes]:
    max_bytes = access.max_bytes
    if isinstance(item.content, bytes):
        attempt.begin()
        return _in_memory(item.content, item, "there are no bytes", max_bytes, attempt)
    if item.is_stdin:
        data = sys.stdin.buffer.read(max_bytes + 1)  # takes the time that its writer takes
        attempt.begin()
        return _in_memory(data, item, "standard input holds no bytes", max_bytes, attempt)
    reader, path = item.reader, item.path
    if path is None:
        raise ValueError("an input needs a path or a content")
    if reader is None and is_special(path):
        from vggcli.images import addresses, sources

        reader, path = sources.reader_of(item, access), addresses.local_name(path) or path
    if reader is not None:
        return _in_memory(reader.read(max_bytes, attempt), item, "it has no bytes", max_bytes, attempt)
    attempt.begin()
    if "\0" in path:
        raise InputError("missing", item.name, "no file name holds a zero byte")
    _refuse_special(os.stat(path), path)  # opening some devices sets them going
    # O_NONBLOCK: opening a FIFO without a writer would wait for ever, if one took the file's place since.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    stream = _File(io.FileIO(os.open(path, flags)))
    try:
        stream.attempt = attempt
        status = os.fstat(stream.fileno())
        _refuse_special(status, path)
        if status.st_size == 0:
            raise InputError("empty", item.name, "the file is empty")
        _refuse_large(status.st_size, item, max_bytes)
    except BaseException:
        stream.close()
        raise
    return stream


def _in_memory(data: bytes, item: Input, why_not: str, max_bytes: int, attempt: Attempt) -> IO[bytes]:
    if not data:
        raise InputError("empty", item.name, why_not)
    _refuse_large(len(data), item, max_bytes)
    stream = _Memory(data)
    stream.attempt = attempt
    return stream


def _refuse_large(size: int, item: Input, max_bytes: int) -> None:
    if size > max_bytes:
        raise InputError("too-large", item.name, f"it has more than {max_bytes} bytes")


def _refuse_special(status: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        if stat.S_ISDIR(status.st_mode) and not os.access(path, os.R_OK | os.X_OK):
            raise InputError("permission", path, "it is a folder that this user may not read")
        types = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
        what = types.get(stat.S_IFMT(status.st_mode), "a device")
        raise InputError("not-a-file", path, f"it is {what}, not an image file")
