"""Files that change whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from vggcli.output.stream import cannot_write


def replace_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file beside `path` and put it in its place when it is whole and on the disk.

    Args:
        path: the file to replace or make; its permissions are kept.
        write: called with the new file, opened for bytes.

    Raises:
        OutputError: no room, an input/output error; `path` is as before.
    """
    part = _part(path)
    try:
        try:
            with part.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                part.chmod(path.stat().st_mode & 0o7777)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def check_replaceable(path: Path) -> None:
    """Find out that `replace_atomically` could not begin, without touching `path`.

    Raises:
        OutputError: its folder takes no new file, or the name is too long for one.
    """
    part = _part(path)
    try:
        part.touch()
        part.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error


def _part(path: Path) -> Path:
    # A name that nobody else gives a file: one `FILE.part` beside `FILE` may be the person's own.
    return path.with_name(f".{path.name}.vgg-part")
