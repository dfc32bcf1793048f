"""Weights come from torch hub's cache; what is not there is downloaded into it, or said to be missing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpserver import FaultServer, reply

from vggcli.errors import DownloadError, UsageError, WeightsError
from vggcli.network import zoo
from vggcli.web.urls import on_mirror
from vggcli.weights.store import (
    FetchOptions,
    cache_folder,
    cached,
    fetch,
    fingerprint,
    sha256_prefix_of,
    verify,
)

DATA = b"\x80\x02 weights" * 1000
PREFIX = hashlib.sha256(DATA).hexdigest()[:8]
NAME = f"vgg16-{PREFIX}.pth"
OFFICIAL = f"https://download.pytorch.org/models/{NAME}"


@pytest.fixture
def mirror() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.add(DATA, f"vgg/{NAME}")
        yield server


def in_cache(data: bytes | bytearray = DATA, name: str = NAME) -> Path:
    path = cache_folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# The cache


@pytest.mark.parametrize(
    ("torch_home", "xdg", "expected"),
    [
        ("/a", "/b", "/a/hub/checkpoints"),
        (None, "/b", "/b/torch/hub/checkpoints"),
        (None, None, "/home/u/.cache/torch/hub/checkpoints"),
        ("~/t", None, "/home/u/t/hub/checkpoints"),
    ],
)
def test_the_cache_is_torch_hubs_own(
    monkeypatch: pytest.MonkeyPatch, torch_home: str | None, xdg: str | None, expected: str
) -> None:
    import torch

    monkeypatch.setenv("HOME", "/home/u")
    for name, value in (("TORCH_HOME", torch_home), ("XDG_CACHE_HOME", xdg)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)
    assert cache_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_only_a_file_with_something_in_it_is_cached() -> None:
    assert cached(NAME) is None
    path = in_cache(b"")
    assert cached(NAME) is None
    path.write_bytes(DATA)
    assert cached(NAME) == path
    (path.parent / "folder.pth").mkdir()
    assert cached("folder.pth") is None


def test_a_link_into_another_folder_is_cached(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.pth"
    elsewhere.write_bytes(DATA)
    link = cache_folder() / NAME
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    assert cached(NAME) == link


@pytest.mark.usefixtures("no_sockets")
@pytest.mark.parametrize("offline", [False, True])
def test_a_cached_file_is_used_without_a_network(offline: bool) -> None:
    path = in_cache()
    assert fetch(OFFICIAL, PREFIX, FetchOptions(offline=offline)) == path


# Offline


@pytest.mark.usefixtures("no_sockets")
def test_offline_opens_no_socket_and_says_where_the_file_belongs() -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(OFFICIAL, PREFIX, FetchOptions(offline=True, mirror="http://127.0.0.1:1"))
    message = str(caught.value)
    assert "--offline" in message
    assert f"http://127.0.0.1:1/{NAME}" in message
    assert str(cache_folder() / NAME) in message
    assert caught.value.exit_code == 3


# Mirrors


def test_the_mirrors_file_lands_in_the_cache_once(mirror: FaultServer) -> None:
    options = FetchOptions(mirror=f"{mirror.url}/vgg")
    for _ in range(2):
        assert fetch(OFFICIAL, PREFIX, options) == cache_folder() / NAME
    assert (cache_folder() / NAME).read_bytes() == DATA
    assert len(mirror.requests) == 1


def test_the_environment_names_a_mirror_too(mirror: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGG_MIRROR", f"{mirror.url}/vgg/")
    assert fetch(OFFICIAL, PREFIX).read_bytes() == DATA


def test_the_option_wins_over_the_environment(mirror: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGG_MIRROR", "http://127.0.0.1:1/nobody")
    assert fetch(OFFICIAL, PREFIX, FetchOptions(mirror=f"{mirror.url}/vgg")).read_bytes() == DATA


def test_a_mirror_with_another_file_is_found_out(mirror: FaultServer) -> None:
    mirror.add(b"other", f"vgg/{NAME}")
    with pytest.raises(DownloadError, match="not the right one"):
        fetch(OFFICIAL, PREFIX, FetchOptions(mirror=f"{mirror.url}/vgg"))
    assert cached(NAME) is None


def test_a_failing_mirror_is_named_with_the_place_for_the_file(mirror: FaultServer) -> None:
    mirror.always = reply(404)
    with pytest.raises(DownloadError) as caught:
        fetch(OFFICIAL, PREFIX, FetchOptions(mirror=f"{mirror.url}/vgg"))
    assert f"{mirror.url}/vgg/{NAME}" in str(caught.value)
    assert str(cache_folder() / NAME) in str(caught.value)


@pytest.mark.parametrize(
    ("mirror", "urls"),
    [
        ("https://m.example", ["https://m.example/w.pth", "https://m.example/models/w.pth"]),
        ("https://m.example/", ["https://m.example/w.pth", "https://m.example/models/w.pth"]),
        (
            "http://u:pw@m.example:80/a/",
            ["http://u:pw@m.example:80/a/w.pth", "http://u:pw@m.example:80/a/models/w.pth"],
        ),
        ("https://m.example/a?key=k", ["https://m.example/a/w.pth?key=k", "https://m.example/a/models/w.pth?key=k"]),
    ],
)
def test_a_mirror_is_a_folder_of_files_or_another_host(mirror: str, urls: list[str]) -> None:
    assert on_mirror(mirror, "https://official.example/models/w.pth") == urls


def test_a_mirror_with_the_official_paths_serves_too(mirror: FaultServer) -> None:
    path = OFFICIAL.split("/", 3)[3]
    mirror.add(DATA, f"copy/{path}")
    assert fetch(OFFICIAL, PREFIX, FetchOptions(mirror=f"{mirror.url}/copy")).read_bytes() == DATA
    assert len(mirror.requests) == 2


@pytest.mark.usefixtures("no_sockets")
@pytest.mark.parametrize(
    "mirror", ["m.example", "/mnt/vgg", "ftp://m.example", "https://", "https://[x", "file:///mnt"]
)
def test_what_is_no_web_address_is_no_mirror(mirror: str) -> None:
    with pytest.raises(UsageError, match="cannot use the mirror"):
        fetch(OFFICIAL, PREFIX, FetchOptions(mirror=mirror))


@pytest.mark.usefixtures("no_sockets")
def test_plain_http_needs_a_mirror_that_says_so() -> None:
    with pytest.raises(DownloadError, match="plain HTTP"):
        fetch(OFFICIAL.replace("https", "http"), PREFIX)


# Hashes


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("vgg16_bn-6c64b313.pth", "6c64b313"),
        ("vgg16_features-amdegroot-88682ab5.pth", "88682ab5"),
        ("vgg16.pth", None),
        ("model-20240101.pth", None),  # a date
        ("vgg16-finetuned.pth", None),
        ("vgg16-6c64b31.pth", None),
        ("6c64b313.pth", None),
    ],
)
def test_the_hash_in_a_files_name(name: str, prefix: str | None) -> None:
    assert sha256_prefix_of(name) == prefix


def test_every_published_file_carries_its_hash_in_its_name() -> None:
    files = [variant.weights for variant in zoo.VARIANTS.values() if variant.weights is not None]
    assert len(files) == 8
    assert all(file.name.endswith(f"-{file.sha256_prefix}.pth") for file in files)


def test_verify_gives_the_hash_of_the_right_file() -> None:
    whole = hashlib.sha256(DATA).hexdigest()
    path = in_cache()
    assert [verify(path), verify(path, PREFIX), verify(path, PREFIX.upper())] == [whole] * 3


def test_verify_refuses_the_wrong_file() -> None:
    path = in_cache(b"other")
    wrong = hashlib.sha256(b"other").hexdigest()[:8]
    with pytest.raises(WeightsError, match=re.escape(f"{path}: its SHA-256 begins with {wrong}, not {PREFIX}")):
        verify(path, PREFIX)


def test_verify_says_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="No such file"):
        verify(tmp_path / "missing.pth")


# Fingerprints


def test_a_small_files_fingerprint_is_its_whole_hash(tmp_path: Path) -> None:
    assert fingerprint(in_cache()) == f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.mark.parametrize("place", [0, 1_000_000, 19_999_999])
def test_another_training_has_another_fingerprint(tmp_path: Path, place: int) -> None:
    """A change as long as the gap between two samples is seen wherever it lies."""
    data = bytearray(20_000_000)
    first = fingerprint(in_cache(data))
    assert first.startswith("sampled:")
    assert fingerprint(in_cache(data)) == first
    start = min(place, len(data) - 320_000)
    data[start : start + 320_000] = b"x" * 320_000
    assert fingerprint(in_cache(data)) != first


def test_a_longer_file_has_another_fingerprint() -> None:
    assert fingerprint(in_cache(bytes(20_000_000))) != fingerprint(in_cache(bytes(20_000_001)))


def test_a_missing_file_has_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="No such file"):
        fingerprint(tmp_path / "missing.pth")
