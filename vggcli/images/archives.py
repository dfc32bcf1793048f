"""The images in an archive, in its order, and one of them by its name.

Of a tar or zip on this machine each member is read where it lies, by whichever thread decodes it; of a compressed tar,
and of one behind an address, the members are read as they come by.  Nothing is unpacked to a disk, and a member's name
is a label: no file is ever opened by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from vggcli.images import addresses, signatures, tar, zip
from vggcli.images.access import Access, UnreadableError
from vggcli.images.forward import Chunks, FileForward, Forward, StreamForward, Unzipped
from vggcli.images.item import Input, Skipped, has_image_name
from vggcli.images.local_file import LocalFile
from vggcli.images.readers import Held, TarMember, ZipMember
from vggcli.images.refused import Refused

if TYPE_CHECKING:
    from vggcli.images.attempt import Attempt
    from vggcli.images.remote import RemoteFile

_TAIL_BYTES = 1 << 16  # of what stands behind a tar's end, read at a time
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Sought:
    """A member by its name: sought from the beginning of its archive, or in an index of it."""

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
        for item in members_of(Input(self.archive), replace(self.access, max_bytes=max_bytes), Skipped(), self.member):
            assert item.reader is not None
            return item.reader.read(max_bytes, attempt)
        raise _absent()


def _absent() -> UnreadableError:
    return UnreadableError("missing", "there is no such member in the archive")


def members_of(archive: Input, access: Access, skipped: Skipped, wanted: str | None = None) -> Iterator[Input]:
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
            yield replace(item, reader=Held(data, Sought(archive.address or "", entry.name, access), access.keeps))
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
