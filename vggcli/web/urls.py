"""URLs: as they may be shown, and of a file on a mirror."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from vggcli.errors import UsageError
from vggcli.text import printable

PROPER = re.compile(
    r"(?P<scheme>https?)://(?P<login>[^/?#@]*@)?(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@:%\[\]]+)(?P<port>:[0-9]{1,5})?"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(#.*)?",
    re.IGNORECASE | re.DOTALL,
)
AT = re.compile("@|%40")
_LOGIN = re.compile(r"[^@]*:[^@]*@")


def redacted(url: str) -> str:
    """The URL as it may be printed: no user, password, query or fragment, and nothing that a terminal obeys.

    Where it is mistyped nobody can tell where a password ends, so all before the last @ goes.
    """
    parts = PROPER.fullmatch(url)
    if parts is None or _may_hold_a_login(parts):
        *logins, rest = AT.split(url)
        return printable(("...@" if logins else "") + re.split("[?#]", rest)[0])
    query = "?..." if parts["query"] else ""
    return printable(f"{parts['scheme']}://{parts['host']}{parts['port'] or ''}{parts['path'] or ''}{query}")


def _may_hold_a_login(parts: re.Match[str]) -> bool:
    """Whether what looks like host and path may be a login with a slash, as in https://user:pass/word@host/."""
    behind = parts.string[parts.end("port") if parts["port"] else parts.end("host") :]
    *before, _ = AT.split(behind)
    innocent = "." in parts["host"] and not parts["login"] and not parts["port"]
    return bool(before) and not (innocent and not re.search("[:?#]", "".join(before)))


def shown(name: str) -> str:
    """What was given for a file, as it may be printed: a URL that was mistyped, or is not expected here, redacted."""
    return redacted(name) if "://" in name or _LOGIN.match(name) else name


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
