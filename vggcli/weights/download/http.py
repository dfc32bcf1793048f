"""HTTP as this tool needs it: one GET at a time, a strict URL policy, and every fault in plain words.

Downloads and remote reading (`vgg inspect URL`) share the client, the redirect rules and the translation of httpx's
exceptions into `TransferError`. Redirects are followed here, not by httpx, because each hop must keep to the policy:
HTTPS stays HTTPS; plain HTTP is used only where the person typed it.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import getproxies

from vggcli import __version__
from vggcli.weights.download.retry import RetryPolicy, TransferError

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 5
# Answers to a request for a file or a part of it that are about the file.
FILE_STATUSES = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)

_HTML = "the answer is a web page, not a weights file: a login page of the network (hotel, office) or an error page"
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


def open_client(retry_policy: RetryPolicy) -> httpx.Client:
    """A client that keeps connections alive and reads the proxy and certificate settings of the environment.

    Raises:
        TransferError: the proxy or certificate settings cannot be used.
    """
    import httpx

    timeout = httpx.Timeout(retry_policy.read_s, connect=retry_policy.connect_s)
    # Ranges and hashes are about the stored bytes, so no compression on the way.
    headers = {"User-Agent": f"vgg/{__version__}", "Accept-Encoding": "identity"}
    try:
        return httpx.Client(timeout=timeout, headers=headers, follow_redirects=False)
    except (ValueError, httpx.InvalidURL, ImportError) as error:
        raise TransferError("the proxy set in the environment cannot be used (see HTTPS_PROXY, ALL_PROXY)") from error
    except OSError as error:
        raise TransferError("the TLS certificates set in the environment cannot be read (see SSL_CERT_FILE)") from error


@contextmanager
def get(client: httpx.Client, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
    """Send a GET, follow redirects within the policy, and hand out the response with its body unread.

    Raises:
        TransferError: anything that goes wrong on the network, here or while the caller reads the body.
    """
    import httpx

    if not url.lower().startswith(("http://", "https://")):
        raise TransferError("this is not an http:// or https:// URL")
    try:
        request = client.build_request("GET", url, headers=dict(headers))
        for _ in range(MAX_REDIRECTS + 1):
            _check_policy(request.url.scheme, plain_allowed=url.lower().startswith("http://"))
            response = client.send(request, stream=True)
            if response.next_request is None:
                try:
                    yield response
                finally:
                    response.close()
                return
            request = response.next_request
            response.close()
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise _translated(error) from error
    raise TransferError(f"the server redirects in a circle (more than {MAX_REDIRECTS} times)")


def _check_policy(scheme: str, plain_allowed: bool) -> None:
    if scheme == "https" or (scheme == "http" and plain_allowed):
        return
    if scheme == "http":
        raise TransferError(
            "the server redirects from HTTPS to plain HTTP, where anyone on the way could change the file"
        )
    raise TransferError("the server redirects to something that is neither HTTPS nor HTTP")


def _translated(error: Exception) -> TransferError:
    """httpx's exception as `TransferError`, most specific first."""
    import httpx

    if isinstance(error, httpx.ConnectTimeout):
        return TransferError(f"the server cannot be reached: no connection in time{_proxy_hint()}", passing=True)
    if isinstance(error, httpx.TimeoutException):
        return TransferError("the server stopped sending", passing=True)
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
    """Refuse an answer that is not about the file (`FILE_STATUSES`), is compressed, or is a web page.

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
        raise TransferError(why, passing, retry_after(response) if passing else None, absent=status in (404, 410))
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        raise TransferError("the server compresses the file on the way although it was asked not to")
    if response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml")):
        raise TransferError(_HTML)


def check_not_html(head: bytes) -> None:
    """Refuse a body that begins like a web page, whatever its Content-Type says.

    Raises:
        TransferError: the first bytes are those of HTML or XML.
    """
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise TransferError(_HTML)


# What a server says about a file in its headers; nonsense reads as None, never as a number.


class ContentRange(NamedTuple):
    """`Content-Range: bytes first-last/total`, positions in bytes; `last` is the last byte's own position."""

    first: int
    last: int
    total: int


# Up to 18 digits: more is no length of a file, and far more would make a costly integer.
_SPAN = re.compile(r"bytes +(\d{1,18})-(\d{1,18})/(\d{1,18})", re.IGNORECASE | re.ASCII)
_UNSATISFIED = re.compile(r"bytes +\*/(\d{1,18})", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


def content_range(response: httpx.Response) -> ContentRange | None:
    """The part of the file that a 206 answer says it carries; None when it says nothing usable."""
    match = _SPAN.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None:
        return None
    found = ContentRange(*map(int, match.groups()))
    return found if found.first <= found.last < found.total else None


def unsatisfied_length(response: httpx.Response) -> int | None:
    """The length in bytes of the whole file that a 416 answer names (`bytes */N`)."""
    match = _UNSATISFIED.fullmatch(response.headers.get("Content-Range", "").strip())
    return int(match.group(1)) if match else None


def content_length(response: httpx.Response) -> int | None:
    """The announced length in bytes of this answer's body; None when the server does not say."""
    text = response.headers.get("Content-Length", "").strip()
    return int(text) if _NUMBER.fullmatch(text) else None


def validator(response: httpx.Response) -> str | None:
    """What identifies this version of the file in If-Range: a strong ETag, else the Last-Modified date."""
    etag: str = response.headers.get("ETag", "")
    modified: str = response.headers.get("Last-Modified", "")
    for text in ("" if etag.startswith("W/") else etag, modified):
        if text and text.isascii() and text.isprintable():
            return text
    return None


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After header, given in seconds or as a date; None when absent or unreadable."""
    text = response.headers.get("Retry-After", "").strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
