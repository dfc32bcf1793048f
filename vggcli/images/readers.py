"""How the bytes of members and objects are had; see `vggcli.images.item.Reader`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vggcli.images import tar, zip
from vggcli.images.access import UnreadableError
from vggcli.images.item import Reader
from vggcli.images.local_file import LocalFile

if TYPE_CHECKING:
    from vggcli.images.attempt import Attempt
    from vggcli.images.remote import RemoteFile


@dataclass(frozen=True, slots=True)
class TarMember:
    """A member of a tar on this machine, by its place."""

    file: LocalFile
    entry: tar.Entry
    is_stream = False

    def read(self, max_bytes: int, attempt: Attempt) -> bytes:
        """Its bytes."""
        attempt.begin()
        with self.file.opened():
            return self.file.read_at(self.entry.offset, min(self.entry.size, max_bytes + 1))


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A member of a zip, by its place."""

    file: LocalFile | RemoteFile
    entry: zip.Entry

    @property
    def is_stream(self) -> bool:
        """Whether it comes over a network."""
        return self.file.is_remote

    def read(self, max_bytes: int, attempt: Attempt) -> bytes:
        """Its bytes."""
        if not self.file.is_remote:
            attempt.begin()
        with self.file.opened():
            data = zip.read(self.file, self.entry, max_bytes)
        attempt.begin()
        return data


class Held:
    """Bytes that came by, until they are read; a second reading goes the longer way.

    Args:
        data: all of them.
        again: how they are had a second time.
        keeps: they stay after they were read.
    """

    is_stream = True

    def __init__(self, data: bytes, again: Reader, keeps: bool) -> None:
        self._data: bytes | None = data
        self._again, self._keeps = again, keeps

    def __reduce__(self) -> tuple[Any, ...]:
        return nothing, ()

    @property
    def nbytes(self) -> int:
        """What it takes in memory, in bytes."""
        return len(self._data or b"")

    def read(self, max_bytes: int, attempt: Attempt) -> bytes:
        """The bytes."""
        data = self._data
        if data is None:
            return self._again.read(max_bytes, attempt)
        if not self._keeps:
            self._data = None
        attempt.begin()
        return data


def nothing() -> None:
    """What is left of bytes that were held, on the other side of a pipe."""


@dataclass(frozen=True, slots=True)
class Whole:
    """An object behind an address."""

    file: RemoteFile
    given: bool
    is_stream = True

    def read(self, max_bytes: int, attempt: Attempt) -> bytes:
        """Its bytes."""
        try:
            with self.file.opened():
                data = self.file.read(max_bytes)
        except UnreadableError as error:
            if error.kind != "missing" or self.given:
                raise
            raise UnreadableError("vanished", "it was there when the bucket was listed and is gone") from error
        attempt.begin()
        return data


@dataclass(frozen=True, slots=True)
class Opening:
    """An archive that the system does not open: trying again says why."""

    name: str
    is_stream = False

    def read(self, max_bytes: int, attempt: Attempt) -> bytes:
        """Raises what the system says."""
        attempt.begin()
        with LocalFile(self.name).opened():
            raise UnreadableError("vanished", "the archive could not be opened a moment ago, and now it can")
