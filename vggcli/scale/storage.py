"""Where a run over a cluster keeps what it writes: a folder that every node sees, or a bucket."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from vggcli import files
from vggcli.errors import OutputError, UsageError
from vggcli.output.stream import in_plain_words

_SCHEME = "://"
_LOCK = ".vgg-lock"


class Storage(Protocol):
    """Files by name under one place; a name may have one folder in it.

    Attributes:
        where: the place, for messages.
        is_folder: whether many small writes cost little.
    """

    where: str
    is_folder: bool

    def write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Write a file that appears, or replaces another, in one step.

        Raises:
            OutputError: no room, no permission, ...; what was there stays.  What `write` raises goes through.
        """

    def open(self, name: str) -> BinaryIO:
        """A file to read; FileNotFoundError where there is none."""

    def sizes(self, folder: str = "") -> Iterator[tuple[str, int]]:
        """Name and bytes of each file in a folder, in no order; nothing where there is no such folder."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def tidy(self) -> None:
        """Remove what writers that were killed have left half written."""

    def reserve(self) -> contextlib.AbstractContextManager[None]:
        """Keep other runs out; UsageError when one is there."""


def open_storage(where: str) -> Storage:
    """The storage of a folder or of a URL that fsspec knows; nothing is made or looked at yet.

    Raises:
        UsageError: fsspec, or the package for this kind of URL, is not installed.
    """
    if where.startswith("file" + _SCHEME):
        where = where[len("file" + _SCHEME) :]
    return Bucket(where) if _SCHEME in where else Folder(where)


def read(storage: Storage, name: str, most_bytes: int = -1) -> bytes:
    """A small file's bytes; FileNotFoundError where there is none."""
    with storage.open(name) as file:
        return file.read(most_bytes)


def has(storage: Storage, name: str) -> bool:
    """Whether there is such a file."""
    try:
        storage.open(name).close()
    except FileNotFoundError:
        return False
    return True


def write_bytes(storage: Storage, name: str, data: bytes) -> None:
    """Write a small file; see `Storage.write`."""
    storage.write(name, lambda file: file.write(data))


class Folder:
    """A folder, local or on a file system that all nodes share."""

    is_folder = True

    def __init__(self, where: str) -> None:
        self.where = where
        self.path = Path(where)

    def write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        path = self.path / name
        with in_plain_words(path):
            try:
                files.replace_file(path, write)
            except FileNotFoundError:
                if path.parent.is_dir():
                    raise
                path.parent.mkdir(parents=True, exist_ok=True)
                files.replace_file(path, write)

    def open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")

    def sizes(self, folder: str = "") -> Iterator[tuple[str, int]]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path / folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield entry.name, entry.stat().st_size

    def remove(self, name: str) -> None:
        with in_plain_words(self.path / name):
            (self.path / name).unlink(missing_ok=True)

    def tidy(self) -> None:
        for folder in (self.path, *(path for path in self.path.iterdir() if path.is_dir())):
            files.remove_stale(folder)

    @contextmanager
    def reserve(self) -> Iterator[None]:
        with in_plain_words(self.where):
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: two runs are then the person's care
                try:
                    files.lock(descriptor)
                except BlockingIOError:
                    raise _is_taken(self.where) from None
            self.tidy()
            yield
        finally:
            os.close(descriptor)


class Bucket:
    """A place behind a URL, by fsspec: each write is one put, which appears whole or not at all."""

    is_folder = False

    def __init__(self, where: str) -> None:
        self.where = where.rstrip("/")
        self._files, self._root = _filesystem(self.where)

    def write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        # On this machine first: a put needs the size, and an upload that breaks off must leave nothing.
        with tempfile.TemporaryDirectory(prefix="vgg-") as folder:
            path = os.path.join(folder, "file")
            with in_plain_words(path), open(path, "wb") as file:
                write(file)
            with _in_plain_words(f"{self.where}/{name}"):
                self._files.put_file(path, f"{self._root}/{name}")

    def open(self, name: str) -> BinaryIO:
        file: BinaryIO = self._files.open(f"{self._root}/{name}", "rb")
        return file

    def sizes(self, folder: str = "") -> Iterator[tuple[str, int]]:
        root = f"{self._root}/{folder}".rstrip("/")
        with _in_plain_words(f"{self.where}/{folder}"):
            self._files.invalidate_cache()
            try:
                entries = self._files.ls(root, detail=True)
            except FileNotFoundError:
                return
        for entry in entries:
            if entry["type"] == "file":
                yield entry["name"].rpartition("/")[2], int(entry["size"])

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), _in_plain_words(f"{self.where}/{name}"):
            self._files.rm_file(f"{self._root}/{name}")

    def tidy(self) -> None:
        """Nothing is ever there by half."""

    @contextmanager
    def reserve(self) -> Iterator[None]:
        from vggcli.scale.lease import Lease

        with Lease(self):
            yield


def _is_taken(where: str) -> UsageError:
    return UsageError("cannot write", where, "another run is writing it", "Wait for that run, or name another output")


def _filesystem(where: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        why = "the package fsspec is not installed"
        raise UsageError("cannot write", where, why, "Run `pip install fsspec`") from error
    try:
        filesystem, root = fsspec.core.url_to_fs(where)
    except (ImportError, ValueError) as error:
        raise UsageError("cannot write", where, str(error).rstrip("."), "Install what it names") from error
    return filesystem, root.rstrip("/")


@contextmanager
def _in_plain_words(where: str) -> Iterator[None]:
    """Turn what a bucket's client says into an `OutputError`: they have no exceptions in common."""
    try:
        yield
    except (FileNotFoundError, OutputError, UsageError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        why = lines[0].rstrip(".")[:200] if lines else type(error).__name__
        step = "Look after its permissions, and run the same command again with --resume"
        raise OutputError("cannot write", where, why, step) from error
