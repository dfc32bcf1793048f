"""Inputs that are no plain files: members of archives, and what lies behind addresses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from vggcli.images import addresses, archives
from vggcli.images.access import Access, UnreadableError
from vggcli.images.item import Archive, Input, Reader, Skipped, named
from vggcli.images.readers import Opening, Whole
from vggcli.images.refused import Refused


def reader_of(item: Input, access: Access) -> Reader | None:
    """What reads an input by its address alone; None for a plain file.

    Raises:
        UnreadableError: nothing is known to read it with.
    """
    address = item.address or ""
    container, member = addresses.split(address)
    if member is not None:
        return archives.Sought(addresses.escaped(container), member, access)
    if addresses.local_name(address) is not None:
        return None
    from vggcli.images import remote

    return Whole(remote.file_at(container, access), item.given)


def expand(
    path: str, access: Access, skipped: Skipped, recursive: bool, *, opens_archives: bool = True
) -> Iterator[Input]:
    """What a path that is not plain stands for: the members of archives, the objects of a bucket, or itself.

    Raises:
        UsageError: a package is missing.
    """
    container, member = addresses.split(path)
    if addresses.file_of(path) is None and (member is not None or addresses.is_archive(container)):
        from vggcli.images import bucket, remote

        with suppress(bucket.UnknownProtocolError):  # a failure of the input
            remote.check(container)
    if member is not None:
        yield named(path)
        return
    if addresses.is_archive(container):
        is_there = "{" not in path or os.path.lexists(addresses.local_name(path) or "")
        for shard in [path] if is_there else addresses.shards(path):
            archive = named(shard)
            if opens_archives:
                yield from members(archive, access, skipped)
            else:
                yield Archive(archive.path, archive.given, secret=archive.secret)
        return
    if addresses.local_name(path) is None:
        from vggcli.images import remote

        yield from remote.expand(named(path), skipped, recursive)
    else:
        yield named(path)


def members(archive: Input, access: Access, skipped: Skipped) -> Iterator[Input]:
    """The images in an archive, in its order; what cannot be read of it is one more input, which fails."""
    found = False
    try:
        for item in archives.members_of(archive, access, skipped):
            found = True
            yield item
    except UnreadableError as error:
        found = True
        yield replace(archive, reader=Refused(error.kind, error.why))
    except OSError:
        found = True
        yield replace(archive, reader=Opening(addresses.local_name(archive.address or "") or ""))
    if not found and archive.path is not None:
        skipped.empty_folders.append(archive.path)
