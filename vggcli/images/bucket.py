"""Objects in buckets and whatever else fsspec reaches, and their listings."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from vggcli.errors import UsageError
from vggcli.images import addresses
from vggcli.images.access import Access, UnreadableError
from vggcli.images.item import Input, Skipped, has_image_name, named
from vggcli.web.retry import RetryPolicy, TransferError

_BLOCK_BYTES = 4 << 20  # of an archive that is read as it comes
_TRIES = 3
_LONGEST_TEXT = 200  # of what somebody else's package says
_URL = re.compile(r"\S*://\S+")
_REMOTE = "pip install 'vgg-cli[remote]'"
_Value = TypeVar("_Value")


class UnknownProtocolError(Exception):
    """fsspec knows no such protocol."""


class _System:
    """One of fsspec's file systems, for all threads: one with its own loop takes calls from many, others take turns."""

    def __init__(self, system: Any) -> None:
        self.fs = system
        self._turn = contextlib.nullcontext() if system.async_impl else threading.Lock()

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What one of its methods gives."""
        with self._turn:
            return getattr(self.fs, method)(*arguments, **options)


_SYSTEMS: dict[str, _System] = {}  # by protocol and what the address says of it; fsspec's own are one per thread
_SYSTEMS_LOCK = threading.Lock()


def _system(address: str) -> tuple[_System, str]:
    """The file system of an address, and the address as that one writes it.

    Raises:
        UsageError: a package is missing.
        UnknownProtocolError: there is none for it.
    """
    protocol = addresses.protocol(address)
    try:
        import fsspec
    except ImportError as error:
        raise UsageError("cannot read", f"{protocol}://", "fsspec is not installed", f"Run {_REMOTE}") from error
    try:
        kind = fsspec.get_filesystem_class(protocol)
    except ValueError as error:
        raise UnknownProtocolError(f"no protocol is called {protocol}") from error
    except ImportError as error:
        package = _package(protocol)
        why = f"its package {package} is not installed"
        raise UsageError("cannot read", f"{protocol}://", why, f"Run pip install {package}") from error
    options = kind._get_kwargs_from_urls(address)
    with _SYSTEMS_LOCK:
        key = repr((protocol, sorted(options.items())))
        if key not in _SYSTEMS:
            _SYSTEMS[key] = _System(kind(**options, use_listings_cache=False))
    return _SYSTEMS[key], kind._strip_protocol(address)


def check(address: str) -> None:
    """Find out whether an address can be read at all.

    Raises:
        UsageError: a package is missing.
        UnknownProtocolError: there is no such protocol.
    """
    _system(address)


def _package(protocol: str) -> str:
    from fsspec.registry import known_implementations

    return str(known_implementations[protocol]["class"]).partition(".")[0]


class BucketFile:
    """Bytes by their offset, or all, or as they come; for many threads.

    Args:
        address: with its credentials.
        access: how long it may take.
    """

    is_remote = True

    def __init__(self, address: str, access: Access) -> None:
        self._address, self._access = address, access
        self._info: dict[str, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return BucketFile, (self._address, self._access)

    @contextmanager
    def opened(self) -> Iterator[BucketFile]:
        """fsspec keeps its connections by itself."""
        yield self

    @property
    def size(self) -> int:
        """In bytes."""
        if self._info is None:
            self._info = self._asked("info")
        return int(self._info["size"] or 0)

    def read(self, max_bytes: int) -> bytes:
        """All of it, or the first `max_bytes` and one more.

        Raises:
            UnreadableError: it cannot be had.
        """
        try:
            data: bytes = self._asked("cat_file", start=0, end=max_bytes + 1)
        except UnreadableError as error:
            if error.kind == "network" and self._is_empty():  # of nothing no part can be asked for
                return b""
            raise
        return data

    def _is_empty(self) -> bool:
        try:
            return self.size == 0
        except UnreadableError:
            return False

    def read_at(self, offset: int, size: int) -> bytes:
        """So many bytes from there on, fewer at its end.

        Raises:
            UnreadableError: they cannot be had.
        """
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        data: bytes = self._asked("cat_file", start=offset, end=end)
        return data

    def blocks(self) -> Iterator[bytes]:
        """All of it as it comes.

        Raises:
            UnreadableError: it cannot be had, or has changed meanwhile.
        """
        for offset in range(0, self.size, _BLOCK_BYTES):
            yield self.read_at(offset, _BLOCK_BYTES)
        if _version(self._asked("info")) != _version(self._info or {}):
            raise UnreadableError("vanished", "the archive has changed while it was read")

    def _asked(self, method: str, **options: Any) -> Any:
        def ask() -> Any:
            system, path = _system(self._address)
            return system.ask(method, path, **options)

        return _tried(ask)


def _version(info: dict[str, Any]) -> list[str]:
    return [
        str(info.get(name)) for name in ("size", "ETag", "etag", "LastModified", "last_modified", "mtime", "created")
    ]


def _tried(ask: Callable[[], _Value]) -> _Value:
    """What a file system answers, asked again where that may help.

    Raises:
        UnreadableError: it does not answer.
    """

    def once() -> _Value:
        try:
            return ask()
        except (UnknownProtocolError, UsageError) as error:
            raise UnreadableError("unsupported", str(error).rstrip(".")) from error
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise UnreadableError("missing", "there is no such object; a folder's address ends with /") from error
        except PermissionError as error:
            raise UnreadableError("permission", "its owner does not give it to this user") from error
        except Exception as error:
            if "credential" in type(error).__name__.lower():
                raise UnreadableError("permission", "no credentials for it were found") from error
            passing = isinstance(error, OSError) and error.errno != errno.EINVAL
            raise TransferError(_told(error), passing=passing) from error

    try:
        return RetryPolicy(idle_tries=_TRIES).run(once)
    except TransferError as trouble:
        raise UnreadableError("network", trouble.why) from trouble


def _told(error: Exception) -> str:
    """What is told of an error that may hold anything, addresses with credentials among it."""
    if isinstance(error, OSError) and error.errno and not str(error).strip():
        return os.strerror(error.errno).lower()
    text = _URL.sub("...", " ".join(str(error).split()))[:_LONGEST_TEXT]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def listed(prefix: Input, skipped: Skipped, recursive: bool) -> Iterator[Input]:
    """The images under an address that ends with a slash, lazily where the protocol can.

    Raises:
        UsageError: a package is missing.
        UnknownProtocolError: there is no such protocol.
        UnreadableError: it cannot be listed, or not to its end.
    """
    address = prefix.address or ""
    system, path = _system(address)
    pages = _pages if hasattr(system.fs, "call_s3") else _folders
    begin = address if address.endswith("/") else address + "/"
    found = False
    for name, is_folder in pages(system, path, recursive):
        shown = addresses.escaped(begin + name)
        if any(part.startswith(".") for part in name.split("/")):
            continue
        if is_folder:
            skipped.folders.add(shown)
        elif has_image_name(name):
            found = True
            yield named(shown, given=False)
        else:
            skipped.files.add(shown)
    if not found and prefix.path is not None:
        skipped.empty_folders.append(prefix.path)


def _pages(system: _System, path: str, recursive: bool) -> Iterator[tuple[str, bool]]:
    """Names behind a prefix of S3, page by page, in the order of the keys, and whether each is a folder."""
    bucket, key, _ = system.fs.split_path(path)
    prefix = f"{key}/" if key else ""
    options = {"Bucket": bucket, "Prefix": prefix} | ({} if recursive else {"Delimiter": "/"})
    while True:
        page = _tried(partial(system.ask, "call_s3", "list_objects_v2", **options))
        found = [(entry["Key"], False) for entry in page.get("Contents", ()) if not entry["Key"].endswith("/")]
        found += [(entry["Prefix"], True) for entry in page.get("CommonPrefixes", ())]
        yield from ((name[len(prefix) :], is_folder) for name, is_folder in sorted(found))
        if not page.get("IsTruncated"):
            return
        options["ContinuationToken"] = page["NextContinuationToken"]


def _folders(system: _System, path: str, recursive: bool) -> Iterator[tuple[str, bool]]:
    """Names behind a prefix, folder by folder, each in name order, as on a disk."""
    root = path.rstrip("/")
    rest = [iter([{"name": root, "type": "directory"}])]
    while rest:
        entry = next(rest[-1], None)
        if entry is None:
            rest.pop()
            continue
        name, is_folder = entry["name"], entry["type"] == "directory"
        relative = name.rstrip("/")[len(root) :].lstrip("/")
        if is_folder and (recursive or not relative):
            inside = _tried(partial(system.ask, "ls", name, detail=True))
            here = [one for one in inside if one["name"].rstrip("/") != name.rstrip("/")]
            rest.append(iter(sorted(here, key=lambda one: str(one["name"]))))
        else:
            yield relative, is_folder
