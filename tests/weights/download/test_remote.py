"""A file on a server is read in the parts that are asked for, or refused with a clear reason."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from httpserver import Clock, Exchange, FaultServer, chunked, cut_at, drip, redirect, reply, stall_at, whole

from vggcli.errors import CheckpointError, DownloadError
from vggcli.web.retry import RetryPolicy
from vggcli.weights.checkpoint import read_checkpoint
from vggcli.weights.download.remote import EDGE, RemoteSource

DATA = random.Random(3).randbytes(3_000_000)
OTHER = random.Random(4).randbytes(3_000_000)


def opened(url: str, **changes: Any) -> RemoteSource:
    return RemoteSource(url, RetryPolicy(sleep=lambda seconds: None, **changes))


def refusal(url: str) -> str:
    with pytest.raises(DownloadError) as caught, opened(url):
        pass
    message = str(caught.value)
    assert "Download the file and give its path" in message
    return message


def test_every_part_is_the_files_own(server: FaultServer) -> None:
    chance = random.Random(5)
    with opened(server.add(DATA, "models/vgg16.pth")) as source:
        assert (source.name, source.size) == (f"{server.url}/models/vgg16.pth", len(DATA))
        for _ in range(200):
            length = chance.choice([0, 1, 8, 30, 5_000, 300_000])
            offset = chance.randrange(len(DATA) - length + 1)
            assert source.read(offset, length) == DATA[offset : offset + length]
    assert server.connections == 1
    assert {headers.get("if-range") for headers in server.requests[1:]} == {
        server.files["/models/vgg16.pth"].validators["ETag"]
    }


@pytest.mark.parametrize("offset", [len(DATA) - 3, len(DATA), len(DATA) + 5])
def test_what_lies_behind_the_end_is_missing(server: FaultServer, offset: int) -> None:
    with opened(server.add(DATA)) as source, pytest.raises(CheckpointError, match="truncated: it has 3,000,000 bytes"):
        source.read(offset, 4)


@pytest.mark.parametrize("size", [1, 10, EDGE - 1, EDGE, EDGE + 1])
def test_small_files(server: FaultServer, size: int) -> None:
    with opened(server.add(DATA[:size])) as source:
        assert source.size == size
        assert source.read(0, size) == DATA[:size]
        assert source.read(size - 1, 1) == DATA[size - 1 : size]


def test_a_hundred_counts_all_over_the_file_cost_little(server: FaultServer) -> None:
    with opened(server.add(DATA)) as source:
        for offset in range(70_000, len(DATA) - EDGE, len(DATA) // 100):
            assert source.read(offset, 8) == DATA[offset : offset + 8]
        assert source.fetched < 200_000
        assert server.sent == source.fetched


def test_a_reader_that_reads_on_asks_seldom(server: FaultServer) -> None:
    with opened(server.add(DATA)) as source:
        for offset in range(1_000_000, 2_000_000, 100):
            assert source.read(offset, 100) == DATA[offset : offset + 100]
    assert len(server.requests) < 20


def test_what_was_read_is_not_asked_for_again(server: FaultServer) -> None:
    with opened(server.add(DATA)) as source:
        for _ in range(3):
            source.read(0, 1000)
            source.read(len(DATA) - 22, 22)
            source.read(len(DATA) - 5_000, 100)
    assert [headers["range"] for headers in server.requests] == [
        f"bytes=0-{EDGE - 1}",
        f"bytes={len(DATA) - EDGE}-{len(DATA) - 1}",
    ]


def test_memory_is_bounded(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vggcli.weights.download.remote.KEPT", 100_000)
    with opened(server.add(DATA)) as source:
        for offset in (200_000, 1_000_000, 200_000):
            assert source.read(offset, 90_000) == DATA[offset : offset + 90_000]
    assert len(server.requests) == 4


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoints_structure_costs_a_few_parts(server: FaultServer, tmp_path: Path, legacy: bool) -> None:
    import torch

    state = {f"features.{n}.weight": torch.zeros(100, 1000) for n in range(20)}
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    with opened(server.add((tmp_path / "w.pth").read_bytes())) as source:
        root = read_checkpoint(source).root
        assert isinstance(root, dict)
        assert {name: tensor.shape for name, tensor in root.items()} == dict.fromkeys(state, (100, 1000))
        assert source.fetched <= 2 * EDGE < source.size / 50


def test_a_server_without_ranges_is_refused_before_its_body(server: FaultServer) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 553000000\r\n\r\n")
        exchange.server.closing.wait()

    server.always = endless
    assert "cannot send parts of a file" in refusal(server.add(DATA))


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 0-65535/*",
        "bytes 1-65535/3000000",
        "bytes 1-65536/3000000",
        "bytes 0-65534/3000000",
        "bytes 0-65536/3000000",
        "bytes 0-65535/65535",
        "bytes */3000000",
        "nonsense",
        None,
    ],
)
def test_a_wrong_content_range_is_refused(server: FaultServer, content_range: str | None) -> None:
    headers = {} if content_range is None else {"Content-Range": content_range}
    server.always = reply(206, headers, DATA[:EDGE])
    assert "part" in refusal(server.add(DATA))
    assert len(server.requests) == 1


def test_more_than_was_asked_for_is_refused(server: FaultServer) -> None:
    server.always = reply(206, {"Content-Range": f"bytes 0-{EDGE - 1}/3000000"}, DATA[: EDGE + 1])
    assert "more than it was asked for" in refusal(server.add(DATA))


@pytest.mark.parametrize("etag", [None, ""])
@pytest.mark.parametrize("size", [3_000_000, 2_900_000])
def test_a_file_that_changes_meanwhile_is_refused(server: FaultServer, etag: str | None, size: int) -> None:
    with opened(server.add(DATA, etag=etag)) as source:
        server.add(OTHER[:size], etag=etag, modified="Thu, 05 Jan 2017 10:00:00 GMT")
        with pytest.raises(DownloadError, match="has changed on the server"):
            source.read(1_000_000, 8)


@pytest.mark.parametrize("size", [2_900_000, 500_000])
def test_another_length_is_noticed_without_etag_and_date(server: FaultServer, size: int) -> None:
    with opened(server.add(DATA, etag="", modified="")) as source:
        server.add(OTHER[:size], etag="", modified="")
        with pytest.raises(DownloadError, match="has changed on the server"):
            source.read(1_000_000, 8)


def test_a_server_that_forgets_about_ranges_is_refused(server: FaultServer) -> None:
    with opened(server.add(DATA)) as source:
        server.always = whole(server.files["/w.pth"].validators)
        with pytest.raises(DownloadError, match="sends another part"):
            source.read(1_000_000, 8)


def test_a_new_version_under_a_server_that_ignores_if_range_is_refused(server: FaultServer) -> None:
    with opened(server.add(DATA)) as source:
        headers = {"Content-Range": "bytes 1000000-1001023/3000000", "ETag": '"another"'}
        server.faults.append(reply(206, headers, OTHER[1_000_000:1_001_024]))
        with pytest.raises(DownloadError, match="has changed on the server"):
            source.read(1_000_000, 8)


def test_a_cut_and_a_fault_are_tried_again(server: FaultServer) -> None:
    server.faults.extend([reply(503), cut_at(1_000)])
    with opened(server.add(DATA)) as source:
        server.faults.append(cut_at(1_000_100))
        assert source.read(1_000_000, 500) == DATA[1_000_000:1_000_500]


def test_a_short_part_of_unknown_length_is_asked_for_again(server: FaultServer) -> None:
    with opened(server.add(DATA)) as source:
        headers = "Content-Range: bytes 1000000-1001023/3000000\r\n"
        server.faults.append(chunked(DATA[1_000_000:1_000_004], status=206, headers=headers))
        assert source.read(1_000_000, 8) == DATA[1_000_000:1_000_008]


def test_a_silent_server_is_asked_again(server: FaultServer) -> None:
    with opened(server.add(DATA), read_s=0.3) as source:
        server.faults.append(stall_at(1_000_000))
        assert source.read(1_000_000, 8) == DATA[1_000_000:1_000_008]


def test_tries_end(server: FaultServer) -> None:
    server.always = reply(500)
    assert "has a fault" in refusal(server.add(DATA))
    assert len(server.requests) == 5


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (404, {}, "404 Not Found"),
        (403, {}, "403 Forbidden"),
        (416, {"Content-Range": "bytes */0"}, "the file is empty"),
        (416, {}, "refuses to send a part"),
        (200, {"Content-Type": "text/html"}, "a web page"),
        (206, {"Content-Encoding": "gzip"}, "compresses"),
    ],
)
def test_other_answers_in_plain_words(server: FaultServer, status: int, headers: dict[str, str], words: str) -> None:
    server.always = reply(status, headers)
    assert words in refusal(server.add(DATA))
    assert len(server.requests) == 1


def test_redirects_are_followed_once(server: FaultServer) -> None:
    server.add(DATA)
    server.faults.append(redirect("/w.pth"))
    with opened(f"{server.url}/latest") as source:
        assert source.name == f"{server.url}/latest"
        source.read(1_000_000, 8)
    assert len(server.requests) == 3


def test_https_is_never_left_for_plain_http(server: FaultServer) -> None:
    with FaultServer(tls=True) as secure:
        secure.always = redirect(server.add(DATA))
        assert "redirects from HTTPS to plain HTTP" in refusal(f"{secure.url}/w.pth")
    assert server.requests == []


def test_logins_are_sent_with_every_part_and_never_printed(server: FaultServer) -> None:
    server.add(DATA)
    server.faults.extend([redirect(f"{server.url}/w.pth"), Exchange.serve] * 2)
    with opened(f"{server.url}/latest".replace("://", "://user:secret@")) as source:
        source.read(1_000_000, 8)
        server.always = reply(404)
        with pytest.raises(DownloadError) as caught:
            source.read(2_000_000, 8)
    assert all(headers["authorization"].startswith("Basic ") for headers in server.requests)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "w.pth", "https://", "https://[x/w.pth"])
def test_what_is_no_web_address_is_refused(url: str) -> None:
    refusal(url)


@pytest.mark.parametrize("offset", [0, 1_000_000])
def test_a_part_that_drips_is_given_up(offset: int, server: FaultServer) -> None:
    clock, url = Clock(), server.add(DATA)
    length = 200_000 if offset else EDGE
    last = offset + length - 1
    head = f"HTTP/1.1 206 X\r\nContent-Range: bytes {offset}-{last}/{len(DATA)}\r\nETag: %s\r\n\r\n"
    answer = drip((head % server.files["/w.pth"].validators["ETag"]).encode(), b"a", each=clock.second)
    server.faults.extend(([] if offset == 0 else [Exchange.serve]) + [answer] * 5)
    with pytest.raises(DownloadError, match="sends too slowly"), opened(url, clock=clock) as source:
        source.read(offset, length)
    assert not server.faults
