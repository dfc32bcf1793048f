"""One process at a time for each target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vggcli.weights.download.progress import Progress


@contextmanager
def locked(target: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of this target; wait while another process downloads it.

    The lock file is deleted only after success. Taken from under those who wait on it, it would let one of them in
    beside a newcomer with a lock file of his own; once the target is there, both find it and go.

    Raises:
        OSError: the lock file cannot be made.
    """
    from filelock import FileLock, Timeout

    path = target.with_name(target.name + ".lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.note(f"another process is downloading {target.name}; waiting for it")
        lock.acquire()
    try:
        yield
        with suppress(OSError):
            path.unlink()
    finally:
        lock.release()
