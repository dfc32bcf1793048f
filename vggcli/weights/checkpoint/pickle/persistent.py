"""How torch.save refers to a storage from its pickle: the persistent id."""

from __future__ import annotations

from typing import NamedTuple

from vggcli.weights.checkpoint.pickle.allowed import QUANTISED_STORAGES, STORAGE_DTYPES
from vggcli.weights.checkpoint.pickle.values import Global
from vggcli.weights.checkpoint.problems import Unreadable, Unsupported
from vggcli.weights.checkpoint.tensor import DTYPES, LARGEST


class StorageId(NamedTuple):
    """What a persistent id says.

    Attributes:
        key: the storage's name in the file.
        dtype: of its elements.
        nbytes: its length.
        view: the legacy format's first element and number of elements of a part of it, else None.
    """

    key: str
    dtype: str
    nbytes: int
    view: tuple[int, int] | None


def parse_storage_id(saved_id: object) -> StorageId:
    """Read ("storage", class, key, location, number of elements[, view]).

    Raises:
        Unsupported: quantised numbers or meta tensors.
        Unreadable: anything else, e.g. the class source that old versions keep beside a whole model.
    """
    match saved_id:
        case ("storage", Global() as kind, key, str() as location, int() as numel):
            view = None
        case ("storage", Global() as kind, key, str() as location, int() as numel, part):
            view = _parse_view(part)
        case _:
            raise Unreadable("its pickle refers to something that is no tensor storage")
    name = kind.name.rsplit(".", 1)[-1]
    if name in QUANTISED_STORAGES:
        raise Unsupported("a quantised tensor")
    if name not in STORAGE_DTYPES:
        raise Unreadable(f"its pickle stores numbers in a {kind.name}")
    if location == "meta":
        raise Unsupported("a meta tensor (a shape without numbers)")
    dtype = STORAGE_DTYPES[name]
    nbytes = numel * DTYPES[dtype][0]
    if not 0 <= nbytes <= LARGEST:
        raise Unreadable(f"a tensor storage has {numel:,} elements")
    return StorageId(parse_key(key), dtype, nbytes, view)


def parse_key(key: object) -> str:
    """Return a storage's name; the first versions wrote addresses."""
    if isinstance(key, str):
        return key
    if isinstance(key, int) and 0 <= key <= LARGEST:
        return str(key)
    raise Unreadable("its pickle names a tensor storage by something else than text")


def _parse_view(part: object) -> tuple[int, int] | None:
    match part:
        case None:
            return None
        case (str() | int(), int() as first, int() as count) if first >= 0 and count >= 0:
            return first, count
    raise Unreadable("its pickle is damaged: a part of a storage is not described in full")
