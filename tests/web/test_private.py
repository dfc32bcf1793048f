"""Which addresses are no public ones, however they are written, and when that is found out."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from httpserver import FaultServer, redirect

from vggcli.web.http import Client
from vggcli.web.private import PrivateAddressError, check_host, is_private
from vggcli.web.retry import RetryPolicy, TransferError


@pytest.mark.parametrize(
    "address",
    "127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255 ::1 :: "
    "fe80::1 fe80::1%eth0 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 2002:7f00:1::".split(),
)
def test_private_addresses_in_every_family(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", "8.8.8.8 1.1.1.1 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808".split())
def test_public_addresses(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize(
    "host", "localhost LOCALHOST. a.localhost 127.1 2130706433 0x7f000001 0177.0.0.1 [::1] ::ffff:7f00:1 0".split()
)
def test_hosts_written_in_any_way(host: str) -> None:
    with pytest.raises(PrivateAddressError):
        check_host(host)


@pytest.mark.parametrize("host", ["example.org", "8.8.8.8", "localhost.example.org", "", "a" * 300])
def test_other_hosts_are_not_looked_up(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def numbers_alone(*arguments: Any, **options: Any) -> Any:
        assert options["flags"] & socket.AI_NUMERICHOST
        return real(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", numbers_alone)
    check_host(host)


def refusal(url: str) -> str:
    client = Client(RetryPolicy(), allow_private=False)
    with client, pytest.raises(TransferError) as caught, client.get(url, {}):
        raise AssertionError("it was let through")
    return caught.value.why


def test_a_name_that_leads_here_is_refused_before_a_connection_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as server:
        port = server.url.rpartition(":")[2]
        here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, flags=0, **__: [] if flags else here)
        assert "private.example (127.0.0.1)" in refusal(f"http://private.example:{port}/a.png")
        assert server.connections == 0


def test_a_name_that_leads_elsewhere_a_moment_later_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FaultServer() as server:
        port = int(server.url.rpartition(":")[2])
        answers = ["93.184.215.14", "127.0.0.1"]  # the second is what the connection is made to

        def rebinding(host: str, *_: Any, **options: Any) -> Any:
            address = host if options.get("flags") or host[0].isdigit() else answers.pop(0)
            if not address[0].isdigit():
                raise socket.gaierror
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        assert "127.0.0.1" in refusal(f"http://rebinding.example:{port}/a.png")
        assert not answers
        assert server.requests == []


def test_every_redirect_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as server:
        monkeypatch.setenv("http_proxy", server.url)  # which stands for the public network
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        server.faults.append(redirect("http://169.254.169.254/latest/meta-data/"))
        assert "169.254.169.254" in refusal("http://public.example/a.png")
        assert len(server.requests) == 1


@pytest.mark.parametrize("proxy", ["http://host:abc", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_told(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(TransferError, match="proxy"):
        Client(RetryPolicy(), allow_private=False).close()
