"""Images behind http(s) addresses: what they cost at most, and which failure each fault of a server becomes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from httpserver import FaultServer, chunked, cut_at, drip, redirect, reply, stall_at, whole
from source_examples import PICTURES, content, found, inside, outcomes, png, reason, tar, zip_of

from vggcli.images.access import Access
from vggcli.images.inputs import expand, read_ahead
from vggcli.images.item import Input, Skipped

ACCESS = Access(allow_private=True, timeout=30)
HASTY = Access(allow_private=True, timeout=0.3)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def test_objects_come_in_order_whatever_their_servers_do(server: FaultServer) -> None:
    urls = [server.add(png(number), f"{number}.png") for number in range(60)]
    urls.insert(7, f"{server.url}/none.png")
    kinds = [(url, "missing" if "none" in url else png(number - (number > 7))) for number, url in enumerate(urls)]
    assert outcomes(*urls) == kinds
    assert server.connections <= 17  # that of an answer that is not read is not used again
    assert content(Input(urls[3])) == png(3)


def test_they_are_fetched_before_it_is_their_turn_and_not_without_end(server: FaultServer) -> None:
    others = set(threading.enumerate())  # of tests before, some of whose decoders hang on purpose
    urls = (server.add(png(number), f"{number}.png") for number in range(1000))
    items = read_ahead(expand(urls, access=ACCESS), ACCESS)
    assert content(next(items)) == png(0)
    server.until(lambda: len(server.requests) >= 48)
    items.close()  # type: ignore[attr-defined]
    for thread in set(threading.enumerate()) - others:
        if thread.name == "vggcli":
            thread.join(10)
            assert not thread.is_alive()
    assert len(server.requests) < 60


def test_a_slow_list_is_not_waited_for(server: FaultServer) -> None:
    url = server.add(png(1), "1.png")
    listed = threading.Event()

    def slow() -> Iterator[str]:
        yield url
        assert listed.wait(60)

    items = read_ahead(expand(slow(), access=ACCESS), ACCESS)
    assert content(next(items)) == png(1)
    listed.set()
    assert list(items) == []


def test_what_the_list_raises_is_raised_in_its_turn(server: FaultServer) -> None:
    items = read_ahead(expand([server.add(png(1)), 5], access=ACCESS), ACCESS)  # type: ignore[list-item]
    assert content(next(items)) == png(1)
    with pytest.raises(TypeError):
        next(items)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (reply(404), "missing", "404"),
        (reply(410), "missing", "410"),
        (reply(401), "permission", "login"),
        (reply(403), "permission", "403"),
        (reply(418), "network", "418"),
        (reply(206, {"Content-Range": "bytes 0-0/9"}, b"x"), "network", "nobody asked for"),
        (reply(200, {"Content-Encoding": "gzip"}, b"x"), "network", "compresses"),
        (reply(302, {"Location": "file:///etc/passwd"}), "network", "neither HTTPS nor HTTP"),
        (reply(200, {}, b""), "empty", "no bytes"),
    ],
)
def test_an_answer_that_is_no_image_is_told(server: FaultServer, fault: object, kind: str, words: str) -> None:
    server.always = fault  # type: ignore[assignment]
    (item,) = found(f"{server.url}/a.png")
    assert content(item) == kind
    assert words in reason(item)


def test_redirects_end(server: FaultServer) -> None:
    server.always = redirect("/a.png")
    (item,) = found(f"{server.url}/a.png")
    assert "circle" in reason(item)
    assert len(server.requests) == 6


def test_passing_faults_are_tried_again_a_few_times(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vggcli.web.retry.RetryPolicy.delay", lambda *_: 0.0)
    url = server.add(png(), "a.png")
    server.faults.extend([reply(503), cut_at(20, reset=True)])
    assert outcomes(url) == [(url, png())]
    server.always = reply(503)
    assert outcomes(url) == [(url, "network")]
    assert len(server.requests) == 3 + 3


def test_time_is_over_for_servers_that_stop_or_drip(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vggcli.web.retry.RetryPolicy.delay", lambda *_: 0.0)
    url = server.add(png(0, 400), "a.png")
    head = b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n"
    early = b"HTTP/1.1 103 X\r\n\r\n"
    for fault in (stall_at(20), drip(head, b"x", lambda: None), drip(early, early, lambda: None)):
        server.always = fault
        assert outcomes(url, access=HASTY) == [(url, "network")]


def test_a_dead_host_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vggcli.web.retry.RetryPolicy.delay", lambda *_: 0.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a.png"
        (item,) = found(url)
        assert content(item) == "network"
        assert "refused" in reason(item)


@pytest.mark.parametrize("size", [100, 5 << 20])
def test_no_more_bytes_are_read_than_are_allowed(server: FaultServer, size: int) -> None:
    few = Access(allow_private=True, max_bytes=50)
    url = server.add(b"x" * size, "a.png")
    assert outcomes(url, access=few) == [(url, "too-large")]
    assert server.sent < 1 << 20
    server.always = chunked(b"x" * size)
    assert outcomes(url, access=few) == [(url, "too-large")]


def test_a_large_object_is_fetched_in_its_turn(server: FaultServer) -> None:
    large = b"x" * (5 << 20)
    urls = [server.add(png(), "a.png"), server.add(large, "b.png")]
    assert outcomes(*urls) == [(urls[0], png()), (urls[1], large)]


def test_private_addresses_are_refused_unless_allowed(server: FaultServer) -> None:
    url = server.add(png(), "a.png")
    (item,) = found(url, f"{server.url}/a.tar", access=Access())[:1]
    assert content(item, Access()) == "network"
    assert "--allow-private" in reason(item, Access())
    assert outcomes(f"{server.url}/a.tar", access=Access()) == [(f"{server.url}/a.tar", "network")]
    assert server.connections == 0


def test_credentials_reach_the_server_and_nobody_else(server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    server.add(png(), "a.png?id=7&token=geheim")
    address = f"{server.url}/a.png?id=7&token=geheim".replace("http://", "http://ann:wort@")
    (item,) = found(address)
    assert item.path == f"{server.url}/a.png?id=7&..."
    assert content(item) == png()
    assert server.requests[0]["authorization"].startswith("Basic ")
    server.always = reply(500)
    (broken,) = found(address, access=HASTY)
    text = reason(broken, HASTY) + repr(broken) + caplog.text
    assert "wort" not in text
    assert "geheim" not in repr(broken) + reason(broken, HASTY)


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "zip"])
def test_archives_behind_addresses(server: FaultServer, ending: str) -> None:
    make = {"tar": tar, "tar.gz": lambda m: tar(m, "w:gz"), "zip": zip_of}[ending]
    url = server.add(make(PICTURES), f"a.{ending}")
    assert outcomes(url) == inside(url)
    assert content(Input(f"{url}::p/3.png")) == PICTURES["p/3.png"]
    assert content(Input(f"{url}::none.png")) == "missing"


def test_an_archive_goes_on_where_its_connection_was_cut(server: FaultServer) -> None:
    url = server.add(tar(PICTURES), "a.tar")
    server.faults.extend([cut_at(1000), cut_at(3000, reset=True)])
    assert outcomes(url) == inside(url)
    server.faults.extend([cut_at(1000), whole()])  # another version, or a server without ranges
    *_, (last, kind) = outcomes(url)
    assert (last, kind) == (url, "vanished")


def test_a_zip_needs_a_server_that_sends_parts(server: FaultServer) -> None:
    url = server.add(zip_of(PICTURES), "a.zip")
    server.always = whole()
    (item,) = found(url)
    assert "cannot send parts" in reason(item)


def test_an_archive_that_is_not_there_is_one_failure(server: FaultServer) -> None:
    skipped = Skipped()
    urls = [f"{server.url}/a.tar", f"{server.url}/a.zip"]
    items = found(*urls, skipped=skipped)
    assert [(item.path, content(item)) for item in items] == [(url, "missing") for url in urls]
    assert skipped == Skipped()
