"""URLs as they may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def redacted(url: str) -> str:
    """The URL as it may be printed: no user, password, query or fragment, and no control characters."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        text = (
            urlunsplit((parts.scheme, host, parts.path, "...", ""))
            if parts.query
            else f"{parts.scheme}://{host}{parts.path}"
        )
    except ValueError:
        return "(not a URL)"
    return "".join(char if char.isprintable() else "?" for char in text)
