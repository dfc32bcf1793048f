"""What lies behind addresses: one object each, or the images of a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

from vggcli.images import addresses, bucket
from vggcli.images.access import Access, UnreadableError
from vggcli.images.bucket import BucketFile
from vggcli.images.http_file import HttpFile
from vggcli.images.item import Input, Skipped
from vggcli.images.refused import Refused

RemoteFile: TypeAlias = HttpFile | BucketFile


def file_at(address: str, access: Access) -> RemoteFile:
    """The object behind an address."""
    if addresses.protocol(address) in ("http", "https"):
        return HttpFile(address, access)
    return BucketFile(address, access)


def check(address: str) -> None:
    """Find out whether what an address needs is installed, before anything is read.

    Raises:
        UsageError: a package is missing.
        UnknownProtocolError: there is no such protocol.
    """
    if addresses.protocol(address) not in ("http", "https"):
        bucket.check(address)


def expand(item: Input, skipped: Skipped, recursive: bool) -> Iterator[Input]:
    """The object itself, or the images of a bucket or folder where the address ends with a slash or names no object.

    Raises:
        UsageError: a package is missing.
    """
    address = item.address or ""
    protocol = addresses.protocol(address)
    is_folder = address.endswith("/") or "/" not in address[len(protocol) + 3 :]
    if protocol in ("http", "https"):
        yield item
        return
    try:
        check(address)
        if not is_folder:
            yield item
            return
        yield from bucket.listed(item, skipped, recursive)
    except bucket.UnknownProtocolError as error:
        yield replace(item, reader=Refused("unsupported", str(error)))
    except UnreadableError as error:
        why = "there is no such bucket or folder" if error.kind == "missing" else error.why
        yield replace(item, reader=Refused(error.kind, why))
