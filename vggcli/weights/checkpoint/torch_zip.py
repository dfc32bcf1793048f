"""The zip format of torch.save (PyTorch 1.6 and newer): a folder with data.pkl and one member a storage."""

from __future__ import annotations

from functools import partial

from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.archive import Archive
from vggcli.weights.checkpoint.pickle.machine import Machine
from vggcli.weights.checkpoint.pickle.persistent import parse_storage_id
from vggcli.weights.checkpoint.pickle.tree import to_plain_data
from vggcli.weights.checkpoint.pickle.values import Opaque
from vggcli.weights.checkpoint.problems import Forbidden, Unreadable, quote
from vggcli.weights.checkpoint.recognise import HEAD, name_archive
from vggcli.weights.checkpoint.source import Cursor, Source
from vggcli.weights.checkpoint.tensor import Storage

PICKLE = "data.pkl"
MOST_PICKLES = 4  # looked at in an archive that is refused anyway; TorchScript has two
BYTE_ORDERS = {b"little": False, b"big": True}


def read_zip(source: Source, thorough: bool) -> object:
    """Return the saved object.

    Args:
        source: the file.
        thorough: look at the local header of every storage now, not when its numbers are asked for.

    Raises:
        Unreadable: it is not such a file, or damaged.
    """
    archive = Archive(source)
    try:
        storages = _Storages(source, archive)
        pickle = archive.members[storages.folder + PICKLE]
        start = archive.start(pickle)
        if pickle.size > limits.PICKLE_BYTES:
            raise _too_large(pickle.size, source.read(start, HEAD))
    except Unreadable:
        _name_attacks(source, archive)
        raise
    root = to_plain_data(Machine(Cursor(source, start, start + pickle.size), storages.load).run(), source.size)
    if thorough:
        storages.locate()
    return root


def _name_attacks(source: Source, archive: Archive) -> None:
    """Look at what the pickles of an archive ask for that is refused for another reason.

    Members beside them, or a pickle too many, must not keep anybody from being warned.

    Raises:
        Forbidden: one asks for what only attacks need.
    """
    pickles = [member for name, member in archive.members.items() if name.endswith(".pkl")]
    for pickle in pickles[:MOST_PICKLES]:
        try:
            start = archive.start(pickle)
            end = start + min(pickle.size, limits.PICKLE_BYTES)
            Machine(Cursor(source, start, end), lambda saved_id: Opaque("torch.storage")).run()
        except Forbidden:
            raise
        except Unreadable:
            continue


def _too_large(size: int, head: bytes) -> Unreadable:
    if b"numpy" in head and b"_reconstruct" in head:
        why = f"it holds NumPy arrays in place of tensors, in a pickle of {size:,} bytes; up to {limits.PICKLE_BYTES:,}"
        step = "Save tensors: torch.save({key: torch.as_tensor(a) for key, a in arrays.items()}, 'weights.pth')"
        return Unreadable(f"{why} are read", step)
    return Unreadable(f"its pickle has {size:,} bytes, too many", "Name a file of the weights alone")


class _Storages:
    """Finds the member of a storage. Tensors that share memory get the same `Storage`."""

    def __init__(self, source: Source, archive: Archive) -> None:
        self._source, self._archive = source, archive
        self._made: dict[tuple[str, str], Storage] = {}
        self.folder = _folder(archive)
        order = archive.members.get(self.folder + "byteorder")
        mark = b"little" if order is None else archive.read(order)[:8] if order.size < 64 else b""
        if mark not in BYTE_ORDERS:
            raise Unreadable("its byte order is neither little nor big")
        self._big_endian = BYTE_ORDERS[mark]

    def load(self, saved_id: object) -> Storage:
        """Answer a persistent id."""
        key, dtype, nbytes, _ = parse_storage_id(saved_id)
        if (key, dtype) in self._made:
            found = self._made[key, dtype]
        else:
            member = self._archive.members.get(f"{self.folder}data/{key}")
            if member is None:
                raise Unreadable(f"the zip file has no member data/{quote(key)[1:-1]} for a tensor")
            found = Storage(self._source, dtype, member.size, partial(self._archive.start, member), self._big_endian)
            self._made[key, dtype] = found
        if found.nbytes != nbytes:
            raise Unreadable(f"data/{quote(key)[1:-1]} has {found.nbytes:,} bytes where {nbytes:,} are described")
        return found

    def locate(self) -> None:
        """Find every storage, so that a damaged header is found now."""
        for storage in self._made.values():
            storage.locate()


def _folder(archive: Archive) -> str:
    """Return the archive's one top folder, with its slash; torch names it after the file it saved."""
    tops = [name.removesuffix(PICKLE) for name in archive.members if name.endswith(f"/{PICKLE}")]
    tops = [top for top in tops if top.count("/") == 1]
    special = name_archive(archive.members)
    if special:
        raise special
    if len(tops) != 1:
        raise Unreadable(f"it is a zip file with {len(tops) or 'no'} checkpoints (data.pkl)", "Name a weights file")
    return tops[0]
