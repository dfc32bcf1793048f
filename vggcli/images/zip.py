"""The members of a zip, as its directory lists them, in memory that no archive can make large.

After APPNOTE.TXT 6.3.  `zipfile` reads the directory as a whole, and unpacks a member without a bound.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from vggcli.images.access import UnreadableError
from vggcli.images.limits import FREE_BYTES, MAX_RATIO

_END = struct.Struct("<4s4H2LH")
_END64_PLACE = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LISTED = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 0xFFFF
_UNKNOWN, _UNKNOWN_SHORT = 0xFFFFFFFF, 0xFFFF  # the number stands in the zip64 fields
_ENCRYPTED, _UTF8 = 0x1, 0x800
_STORED, _DEFLATED = 0, 8
_UNIX, _LINK, _TYPE = 3, 0o120000, 0o170000
_LONGEST_ENTRY = _LISTED.size + 3 * 0xFFFF
_DIRECTORY_BYTES = 1 << 18  # of the directory, read at a time
_SLACK_BYTES = 512  # between a local header's name and its data; more takes a second read
_PIECE_BYTES = 1 << 20  # of compressed data, read at a time


class Places(Protocol):
    """A file whose bytes are had by their offset."""

    @property
    def size(self) -> int: ...

    def read_at(self, offset: int, size: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A member.

    Attributes:
        name: as it stands in the archive.
        offset: where its local header begins.
        compressed, size: bytes of its data, before and after it is unpacked; the second as it is claimed.
        method, checksum: how it is packed, and the CRC-32 of its data.
        what: "" for a file that can be read, else what it is: "a link", "encrypted", ...
    """

    name: str
    offset: int
    compressed: int
    size: int
    method: int
    checksum: int
    what: str = ""


def entries(archive: Places) -> Iterator[Entry]:
    """The members, as the directory lists them.

    Raises:
        UnreadableError: there is no directory, or it is broken; those before have been given.
    """
    start, size, shift = _directory(archive)
    known, at, end = b"", 0, start + size
    while at < len(known) or start < end:
        if len(known) - at < _LONGEST_ENTRY and start < end:
            piece = archive.read_at(start, min(_DIRECTORY_BYTES, end - start))
            if not piece:
                raise _broken()
            known, at, start = known[at:] + piece, 0, start + len(piece)
        if len(known) - at < _LISTED.size or not known.startswith(b"PK\1\2", at):
            raise _broken()
        fields = _LISTED.unpack_from(known, at)
        name_end = at + _LISTED.size + fields[10]
        extra_end = name_end + fields[11]
        if extra_end + fields[12] > len(known):
            raise _broken()
        yield _entry(fields, known[at + _LISTED.size : name_end], known[name_end:extra_end], shift)
        at = extra_end + fields[12]


def read(archive: Places, entry: Entry, max_bytes: int) -> bytes:
    """What a member holds, and no more than a byte above `max_bytes`.

    Raises:
        UnreadableError: it is cut, damaged, or grows without end.
    """
    head_size = _LOCAL.size + len(entry.name.encode("utf-8", "surrogateescape")) + _SLACK_BYTES
    packed = archive.read_at(entry.offset, head_size + min(entry.compressed, _PIECE_BYTES))
    if len(packed) < _LOCAL.size or packed[:4] != b"PK\3\4":
        raise UnreadableError("damaged", "the archive's directory names a place where no member begins")
    *_, name_size, extra_size = _LOCAL.unpack_from(packed)
    offset = entry.offset + _LOCAL.size + name_size + extra_size
    packed = packed[_LOCAL.size + name_size + extra_size :][: entry.compressed]
    pieces = _pieces(archive, packed, offset, entry.compressed)
    data = b"".join(_unpacked(pieces, entry, max_bytes))
    if len(data) <= max_bytes and zlib.crc32(data) != entry.checksum:
        raise UnreadableError("damaged", "its data does not fit its checksum in the archive")
    return data[: max_bytes + 1]


def _pieces(archive: Places, first: bytes, offset: int, left: int) -> Iterator[bytes]:
    """The member's data as it is packed."""
    piece = first
    while left:
        if not piece:
            piece = archive.read_at(offset, min(_PIECE_BYTES, left))
            if not piece:
                raise UnreadableError("truncated", "the archive ends in the middle of it")
        yield piece
        offset, left, piece = offset + len(piece), left - len(piece), b""


def _unpacked(pieces: Iterator[bytes], entry: Entry, max_bytes: int) -> Iterator[bytes]:
    taken = given = 0
    inflate = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == _DEFLATED else None
    for piece in pieces:
        taken += len(piece)
        while piece:
            data, piece = piece, b""
            if inflate is not None:
                try:
                    data = inflate.decompress(data, _PIECE_BYTES)
                except zlib.error as error:
                    raise UnreadableError("damaged", "its compressed data is broken") from error
                piece = inflate.unconsumed_tail
            given += len(data)
            yield data
            if given > max_bytes:
                return
            if given > FREE_BYTES + MAX_RATIO * taken:
                raise UnreadableError("bomb", f"it grows more than {MAX_RATIO}-fold when it is unpacked")
    if inflate is not None:
        yield inflate.flush()
        if not inflate.eof:
            raise UnreadableError("damaged", "its compressed data has no end")


def _directory(archive: Places) -> tuple[int, int, int]:
    """Where the directory begins, its size, and what stands before the archive, in bytes."""
    tail_start = max(0, archive.size - _END.size - _LONGEST_COMMENT)
    tail = archive.read_at(tail_start, archive.size - tail_start)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + _END.size:
        if not tail:
            raise UnreadableError("empty", "the file is empty")
        if archive.read_at(0, 4) == b"PK\3\4":
            raise UnreadableError("truncated", "the archive ends early: its directory, which stands last, is missing")
        raise UnreadableError("unsupported", "it is not a zip archive")
    *_, count, size, start, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    if _UNKNOWN in (size, start) or count == _UNKNOWN_SHORT:
        place = archive.read_at(max(0, end - _END64_PLACE.size), _END64_PLACE.size)
        if place[:4] == b"PK\6\7":
            record = archive.read_at(_END64_PLACE.unpack(place)[2], _END64.size)
            if len(record) < _END64.size or record[:4] != b"PK\6\6":
                raise _broken()
            end = _END64_PLACE.unpack(place)[2]
            *_, size, start = _END64.unpack(record)
    shift = end - size - start
    if shift < 0:
        raise _broken()
    return start + shift, size, shift


def _entry(fields: tuple[int, ...], name: bytes, extra: bytes, shift: int) -> Entry:
    made_by, _, flags, method, _, _, checksum, compressed, size = fields[1:10]
    attributes, offset = fields[15:17]
    wide = _wide(extra)
    numbers = []
    for number in (size, compressed, offset):
        numbers.append(int.from_bytes(wide[:8], "little") if number == _UNKNOWN and len(wide) >= 8 else number)
        wide = wide[8:] if number == _UNKNOWN else wide
    text = name.decode("utf-8", "surrogateescape") if flags & _UTF8 else name.decode("cp437")
    what = ""
    if text.endswith("/"):
        what = "a folder"
    elif made_by >> 8 == _UNIX and attributes >> 16 & _TYPE == _LINK:
        what = "a link"
    elif flags & _ENCRYPTED:
        what = "encrypted"
    elif method not in (_STORED, _DEFLATED):
        what = f"packed by method {method}, which is not known here"
    return Entry(text, numbers[2] + shift, numbers[1], numbers[0], method, checksum, what)


def _wide(extra: bytes) -> bytes:
    """The numbers of 64 bits among a member's extra fields, those that are needed, in order."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        if kind == 1:
            return extra[4 : 4 + size]
        extra = extra[4 + size :]
    return b""


def _broken() -> UnreadableError:
    return UnreadableError("damaged", "the archive's directory is broken, and what follows is lost")
