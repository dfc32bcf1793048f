"""URLs: as they may be shown, and of a file on a mirror."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from vggcli.errors import UsageError


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


def on_mirror(mirror: str, url: str) -> list[str]:
    """Where a mirror may hold a file: directly in its folder, or at the official path with only the host replaced.

    Args:
        mirror: the address of a host or folder; a query is kept.
        url: the official address.

    Raises:
        UsageError: the mirror is not an HTTP(S) URL.
    """
    path = urlsplit(url).path
    file_name = path.rpartition("/")[2]
    try:
        parts = urlsplit(mirror)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            "cannot use the mirror",
            redacted(mirror),
            "it is not an http:// or https:// URL",
            f"Give the address of the folder that holds {file_name}, or use a local file with --weights",
        )
    folder = parts.path.rstrip("/")
    return [urlunsplit(parts._replace(path=folder + place, fragment="")) for place in (f"/{file_name}", path)]
