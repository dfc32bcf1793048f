"""Addresses without what lets their holder in, told apart by what is left."""

from __future__ import annotations

import re

from vggcli.web.urls import AT, PROPER

_PASSWORD = re.compile(r"^([^/:]+://[^/@]*?):[^/]*(?=@)")
# Names of parameters; those of Azure's signed addresses are as short as this.
_LETS_IN = re.compile(
    r"sig|token|secret|key|pass|pwd|cred|auth|session|jwt|policy|^x-|expires|accessid"
    r"|^(s[vrtpei]|ss|srt|spr|sip|sk(oid|tid|[tesv]))$",
    re.IGNORECASE,
)


def without_credentials(address: str) -> str:
    """The address as records name it: no login, no fragment, and no parameter that lets its holder in.

    Parameters are told by their names: signatures, tokens, keys and what belongs to signed addresses; `...` stands
    for them.  All else stays, because it says which object is meant.  Of a login in an address that is not http(s),
    the user's name stays, since in some it is a place.

    >>> without_credentials("https://ann:word@example.org/cat.jpg?id=7&X-Amz-Signature=abc")
    'https://example.org/cat.jpg?id=7&...'
    """
    address, _, _ = address.partition("#") if address[:4].lower() == "http" else (address, "", "")
    if address[:4].lower() != "http":
        address = _PASSWORD.sub(r"\1", address)
    elif (parts := PROPER.fullmatch(address)) is None or _is_suspicious(parts):
        *logins, rest = AT.split(address)
        return ("...@" if logins else "") + re.split("[?#]", rest)[0]
    elif parts["login"]:
        address = address[: parts.start("login")] + address[parts.end("login") :]
    place, mark, query = address.partition("?")
    if not mark:
        return place
    shown = [pair for pair in query.split("&") if not _LETS_IN.search(pair.partition("=")[0])]
    return place + mark + "&".join(shown + ["..."] * (len(shown) < query.count("&") + 1))


def _is_suspicious(parts: re.Match[str]) -> bool:
    """Whether the path may be the end of a login that holds a slash; one with an @ in it alone is no reason."""
    is_host = "." in parts["host"] or parts["host"].lower() == "localhost"
    return "@" in (parts["path"] or "") and (bool(parts["login"]) or not is_host)
