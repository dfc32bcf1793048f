"""Bytes that are read from their beginning to their end, once."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from vggcli.images.access import UnreadableError
from vggcli.images.limits import FREE_BYTES, MAX_RATIO

_SKIPPED_BYTES = 1 << 16  # at a time
_PIECE_BYTES = 1 << 20  # read at a time: as much memory as is asked for is taken at once
_COMPRESSED_BYTES = 1 << 16


class _Places(Protocol):
    @property
    def size(self) -> int: ...

    def read_at(self, offset: int, size: int) -> bytes: ...


class Forward(Protocol):
    """A place that moves on.

    Attributes:
        position: bytes behind it.
    """

    position: int

    def read(self, size: int) -> bytes:
        """So many bytes; fewer only at the end."""

    def skip(self, size: int) -> None:
        """Leave out so many bytes.

        Raises:
            UnreadableError: there are fewer.
        """


def cut() -> UnreadableError:
    """What is said of an archive that ends where it cannot."""
    return UnreadableError("truncated", "the archive ends early: it was cut, and what followed is lost")


class FileForward:
    """Over a file, where what is left out costs nothing."""

    def __init__(self, file: _Places) -> None:
        self._file, self.position = file, 0

    def read(self, size: int) -> bytes:
        data = self._file.read_at(self.position, size)
        self.position += len(data)
        return data

    def skip(self, size: int) -> None:
        if self.position + size > self._file.size:
            raise cut()
        self.position += size


class StreamForward:
    """Over what gives some bytes at a time, and none at its end.

    Args:
        some: gives at most so many bytes.
    """

    def __init__(self, some: Callable[[int], bytes]) -> None:
        self._some, self.position = some, 0

    def read(self, size: int) -> bytes:
        pieces = []
        while size > 0 and (piece := self._some(min(size, _PIECE_BYTES))):
            pieces.append(piece)
            self.position, size = self.position + len(piece), size - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def skip(self, size: int) -> None:
        end = self.position + size
        while self.position < end:
            if not self.read(min(_SKIPPED_BYTES, end - self.position)):
                raise cut()


class Chunks:
    """What comes in pieces of any size, in the sizes that are asked for; pieces that were looked at come again."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def some(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def head(self, size: int) -> bytes:
        """The first bytes of what is left, which stay."""
        while len(self._rest) < size and (piece := next(self._pieces, None)) is not None:
            self._rest += piece
        return self._rest[:size]


class Unzipped:
    """The contents of a gzip stream; a few bytes do not stand for gigabytes.

    Args:
        some: gives at most so many bytes of the compressed stream.
    """

    def __init__(self, some: Callable[[int], bytes]) -> None:
        self._read, self._taken, self._given = some, 0, 0
        self._file = gzip.GzipFile(fileobj=self, mode="rb")  # type: ignore[call-overload]

    def read(self, size: int) -> bytes:
        """For gzip: so many compressed bytes."""
        data = self._read(min(size, _COMPRESSED_BYTES))
        self._taken += len(data)
        return data

    def some(self, size: int) -> bytes:
        """At most so many bytes.

        Raises:
            UnreadableError: it is cut, damaged, or grows without end.
        """
        try:
            data: bytes = self._file.read1(size)
        except EOFError as error:
            raise cut() from error
        except (OSError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise UnreadableError("damaged", "its compressed data is broken, and what follows is lost") from error
        self._given += len(data)
        if self._given > FREE_BYTES + MAX_RATIO * self._taken:
            raise UnreadableError("bomb", f"it grows more than {MAX_RATIO}-fold when it is unpacked")
        return data
