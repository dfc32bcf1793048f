"""The members of a zip file whose members are stored without compression, as torch.save writes them.

Format: PKWARE APPNOTE 6.3.10, sections 4.3 (records) and 4.5.3 (zip64). The standard library's reader takes the first
of several conflicting truths in a hostile archive; here every conflict is an error.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from struct import Struct

from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.problems import DAMAGED, Unreadable, quote, truncated
from vggcli.weights.checkpoint.source import Source

LOCAL = Struct("<4s4xH16xHH")
CENTRAL = Struct("<4s4xHH8xIIHHHH6xI")
END = Struct("<4sHHHHII2x")
LOCATOR64 = Struct("<4sIQ4x")
END64 = Struct("<4s12xIIQQQQ")
COMMENT = 0xFFFF  # longest comment after the end record
ZIP64_FIELD = 0x0001
ENCRYPTED, STORED = 1, 0
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF  # "look into the zip64 record"


@dataclass(frozen=True, slots=True)
class Member:
    """One file in the archive.

    Attributes:
        name: its path, "/" between folders; undecodable bytes as surrogate escapes.
        size: bytes.
        header: position of its local header in the archive.
        limit: where the next thing in the archive begins.
        compressed: True when its bytes are not stored as they are.
    """

    name: str
    size: int
    header: int
    limit: int
    compressed: bool


class Archive:
    """A zip file.

    Args:
        source: the bytes.

    Raises:
        Unreadable: no directory (truncated), or one that contradicts itself or the file.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._starts: dict[str, int] = {}
        count, size, start = _find_directory(source)
        if count > limits.ARCHIVE_MEMBERS or size > limits.ARCHIVE_DIRECTORY_BYTES:
            raise Unreadable(f"its zip directory lists {count:,} members in {size:,} bytes, too many for a checkpoint")
        try:
            listed = _parse_directory(source.read(start, size), count)
        except struct.error as error:
            raise _damaged("a record ends early") from error
        self.members: dict[str, Member] = {}
        limit = start
        for name, length, header, compressed in sorted(listed, key=lambda row: row[2], reverse=True):
            if header + LOCAL.size + length > limit:
                raise _damaged(f"{quote(name)} overlaps what follows it or lies outside the file")
            if name in self.members:
                raise _damaged(f"two members are called {quote(name)}")
            self.members[name] = Member(name, length, header, limit, compressed)
            limit = header

    def start(self, member: Member) -> int:
        """Return the position of the member's first byte, which only its local header tells.

        Raises:
            Unreadable: it is compressed, or its local header contradicts the directory.
        """
        if member.name in self._starts:
            return self._starts[member.name]
        if member.compressed:
            raise Unreadable(
                f"{quote(member.name)} is compressed inside the zip file",
                "Zip the folder again without compression (zip -0)",
            )
        header = self._source.read(member.header, LOCAL.size)
        signature, method, name_size, extra_size = LOCAL.unpack(header)
        start: int = member.header + LOCAL.size + name_size + extra_size
        if signature != b"PK\3\4" or method != STORED:
            raise _damaged(f"the header of {quote(member.name)} is not where the directory says")
        if start + member.size > member.limit:
            raise _damaged(f"{quote(member.name)} overlaps what follows it")
        if _decode(self._source.read(member.header + LOCAL.size, name_size)) != member.name:
            raise _damaged(f"{quote(member.name)} has another name in its header")
        self._starts[member.name] = start
        return start

    def read(self, member: Member) -> bytes:
        """Return the member's bytes."""
        return self._source.read(self.start(member), member.size)


def _damaged(why: str) -> Unreadable:
    return Unreadable(f"the zip file is damaged: {why}", DAMAGED)


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _find_directory(source: Source) -> tuple[int, int, int]:
    """Return the number of members, and the size and start of the central directory."""
    tail_start = max(0, source.size - END.size - LOCATOR64.size - END64.size - COMMENT)
    # The end record is nearly always the last 22 bytes: look there before reading 64 KiB.
    near = max(0, source.size - 256)
    for start in (near, tail_start):
        tail = source.read(start, source.size - start)
        at = tail.rfind(b"PK\5\6")
        if 0 <= at <= len(tail) - END.size:
            break
    else:
        raise truncated(source.size)
    end_start = start + at
    _, disk, first_disk, here, count, size, offset = END.unpack_from(tail, at)
    limit = end_start
    locator_start = end_start - LOCATOR64.size
    if locator_start >= 0:
        signature, disk64, position = LOCATOR64.unpack(source.read(locator_start, LOCATOR64.size))
        if signature == b"PK\6\7":
            if position + END64.size > locator_start:
                raise _damaged("its zip64 end record lies outside the file")
            record = source.read(position, END64.size)
            signature, disk, first_disk, here, count, size, offset = END64.unpack(record)
            if signature != b"PK\6\6" or disk64:
                raise _damaged("its zip64 end record is not where its locator says")
            limit = position
    if disk or first_disk or here != count:
        raise _damaged("it claims to be one part of several")
    if offset + size > limit:
        raise truncated(source.size, offset + size)
    return count, size, offset


def _parse_directory(data: bytes, count: int) -> list[tuple[str, int, int, bool]]:
    """Return (name, bytes, position of the local header, compressed) of every member."""
    rows, at = [], 0
    for _ in range(count):
        signature, flags, method, packed, size, name_size, extra_size, comment_size, disk, header = CENTRAL.unpack_from(
            data, at
        )
        end = at + CENTRAL.size + name_size + extra_size
        if signature != b"PK\1\2" or end + comment_size > len(data):
            raise _damaged("its directory is cut or overwritten")
        name = _decode(data[at + CENTRAL.size : at + CENTRAL.size + name_size])
        if flags & ENCRYPTED:
            raise Unreadable(f"{quote(name)} in the zip file is encrypted", "Unpack it with its password first")
        size, packed, header, disk = _widen(data[end - extra_size : end], size, packed, header, disk)
        if disk:
            raise _damaged("it claims to be one part of several")
        if method == STORED and packed != size:
            raise _damaged(f"{quote(name)} has two sizes")
        rows.append((name, packed, header, method != STORED))
        at = end + comment_size
    if at != len(data):
        raise _damaged("its directory has more entries than it claims")
    return rows


def _widen(extra: bytes, size: int, packed: int, header: int, disk: int) -> tuple[int, int, int, int]:
    """Replace the numbers that are too small for this file by those in the zip64 field."""
    values = [size, packed, header, disk]
    full = [FULL32, FULL32, FULL32, FULL16]
    at = 0
    while at + 4 <= len(extra):
        kind, length = int.from_bytes(extra[at : at + 2], "little"), int.from_bytes(extra[at + 2 : at + 4], "little")
        body = extra[at + 4 : at + 4 + length]
        at += 4 + length
        if kind != ZIP64_FIELD:
            continue
        for i, width in enumerate((8, 8, 8, 4)):
            if values[i] == full[i] and len(body) >= width:
                values[i], body = int.from_bytes(body[:width], "little"), body[width:]
    return values[0], values[1], values[2], values[3]
