"""A download ends with the right file under its name, or with a clear reason and nothing under its name."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import logging
import os
import pty
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from httpserver import Clock, Exchange, Fault, FaultServer, chunked, cut_at, drip, redirect, reply, stall_at, whole

from vggcli.errors import DownloadError
from vggcli.web.retry import RetryPolicy
from vggcli.weights.download import transfer as download_module
from vggcli.weights.download.partial import partial_path
from vggcli.weights.download.progress import LoggedProgress
from vggcli.weights.download.transfer import download

MEGABYTE = random.Random(1).randbytes(1_000_000)
OTHER = random.Random(2).randbytes(1_000_000)
# A child process that downloads as the command does; its retries do not wait. Arguments: URL, target, SHA-256 prefix.
CHILD = """
import signal
import sys
from pathlib import Path
from vggcli.cli.console import Console
from vggcli.web.retry import RetryPolicy
from vggcli.weights.download.transfer import download
url, target, prefix = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run behind `&` it is ignored
download(url, Path(target), prefix, progress=Console().transfer, retry_policy=RetryPolicy(sleep=lambda seconds: None))
"""


class Waits(list[float]):
    """The waits asked for, instead of waiting."""

    def retry_policy(self, **changes: Any) -> RetryPolicy:
        return RetryPolicy(sleep=self.append, jitter=lambda low, high: 1.0, **changes)


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vggcli")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "hub" / "w.pth"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


def fetch(url: str, target: Path, data: bytes = MEGABYTE, *, waits: Waits | None = None, **changes: Any) -> Path:
    return download(url, target, sha(data), retry_policy=(Waits() if waits is None else waits).retry_policy(**changes))


def refusal(url: str, target: Path, data: bytes = MEGABYTE, **changes: Any) -> str:
    """The message of a download that must fail, which names the URL and the place for the file."""
    with pytest.raises(DownloadError) as caught:
        fetch(url, target, data, **changes)
    message = str(caught.value)
    assert not target.exists()
    assert str(target) in message
    return message


def child(url: str, target: Path, data: bytes, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, url, str(target), sha(data)]
    return subprocess.Popen(command, text=True, stderr=stderr)


def files_beside(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


# The file


def test_file_arrives_whole_and_alone(server: FaultServer, target: Path) -> None:
    assert fetch(server.add(MEGABYTE), target) == target
    assert target.read_bytes() == MEGABYTE
    assert files_beside(target) == ["w.pth"]
    assert server.requests[0]["accept-encoding"] == "identity"


def test_an_existing_target_is_left_alone(server: FaultServer, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"mine")
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == b"mine"
    assert server.requests == []


def test_an_empty_target_counts_as_missing(server: FaultServer, target: Path) -> None:
    target.parent.mkdir()
    target.touch()
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == MEGABYTE


def test_a_wrong_hash_is_kept_aside_and_explained(server: FaultServer, target: Path) -> None:
    message = refusal(server.add(OTHER), target)
    aside = target.with_name("w.pth.wrong-hash")
    assert f"SHA-256 begins with {sha(OTHER)}, not {sha(MEGABYTE)}" in message
    assert str(aside) in message
    assert "Try another --mirror" in message
    assert aside.read_bytes() == OTHER
    assert files_beside(target) == ["w.pth.lock", "w.pth.wrong-hash"]


# Cuts and resuming


def test_a_cut_is_resumed_without_fetching_a_byte_twice(server: FaultServer, target: Path) -> None:
    server.faults.append(cut_at(400_000))
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == MEGABYTE
    assert server.requests[1]["range"] == "bytes=400000-"
    assert server.requests[1]["if-range"] == server.files["/w.pth"].validators["ETag"]
    assert server.sent == len(MEGABYTE)


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(server: FaultServer, target: Path) -> None:
    server.faults.extend([cut_at(400_000), *[reply(500)] * 5])
    message = refusal(server.add(MEGABYTE), target)
    assert "it will go on at 0.4 MB" in message
    fetch(f"{server.url}/w.pth", target)
    assert target.read_bytes() == MEGABYTE
    assert server.requests[-1]["range"] == "bytes=400000-"
    assert server.sent == len(MEGABYTE)


def test_weak_etags_are_not_used_to_resume(server: FaultServer, target: Path) -> None:
    server.faults.append(cut_at(400_000))
    fetch(server.add(MEGABYTE, etag='W/"1"'), target)
    assert server.requests[1]["if-range"] == "Wed, 04 Jan 2017 10:00:00 GMT"
    assert target.read_bytes() == MEGABYTE


def changed_after(offset: int, **options: Any) -> Fault:
    def answer(exchange: Exchange) -> None:
        cut_at(offset)(exchange)
        exchange.server.add(OTHER, **options)

    return answer


@pytest.mark.parametrize("etag", [None, ""])
def test_a_file_that_changed_is_fetched_anew(server: FaultServer, target: Path, etag: str | None) -> None:
    server.faults.append(changed_after(400_000, etag=etag, modified="Thu, 05 Jan 2017 10:00:00 GMT"))
    fetch(server.add(MEGABYTE, etag=etag), target, OTHER)
    assert target.read_bytes() == OTHER
    assert len(server.requests) == 2


def test_pieces_of_two_files_are_noticed_and_fetched_anew(
    server: FaultServer, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults.append(changed_after(400_000, etag="", modified=""))
    fetch(server.add(MEGABYTE, etag="", modified=""), target, OTHER)
    assert "if-range" not in server.requests[1]
    assert target.read_bytes() == OTHER
    assert "do not make up the right file" in caplog.text


def test_wrong_pieces_are_fetched_anew_only_once(server: FaultServer, target: Path) -> None:
    for _ in range(10):
        server.faults.extend([cut_at(400_000), Exchange.serve])
    assert "not the right one" in refusal(server.add(OTHER), target)
    assert len(server.requests) == 4


def test_a_part_spoiled_on_the_disk_is_fetched_anew(server: FaultServer, target: Path) -> None:
    server.faults.extend([cut_at(400_000), *[reply(500)] * 5])
    refusal(server.add(MEGABYTE), target)
    with target.with_name("w.pth.part").open("r+b") as part:
        part.write(bytes(1000))
    fetch(f"{server.url}/w.pth", target)
    assert target.read_bytes() == MEGABYTE


@pytest.mark.parametrize("note", ["", "{", "[]", '{"total": "1", "validator": 2}', None])
def test_a_part_without_a_readable_note_is_not_trusted(server: FaultServer, target: Path, note: str | None) -> None:
    target.parent.mkdir()
    target.with_name("w.pth.part").write_bytes(MEGABYTE[:400_000])
    if note is not None:
        target.with_name("w.pth.part.json").write_text(note)
    fetch(server.add(MEGABYTE), target)
    assert "range" not in server.requests[0]
    assert target.read_bytes() == MEGABYTE


def test_a_server_without_ranges_is_asked_for_the_whole_file(server: FaultServer, target: Path) -> None:
    server.faults.append(cut_at(400_000))
    server.always = whole()
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == MEGABYTE
    assert server.sent == len(MEGABYTE) + 400_000


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 399999-999998/1000000",
        "bytes 400001-999999/1000000",
        "bytes 400000-999999/1000001",
        "bytes 400000-1000000/1000000",
        "bytes 400000-899999/1000000",
        "bytes 400000-999999/*",
        "bytes 400000-999999/" + "9" * 5000,
        "bytes -400000-999999/1000000",
        "items 400000-999999/1000000",
        "nonsense",
        None,
    ],
)
def test_a_wrong_content_range_is_refused(
    server: FaultServer, target: Path, caplog: pytest.LogCaptureFixture, content_range: str | None
) -> None:
    headers = {} if content_range is None else {"Content-Range": content_range}
    server.faults.extend([cut_at(400_000), reply(206, headers, OTHER[400_000:])])
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == MEGABYTE
    assert "range" not in server.requests[2]
    assert "pieces" not in caplog.text  # refused by its headers, not found out by its hash


@pytest.mark.parametrize("content_range", ["bytes 5-9/10", "bytes 0-4/10", "bytes 0-4/5"])
def test_a_part_that_nobody_asked_for_is_refused(server: FaultServer, target: Path, content_range: str) -> None:
    server.always = reply(206, {"Content-Range": content_range}, b"56789")
    assert "a part that nobody asked for" in refusal(server.add(MEGABYTE), target)
    assert len(server.requests) == 1


def test_a_shorter_range_than_asked_for_is_built_upon(server: FaultServer, target: Path) -> None:
    middle = reply(206, {"Content-Range": "bytes 400000-599999/1000000"}, MEGABYTE[400_000:600_000])
    server.faults.extend([cut_at(400_000), middle])
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == MEGABYTE
    assert server.sent == len(MEGABYTE)


def whole_part(target: Path, data: bytes) -> None:
    """What a process leaves that was killed between the last byte and the renaming."""
    target.parent.mkdir()
    target.with_name("w.pth.part").write_bytes(data)
    target.with_name("w.pth.part.json").write_text(f'{{"total": {len(data)}, "validator": null}}')


def test_a_whole_part_is_only_checked_and_renamed(server: FaultServer, target: Path) -> None:
    whole_part(target, MEGABYTE)
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == MEGABYTE
    assert server.sent == 0


def test_a_whole_part_of_another_file_is_fetched_anew(server: FaultServer, target: Path) -> None:
    whole_part(target, OTHER)
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == MEGABYTE


@pytest.mark.parametrize("content_range", ["bytes */7", "bytes */", None])
def test_a_part_that_the_server_cannot_continue_is_fetched_anew(
    server: FaultServer, target: Path, content_range: str | None
) -> None:
    whole_part(target, OTHER)
    server.faults.append(reply(416, {} if content_range is None else {"Content-Range": content_range}))
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == MEGABYTE


@pytest.mark.long
def test_30_cuts_and_10_kills_cost_less_than_a_tenth_more(server: FaultServer, target: Path) -> None:
    chance = random.Random(30_10)
    data = chance.randbytes(24_000_000)  # large enough to tell a lost piece from a lost part
    url = server.add(data)
    process: subprocess.Popen[str]

    def kill_at(offset: int) -> Fault:
        def answer(exchange: Exchange) -> None:
            exchange.serve(until=offset)
            process.kill()
            exchange.keep_alive = False

        return answer

    kinds = ["cut"] * 25 + ["reset"] * 5 + ["kill"] * 10
    chance.shuffle(kinds)
    for offset, kind in zip(sorted(chance.sample(range(len(data)), len(kinds))), kinds, strict=True):
        server.faults.append(kill_at(offset) if kind == "kill" else cut_at(offset, reset=kind == "reset"))
    ends = []
    for _ in range(11):
        process = child(url, target, data, stderr=subprocess.DEVNULL)
        ends.append(process.wait(timeout=60))
    assert ends == [-signal.SIGKILL] * 10 + [0]
    assert target.read_bytes() == data
    assert files_beside(target) == ["w.pth"]
    assert server.sent <= 1.1 * len(data)


# Answers other than the file


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "asks for a login"),
        (403, "403 Forbidden"),
        (404, "404 Not Found"),
        (407, "the proxy asks for a login"),
        (410, "410 Gone"),
        (204, "unexpected answer 204"),
        (304, "unexpected answer 304"),
        (799, "unexpected answer 799"),
    ],
)
def test_a_lasting_refusal_is_not_tried_again(server: FaultServer, target: Path, status: int, words: str) -> None:
    server.always = reply(status)
    message = refusal(server.add(MEGABYTE), target)
    assert words in message
    assert f"{server.url}/w.pth" in message
    assert len(server.requests) == 1
    assert files_beside(target) == ["w.pth.lock"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_refusal_is_tried_again(server: FaultServer, target: Path, status: int) -> None:
    server.faults.extend([reply(status), reply(status)])
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == MEGABYTE


def test_waits_double_and_end(server: FaultServer, target: Path) -> None:
    server.always = reply(500)
    waits = Waits()
    with pytest.raises(DownloadError, match=r"has a fault.*Try again later"):
        fetch(server.add(MEGABYTE), target, waits=waits)
    assert waits == [0.5, 1.0, 2.0, 4.0]


def test_waits_are_spread_at_random() -> None:
    delays = {RetryPolicy().delay(3) for _ in range(20)}
    assert len(delays) > 10
    assert all(1.0 <= delay <= 3.0 for delay in delays)


def test_new_bytes_renew_the_tries_but_not_for_ever(server: FaultServer, target: Path) -> None:
    server.faults.extend(cut_at(offset) for offset in range(5_000, 500_000, 5_000))
    assert "given up after 12 tries" in refusal(server.add(MEGABYTE), target, max_tries=12)
    assert len(server.requests) == 12


def test_retry_after_is_kept(server: FaultServer, target: Path) -> None:
    in_a_minute = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=60), usegmt=True)
    server.faults.extend(reply(429, {"Retry-After": value}) for value in ("17", in_a_minute, "soon"))
    waits = Waits()
    fetch(server.add(MEGABYTE), target, waits=waits)
    assert waits[0] == 17
    assert 30 < waits[1] <= 60
    assert waits[2] == 2.0


def test_a_long_retry_after_is_told_instead_of_waited_for(server: FaultServer, target: Path) -> None:
    server.always = reply(503, {"Retry-After": "3600"})
    assert "come back in 60 minutes" in refusal(server.add(MEGABYTE), target)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "text/html; charset=utf-8"}, b"Welcome to the hotel"),
        ({"Content-Type": "application/octet-stream"}, b"\r\n<!DOCTYPE html><title>Log in</title>"),
        ({}, b"<HTML>"),
    ],
)
def test_a_login_page_is_not_taken_for_the_file(
    server: FaultServer, target: Path, headers: dict[str, str], body: bytes
) -> None:
    server.always = reply(200, headers, body)
    assert "a login page of the network" in refusal(server.add(MEGABYTE), target)
    assert files_beside(target) == ["w.pth.lock"]


def test_a_login_page_does_not_cost_the_part(server: FaultServer, target: Path) -> None:
    server.faults.extend([cut_at(400_000), reply(200, {}, b"<html>Log in</html>")])
    assert "it will go on at 0.4 MB" in refusal(server.add(MEGABYTE), target)
    fetch(f"{server.url}/w.pth", target)
    assert server.requests[-1]["range"] == "bytes=400000-"
    assert target.read_bytes() == MEGABYTE


def test_a_compressed_answer_is_refused(server: FaultServer, target: Path) -> None:
    server.always = reply(200, {"Content-Encoding": "gzip"}, gzip.compress(MEGABYTE))
    assert "compresses the file" in refusal(server.add(MEGABYTE), target)


# Redirects and addresses


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server: FaultServer, target: Path, status: int) -> None:
    server.add(MEGABYTE)
    server.faults.append(redirect("/w.pth", status))
    fetch(f"{server.url}/old.pth", target)
    assert target.read_bytes() == MEGABYTE


def test_a_cut_is_resumed_through_a_redirect(server: FaultServer, target: Path) -> None:
    server.add(MEGABYTE)
    server.faults.extend([redirect("/w.pth"), cut_at(400_000), redirect("/w.pth")])
    fetch(f"{server.url}/latest", target)
    assert target.read_bytes() == MEGABYTE
    assert server.sent == len(MEGABYTE)


def test_a_redirect_in_a_circle_ends(server: FaultServer, target: Path) -> None:
    server.always = redirect("/w.pth")
    assert "redirects in a circle" in refusal(server.add(MEGABYTE), target)
    assert len(server.requests) == 6


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://localhost/w.pth", "data:,x", "http://[::"])
def test_redirects_lead_only_to_the_web(server: FaultServer, target: Path, location: str) -> None:
    server.always = redirect(location)
    refusal(server.add(MEGABYTE), target)
    assert files_beside(target) == ["w.pth.lock"]


def test_https_works_and_may_redirect_to_https(secure: FaultServer, target: Path) -> None:
    secure.faults.append(redirect(secure.add(MEGABYTE)))
    fetch(f"{secure.url}/old.pth", target)
    assert target.read_bytes() == MEGABYTE


def test_https_is_never_left_for_plain_http(secure: FaultServer, server: FaultServer, target: Path) -> None:
    secure.always = redirect(server.add(MEGABYTE))
    assert "redirects from HTTPS to plain HTTP" in refusal(f"{secure.url}/w.pth", target)
    assert server.requests == []


def test_plain_http_may_be_left_for_https(secure: FaultServer, server: FaultServer, target: Path) -> None:
    server.always = redirect(secure.add(MEGABYTE))
    fetch(f"{server.url}/w.pth", target)
    assert target.read_bytes() == MEGABYTE


def test_an_untrusted_certificate_is_refused_in_plain_words(
    secure: FaultServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    message = refusal(secure.add(MEGABYTE), target)
    assert "certificate is not trusted" in message
    assert "SSL_CERT_FILE" in message
    assert secure.requests == []


def test_a_server_that_speaks_no_tls(server: FaultServer, target: Path) -> None:
    url = server.add(MEGABYTE).replace("http:", "https:")
    assert "TLS" in refusal(url, target)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "w.pth", "https://", "http://a..b/w.pth", "https://[x/w.pth"])
def test_what_is_no_web_address_is_refused(target: Path, url: str) -> None:
    refusal(url, target)


def test_logins_in_a_url_are_used_but_never_printed(
    server: FaultServer, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults.extend([reply(500), reply(404)])
    url = server.add(MEGABYTE).replace("://", "://user:secret@") + "?signature=secret"
    message = refusal(url, target) + caplog.text
    assert "secret" not in message
    assert "user" not in message
    assert server.requests[0]["authorization"].startswith("Basic ")


def test_logins_are_not_sent_to_another_server(server: FaultServer, target: Path) -> None:
    with FaultServer() as other:
        server.always = redirect(other.add(MEGABYTE))
        fetch(server.add(MEGABYTE).replace("://", "://user:secret@"), target)
        assert "authorization" in server.requests[0]
        assert "authorization" not in other.requests[0]


def test_nobody_listens(target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "cannot be reached: connection refused" in refusal(f"http://127.0.0.1:{port}/w.pth", target)


def test_the_name_is_unknown(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "name cannot be resolved, as when there is no network" in refusal("https://weights.example/w.pth", target)


def test_a_proxy_that_refuses(server: FaultServer, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url.replace("://", "://user:secret@"))
    server.always = reply(403)
    message = refusal("https://weights.example/w.pth", target)
    assert "the proxy set in the environment refuses" in message
    assert "secret" not in message


def test_a_proxy_that_is_not_there(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    assert "a proxy is set in the environment" in refusal("https://weights.example/w.pth", target)


@pytest.mark.parametrize("proxy", ["gopher://127.0.0.1", "http://[::"])
def test_a_proxy_setting_that_cannot_be_used(target: Path, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert "HTTPS_PROXY" in refusal("https://weights.example/w.pth", target)


# Lengths and speed


def test_a_server_may_keep_the_length_to_itself(server: FaultServer, target: Path) -> None:
    server.always = chunked(MEGABYTE)
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == MEGABYTE


def test_a_file_of_unknown_length_that_is_wrong_may_have_been_cut(server: FaultServer, target: Path) -> None:
    server.always = reply(200, {}, MEGABYTE[:1000], length=-1)
    assert "it may have been cut" in refusal(server.add(MEGABYTE), target)


def test_a_body_without_end_is_bounded(server: FaultServer, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "MAX_BYTES", 500_000)

    def endless(exchange: Exchange) -> None:
        exchange.connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1_000):  # an end all the same, so that a failing test does not fill the disk
            exchange.connection.sendall(bytes(10_000))
        exchange.keep_alive = False

    server.always = endless
    assert "sends more than" in refusal(server.add(MEGABYTE), target)
    assert files_beside(target) == ["w.pth.lock"]


def test_a_giant_is_refused_before_its_body(server: FaultServer, target: Path) -> None:
    server.always = reply(200, {}, b"", length=3 << 30)
    assert "announces 3.2 GB" in refusal(server.add(MEGABYTE), target)


def test_bytes_behind_the_announced_length_are_ignored(server: FaultServer, target: Path) -> None:
    server.always = reply(200, {}, MEGABYTE + b"more", length=len(MEGABYTE))
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == MEGABYTE


def test_more_than_the_announced_range_is_refused(server: FaultServer, target: Path) -> None:
    answer = chunked(MEGABYTE[400_000:] + b"more", status=206, headers="Content-Range: bytes 400000-999999/1000000\r\n")
    server.faults.extend([cut_at(400_000), answer])
    assert "sends more than" in refusal(server.add(MEGABYTE), target)
    assert files_beside(target) == ["w.pth.lock"]


def test_a_range_beyond_the_end_is_refused_without_a_length_too(
    server: FaultServer, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = chunked(OTHER[400_000:], status=206, headers="Content-Range: bytes 400000-1000000/1000000\r\n")
    server.faults.extend([cut_at(400_000), answer])
    fetch(server.add(MEGABYTE), target)
    assert target.read_bytes() == MEGABYTE
    assert "pieces" not in caplog.text


def test_a_file_shorter_than_announced_is_not_waited_for_in_vain(server: FaultServer, target: Path) -> None:
    server.always = reply(200, {}, MEGABYTE[:1000], length=2000)
    assert "cut" in refusal(server.add(MEGABYTE), target)
    assert len(server.requests) == 5


def test_a_silent_server_is_left_and_asked_again(server: FaultServer, target: Path) -> None:
    server.faults.append(stall_at(400_000))
    fetch(server.add(MEGABYTE), target, read_s=0.3)
    assert target.read_bytes() == MEGABYTE
    assert server.sent == len(MEGABYTE)


def test_a_server_that_drips_is_left_and_asked_again(
    server: FaultServer, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()

    def wait_an_hour() -> None:
        clock.now += 3600

    retry_policy = RetryPolicy(sleep=Waits().append, clock=clock)
    url = server.add(MEGABYTE)
    download(url, target, sha(MEGABYTE), progress=lambda name: Meanwhile(wait_an_hour), retry_policy=retry_policy)
    assert target.read_bytes() == MEGABYTE
    assert "sends too slowly at" in caplog.text


ENDLESS = {
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </w.css>\r\n\r\n"),
    "a header": (b"HTTP/1.1 200 X\r\nX-Padding: ", b"a"),
    "a status": (b"", b"\r"),
    "a body": (b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n", b"a"),
    "the length of a chunk": (b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"a"),
    "the end of a body": (b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"a"),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_server_that_never_ends_is_left(what: str, server: FaultServer, target: Path) -> None:
    clock, waits = Clock(), Waits()
    server.always = drip(*ENDLESS[what], each=clock.second)
    with pytest.raises(DownloadError, match=r"sends too slowly|cut or garbled"):
        download(
            server.add(MEGABYTE),
            target,
            sha(MEGABYTE),
            retry_policy=RetryPolicy(sleep=waits.append, clock=clock, read_s=20),
        )
    # How much of the body comes is up to the network's buffers.
    assert len(server.requests) == 5 or what == "a body"


def test_tries_that_bring_next_to_nothing_are_vain(server: FaultServer, target: Path) -> None:
    server.faults.extend(cut_at(offset) for offset in range(1, 1000))
    assert "cut" in refusal(server.add(MEGABYTE), target)
    assert len(server.requests) == 5


def test_each_redirect_has_its_own_time_for_headers(server: FaultServer, target: Path) -> None:
    clock = Clock()

    def slowly(answer: Fault) -> Fault:
        def wait_and_answer(exchange: Exchange) -> None:
            clock.now += 40
            answer(exchange)

        return wait_and_answer

    url = server.add(MEGABYTE)
    server.faults.extend([slowly(redirect(url)), slowly(redirect(url)), slowly(Exchange.serve)])
    download(url, target, sha(MEGABYTE), retry_policy=RetryPolicy(sleep=Waits().append, clock=clock))
    assert len(server.requests) == 3


@pytest.mark.parametrize("redirected", [False, True])
def test_a_login_reaches_the_server_and_no_log(
    redirected: bool, server: FaultServer, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = server.add(MEGABYTE)
    if redirected:
        server.faults.append(redirect("/w.pth"))
    fetch(url.replace("://", "://us%20er:secret@"), target)
    assert [headers["authorization"] for headers in server.requests] == ["Basic dXMgZXI6c2VjcmV0"] * (1 + redirected)
    assert "secret" not in caplog.text


# The disk


def test_no_room_is_found_before_the_body(server: FaultServer, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(target.parent.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=599_999))
    server.faults.append(cut_at(300_000))
    message = refusal(server.add(MEGABYTE), target)
    assert "no room on the disk" in message
    assert "1.0 MB are still to come, 0.6 MB are free" in message
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    fetch(f"{server.url}/w.pth", target)
    assert target.read_bytes() == MEGABYTE


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 512 KiB; `mount -o remount` changes it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_disk_that_fills_up_keeps_the_part(
    server: FaultServer, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = small_disk / "w.pth"
    server.faults.append(chunked(MEGABYTE))  # of unknown length, so that it cannot be refused before
    message = refusal(server.add(MEGABYTE), target)
    assert f"the disk that holds {small_disk} is full" in message
    kept = target.with_name("w.pth.part").stat().st_size
    assert kept > 400_000
    remount(small_disk, "size=4m")
    fetch(f"{server.url}/w.pth", target)
    assert target.read_bytes() == MEGABYTE
    assert server.requests[-1]["range"] == f"bytes={kept}-"


def test_a_read_only_disk_is_named(server: FaultServer, small_disk: Path) -> None:
    remount(small_disk, "ro")
    target = small_disk / "hub" / "w.pth"
    message = refusal(server.add(MEGABYTE), target)
    assert os.strerror(errno.EROFS) in message
    assert "TORCH_HOME" in message
    assert server.requests == []


def test_a_cache_that_cannot_be_made_is_named(server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("a file where the folder should be")
    message = refusal(server.add(MEGABYTE), tmp_path / "hub" / "w.pth")
    assert f"cannot write {tmp_path / 'hub'}" in message
    assert "TORCH_HOME" in message


# Other writers of the same file, whom the lock does not reach: two computers that share a folder


class Meanwhile(LoggedProgress):
    """Does something as soon as bytes are on the disk."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__("w.pth")
        self.act = act

    def moved(self, done: int) -> None:
        self.act()


def meanwhile(url: str, target: Path, act: Callable[[], object]) -> Path:
    return download(
        url, target, sha(MEGABYTE), progress=lambda name: Meanwhile(act), retry_policy=Waits().retry_policy()
    )


def test_bytes_of_another_writer_are_never_installed(server: FaultServer, target: Path) -> None:
    def spoil() -> None:
        with partial_path(target).open("r+b") as stranger:
            stranger.write(b"spoiled")

    with pytest.raises(DownloadError, match="not the right one"):
        meanwhile(server.add(MEGABYTE), target, spoil)
    assert not target.exists()


def test_a_part_that_another_writer_lengthens_is_left_to_him(server: FaultServer, target: Path) -> None:
    def lengthen() -> None:
        with partial_path(target).open("ab") as stranger:
            stranger.write(b"more")

    with pytest.raises(DownloadError, match=r"another process is writing the same file\. Try again later"):
        meanwhile(server.add(MEGABYTE), target, lengthen)
    assert not target.exists()


def test_the_file_of_a_faster_writer_is_the_result(server: FaultServer, target: Path) -> None:
    def finish_first() -> None:
        partial_path(target).unlink(missing_ok=True)
        target.write_bytes(MEGABYTE)

    assert meanwhile(server.add(MEGABYTE), target, finish_first) == target
    assert target.read_bytes() == MEGABYTE


def test_a_lock_that_others_may_wait_for_is_not_taken_from_under_them(server: FaultServer, target: Path) -> None:
    lock = target.with_name("w.pth.lock")
    target.parent.mkdir()
    lock.touch()
    number = lock.stat().st_ino
    refusal(f"{server.url}/absent", target)
    assert lock.stat().st_ino == number
    fetch(server.add(MEGABYTE), target)
    assert files_beside(target) == ["w.pth"]


# What is told


def test_notes_are_logged_and_nothing_is_printed(
    server: FaultServer, target: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    server.faults.append(reply(500))
    fetch(server.add(MEGABYTE), target)
    assert [
        (record.name, record.levelname, record.getMessage()) for record in caplog.records if "vgg" in record.name
    ] == [("vggcli", "INFO", "w.pth: the server has a fault (500 Internal Server Error); trying again in 0.5 s")]
    assert capfd.readouterr() == ("", "")


class Recorded:
    """A progress that keeps what it is told."""

    def __init__(self, name: str) -> None:
        self.told: list[tuple[object, ...]] = [("name", name)]

    def begin(self, done: int, total: int | None) -> None:
        self.told.append(("begin", done, total))

    def moved(self, done: int) -> None:
        if self.told[-1][0] == "moved":
            self.told.pop()
        self.told.append(("moved", done))

    def note(self, text: str) -> None:
        self.told.append(("note", text))

    def close(self) -> None:
        self.told.append(("close",))


@pytest.mark.parametrize("fails", [False, True])
def test_a_progress_is_told_everything_in_order(server: FaultServer, target: Path, fails: bool) -> None:
    made: list[Recorded] = []

    def progress(name: str) -> Recorded:
        made.append(Recorded(name))
        return made[0]

    server.faults.extend([cut_at(400_000), reply(404)] if fails else [cut_at(400_000)])
    with pytest.raises(DownloadError) if fails else contextlib.nullcontext():
        download(server.add(MEGABYTE), target, sha(MEGABYTE), progress=progress, retry_policy=Waits().retry_policy())
    first = [
        ("name", "w.pth"),
        ("begin", 0, 1_000_000),
        ("moved", 400_000),
        ("note", "the connection was cut or garbled at 0.4 MB; trying again in 0.5 s"),
    ]
    rest = [] if fails else [("begin", 400_000, 1_000_000), ("moved", 1_000_000)]
    assert made[0].told == [*first, *rest, ("close",)]


# Processes


@contextlib.contextmanager
def two_children(server: FaultServer, target: Path) -> Iterator[tuple[subprocess.Popen[str], subprocess.Popen[str]]]:
    """One that has received the first 400 kB, and one that waits for it."""
    server.faults.append(stall_at(400_000))
    url = server.add(MEGABYTE)
    with child(url, target, MEGABYTE) as first:
        assert server.reached.wait(60)
        with child(url, target, MEGABYTE) as second:
            assert second.stderr is not None
            assert "another process is downloading w.pth; waiting" in second.stderr.readline()
            yield first, second
    assert target.read_bytes() == MEGABYTE
    assert files_beside(target) == ["w.pth"]


def test_of_two_processes_one_downloads_and_the_other_waits(server: FaultServer, target: Path) -> None:
    with two_children(server, target) as (first, second):
        server.closing.set()
        assert [first.wait(60), second.wait(60)] == [0, 0]
    assert server.sent == len(MEGABYTE)


def test_the_waiting_process_takes_over_from_a_killed_one(server: FaultServer, target: Path) -> None:
    with two_children(server, target) as (first, second):
        first.kill()
        assert second.wait(60) == 0


def test_ctrl_c_keeps_the_part(server: FaultServer, target: Path) -> None:
    server.faults.append(stall_at(400_000))
    with child(server.add(MEGABYTE), target, MEGABYTE) as process:
        part = target.with_name("w.pth.part")
        server.until(lambda: part.exists() and part.stat().st_size == 400_000)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "KeyboardInterrupt" in process.stderr.read()
    fetch(f"{server.url}/w.pth", target)
    assert server.requests[1]["range"] == "bytes=400000-"
    assert target.read_bytes() == MEGABYTE


def test_the_bar_of_a_resumed_file_begins_where_the_file_does(server: FaultServer, target: Path) -> None:
    server.faults.extend([cut_at(400_000), *[reply(500)] * 5])
    refusal(server.add(MEGABYTE), target)
    server.faults.append(stall_at(400_000))
    ours, theirs = pty.openpty()
    process = child(f"{server.url}/w.pth", target, MEGABYTE, stderr=theirs)
    os.close(theirs)
    with process, os.fdopen(ours, "rb", buffering=0) as screen:
        shown = b""
        while b"MB" not in shown:
            shown += screen.read(4096)
        server.closing.set()
        with contextlib.suppress(OSError):  # how a terminal says that the last program has left it
            while text := screen.read(4096):
                shown += text
    assert b"0.4/1.0 MB" in shown
    assert b"1.0/1.0 MB" in shown
    assert b"0.0/" not in shown


def test_without_a_terminal_there_is_no_bar(server: FaultServer, target: Path) -> None:
    with child(server.add(MEGABYTE), target, MEGABYTE) as process:
        assert process.stderr is not None
        assert process.stderr.read() == ""
