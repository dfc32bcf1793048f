"""HTTP as this tool needs it: one GET at a time, a strict URL policy, and every fault in plain words.

Downloads, remote reading (`vgg inspect URL`) and images behind URLs share the client, the redirect rules and the
translation of httpx's exceptions into `TransferError`. Redirects are followed here, not by httpx, because each hop must
keep to the policy: HTTPS stays HTTPS; plain HTTP is used only where the person typed it; and where the URLs come from
strangers, no hop leads to an address of this machine or its network (`vggcli.web.private`).
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.request import getproxies

from vggcli import __version__
from vggcli.web.deadline import Deadline
from vggcli.web.headers import retry_after
from vggcli.web.private import check_host, watched
from vggcli.web.retry import RetryPolicy, TransferError

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 5
# Answers to a request for a file or a part of it that are about the file.
FILE_STATUSES = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)

_SLOW = "the server sends too slowly"
# What common statuses mean to the person; all other ones are named by number.
_STATUS = {
    401: "the server asks for a login",
    403: "the server refuses to give out this file (403 Forbidden)",
    404: "the server has no such file (404 Not Found)",
    407: "the proxy asks for a login; put it into HTTPS_PROXY",
    408: "the server gave up waiting (408 Request Timeout)",
    410: "the file was removed from the server (410 Gone)",
    425: "the server is not ready (425 Too Early)",
    429: "the server is asked too often (429 Too Many Requests)",
}
_PASSING_STATUS = frozenset({408, 425, 429})


class Client:
    """Keeps connections alive and reads the proxy and certificate settings of the environment; for one thread.

    Args:
        retry_policy: how long to wait for connections, headers and bodies.
        allow_private: let URLs and redirects lead into this machine and its network.

    Raises:
        TransferError: the proxy or certificate settings cannot be used.
    """

    def __init__(self, retry_policy: RetryPolicy, *, allow_private: bool = True) -> None:
        self._policy = retry_policy
        self._deadline = Deadline(retry_policy.clock)
        self._allow_private = allow_private
        self._trace = self._deadline.trace if allow_private else watched(self._deadline.trace)
        self._http = _open_client(retry_policy)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def end_in(self, seconds: float) -> None:
        """Let nothing of what follows, all requests together, take longer than this from now on."""
        self._deadline.limit(seconds)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Send a GET, follow redirects within the policy, and hand out the response with its body unread (`body`).

        Raises:
            TransferError: anything that goes wrong on the network, here or while the caller reads the body.
        """
        import httpx

        if not url.lower().startswith(("http://", "https://")):
            raise TransferError("this is not an http:// or https:// URL")
        try:
            extensions = {"trace": self._trace}
            request = self._http.build_request("GET", url, headers=dict(headers), extensions=extensions)
            for _ in range(MAX_REDIRECTS + 1):
                _check_policy(request.url.scheme, plain_allowed=url.lower().startswith("http://"))
                if not self._allow_private:
                    check_host(request.url.host)
                response = self._send(request)
                if response.next_request is None:
                    try:
                        yield response
                    finally:
                        response.close()
                    return
                request = response.next_request
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise _translated(error, self._deadline.has_passed) from error
        raise TransferError(f"the server redirects in a circle (more than {MAX_REDIRECTS} times)")

    def _send(self, request: httpx.Request) -> httpx.Response:
        """The answer to one request, its headers at least, in time."""
        import httpx

        self._deadline.move(self._policy.headers_s)
        auth = None
        if request.url.userinfo:
            # httpx logs the URLs of requests, and no log is the place for a password.
            auth = httpx.BasicAuth(request.url.username, request.url.password)
            request.url = request.url.copy_with(userinfo=b"")
        return self._http.send(request, stream=True, auth=auth)

    def body(self, response: httpx.Response) -> Iterator[bytes]:
        """The bytes of an answer, from a server that sends enough of them in every `slow_window_s`.

        Raises:
            TransferError: it does not.
        """
        policy = self._policy
        since, received = policy.clock(), 0
        # Twice: the rate is only looked at when something comes, and what comes just after a window belongs to it.
        self._deadline.move(2 * policy.slow_window_s)
        for chunk in response.iter_raw():
            yield chunk
            received += len(chunk)
            elapsed = policy.clock() - since
            if elapsed >= policy.slow_window_s:
                if received < policy.slowest * elapsed:
                    raise TransferError(_SLOW, passing=True)
                since, received = policy.clock(), 0
                self._deadline.move(2 * policy.slow_window_s)


def _open_client(retry_policy: RetryPolicy) -> httpx.Client:
    import httpx

    timeout = httpx.Timeout(retry_policy.read_s, connect=retry_policy.connect_s)
    # Ranges and hashes are about the stored bytes, so no compression on the way.
    headers = {"User-Agent": f"vgg/{__version__}", "Accept-Encoding": "identity"}
    try:
        certificates = _certificates(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        return httpx.Client(timeout=timeout, headers=headers, follow_redirects=False, verify=certificates)
    except (ValueError, httpx.InvalidURL, ImportError) as error:
        raise TransferError("the proxy set in the environment cannot be used (see HTTPS_PROXY, ALL_PROXY)") from error
    except OSError as error:
        raise TransferError("the TLS certificates set in the environment cannot be read (see SSL_CERT_FILE)") from error


@lru_cache(maxsize=1)
def _certificates(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Those that the environment names; reading them takes longer than a request."""
    import httpx

    return httpx.create_ssl_context()


def _check_policy(scheme: str, plain_allowed: bool) -> None:
    if scheme == "https" or (scheme == "http" and plain_allowed):
        return
    if scheme == "http":
        raise TransferError(
            "the server redirects from HTTPS to plain HTTP, where anyone on the way could change the file"
        )
    raise TransferError("the server redirects to something that is neither HTTPS nor HTTP")


def _translated(error: Exception, took_too_long: bool) -> TransferError:
    """httpx's exception as `TransferError`, most specific first."""
    import httpx

    if isinstance(error, httpx.ConnectTimeout):
        return TransferError(f"the server cannot be reached: no connection in time{_proxy_hint()}", passing=True)
    if isinstance(error, httpx.TimeoutException):
        return TransferError(_SLOW if took_too_long else "the server stopped sending", passing=True)
    if isinstance(error, httpx.ProxyError):
        return TransferError("the proxy set in the environment refuses the connection (see HTTPS_PROXY, ALL_PROXY)")
    if isinstance(error, httpx.ConnectError):
        return _connect_trouble(error)
    if isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError)):
        return TransferError("the connection was cut or garbled", passing=True)
    if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError)):
        return TransferError("this is not a URL that can be fetched")
    return TransferError(f"the request failed ({type(error).__name__})")


def _connect_trouble(error: Exception) -> TransferError:
    """Why no connection came about: the first telling exception in the chain of causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TransferError(
                f"the server's TLS certificate is not trusted ({cause.verify_message}); behind a company proxy,"
                " name its certificate in SSL_CERT_FILE; a network that wants a login first can be the cause too"
            )
        if isinstance(cause, ssl.SSLError):
            return TransferError("no secure (TLS) connection could be agreed on with the server")
        if isinstance(cause, socket.gaierror):
            again = cause.errno == getattr(socket, "EAI_AGAIN", None)
            why = f"the server's name cannot be resolved, as when there is no network{_proxy_hint()}"
            return TransferError(why, passing=again)
        if isinstance(cause, OSError) and cause.strerror:
            return TransferError(f"the server cannot be reached: {cause.strerror.lower()}{_proxy_hint()}", passing=True)
        cause = cause.__cause__ or cause.__context__
    return TransferError(f"the server cannot be reached{_proxy_hint()}", passing=True)


def _proxy_hint() -> str:
    """A reminder where a proxy is in play, because then it may be the proxy that cannot be reached."""
    return " (a proxy is set in the environment)" if {"http", "https", "all"} & getproxies().keys() else ""


def check_status(response: httpx.Response) -> None:
    """Refuse an answer that is not about the file (`FILE_STATUSES`) or is compressed.

    Raises:
        TransferError: with what the status means; passing for 408, 425, 429 and 5xx.
    """
    status = response.status_code
    if status not in FILE_STATUSES:
        name = f"{status} {HTTPStatus(status).phrase}" if status in HTTPStatus._value2member_map_ else str(status)
        why = _STATUS.get(status) or (
            f"the server has a fault ({name})" if 500 <= status < 600 else f"unexpected answer {name}"
        )
        passing = status in _PASSING_STATUS or 500 <= status < 600
        wait_s = retry_after(response) if passing else None
        raise TransferError(why, passing, wait_s, absent=status in (404, 410), forbidden=status in (401, 403))
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        raise TransferError("the server compresses the file on the way although it was asked not to")
