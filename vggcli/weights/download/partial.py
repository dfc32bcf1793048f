"""The unfinished file of a download: `<target>.part`, with a small note beside it that makes resuming safe.

The note (`<target>.part.json`) keeps what the server said about the version of the file that the bytes belong to. Bytes
are written without buffering, so that a killed process loses at most the piece in flight, and the SHA-256 runs along.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

from vggcli.weights.download.http import TransferError

_BLOCK = 1 << 20  # bytes read at a time when a kept part is hashed again


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
        self._file = self.path.open("a+b", buffering=0)
        self._sha256 = hashlib.sha256()
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
        self._file.close()
        if self.size == 0:
            self.discard()

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the bytes received."""
        return self._sha256.hexdigest()

    def _load_earlier_run(self) -> None:
        """Read the note and hash the bytes of an earlier run; without a readable note they are worth nothing."""
        try:
            note = json.loads(self._note.read_text("utf-8"))
            total, validator = note["total"], note["validator"]
            known = (total is None or isinstance(total, int)) and (validator is None or isinstance(validator, str))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            known = False
        if not known:
            self._file.truncate(0)
            return
        self.total, self.validator = total, validator
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            self._sha256.update(block)
            self.size += len(block)
        self.pieced = self.size > 0

    def restart(self, total: int | None, validator: str | None) -> None:
        """Forget all bytes and begin with this version of the file."""
        self._file.truncate(0)
        self._sha256 = hashlib.sha256()
        self.size, self.total, self.validator, self.pieced = 0, total, validator, False
        # After the truncation: a process killed in between leaves an empty part, never old bytes under a new note.
        self._note.write_text(json.dumps({"total": total, "validator": validator}), "utf-8")

    def write(self, data: bytes) -> None:
        """Append the bytes that follow.

        Raises:
            TransferError: the disk is full; what fitted is kept.
        """
        view = memoryview(data)
        while view:
            try:
                written = self._file.write(view)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise TransferError(f"the disk that holds {self.target.parent} is full") from error
            self._sha256.update(view[:written])
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

    def finish(self) -> None:
        """Give the whole and verified file its name, durably."""
        self._move_to(self.target)

    def set_aside(self) -> Path:
        """Keep a wrong file as `<target>.wrong-hash`, where nobody takes it for the right one; returns its path."""
        aside = self.target.with_name(self.target.name + ".wrong-hash")
        self._move_to(aside)
        return aside

    def discard(self) -> None:
        """Delete the bytes and the note."""
        self._file.close()
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _move_to(self, goal: Path) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        self.path.replace(goal)
        self._note.unlink(missing_ok=True)
        if os.name == "posix":  # elsewhere a folder cannot be opened to be synced
            folder = os.open(goal.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
