"""Archives and addresses, good and bad, and what becomes of the inputs that they stand for."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from vggcli.errors import InputError
from vggcli.images.access import Access
from vggcli.images.attempt import Attempt
from vggcli.images.inputs import expand, read_ahead
from vggcli.images.item import Input, Skipped
from vggcli.images.open import open_bytes

LOCAL = Access(allow_private=True)


def png(grey: int = 0, size: int = 8) -> bytes:
    """A picture of one colour, which tells it from the others."""
    file = io.BytesIO()
    Image.new("L", (size, size), grey).save(file, "PNG")
    return file.getvalue()


PICTURES = {f"p/{number}.png": png(number) for number in range(5)}


def tar(members: Mapping[str, bytes] | Iterable[tuple[str, bytes]], mode: str = "w", **options: Any) -> bytes:
    """A tar of these members; `mode` as in tarfile."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, **options) as archive:  # type: ignore[call-overload]
        for name, data in members.items() if isinstance(members, Mapping) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def zip_of(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def written(path: Path, data: bytes) -> str:
    """The path of a file that holds this."""
    path.write_bytes(data)
    return str(path)


def content(item: Input, access: Access = LOCAL) -> bytes | str:
    """The bytes of an input, or the kind of its failure."""
    try:
        with open_bytes(item, access, Attempt()) as stream:
            return stream.read()
    except InputError as error:
        return error.kind


def found(*paths: str, access: Access = LOCAL, recursive: bool = False, skipped: Skipped | None = None) -> list[Input]:
    """The inputs that these stand for, as a run gets them."""
    return list(read_ahead(expand(paths, recursive, skipped, access), access))


def outcomes(*paths: str, access: Access = LOCAL, recursive: bool = False) -> list[tuple[str | None, bytes | str]]:
    """Path and bytes, or kind of failure, of each input, in order and each read as soon as it is there."""
    items = read_ahead(expand(paths, recursive, access=access), access)
    return [(item.path, content(item, access)) for item in items]


def reason(item: Input, access: Access = LOCAL) -> str:
    """The message of an input that fails."""
    try:
        with open_bytes(item, access, Attempt()):
            raise AssertionError("it can be read")
    except InputError as error:
        return str(error)


def inside(archive: str, members: Mapping[str, bytes] = PICTURES) -> list[tuple[str, bytes]]:
    """What an archive of these members gives."""
    return [(f"{archive}::{name}", data) for name, data in members.items()]
