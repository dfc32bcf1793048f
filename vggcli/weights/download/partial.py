"""The unfinished file of a download: `<target>.part`, with a small note beside it that makes resuming safe.

The note (`<target>.part.json`) keeps what the server said about the version of the file that the bytes belong to. Bytes
are written without buffering, so that a killed process loses at most the piece in flight. What counts in the end is the
file as it lies on the disk: it is read back and hashed, and only that very file gets the target's name. For a lock may
not reach everybody who writes it: two computers may share a folder.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from pathlib import Path

from vggcli.files import rename_durably
from vggcli.json_reader import read_json
from vggcli.web.retry import TransferError

_BLOCK = 1 << 20  # bytes read at a time for hashing
_SHARED = "another process is writing the same file"


def partial_path(target: Path) -> Path:
    """Where the unfinished file of this target is."""
    return target.with_name(target.name + ".part")


class PartialFile:
    """What has been received of `target` so far; use as a context manager, which closes the file and keeps it.

    Attributes:
        path: the unfinished file, `<target>.part`.
        size: bytes received.
        total: bytes of the whole file as the server announced it; None when unknown.
        validator: ETag or Last-Modified of the version that the bytes belong to; None when the server sent none.
        pieced: True when the bytes came in more than one answer.

    Raises:
        OSError: the file cannot be opened, read or written.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = partial_path(target)
        self._note = target.with_name(target.name + ".part.json")
        # "a+b" would add its bytes behind those of another writer; so those of one file fall on the same places.
        self._file = io.FileIO(self.path, "r+", opener=_open_or_create)
        self._hashed_ns = 0  # time of the last change that the hash covers
        self.size = 0
        self.total: int | None = None
        self.validator: str | None = None
        self.pieced = False
        try:
            self._load_earlier_run()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self.size == 0:
            self.discard()
        self._file.close()

    def _load_earlier_run(self) -> None:
        """Read the note; without a readable one the bytes of an earlier run are worth nothing."""
        try:
            note = read_json(self._note)
            total, validator = note["total"], note["validator"]
            known = (total is None or isinstance(total, int)) and (validator is None or isinstance(validator, str))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            known = False
        if not known:
            self._file.truncate(0)
            return
        self.total, self.validator = total, validator
        self.size = os.fstat(self._file.fileno()).st_size
        self.pieced = self.size > 0

    def restart(self, total: int | None, validator: str | None) -> None:
        """Forget all bytes and begin with this version of the file.

        Raises:
            TransferError: another process writes the file.
        """
        self._check_unshared()
        self._file.truncate(0)
        self.size, self.total, self.validator, self.pieced = 0, total, validator, False
        # After the truncation: a process killed in between leaves an empty part, never old bytes under a new note.
        self._note.write_text(json.dumps({"total": total, "validator": validator}), "utf-8")

    def write(self, data: bytes) -> None:
        """Append the bytes that follow.

        Raises:
            TransferError: the disk is full, and what fitted is kept; or another process writes the file.
        """
        self._check_unshared()
        self._file.seek(self.size)
        view = memoryview(data)
        while view:
            try:
                written = self._file.write(view)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise TransferError(f"the disk that holds {self.target.parent} is full") from error
            self.size += written
            view = view[written:]

    def check_room(self) -> None:
        """Refuse to start what cannot fit.

        Raises:
            TransferError: the rest of the file is larger than the free space of the disk.
        """
        free = shutil.disk_usage(self.target.parent).free
        if self.total is not None and self.total - self.size > free:
            need = self.total - self.size
            raise TransferError(
                f"no room on the disk that holds {self.target.parent}:"
                f" {need / 1e6:,.1f} MB are still to come, {free / 1e6:,.1f} MB are free"
            )

    def head(self, length: int) -> bytes:
        """The first bytes received, at most `length` of them."""
        self._file.seek(0)
        return self._file.read(length) or b""

    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file on the disk; reads it back, 0.5 s for half a GB that was just written.

        Raises:
            TransferError: another process writes the file.
        """
        os.fsync(self._file.fileno())
        self._check_unshared()
        self._hashed_ns = os.fstat(self._file.fileno()).st_mtime_ns
        sha256 = hashlib.sha256()
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            sha256.update(block)
        return sha256.hexdigest()

    def finish(self) -> None:
        """Give the file that was just hashed its name, durably.

        Raises:
            TransferError: it is not the same any more.
        """
        self._move_to(self.target)

    def set_aside(self) -> Path:
        """Keep a wrong file as `<target>.wrong-hash`, where nobody takes it for the right one; returns its path."""
        aside = self.target.with_name(self.target.name + ".wrong-hash")
        self._move_to(aside)
        return aside

    def discard(self) -> None:
        """Delete the bytes and the note, unless they have become another process's."""
        if not self._file.closed and self._is_unshared():
            self.path.unlink()
            self._note.unlink(missing_ok=True)
        self._file.close()

    def _is_unshared(self) -> bool:
        """Whether the file is where it was made and as long as it was left; another writer would have changed that."""
        here = os.fstat(self._file.fileno())
        try:
            return here.st_size == self.size and os.path.samestat(here, self.path.stat())
        except FileNotFoundError:
            return False

    def _check_unshared(self) -> None:
        if not self._is_unshared():
            raise TransferError(_SHARED)

    def _move_to(self, goal: Path) -> None:
        self._check_unshared()
        if os.fstat(self._file.fileno()).st_mtime_ns != self._hashed_ns:
            raise TransferError(_SHARED)
        self._file.close()
        rename_durably(self.path, goal)
        self._note.unlink(missing_ok=True)


def _open_or_create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
