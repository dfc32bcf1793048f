"""An object behind an http(s) address."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from vggcli.images.access import Access, UnreadableError
from vggcli.web.headers import content_length, content_range, unsatisfied_length, validator
from vggcli.web.http import Client, check_status
from vggcli.web.retry import RetryPolicy, TransferError

if TYPE_CHECKING:
    import httpx

_TRIES = 3
_LONGEST_WAIT_SECONDS = 10.0  # that a server may ask for between two tries
_CONNECT_SECONDS = 15.0
_HEAD_BYTES = 1 << 16  # fetched to learn the size
_Value = TypeVar("_Value")


class _Clients:
    """Clients that nobody uses just now, their connections open, as long as anybody may want one again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._idle: dict[Access, list[Client]] = {}

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Connections are kept inside."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                idle = [] if self._users else [client for clients in self._idle.values() for client in clients]
                self._idle = self._idle if self._users else {}
            for client in idle:
                client.close()

    @contextmanager
    def borrowed(self, access: Access) -> Iterator[Client]:
        """One for this thread alone, inside `wanted`."""
        with self._lock:
            idle = self._idle.setdefault(access, [])
            client = idle.pop() if idle else None
        client = client or Client(_policy(access), allow_private=access.allow_private)
        try:
            yield client
        finally:
            with self._lock:
                self._idle.setdefault(access, []).append(client)


_CLIENTS = _Clients()
wanted = _CLIENTS.wanted


def _policy(access: Access) -> RetryPolicy:
    seconds = access.timeout
    return RetryPolicy(
        connect_s=min(_CONNECT_SECONDS, seconds),
        headers_s=seconds,
        read_s=seconds,
        slow_window_s=seconds,
        idle_tries=_TRIES,
        max_delay_s=_LONGEST_WAIT_SECONDS,
    )


class HttpFile:
    """Bytes by their offset, or all, or as they come; for many threads.

    Args:
        url: with its credentials.
        access: how it may be reached, and how long it may take.
    """

    is_remote = True

    def __init__(self, url: str, access: Access) -> None:
        self._url, self._access = url, access
        self._size: int | None = None
        self._validator: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return HttpFile, (self._url, self._access)

    @contextmanager
    def opened(self) -> Iterator[HttpFile]:
        """Its connections are kept inside."""
        with wanted():
            yield self

    @property
    def size(self) -> int:
        """In bytes."""
        if self._size is None:
            self._part(0, _HEAD_BYTES)
        return self._size or 0

    def read(self, max_bytes: int) -> bytes:
        """All of it.

        Raises:
            UnreadableError: it cannot be had, in time, or has more bytes.
        """

        def read(client: Client) -> bytes:
            with client.get(self._url, {}) as response:
                check_status(response)
                if response.status_code != HTTPStatus.OK:
                    raise TransferError("the server sends a part that nobody asked for")
                if (content_length(response) or 0) > max_bytes:
                    raise _too_large(max_bytes)
                body = bytearray()
                for chunk in client.body(response):
                    body += chunk
                    if len(body) > max_bytes:
                        raise _too_large(max_bytes)
                return bytes(body)

        return self._tried(read)

    def read_at(self, offset: int, size: int) -> bytes:
        """So many bytes from there on, fewer at its end.

        Raises:
            UnreadableError: they cannot be had, in time, or it has changed since it was first read.
        """
        size = min(size, self.size - offset)
        return self._part(offset, size) if size > 0 else b""

    def blocks(self) -> Iterator[bytes]:
        """All of it as it comes; where the connection ends early, another one goes on.

        Raises:
            UnreadableError: nothing comes for too long, or it has changed meanwhile.
        """
        position = 0
        tries = 0
        with _CLIENTS.borrowed(self._access) as client:
            while True:
                try:
                    for chunk in self._from(client, position):
                        yield chunk
                        position, tries = position + len(chunk), 0
                        client.end_in(self._access.timeout)
                    return
                except TransferError as trouble:
                    tries += 1
                    if not trouble.passing or tries == _TRIES:
                        raise _as_unreadable(trouble) from trouble

    def _from(self, client: Client, position: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={position}-"} if position else {}
        if position and self._validator:
            headers["If-Range"] = self._validator
        client.end_in(self._access.timeout)
        with client.get(self._url, headers) as response:
            check_status(response)
            if not position:
                self._size, self._validator = content_length(response), validator(response)
                if response.status_code != HTTPStatus.OK:
                    raise TransferError("the server sends a part that nobody asked for")
            elif response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if unsatisfied_length(response) == position:
                    return
                raise _changed()
            elif (span := content_range(response)) is None or span.first != position:
                raise _changed()
            yield from client.body(response)

    def _part(self, offset: int, size: int) -> bytes:
        def read(client: Client) -> bytes:
            headers = {"Range": f"bytes={offset}-{offset + size - 1}"}
            if self._validator:
                headers["If-Range"] = self._validator
            with client.get(self._url, headers) as response:
                check_status(response)
                length = self._check_part(response, offset)
                body = bytearray()
                for chunk in client.body(response):
                    body += chunk
                    if len(body) > min(size, length):
                        raise TransferError("the server sends more than it was asked for")
                return bytes(body)

        return self._tried(read)

    def _check_part(self, response: httpx.Response, offset: int) -> int:
        span = content_range(response)
        if self._size is None:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise UnreadableError("empty", "the file is empty")
            if span is None or response.status_code != HTTPStatus.PARTIAL_CONTENT:
                why = "the server cannot send parts of a file, as this kind of archive needs; download it"
                raise TransferError(why)
            self._size, self._validator = span.total, validator(response)
        if span is None or span.total != self._size or span.first != offset:
            raise _changed()
        return span.last + 1 - span.first

    def _tried(self, read: Callable[[Client], _Value]) -> _Value:
        """What the first try gives that does not fail, all of them within the time that one object may take."""
        policy = _policy(self._access)
        end = policy.clock() + self._access.timeout

        def once() -> _Value:
            left = end - policy.clock()
            if left <= 0:
                raise TransferError(f"it took longer than {self._access.timeout:g} s")
            with _CLIENTS.borrowed(self._access) as client:
                client.end_in(left)
                return read(client)

        try:
            return policy.run(once)
        except TransferError as trouble:
            raise _as_unreadable(trouble) from trouble


def _too_large(max_bytes: int) -> UnreadableError:
    return UnreadableError("too-large", f"it has more than {max_bytes} bytes")


def _changed() -> UnreadableError:
    return UnreadableError("vanished", "it has changed on the server while it was read")


def _as_unreadable(trouble: TransferError) -> UnreadableError:
    kind = "missing" if trouble.absent else "permission" if trouble.forbidden else "network"
    return UnreadableError(kind, trouble.why)
