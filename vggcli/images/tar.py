"""The members of a tar, one after the other, in memory that no archive can make large.

ustar, GNU and pax as POSIX.1-2017 (pax, "ustar Interchange Format") and GNU tar's manual ("Basic Tar Format") describe
them.  Headers are parsed by `tarfile`; its own walk over them takes a broken header for the end, reads extended headers
of any length into memory, and keeps every member.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from tarfile import HeaderError, TarInfo

from vggcli.images.access import UnreadableError
from vggcli.images.forward import Forward, cut

_BLOCK = 512
_LONGEST_HEADER = 1 << 20  # bytes of an extended header; a name has a few hundred
_LONG_NAME, _LONG_LINK, _PAX, _SOLARIS_PAX, _PAX_FOR_ALL, _SPARSE = b"L", b"K", b"x", b"X", b"g", b"S"
_EXTENSIONS = (_LONG_NAME, _LONG_LINK, _PAX, _SOLARIS_PAX, _PAX_FOR_ALL)
_FILES = (b"0", b"\0", b"7")
_FOLDER = b"5"
_WITHOUT_DATA = {
    b"1": "a link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    _FOLDER: "a folder",
    b"6": "a FIFO",
}
_IS_EXTENDED, _HAS_MORE = 482, 504  # offsets of flags in a sparse header and in what follows it


@dataclass(frozen=True, slots=True)
class Entry:
    """A member.

    Attributes:
        name: as it stands in the archive.
        offset: where its data begins in the archive, uncompressed.
        size: of its data in bytes.
        what: "" for a file, else what it is: "a link", "a folder", "stored with holes", ...
    """

    name: str
    offset: int
    size: int
    what: str = ""


def entries(archive: Forward) -> Iterator[Entry]:
    """The members in order; between two of them the archive may be read, up to the end of the first one's data.

    Raises:
        UnreadableError: it ends early, a header is broken, or it is no tar; those before it have been given.
    """
    pax: dict[str, str] = {}
    is_first = True
    while header := archive.read(_BLOCK):
        if not any(header):
            return  # of two such blocks, or one and padding
        info = _parsed(header, archive.position, is_first)
        is_first = False
        if info.type in _EXTENSIONS:
            pax |= _extension(info, archive)
            continue
        if info.type == _SPARSE:
            _skip_map(header, archive)
        entry = _entry(info, pax, archive.position)
        pax = {}
        yield entry
        archive.skip(entry.offset + entry.size - archive.position)
        archive.read(-entry.size % _BLOCK)
    raise UnreadableError("empty", "the file is empty") if is_first else cut()


def _parsed(header: bytes, position: int, is_first: bool) -> TarInfo:
    if len(header) < _BLOCK and not is_first:
        raise cut()
    try:
        info = TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except (HeaderError, ValueError) as error:
        if is_first:
            raise UnreadableError("unsupported", "it is not a tar archive") from error
        where = position - _BLOCK
        raise UnreadableError("damaged", f"its header at byte {where} is broken, and what follows is lost") from error
    if info.size < 0:
        raise UnreadableError("damaged", "one of its members has a negative size, and what follows is lost")
    return info


def _extension(info: TarInfo, archive: Forward) -> dict[str, str]:
    """What an extended header says of the member behind it."""
    if info.size > _LONGEST_HEADER:
        raise UnreadableError("damaged", f"one of its headers has {info.size} bytes, and what follows is not read")
    data = archive.read(info.size)
    if len(data) < info.size:
        raise cut()
    archive.read(-info.size % _BLOCK)
    if info.type == _LONG_NAME:
        return {"path": data.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
    return _pax_records(data) if info.type in (_PAX, _SOLARIS_PAX) else {}


def _pax_records(data: bytes) -> dict[str, str]:
    """Records like "30 path=photos/cat.jpg\\n", each behind its own length."""
    records = {}
    while data.strip(b"\0"):
        length = data[:20].partition(b" ")[0]
        if not length.isdigit() or not len(length) + 2 < int(length) <= len(data):
            raise UnreadableError("damaged", "one of its extended headers is broken, and what follows is lost")
        record, data = data[len(length) + 1 : int(length)], data[int(length) :]
        keyword, _, value = record.removesuffix(b"\n").partition(b"=")
        records[keyword.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
    return records


def _entry(info: TarInfo, pax: dict[str, str], position: int) -> Entry:
    name = pax.get("GNU.sparse.name") or pax.get("path") or info.name
    size = info.size
    if "size" in pax:
        if not (pax["size"].isascii() and pax["size"].isdigit() and len(pax["size"]) < 20):
            raise UnreadableError("damaged", "one of its members has no size, and what follows is lost")
        size = int(pax["size"])
    what = _WITHOUT_DATA.get(info.type, "")
    if what:
        size = 0
    elif info.type == b"\0" and name.endswith("/"):
        what = _WITHOUT_DATA[_FOLDER]
    elif info.type == _SPARSE or any(keyword.startswith("GNU.sparse.") for keyword in pax):
        what = "stored with holes (a sparse file)"
    elif info.type not in _FILES:
        what = "of an unknown type"
    return Entry(name, position, size, what)


def _skip_map(header: bytes, archive: Forward) -> None:
    """Pass over where the holes of a sparse file are."""
    more = header[_IS_EXTENDED]
    while more:
        block = archive.read(_BLOCK)
        if len(block) < _BLOCK:
            raise cut()
        more = block[_HAS_MORE]
