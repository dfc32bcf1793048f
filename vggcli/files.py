"""Files that change whole or not at all: the one way to put a file in its place.

What is written goes to a new file beside the target, under a name that nobody can guess (`.vgg-*.part`), and takes the
target's name when it is whole and on the disk.  The writer holds a lock on it, so that what a killed process left
behind can be told from what another is writing (`remove_stale`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

_NEW_NAME = re.compile(r"\.vgg-[0-9a-f]{16}\.part")
_NEW_MODE = 0o666  # of a file that is not there yet; the process's umask narrows it


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a new file and put it in the place of `path` when it is whole and on the disk.

    Args:
        path: the file to replace or make; permissions are kept, a symbolic link is replaced and not followed.
        write: called with the new file, opened for bytes.

    Raises:
        OSError: no room, an input/output error, ...; `path` is as before and nothing stays beside it. What `write`
            raises goes through in the same way.
    """
    mode = _mode(path)
    _put(path, write, mode, _NEW_MODE if mode is None else mode, rename_durably)


def create_file(path: Path, write: Callable[[BinaryIO], object], mode: int = _NEW_MODE) -> None:
    """Write a new file and give it a name that nothing has, when it is whole and on the disk.

    Args:
        path: the name; where anything has it, also a link that leads nowhere, it is left alone.
        write: as in `replace_file`.
        mode: permissions, which the process's umask narrows.

    Raises:
        FileExistsError: the name is taken.
        OSError: no room, ...; nothing stays. What `write` raises goes through in the same way.
    """
    _put(path, write, None, mode, _name_unless_taken)


def _put(
    path: Path,
    write: Callable[[BinaryIO], object],
    exact_mode: int | None,
    mode: int,
    name: Callable[[Path, Path], object],
) -> None:
    descriptor, new = _create_beside(path, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if exact_mode is not None:
                new.chmod(exact_mode)  # the umask took part of it
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames no open file; elsewhere the lock is held until the name is right
            name(new, path)
    finally:
        new.unlink(missing_ok=True)


def rename_durably(new: Path, path: Path) -> None:
    """Give a file, which the caller has synced, a name in its folder that outlives a power cut; replaces `path`.

    Raises:
        OSError: `path` is as before.
    """
    new.replace(path)
    _sync_folder(path.parent)


def _name_unless_taken(new: Path, path: Path) -> None:
    try:
        os.link(new, path)  # unlike a renaming it replaces nothing
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links; nobody else is expected to take the name in this instant
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        new.rename(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    # The file has its name already: a folder that cannot be synced (Windows, some network file systems, one that may
    # not be listed) is no reason to call that a failure.
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_replaceable(path: Path) -> None:
    """Find out that `replace_file` could not begin, without touching `path`.

    Raises:
        OSError: its folder takes no new file, or its name is too long.
    """
    _mode(path)
    descriptor, new = _create_beside(path, _NEW_MODE)
    os.close(descriptor)
    new.unlink()


def remove_stale(folder: Path) -> None:
    """Remove the unfinished new files of processes that were killed; whatever cannot be removed stays."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _NEW_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_unless_locked(entry.path)


def _remove_unless_locked(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        lock(descriptor)
        os.unlink(path)
    finally:
        os.close(descriptor)


def _mode(path: Path) -> int | None:
    """The permissions of a file, None where there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def _create_beside(path: Path, mode: int) -> tuple[int, Path]:
    """A new, empty, locked file in the folder of `path`: its descriptor and its name."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        new = path.with_name(f".vgg-{os.urandom(8).hex()}.part")
        descriptor = os.open(new, flags, mode)
        try:
            lock(descriptor)
        except BlockingIOError:  # `remove_stale` of another process came between the last two lines
            os.close(descriptor)
            continue
        except OSError:  # a file system without locks, where nobody removes anything
            pass
        if os.fstat(descriptor).st_nlink:
            return descriptor, new
        os.close(descriptor)


def lock(descriptor: int) -> None:
    """Lock a file for this descriptor; the lock ends with it, however it ends.

    Raises:
        BlockingIOError: another holds it; OSError: there are no locks here.
    """
    if fcntl is None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
