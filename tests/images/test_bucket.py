"""Buckets, through fsspec: its memory for every listing and fault, a server of S3 where one is installed."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from source_examples import PICTURES, content, found, inside, outcomes, png, reason, tar, zip_of

from vggcli.errors import UsageError
from vggcli.images.access import Access
from vggcli.images.inputs import expand
from vggcli.images.item import Input, Skipped

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def fill(system: Any) -> None:
    for name, data in {
        "b/two.png": png(2),
        "a.png": png(1),
        "notes.txt": b"",
        ".h.png": b"",
        "b/.x/y.png": b"",
    }.items():
        system.pipe_file(f"/photos/{name}", data)


def test_objects_and_folders(memory: Any) -> None:
    fill(memory)
    skipped = Skipped()
    assert outcomes("memory://photos/a.png") == [("memory://photos/a.png", png(1))]
    items = found("memory://photos/", skipped=skipped)
    assert [(item.path, item.given, content(item)) for item in items] == [("memory://photos/a.png", False, png(1))]
    assert (skipped.files.count, skipped.folders.example) == (1, "memory://photos/b")
    paths = ["memory://photos/a.png", "memory://photos/b/two.png"]
    assert [path for path, _ in outcomes("memory://photos/", recursive=True)] == paths
    assert content(pickle.loads(pickle.dumps(items[0]))) == png(1)


def test_what_is_not_there(memory: Any) -> None:
    fill(memory)
    skipped = Skipped()
    (gone, *_) = found("memory://photos/", access=Access(max_bytes=10))
    memory.rm("/photos/a.png")
    assert content(Input("memory://photos/a.png", given=False)) == "vanished"
    assert outcomes("memory://photos/a.png", "memory://none/") == [
        ("memory://photos/a.png", "missing"),
        ("memory://none/", "missing"),
    ]
    memory.pipe_file("/texts/a.txt", b"x")
    assert found("memory://texts/", skipped=skipped) == []
    assert skipped.empty_folders == ["memory://texts/"]
    assert gone.path == "memory://photos/a.png"


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "zip"])
def test_archives_in_buckets(memory: Any, ending: str) -> None:
    make = {"tar": tar, "tar.gz": lambda m: tar(m, "w:gz"), "zip": zip_of}[ending]
    memory.pipe_file(f"/shards/p-1.{ending}", make(PICTURES))
    path = f"memory://shards/p-1.{ending}"
    assert outcomes(path) == inside(path)
    assert outcomes(f"memory://shards/p-{{0..1}}.{ending}")[:2] == [
        (f"memory://shards/p-0.{ending}", "missing"),
        inside(path)[0],
    ]
    assert content(Input(f"{path}::p/2.png")) == PICTURES["p/2.png"]


def test_bytes_are_bounded_and_an_empty_object_is_empty(memory: Any) -> None:
    memory.pipe_file("/x/a.png", b"x" * 100)
    memory.pipe_file("/x/b.png", b"")
    few = Access(max_bytes=10)
    assert outcomes("memory://x/a.png", "memory://x/b.png", access=few) == [
        ("memory://x/a.png", "too-large"),
        ("memory://x/b.png", "empty"),
    ]


def test_faults_of_a_store_become_kinds(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vggcli.web.retry.RetryPolicy.delay", lambda *_: 0.0)
    fill(memory)
    asked = []

    def failing(error: BaseException) -> Any:
        def fail(*_: Any, **__: Any) -> Any:
            asked.append(error)
            raise error

        return fail

    class NoCredentialsError(Exception):
        pass

    for error, kind, tries in (
        (PermissionError("Access Denied"), "permission", 1),
        (NoCredentialsError("Unable to locate credentials"), "permission", 1),
        (OSError(5, "https://host/?X-Amz-Signature=geheim broke"), "network", 3),
        (ValueError("nonsense"), "network", 1),
    ):
        asked.clear()
        monkeypatch.setattr(type(memory), "cat_file", failing(error))
        (item,) = found("memory://photos/a.png")
        assert content(item) == kind
        assert len(asked) == tries
        assert "geheim" not in reason(Input("memory://photos/a.png"))
        monkeypatch.setattr(type(memory), "ls", failing(error))
        assert outcomes("memory://photos/") == [("memory://photos/", kind)]


def test_an_unknown_protocol_is_a_row_and_a_missing_package_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.registry import known_implementations

    assert outcomes("foo://a/b.png", "foo://a/") == [("foo://a/b.png", "unsupported"), ("foo://a/", "unsupported")]
    monkeypatch.setitem(known_implementations, "zz", {"class": "nopackage.core.FS", "err": "no"})
    with pytest.raises(UsageError, match=r"its package nopackage is not installed\. Run pip install nopackage"):
        found("zz://bucket/a.png")
    for path in ("zz://bucket/", "zz://bucket/a.tar", "zz://bucket/a.tar::b.png"):
        with pytest.raises(UsageError, match="nopackage"):
            found(path)
    assert outcomes("foo://a/b.tar") == [("foo://a/b.tar", "unsupported")]
    assert "pip install nopackage" in reason(Input("zz://bucket/a.png"))


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    import boto3

    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "geheim", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    url = f"http://{server.get_host_and_port()[0]}:{server.get_host_and_port()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    client = boto3.client("s3")
    client.create_bucket(Bucket="photos")
    yield client
    server.stop()


def test_a_bucket_of_s3_is_listed_page_by_page(s3: Any) -> None:
    names = [f"p/{number:04}.png" for number in range(1005)]
    for name in (*names, "p/sub/x.png", "p/notes.txt", "q.png"):
        s3.put_object(Bucket="photos", Key=name, Body=png(1))
    s3.put_object(Bucket="photos", Key="p/empty.png", Body=b"")
    s3.put_object(Bucket="photos", Key="a.tar", Body=tar(PICTURES))
    skipped = Skipped()
    items = list(expand("s3://photos/p/", False, skipped))
    assert [item.path for item in items] == [f"s3://photos/{name}" for name in (*names, "p/empty.png")]
    assert skipped.folders.count == skipped.files.count == 1
    assert (content(items[0]), content(items[-1])) == (png(1), "empty")
    assert len(list(expand("s3://photos/p/", True))) == 1007
    assert outcomes("s3://photos/a.tar") == inside("s3://photos/a.tar")
    assert outcomes("s3://photos/none.png", "s3://none/") == [
        ("s3://photos/none.png", "missing"),
        ("s3://none/", "missing"),
    ]
