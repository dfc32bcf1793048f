"""How many inputs a command line means, counted beside the run that takes them.

`discover` sorts each folder and so holds its names; here nothing is sorted and only folders are held, so that counting
a million files takes no more memory than counting ten.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from vggcli.images import discover
from vggcli.images.access import Access
from vggcli.images.item import Skipped

_Identity = tuple[int, int]  # device and inode


class UncountableError(OSError):
    """How many there are is only known when they have been read."""


def count(
    inputs: Sequence[str], files_from: str | None, *, recursive: bool, null: bool, column: str | None = None
) -> Iterator[int]:
    """The number of inputs found so far, ever larger; the last is that of `discover.discover` with the same arguments.

    Nothing comes where the end cannot be known: a list that is no regular file.

    Raises:
        OSError, UsageError: the list cannot be read, or what it names cannot be counted.
    """
    if files_from is not None and (files_from == discover.STDIN or not stat.S_ISREG(os.stat(files_from).st_mode)):
        return
    found = 0
    yield found
    for path in _named(inputs, files_from, null, column):
        for _ in _inputs_of(path, recursive):
            found += 1
            yield found


def _named(inputs: Sequence[str], files_from: str | None, null: bool, column: str | None) -> Iterator[str]:
    yield from inputs
    if files_from is not None:
        yield from discover.open_paths(files_from, null, column)


def _inputs_of(path: str, recursive: bool) -> Iterator[None]:
    """One for each input that a path stands for; see `discover.expand_path`."""
    if path != discover.STDIN and discover.is_no_plain_path(path):
        from vggcli.images import addresses

        folder = addresses.local_name(path) or ""
        if "\0" in folder or not os.path.isdir(folder):
            yield from _of_elsewhere(path)
            return
        path = folder
    if path == discover.STDIN or "\0" in path or not os.path.isdir(path):
        yield None
        return
    folders: list[tuple[str, tuple[_Identity, ...]]] = [(path, ())]  # and the folders that each is in
    linked: set[_Identity] = set()
    while folders:
        folder, above = folders.pop()
        try:
            status = os.stat(folder)
            identity, is_link = (status.st_dev, status.st_ino), os.path.islink(folder)
            if identity in above or (is_link and identity in linked):
                continue
            linked.update([identity] * is_link)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name[0] == ".":
                        continue
                    if not entry.is_dir():
                        yield from [None] * discover.is_image_like(entry.path)
                    elif recursive:
                        folders.append((entry.path, (*above, identity)))
        except OSError:
            yield None  # opening it as an image says why


def _of_elsewhere(path: str) -> Iterator[None]:
    """Of archives on this machine that can be counted without reading them whole, and of single objects."""
    from vggcli.images import addresses, sources

    container, member = addresses.split(path)
    is_one = member is not None or not (addresses.is_archive(container) or container.endswith("/"))
    if is_one:
        yield None
    elif addresses.local_name(path) is None or not addresses.is_archive(container):
        raise UncountableError(path)
    else:
        for item in sources.expand(path, Access(), Skipped(), recursive=False):
            if item.is_read_ahead:
                raise UncountableError(path)
            yield None
