"""Where the rows and thumbnails of a page wait for its end: a temporary file, so that memory does not grow with a run.

What could not be shown is not kept either.  When the thumbnails fill a page, the next ones are made smaller; when the
rows do, every second one is dropped, and of those to come only every second, fourth, ... is taken.
"""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from vggcli.images.thumbnail import STEPS, Thumbnails
from vggcli.output.stream import in_plain_words
from vggcli.text import escape_json

MOST_BYTES = 20_000_000  # of a page
MOST_ROWS = 100_000  # beyond, a browser cannot scroll any more: pages have a greatest height
MOST_ROW_BYTES = MOST_BYTES * 4 // 5
_BYTES_PER_STEP = MOST_BYTES * 3 // 4  # thumbnails in base64, after which the next ones are made smaller
_LENGTHS = struct.Struct("<II")


class Entry(NamedTuple):
    """One row, and its thumbnail as a file (b"" for none)."""

    row: bytes
    thumbnail: bytes


def in_base64(length: int) -> int:
    """Bytes that a thumbnail of so many takes in a page: base64, two quotes and a comma."""
    return -(-length // 3) * 4 + 3


def for_html(value: Any) -> bytes:
    """JSON that may stand inside a script element, as UTF-8 that holds nothing unseen."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Outside its strings JSON has none of these; a "<" could end the element or begin a comment.
    return escape_json(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()


class Spool:
    """The entries of a page to be, in order.

    Use it as a context, which removes the file.

    Args:
        page: that of the run; the file lies beside it, since a temporary folder is often memory.
        thumbnails: what makes them, told when to make smaller ones.
        most_rows, most_row_bytes: that are kept.

    Attributes:
        seen: rows given.
        rows: entries kept.
        row_bytes: of their rows, with a comma each.
        pictures: entries with a thumbnail.
        picture_bytes: of their thumbnails, in base64.
    """

    def __init__(
        self,
        page: Path,
        thumbnails: Thumbnails | None = None,
        *,
        most_rows: int = MOST_ROWS,
        most_row_bytes: int = MOST_ROW_BYTES,
    ) -> None:
        self._page, self._thumbnails = page, thumbnails
        self._most_rows, self._most_row_bytes = most_rows, most_row_bytes
        self._stride, self._given_bytes = 1, 0
        self.seen = self.rows = self.row_bytes = self.pictures = self.picture_bytes = 0
        self._open()

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def take(self, row: list[Any], thumbnail: bytes = b"") -> None:
        """Keep a row and its thumbnail, unless the page has no room for every row.

        Raises:
            OutputError: no room on the disk.
        """
        self.seen += 1
        if (self.seen - 1) % self._stride:
            return
        self.add(Entry(for_html(row), thumbnail))
        self._given_bytes += in_base64(len(thumbnail)) if thumbnail else 0
        if self._thumbnails is not None and self._given_bytes > _BYTES_PER_STEP * (self._thumbnails.step + 1):
            self._thumbnails.step = min(self._thumbnails.step + 1, len(STEPS) - 1)
        if self.rows > self._most_rows or self.row_bytes > self._most_row_bytes:
            self._halve()

    def add(self, entry: Entry) -> None:
        """Keep an entry.

        Raises:
            OutputError: no room on the disk.
        """
        with in_plain_words(self._page, resumable=False):
            self._file.write(_LENGTHS.pack(len(entry.row), len(entry.thumbnail)) + entry.row + entry.thumbnail)
        self.rows += 1
        self.row_bytes += len(entry.row) + 1
        if entry.thumbnail:
            self.pictures += 1
            self.picture_bytes += in_base64(len(entry.thumbnail))

    def entries(self) -> Iterator[Entry]:
        """The entries kept, in order; nothing may be added meanwhile."""
        self._file.flush()
        self._file.seek(0)
        while lengths := self._file.read(_LENGTHS.size):
            row, thumbnail = _LENGTHS.unpack(lengths)
            yield Entry(self._file.read(row), self._file.read(thumbnail))

    def beside(self) -> Spool:
        """An empty one in the same folder."""
        return Spool(self._page)

    def _open(self) -> None:
        with in_plain_words(self._page, resumable=False):
            self._file = tempfile.TemporaryFile(dir=self._page.parent or ".", prefix=".vgg-")  # noqa: SIM115

    def _halve(self) -> None:
        """Drop every second row, and give out their room."""
        kept = self.beside()
        for number, entry in enumerate(self.entries()):
            if number % 2 == 0:
                kept.add(entry)
        self._file.close()
        self._file, self._stride = kept._file, 2 * self._stride
        self.rows, self.row_bytes = kept.rows, kept.row_bytes
        self.pictures, self.picture_bytes = kept.pictures, kept.picture_bytes
