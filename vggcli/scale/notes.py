"""What is known of a finished shard: the small file beside it, and a few bytes per block in the driver."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from vggcli.json_reader import parse_json
from vggcli.scale.storage import Storage, read, write_bytes

_MOST_BYTES = 64 << 10
_ROW = struct.Struct("<?IIQ32s")  # is finished, rows, failures, bytes, SHA-256


def shard_name(number: int, format: str) -> str:
    """The file with the rows of a block."""
    return f"part-{number:08}.{format}"


def note_name(number: int) -> str:
    """The file that says what its shard holds."""
    return f"part-{number:08}.note"


@dataclass(frozen=True, slots=True)
class Note:
    """What a shard holds.

    Attributes:
        block: its number.
        rows: records, one for each input.
        failures: kind to number.
        bytes: of the shard.
        sha256: of the shard, hexadecimal.
        run: that wrote it, so that a block that comes twice is done once.
    """

    block: int
    rows: int
    bytes: int
    sha256: str
    failures: dict[str, int] = field(default_factory=dict)
    run: str = ""

    @property
    def failed(self) -> int:
        """Inputs without a prediction."""
        return sum(self.failures.values())


def write_note(storage: Storage, note: Note) -> None:
    """Say of a shard in place that it is whole."""
    write_bytes(storage, note_name(note.block), json.dumps(asdict(note)).encode() + b"\n")


def read_note(storage: Storage, number: int) -> Note | None:
    """What is said of a shard; None where nothing is, or nothing that can be understood."""
    try:
        return as_note(parse_json(read(storage, note_name(number), _MOST_BYTES), _MOST_BYTES))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def whole(storage: Storage, number: int, format: str) -> Note | None:
    """The note of a shard that is whole; None where there is none, or one of another size than the note says."""
    note = read_note(storage, number)
    if note is None or note.block != number:
        return None
    try:
        with storage.open(shard_name(number, format)) as file:
            return note if file.seek(0, 2) == note.bytes else None
    except FileNotFoundError:
        return None


def as_note(fields: dict[str, Any]) -> Note:
    """A note of what `asdict` made of one; ValueError, KeyError, TypeError where it is none."""
    failures = {str(kind): int(count) for kind, count in fields["failures"].items()}
    block, rows, size = (int(fields[name]) for name in ("block", "rows", "bytes"))
    digest = bytes.fromhex(fields["sha256"])
    if len(digest) != 32:
        raise ValueError("a SHA-256 has 32 bytes")
    return Note(block, rows, size, digest.hex(), failures, str(fields["run"]))


class Shards:
    """All blocks of a run, 49 bytes each."""

    def __init__(self) -> None:
        self._table = bytearray()
        self.finished = self.rows = 0
        self.failures: Counter[str] = Counter()

    def add(self, note: Note) -> bool:
        """Take what is known of a shard; False where its block was known to be finished already."""
        end = (note.block + 1) * _ROW.size
        if len(self._table) < end:
            self._table.extend(bytes(end - len(self._table)))
        if self.is_finished(note.block):
            return False
        row = True, note.rows, note.failed, note.bytes, bytes.fromhex(note.sha256)
        _ROW.pack_into(self._table, note.block * _ROW.size, *row)
        self.finished, self.rows = self.finished + 1, self.rows + note.rows
        self.failures.update(note.failures)
        return True

    def is_finished(self, number: int) -> bool:
        """Whether a block has been taken."""
        at = number * _ROW.size
        return at < len(self._table) and bool(self._table[at])

    def described(self) -> Iterator[dict[str, Any]]:
        """Every finished block, in order: `block`, `rows`, `failures`, `bytes`, `sha256`."""
        for number, (is_finished, rows, failures, size, sha256) in enumerate(_ROW.iter_unpack(self._table)):
            if is_finished:
                yield {"block": number, "rows": rows, "failures": failures, "bytes": size, "sha256": sha256.hex()}
