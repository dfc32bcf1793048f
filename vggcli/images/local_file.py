"""An archive on this machine: one open file for all threads that read from it, open only while one of them does."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vggcli.images.access import UnreadableError

_Identity = tuple[int, int, int, int]  # device, inode, size, time of the last change in nanoseconds


class LocalFile:
    """Bytes by their offset, as long as the file stays what it was when it was first opened; pickles by its name.

    Args:
        name: as the system knows it.
        identity: what it was when it was first opened; None where this is the first time.
    """

    is_remote = False

    def __init__(self, name: str, identity: _Identity | None = None) -> None:
        self._name, self._identity = name, identity
        self._lock = threading.Lock()
        self._users, self._descriptor = 0, -1

    @property
    def key(self) -> tuple[str, _Identity | None]:
        """What makes another one of the same file."""
        return self._name, self._identity

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalFile, self.key

    @property
    def size(self) -> int:
        """In bytes, once it has been opened."""
        assert self._identity is not None
        return self._identity[2]

    @contextmanager
    def opened(self) -> Iterator[LocalFile]:
        """Open inside.

        Raises:
            OSError: the system cannot open it.
            UnreadableError: it is no file, or another one than before.
        """
        with self._lock:
            if not self._users:
                self._open()
            self._users += 1
        try:
            yield self
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    os.close(self._descriptor)

    def _open(self) -> None:
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._descriptor = os.open(self._name, flags)
        except FileNotFoundError as error:
            if self._identity is None:
                raise
            raise UnreadableError("vanished", "the archive was there when it was listed and is gone") from error
        status = os.fstat(self._descriptor)
        identity = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        why = None
        if not stat.S_ISREG(status.st_mode):
            why = "not-a-file", "it is no regular file"
        elif self._identity not in (None, identity):
            why = "vanished", "the archive has changed since it was listed"
        if why is not None:
            os.close(self._descriptor)
            raise UnreadableError(*why)
        self._identity = identity

    def read_at(self, offset: int, size: int) -> bytes:
        """So many bytes from there on, fewer at the end of the file; inside `opened`."""
        size = min(size, self.size - offset)  # as much memory as is asked for is taken at once
        pieces = []
        while size > 0 and (piece := os.pread(self._descriptor, size, offset)):
            pieces.append(piece)
            offset, size = offset + len(piece), size - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
