"""The legacy format of torch.save (before PyTorch 1.6): five pickles in a row, then the storages one after another.

The pickles are a magic number, the protocol version, facts about the machine, the saved object, and the keys of the
storages in the order in which they follow. Each storage is its number of elements (int64) and then the elements,
always little-endian.
"""

from __future__ import annotations

from vggcli.weights.checkpoint.pickle.machine import Machine
from vggcli.weights.checkpoint.pickle.persistent import parse_key, parse_storage_id
from vggcli.weights.checkpoint.pickle.tree import to_plain_data
from vggcli.weights.checkpoint.pickle.values import Opaque
from vggcli.weights.checkpoint.problems import Forbidden, Unreadable, quote, truncated
from vggcli.weights.checkpoint.recognise import PICKLE, unknown
from vggcli.weights.checkpoint.source import Cursor, Source
from vggcli.weights.checkpoint.tensor import DTYPES, Storage

MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
PROTOCOL = 1001
COUNT_BYTES = 8


def read_legacy(source: Source, thorough: bool) -> object:
    """Return the saved object.

    Args:
        source: the file.
        thorough: compare the length written before every storage with the pickle's now.

    Raises:
        Unreadable: it is not such a file, or damaged.
    """
    cursor = Cursor(source, 0, source.size)
    try:
        magic = Machine(cursor, _no_storages).run()
    except Unreadable as problem:
        hostile = isinstance(problem, Forbidden) and problem.hostile
        if hostile or source.read(0, 1) == PICKLE:
            raise
        raise unknown() from problem  # a text that begins like a pickle of protocol 0
    if magic != MAGIC:
        raise Unreadable(
            "it is a plain pickle, not a file of torch.save", "Load it where it was made and save it with torch.save"
        )
    if Machine(cursor, _no_storages).run() != PROTOCOL:
        raise Unreadable("it was written by an unknown version of torch.save", "Save it again with a current PyTorch")
    Machine(cursor, _no_storages).run()
    storages = _Storages(source)
    saved = Machine(cursor, storages.load).run()
    keys = Machine(cursor, _no_storages).run()
    root = to_plain_data(saved, source.size)
    storages.place(keys, cursor.tell(), thorough)
    return root


def _no_storages(saved_id: object) -> object:
    """Answer a persistent id in the pickles around the object, which have no use for any."""
    return Opaque("torch.storage")


class _Storages:
    """Collects the storages while the object is read, and places them in the file afterwards."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._roots: dict[str, tuple[str, int]] = {}  # key -> dtype and bytes as first mentioned
        self._starts: dict[str, int] = {}
        self._made: dict[tuple[str, str, int, int], Storage] = {}

    def load(self, saved_id: object) -> Storage:
        """Answer a persistent id; tensors that share memory get the same `Storage`."""
        key, dtype, nbytes, view = parse_storage_id(saved_id)
        _, known = self._roots.setdefault(key, (dtype, nbytes))
        if known != nbytes:
            raise Unreadable(f"storage {quote(key)} has {known:,} bytes in one place and {nbytes:,} in another")
        first, length = 0, nbytes
        if view is not None:
            size = DTYPES[dtype][0]
            first, length = view[0] * size, view[1] * size
            if first + length > nbytes:
                raise Unreadable(f"a part of storage {quote(key)} lies outside it")
        place = (key, dtype, first, length)
        if place not in self._made:
            starts = self._starts  # not `self`: a cycle would keep the file open until the garbage collector comes
            self._made[place] = Storage(self._source, dtype, length, lambda: starts[key] + first)
        return self._made[place]

    def place(self, keys: object, start: int, thorough: bool) -> None:
        """Find every storage behind the pickles; they follow in the order of `keys` from `start`."""
        order = [parse_key(key) for key in keys] if isinstance(keys, list) else []
        if len(order) != len(self._roots) or set(order) != set(self._roots):
            raise Unreadable("its list of storages does not match its tensors")
        for key in order:
            dtype, nbytes = self._roots[key]
            end = start + COUNT_BYTES + nbytes
            if end > self._source.size:
                raise truncated(self._source.size, end)
            if thorough:
                count = int.from_bytes(self._source.read(start, COUNT_BYTES), "little", signed=True)
                if count * DTYPES[dtype][0] != nbytes:
                    raise Unreadable(f"storage {quote(key)} has {count:,} elements in a place for {nbytes:,} bytes")
            self._starts[key] = start + COUNT_BYTES
            start = end
