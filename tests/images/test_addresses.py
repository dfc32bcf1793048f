"""How inputs are written: every file name has a path that means it, and every path means one thing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vggcli.images import addresses
from vggcli.images.item import Input, named

PIECES = ("a", "/", "\\", ":", "::", ".tar", ".tar.gz", ".zip", ".png", "{", "?", "#")
NAMES = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


@given(NAMES)
def test_every_name_of_a_file_has_a_path_that_means_it(name: str) -> None:
    assert addresses.split(addresses.escaped(name)) == (name, None)
    assert addresses.local_name(addresses.escaped(name)) == name


@given(NAMES, NAMES)
def test_a_member_is_found_by_its_path(folder: str, member: str) -> None:
    archive = folder + "x.tar"
    assert addresses.split(f"{addresses.escaped(archive)}::{member}") == (archive, member)


def test_names_without_archives_are_written_as_they_are() -> None:
    for name in ("a::b.jpg", "C::\\d", "::", "a:::b", "x.tar", "x.tar:y", "a\\::b.jpg"):
        assert addresses.escaped(name) == name
    assert addresses.escaped("x.tar::y") == r"x.tar\::y"
    assert addresses.escaped(r"x.tar\::y") == r"x.tar\\::y"


@pytest.mark.parametrize(
    ("path", "protocol", "archive"),
    [
        ("https://example.org/a.tar?X-Amz-Signature=1", "https", True),
        ("https://example.org/a.tar#b", "https", True),
        ("https://example.org/a?file=b.tar", "https", False),
        ("s3://bucket/a.TAR.GZ", "s3", True),
        ("s3://bucket/a?.tar", "s3", True),
        ("a.tgz", "", True),
        ("c:/a.jpg", "", False),
        ("c://a.jpg", "", False),
        ("a.tar.bz2", "", False),
    ],
)
def test_protocols_and_archives_are_told_by_the_name(path: str, protocol: str, archive: bool) -> None:
    assert (addresses.protocol(path), addresses.is_archive(path)) == (protocol, archive)


def test_files_of_this_machine_have_a_name() -> None:
    assert addresses.local_name("file:///a b/c.jpg") == "/a b/c.jpg"
    assert addresses.local_name("s3://b/c.jpg") is addresses.local_name("x.tar::c.jpg") is None
    assert addresses.file_of("file:///x.tar::c.jpg") == "/x.tar"
    assert addresses.file_of("s3://b/x.tar::c.jpg") is None


def test_braces_stand_for_shards_as_in_a_shell() -> None:
    assert list(addresses.shards("p-{000..002}.tar")) == ["p-000.tar", "p-001.tar", "p-002.tar"]
    assert list(addresses.shards("p-{0..10}.tar"))[::5] == ["p-0.tar", "p-5.tar", "p-10.tar"]
    assert list(addresses.shards("{2..1}{a,}.zip")) == ["2a.zip", "2.zip", "1a.zip", "1.zip"]
    assert list(addresses.shards("{a}{..}{1..}.tar")) == ["{a}{..}{1..}.tar"]
    assert next(addresses.shards("p-{0..999999999999}.tar")) == "p-0.tar"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ann:word@example.org/a@2x.jpg", "...@2x.jpg"),
        ("https://ann:word@example.org/a.jpg", "https://example.org/a.jpg"),
        ("https://token@example.org/a.jpg#x", "https://example.org/a.jpg"),
        ("https://example.org/a@2x.jpg", "https://example.org/a@2x.jpg"),
        ("http://127.0.0.1:80/a@2x.jpg", "http://127.0.0.1:80/a@2x.jpg"),
        ("https://ann:wo/rd@example.org/a.jpg", "...@example.org/a.jpg"),
        ("https://h.org/i?id=7&size=2", "https://h.org/i?id=7&size=2"),
        ("https://h.org/i?id=7&access_token=abc", "https://h.org/i?id=7&..."),
        ("https://h.org/i?X-Amz-Credential=k&X-Amz-Date=1&X-Amz-Signature=abc", "https://h.org/i?..."),
        ("https://h.org/i?sv=1&sr=b&sig=abc&version=3", "https://h.org/i?version=3&..."),
        ("ftp://ann:word@h/a.jpg", "ftp://ann@h/a.jpg"),
        ("abfs://container@account/a.jpg", "abfs://container@account/a.jpg"),
        ("s3://bucket/a@b:c.jpg", "s3://bucket/a@b:c.jpg"),
    ],
)
def test_records_name_addresses_without_credentials(address: str, shown: str) -> None:
    item = named(address)
    assert item.path == shown
    assert item.address == address.partition("#")[0] if shown == address else item.address == address
    assert "word" not in repr(item)
    assert "abc" not in repr(item)


def test_plain_paths_are_inputs_as_before() -> None:
    assert named("a.jpg") == Input("a.jpg")
