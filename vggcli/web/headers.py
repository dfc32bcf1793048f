"""What a server says about a file in its headers; nonsense reads as None, never as a number."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import httpx


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
