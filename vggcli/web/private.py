"""Addresses that URLs of strangers must not lead to: this machine, its network, and what only they reach."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from vggcli.web.retry import TransferError

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class PrivateAddressError(TransferError):
    """The address is of this machine or its network."""


def is_private(text: str) -> bool:
    """Whether an IP address, as text, is no public one; those of IPv4 inside IPv6 are looked at as well."""
    return _is_private(ipaddress.ip_address(text.partition("%")[0]))


def _is_private(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(_is_private(one) for one in inner if one is not None):
            return True
    return not address.is_global or address.is_multicast


def check_host(host: str) -> None:
    """Refuse a host that is written as a private address, in whatever spelling the system takes for one.

    Raises:
        PrivateAddressError: it is one, or this machine's name for itself.
    """
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        raise _refused(host)
    try:
        # No name is looked up: what is no number is no address.
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return
    for *_, place in found:
        if is_private(str(place[0])):
            raise _refused(host)


def _refused(where: str) -> PrivateAddressError:
    return PrivateAddressError(f"{where} is an address of this machine or its network; --allow-private lets it be read")


def watched(trace: Callable[[str, dict[str, Any]], None]) -> Callable[[str, dict[str, Any]], None]:
    """httpcore's `trace` that refuses connections to private addresses, and passes everything on.

    A name is looked up before the connection is made, and what the connection leads to is looked at once it is there
    and before anything is sent, since a name may lead elsewhere a moment later.  A proxy of the environment may stand
    anywhere; where it connects to is its own business.
    """
    proxies = set(map(_place, getproxies().values()))
    via_proxy = False

    def look(event: str, info: dict[str, Any]) -> None:
        nonlocal via_proxy
        if event.endswith("connect_tcp.started"):
            host, port = info["host"], info["port"]
            via_proxy = (host, port) in proxies
            if not via_proxy:
                _check_name(host, port)
        elif event.endswith("connect_tcp.complete") and not via_proxy:
            stream = info["return_value"]
            peer = str(stream.get_extra_info("server_addr")[0])
            if is_private(peer):
                stream.close()
                raise _refused(peer)
        trace(event, info)

    return look


def _place(proxy: str) -> tuple[str | None, int | None]:
    """Host and port of a proxy as the environment writes it."""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        return parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None, None  # opening the client says so


def _check_name(host: str, port: int) -> None:
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return  # connecting says why
    for *_, place in places:
        if is_private(str(place[0])):
            raise _refused(host if host == place[0] else f"{host} ({place[0]})")
