"""Inputs that are no plain files: members of archives, and what lies behind addresses.

An archive that is named stands for the images in it, in its own order.  Of a tar or zip on this machine each member is
read where it lies, by whichever thread decodes it; of a compressed tar, and of one behind an address, the members are
read as they come by.  Nothing is unpacked to a disk, and a member's name is a label: no file is ever opened by it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from vggcli.images import addresses, signatures, tar, zip
from vggcli.images.access import Access, UnreadableError
from vggcli.images.forward import Chunks, FileForward, Forward, StreamForward, Unzipped
from vggcli.images.item import Archive, Input, Reader, Skipped, has_image_name, named
from vggcli.images.local_file import LocalFile
from vggcli.images.refused import Refused

if TYPE_CHECKING:
    from vggcli.images.attempt import Attempt
    from vggcli.images.remote import RemoteFile

_TAIL_BYTES = 1 << 16  # of what stands behind a tar's end, read at a time
_GZIP = b"\x1f\x8b"


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
    """Bytes that came by, until they are read; a second reading goes by the address.

    Args:
        data: all of them.
        keeps: they stay after they were read.
    """

    is_stream = True

    def __init__(self, data: bytes, item: Input, access: Access) -> None:
        self._data: bytes | None = data
        self._item, self._access = item, access

    def __reduce__(self) -> tuple[Any, ...]:
        return _nothing, ()

    @property
    def nbytes(self) -> int:
        """What it takes in memory, in bytes."""
        return len(self._data or b"")

    def read(self, max_bytes: int, attempt: Attempt) -> bytes:
        """The bytes."""
        data = self._data
        if data is None:
            again = reader_of(self._item, self._access)
            assert again is not None
            return again.read(max_bytes, attempt)
        if not self._access.keeps:
            self._data = None
        attempt.begin()
        return data


def _nothing() -> None:
    """What is left of bytes that were held, on the other side of a pipe."""


@dataclass(frozen=True, slots=True)
class _Whole:
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
class _Sought:
    """A member that was named: sought from the beginning of its archive."""

    archive: str
    member: str
    access: Access
    is_stream = True

    def read(self, max_bytes: int, attempt: Attempt) -> bytes:
        """Its bytes."""
        found = _places(self.archive)
        if found is not None:
            if self.member not in found:
                raise _absent()
            return found[self.member].read(max_bytes, attempt)
        for item in _members(Input(self.archive), replace(self.access, max_bytes=max_bytes), Skipped(), self.member):
            assert item.reader is not None
            return item.reader.read(max_bytes, attempt)
        raise _absent()


def _absent() -> UnreadableError:
    return UnreadableError("missing", "there is no such member in the archive")


def reader_of(item: Input, access: Access) -> Reader | None:
    """What reads an input by its address alone; None for a plain file.

    Raises:
        UnreadableError: nothing is known to read it with.
    """
    address = item.address or ""
    container, member = addresses.split(address)
    if member is not None:
        return _Sought(addresses.escaped(container), member, access)
    if addresses.local_name(address) is not None:
        return None
    from vggcli.images import remote

    return _Whole(remote.file_at(container, access), item.given)


def expand(
    path: str, access: Access, skipped: Skipped, recursive: bool, *, opens_archives: bool = True
) -> Iterator[Input]:
    """What a path that is not plain stands for: the members of archives, the objects of a bucket, or itself."""
    container, member = addresses.split(path)
    if member is not None:
        yield named(path)
        return
    if addresses.is_archive(container):
        is_there = "{" not in path or os.path.lexists(addresses.local_name(path) or "")
        for shard in [path] if is_there else addresses.shards(path):
            archive = named(shard)
            if opens_archives:
                yield from members(archive, access, skipped)
            else:
                yield Archive(archive.path, archive.given, secret=archive.secret)
        return
    if addresses.local_name(path) is None:
        from vggcli.images import remote

        yield from remote.expand(named(path), skipped, recursive)
    else:
        yield named(path)


def members(archive: Input, access: Access, skipped: Skipped) -> Iterator[Input]:
    """The images in an archive, in its order; what cannot be read of it is one more input, which fails."""
    found = False
    try:
        for item in _members(archive, access, skipped):
            found = True
            yield item
    except UnreadableError as error:
        found = True
        yield replace(archive, reader=Refused(error.kind, error.why))
    except OSError:
        found = True
        yield replace(archive, reader=_Opening(addresses.local_name(archive.address or "") or ""))
    if not found and archive.path is not None:
        skipped.empty_folders.append(archive.path)


@dataclass(frozen=True, slots=True)
class _Opening:
    """An archive that the system does not open: trying again says why."""

    name: str
    is_stream = False

    def read(self, max_bytes: int, attempt: Attempt) -> bytes:
        """Raises what the system says."""
        attempt.begin()
        with LocalFile(self.name).opened():
            raise UnreadableError("vanished", "the archive could not be opened a moment ago, and now it can")


def _members(archive: Input, access: Access, skipped: Skipped, wanted: str | None = None) -> Iterator[Input]:
    with _opened(archive.address or "", access) as file:
        if addresses.is_zip(archive.address or ""):
            yield from _of_zip(archive, file, skipped, wanted)
        else:
            yield from _of_tar(archive, file, access, skipped, wanted)


@contextmanager
def _opened(address: str, access: Access) -> Iterator[LocalFile | RemoteFile]:
    name = addresses.local_name(address)
    if name is not None:
        with LocalFile(name).opened() as local:
            yield local
        return
    from vggcli.images import remote

    file = remote.file_at(addresses.split(address)[0], access)
    with file.opened():
        yield file


def _of_zip(
    archive: Input, file: LocalFile | RemoteFile, skipped: Skipped, wanted: str | None = None
) -> Iterator[Input]:
    for entry in zip.entries(file):
        item = _member(archive, entry.name)
        if not _is_meant(entry, wanted):
            continue
        is_image = wanted is not None or has_image_name(entry.name)
        if not is_image and not (not entry.what and _begins_like_an_image(file, entry)):
            skipped.files.add(item.path or "")
        elif entry.what:
            yield replace(item, reader=_refused(entry.what))
        else:
            yield replace(item, reader=ZipMember(file, entry))


def _is_meant(entry: tar.Entry | zip.Entry, wanted: str | None) -> bool:
    """Whether it may be an input: by its name where one is wanted, else all that is not hidden and no folder."""
    if wanted is not None:
        return entry.name == wanted
    return entry.what != "a folder" and not any(
        part[:1] == "." and part not in (".", "..") for part in entry.name.split("/")
    )


def _begins_like_an_image(file: LocalFile | RemoteFile, entry: zip.Entry) -> bool:
    if file.is_remote:
        return False
    try:
        return signatures.is_image(zip.read(file, entry, signatures.HEAD_BYTES))
    except UnreadableError:
        return False


def _of_tar(
    archive: Input, file: LocalFile | RemoteFile, access: Access, skipped: Skipped, wanted: str | None = None
) -> Iterator[Input]:
    """Of a tar that is read as it comes by, the data of its images, or of the wanted member, is read here."""
    places, forward = _forward(file)
    for entry in tar.entries(forward):
        if not _is_meant(entry, wanted):
            continue
        item = _member(archive, entry.name)
        head = b""
        if wanted is None and not has_image_name(entry.name):
            if not entry.what:
                head = forward.read(min(signatures.HEAD_BYTES, entry.size))
            if not signatures.is_image(head):
                skipped.files.add(item.path or "")
                continue
        if entry.what:
            yield replace(item, reader=_refused(entry.what))
        elif places is not None:
            if entry.offset + entry.size > places.size:
                yield replace(item, reader=_cut())
                return
            yield replace(item, reader=TarMember(places, entry))
        else:
            data = head + forward.read(min(entry.size, access.max_bytes + 1) - len(head))
            if len(data) < min(entry.size, access.max_bytes + 1):
                yield replace(item, reader=_cut())
                return
            yield replace(item, reader=Held(data, item, access))
    if places is None:
        while forward.read(_TAIL_BYTES):  # to the checksum of what is compressed
            pass


def _forward(file: LocalFile | RemoteFile) -> tuple[LocalFile | None, Forward]:
    """The file where its members can be read by their places, and the way through it."""
    if isinstance(file, LocalFile):
        forward = FileForward(file)
        if file.read_at(0, len(_GZIP)) != _GZIP:
            return file, forward
        return None, StreamForward(Unzipped(forward.read).some)
    chunks = Chunks(file.blocks())
    if chunks.head(len(_GZIP)) != _GZIP:
        return None, StreamForward(chunks.some)
    return None, StreamForward(Unzipped(chunks.some).some)


def _member(archive: Input, name: str) -> Input:
    secret = None if archive.secret is None else archive.secret + addresses.SEPARATOR + name
    return Input(f"{archive.path}{addresses.SEPARATOR}{name}", given=False, secret=secret)


def _cut() -> Refused:
    return Refused("truncated", "the archive ends in the middle of it: it was cut, and what followed is lost")


def _refused(what: str) -> Refused:
    if what.startswith(("encrypted", "packed", "stored")):
        return Refused("unsupported", f"it is {what} in the archive; unpack the archive and name the file")
    return Refused("not-a-file", f"it is {what} in the archive, not an image file")


def _places(archive: str) -> dict[str, TarMember | ZipMember | Refused] | None:
    """The members of an archive on this machine by their names, the first of each; None where it must be read through.

    Raises:
        OSError, UnreadableError: it cannot be read.
    """
    name = addresses.local_name(archive)
    if name is None:
        return None
    with LocalFile(name).opened() as file:
        if not addresses.is_zip(name) and file.read_at(0, len(_GZIP)) == _GZIP:
            return None
        return _indexed(file.key, addresses.is_zip(name))


@lru_cache(maxsize=4)
def _indexed(key: tuple[Any, ...], is_zip: bool) -> dict[str, TarMember | ZipMember | Refused]:
    found: dict[str, TarMember | ZipMember | Refused] = {}
    with LocalFile(*key).opened() as file:
        try:
            if is_zip:
                for entry in zip.entries(file):
                    found.setdefault(entry.name, _refused(entry.what) if entry.what else ZipMember(file, entry))
            else:
                for place in tar.entries(FileForward(file)):
                    is_cut = place.offset + place.size > file.size
                    what = _cut() if is_cut else _refused(place.what) if place.what else TarMember(file, place)
                    found.setdefault(place.name, what)
        except UnreadableError:
            if not found:
                raise
    return found
