"""Rows of features in a folder, and which file each belongs to.

    features.f32    a row of float32 for each image, in the order in which they were computed
    images.jsonl    a line for each file: path, size, time of change, SHA-256 of its bytes, row

A line is written after its row is, so whatever ends the run, every whole line has its row.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from vggcli.json_reader import parse_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS, LINES = "features.f32", "images.jsonl"


class Kept:
    """The rows and lines of a folder; a context that holds both files open.

    Attributes:
        rows: number of whole rows.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self._folder, self._bytes = folder, 4 * width
        self._by_file: dict[tuple[str, int, int], tuple[str, int]] = {}
        self._by_digest: dict[str, int] = {}
        self.rows = 0

    def __enter__(self) -> Kept:
        self._features: BinaryIO = open(self._folder / ROWS, "ab", buffering=0)
        self._lines: BinaryIO = open(self._folder / LINES, "a+b", buffering=0)
        whole = self._features.seek(0, os.SEEK_END) // self._bytes
        self._lines.seek(0)
        end = 0
        for line in self._lines:
            entry = _entry(line)
            if entry is None or entry[-1] >= whole:
                break  # the last line of a run that was killed, and nothing that is worth keeping behind it
            path, size, mtime, digest, row = entry
            self._remember((path, size, mtime), digest, row)
            end += len(line)
        self._lines.truncate(end)
        self._features.truncate(self.rows * self._bytes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._features.close()
        self._lines.close()

    def of_file(self, key: tuple[str, int, int]) -> tuple[str, int] | None:
        """Digest and row of a file that was not changed; None for any other."""
        return self._by_file.get(key)

    def of_digest(self, digest: str) -> int | None:
        """The row of a file of these bytes."""
        return self._by_digest.get(digest)

    def add(self, key: tuple[str, int, int], digest: str, features: NDArray[np.float32] | None) -> int:
        """Keep the features of a file; None for those that a file of the same bytes has.  Gives the row."""
        row = self._by_digest.get(digest, self.rows)
        if features is not None:
            _write(self._features, np.ascontiguousarray(features, np.float32).tobytes(), self.rows * self._bytes)
            row = self.rows
        entry = {"path": key[0], "size": key[1], "mtime_ns": key[2], "sha256": digest, "row": row}
        _write(self._lines, json.dumps(entry).encode() + b"\n", self._lines.seek(0, os.SEEK_END))
        self._remember(key, digest, row)
        return row

    def _remember(self, key: tuple[str, int, int], digest: str, row: int) -> None:
        self._by_file[key] = digest, row
        self._by_digest[digest] = row
        self.rows = max(self.rows, row + 1)


def _write(file: BinaryIO, data: bytes, position: int) -> None:
    """All of it, or nothing: a full disk may take a part."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.truncate(position)
        raise


def _entry(line: bytes) -> tuple[str, int, int, str, int] | None:
    """The values of a line; None for one that is not whole."""
    try:
        entry = parse_json(line)
        values = tuple(entry[name] for name in ("path", "size", "mtime_ns", "sha256", "row"))
    except (ValueError, KeyError, TypeError):
        return None
    right = line.endswith(b"\n") and list(map(type, values)) == [str, int, int, str, int] and values[-1] >= 0
    return values if right else None
