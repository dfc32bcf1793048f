"""A real HTTP server on loopback that does what bad servers and bad networks do.

Each request is answered by the next function queued in `faults`, or served properly when there is none. `sent` counts
the body bytes handed to the network, so that a test can say how often a file was fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import socketserver
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

PIECE = 16 << 10  # bytes handed to the network at a time
# A certificate for "localhost" that nothing trusts but tests which name this file in SSL_CERT_FILE.
CERTIFICATE = Path(__file__).parent / "localhost.pem"


@dataclass
class Served:
    """A file on the server; its ETag is its content's hash unless `etag` says otherwise ("" sends none)."""

    data: bytes
    etag: str | None = None
    modified: str = "Wed, 04 Jan 2017 10:00:00 GMT"

    @cached_property
    def validators(self) -> dict[str, str]:
        etag = f'"{hashlib.sha256(self.data).hexdigest()[:16]}"' if self.etag is None else self.etag
        return {name: value for name, value in (("ETag", etag), ("Last-Modified", self.modified)) if value}


class Exchange:
    """One request and the means to answer it, well or badly."""

    def __init__(self, server: FaultServer, connection: socket.socket, path: str, headers: dict[str, str]) -> None:
        self.server, self.connection, self.path, self.headers = server, connection, path, headers
        self.keep_alive = True

    def reply(self, status: int, headers: dict[str, str], body: bytes = b"", length: int | None = None) -> None:
        """Send an answer; `length` announces another length than the body's, -1 none at all."""
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
        if length != -1:
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        if length is not None:
            lines.append("Connection: close")
            self.keep_alive = False
        self.connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        self.send(body)

    def send(self, body: bytes) -> None:
        for start in range(0, len(body), PIECE):
            piece = body[start : start + PIECE]
            self.server.sent += len(piece)  # before it is sent, so that whoever has received it finds it counted
            self.connection.sendall(piece)

    def span(self) -> tuple[int, int] | None:
        """First byte and end of the part asked for, when a part is to be sent."""
        served = self.server.files[self.path]
        condition = self.headers.get("if-range")
        if "range" not in self.headers or condition not in (None, *served.validators.values()):
            return None
        first, _, last = self.headers["range"].removeprefix("bytes=").partition("-")
        return int(first), min(int(last) + 1, len(served.data)) if last else len(served.data)

    def serve(self, until: int | None = None) -> None:
        """Answer as a good server does; with `until`, stop after the byte of the file at this offset."""
        served = self.server.files.get(self.path)
        if served is None:
            return self.reply(404, {"Content-Type": "text/plain"}, b"no such file")
        span = self.span()
        size = len(served.data)
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **served.validators}
        if span is not None and span[0] >= size:
            return self.reply(416, {"Content-Range": f"bytes */{size}"})
        first, end = span or (0, size)
        if span is not None:
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
        stop = end if until is None else max(first, min(until, end))
        return self.reply(206 if span else 200, headers, served.data[first:stop], None if stop == end else end - first)

    def reset(self) -> None:
        """Close with RST: what is on its way is lost."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.keep_alive = False


Fault = Callable[[Exchange], None]


def cut_at(offset: int, reset: bool = False) -> Fault:
    """Serve, but end the connection at this offset of the file."""

    def answer(exchange: Exchange) -> None:
        exchange.serve(until=offset)
        if reset:
            exchange.reset()
        exchange.keep_alive = False

    return answer


def reply(status: int, headers: dict[str, str] | None = None, body: bytes = b"", length: int | None = None) -> Fault:
    """Answer with exactly this."""
    return lambda exchange: exchange.reply(status, headers or {}, body, length)


def redirect(location: str, status: int = 302) -> Fault:
    return reply(status, {"Location": location})


def whole(headers: dict[str, str] | None = None) -> Fault:
    """Send the whole file whatever range is asked for, as a server without ranges does."""
    return lambda exchange: exchange.reply(200, headers or {}, exchange.server.files[exchange.path].data)


def chunked(body: bytes, status: int = 200, headers: str = "") -> Fault:
    """Answer without saying how long the body is; each of the headers ends with a line break."""

    def answer(exchange: Exchange) -> None:
        exchange.connection.sendall(f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n{headers}\r\n".encode())
        exchange.connection.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    return answer


def stall_at(offset: int) -> Fault:
    """Serve up to this offset, then say nothing until the test ends."""

    def answer(exchange: Exchange) -> None:
        exchange.serve(until=offset)
        exchange.server.reached.set()
        exchange.server.closing.wait()

    return answer


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def second(self) -> None:
        self.now += 1


def drip(head: bytes, drop: bytes, each: Callable[[], object]) -> Fault:
    """Send the head and then drop after drop, calling `each` after every one, until the client goes away."""

    def answer(exchange: Exchange) -> None:
        exchange.keep_alive = False
        exchange.connection.sendall(head)
        while not exchange.server.closing.is_set():
            exchange.connection.sendall(drop)
            each()

    return answer


class FaultServer:
    """The server; `with FaultServer() as server:` runs it on a free port.

    Attributes:
        files: by path, e.g. "/w.pth".
        faults: answers to the next requests, in order; the rest are served properly.
        always: answer to every request that has no fault of its own, instead of proper service.
        requests: headers (lower-case names) of each request, in order.
        sent: body bytes handed to the network.
        connections: TCP connections accepted.
        reached: set when a `stall_at` has sent its part.
        closing: ends every stall.
    """

    def __init__(self, tls: bool = False) -> None:
        self.files: dict[str, Served] = {}
        self.faults: deque[Fault] = deque()
        self.always: Fault = Exchange.serve
        self.requests: list[dict[str, str]] = []
        self.sent = 0
        self.connections = 0
        self.reached, self.closing = threading.Event(), threading.Event()
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(CERTIFICATE)
        self._tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler(), bind_and_activate=True)
        self._tcp.daemon_threads = True
        self._thread = threading.Thread(target=self._tcp.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        port = self._tcp.server_address[1]
        return f"https://localhost:{port}" if self._tls else f"http://127.0.0.1:{port}"

    def __enter__(self) -> FaultServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._tcp.shutdown()
        self._tcp.server_close()

    def add(self, data: bytes, name: str = "w.pth", **options: Any) -> str:
        """Put a file on the server; returns its URL."""
        self.files[f"/{name}"] = Served(data, **options)
        return f"{self.url}/{name}"

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait, a minute at most, for something that another process does."""
        for _ in range(6000):
            if condition() or self.closing.wait(0.01):
                return
        raise AssertionError("it did not happen")

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):  # the client may go away at any moment; it is what tests are about
                    server.connections += 1
                    server.handle(self.request)

        return Handler

    def handle(self, connection: socket.socket) -> None:
        """Answer requests on one connection until an answer ends it."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None and connection.recv(1, socket.MSG_PEEK) == b"\x16":  # a TLS handshake
            connection.sendall(b"HTTP/1.1 400 X\r\n\r\n")
            return
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        with connection:
            for path, headers in _requests(connection):
                self.requests.append(headers)
                exchange = Exchange(self, connection, path, headers)
                (self.faults.popleft() if self.faults else self.always)(exchange)
                if not exchange.keep_alive:
                    return


def _requests(connection: socket.socket) -> Iterator[tuple[str, dict[str, str]]]:
    with connection.makefile("rb") as lines:
        while start := lines.readline().decode("latin-1").split():
            headers = {}
            while line := lines.readline().decode("latin-1").strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            yield start[1], headers
