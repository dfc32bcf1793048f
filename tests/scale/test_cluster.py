"""Runs over simulated nodes: what dies costs nothing but time, and the rows are those of one machine, to the byte."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from predict_examples import DIGITS
from scale.cluster_examples import (
    PACKAGE,
    PATIENCE,
    actor_processes,
    finish,
    joined,
    make_images,
    nodes,
    plain,
    run,
    shards,
    start,
    until,
)
from test_docs import alike, commands

pytestmark = pytest.mark.cluster

COUNT, BLOCK = 4000, 40
KILLS = 10
POISON = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "poison"), str(PACKAGE)])}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "images"
    make_images(folder, COUNT)
    return folder


@pytest.fixture(scope="module")
def expected(images: Path) -> bytes:
    return plain([images], images.parent / "plain.jsonl")


def check(folder: Path, expected: bytes) -> None:
    """The rows of a finished run are just those of the plain one, and its manifest says so."""
    assert joined(folder, folder.parent / "all.jsonl") == expected
    manifest = json.loads((folder / "manifest.json").read_text())
    lines = [json.loads(line) for line in expected.splitlines()]
    assert manifest["inputs"] == manifest["rows"] == len(lines)
    assert sum(manifest["failures"].values()) == sum("error" in line for line in lines)
    assert len(manifest["shards"]) == -(-len(lines) // BLOCK)
    assert list((folder / "attempts").iterdir()) == []
    assert list(folder.rglob(".vgg-*.part")) == []


def test_a_node_that_vanishes_costs_no_row(images: Path, expected: bytes, tmp_path: Path) -> None:
    with nodes({}, {}, {}) as cluster:
        driver = start(images, "--ray", cluster.address, "-o", tmp_path / "out", "--block-size", str(BLOCK))
        until(lambda: shards(tmp_path / "out") > 20, driver)
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        assert shards(tmp_path / "out") < COUNT // BLOCK
        code, said = finish(driver)

    assert code == 1, said
    check(tmp_path / "out", expected)


def test_actors_killed_at_random_cost_no_row(images: Path, expected: bytes, tmp_path: Path) -> None:
    chance, killed = random.Random(7), 0
    with nodes({}, {}, {}) as cluster:
        driver = start(images, "--ray", cluster.address, "-o", tmp_path / "out", "--block-size", str(BLOCK))
        while killed < KILLS:
            done = 3 + 6 * killed
            until(lambda done=done: shards(tmp_path / "out") >= done and actor_processes() != [], driver)
            os.kill(chance.choice(actor_processes()), signal.SIGKILL)
            killed += 1
        code, said = finish(driver)

    assert code == 1, said
    check(tmp_path / "out", expected)


def test_a_killed_driver_is_gone_on_from(images: Path, expected: bytes, tmp_path: Path) -> None:
    with nodes({}, {}, {}) as cluster:
        arguments = (images, "--ray", cluster.address, "-o", tmp_path / "out", "--block-size", str(BLOCK))
        driver = start(*arguments)
        until(lambda: shards(tmp_path / "out") > 20, driver)
        driver.kill()
        driver.communicate()
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*.jsonl")}
        notes = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("part-*.note")]
        without_failures = [
            tmp_path / "out" / f"part-{note['block']:08}.jsonl" for note in notes if note["failures"] == {}
        ]
        assert without_failures
        code, said = run(*arguments, "--resume")

        assert code == 1, said
        check(tmp_path / "out", expected)
        assert all(path.stat().st_mtime_ns == before[path] for path in without_failures)
        assert "kept from before" in said


def test_an_interrupted_driver_says_how_to_go_on(images: Path, expected: bytes, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "out", "--block-size", str(BLOCK))
    arguments = (images, "--ray", "local", "--threads", "1", *out)
    driver = start(*arguments)
    until(lambda: shards(tmp_path / "out") > 5, driver)
    driver.send_signal(signal.SIGINT)
    code, said = finish(driver)
    assert code == 130, said
    assert "interrupted: the same command with --resume goes on" in said

    other, refused = run(*arguments, "--resume", "-k", "1")
    assert other == 2
    assert "its top_k is 5, this run's is 1" in refused

    code, said = run(*arguments, "--resume")
    assert code == 1, said
    check(tmp_path / "out", expected)


def test_an_image_that_kills_its_process_costs_its_own_row(tmp_path: Path) -> None:
    names = make_images(tmp_path / "images", 90)
    os.rename(names[50], poisoned := tmp_path / "images" / "000050-poison.png")
    clean = plain([tmp_path / "images"], tmp_path / "plain.jsonl").splitlines()

    with nodes(POISON) as cluster:
        out = tmp_path / "out"
        code, said = run(tmp_path / "images", "--ray", cluster.address, "-o", out, "--block-size", "30")
        assert code == 1, said
        rows = joined(out, tmp_path / "all.jsonl").splitlines()
    at = next(number for number, row in enumerate(clean) if json.loads(row)["path"] == str(poisoned))
    assert json.loads(rows[at])["error"] == {
        "kind": "crashed",
        "message": "the process that read it ended with exit code 86",
    }
    assert rows[:at] + rows[at + 1 :] == clean[:at] + clean[at + 1 :]
    assert json.loads((out / "manifest.json").read_text())["failures"]["crashed"] == 1
    assert list((out / "attempts").iterdir()) == []


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on this machine, its address in the environment of every process from here on."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    values = {"ENDPOINT_URL": f"http://{host}:{port}", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
    for name, value in {**values, "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    import s3fs

    files = s3fs.S3FileSystem()
    files.mkdir("photos")
    files.mkdir("labels")
    yield "s3://photos"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_from_tars_and_a_bucket_into_a_bucket_with_a_node_gone(bucket: str, tmp_path: Path) -> None:
    import fsspec

    files = fsspec.filesystem("s3")
    names = make_images(tmp_path / "images", 400)
    for number in range(8):
        with tarfile.open(tmp_path / f"photos-{number}.tar", "w") as tar:
            for name in names[50 * number : 50 * number + 50]:
                tar.add(name, os.path.basename(name))
    files.put(names, "photos/small/")
    files.put_file(str(tmp_path / "photos-7.tar"), "photos/photos-7.tar")
    inputs = [str(tmp_path / "photos-{0..6}.tar"), f"{bucket}/photos-7.tar", f"{bucket}/small/"]
    expected = plain(inputs, tmp_path / "plain.jsonl")

    with nodes({}, {}, {}) as cluster:
        out = "s3://labels/run"
        driver = start(*inputs, "--ray", cluster.address, "-o", f"{out}/", "--block-size", "40")
        until(lambda: len(files.glob("labels/run/part-*.note", refresh=True)) > 3, driver)
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        code, said = finish(driver)
        assert code == 1, said
    code, said = run("--join", out, "-o", tmp_path / "all.jsonl")
    assert code == 1, said
    assert (tmp_path / "all.jsonl").read_bytes() == expected
    manifest = json.loads(files.cat_file("labels/run/manifest.json"))
    assert manifest["rows"] == 800
    assert [shard["rows"] for shard in manifest["shards"]] == [50] * 8 + [40] * 10


def test_clusters_that_cannot_do_it_are_refused_in_a_line(tmp_path: Path) -> None:
    make_images(tmp_path / "images", 3)
    for name, text in (("older", '__version__ = "0.0.1"'), ("absent", 'raise ImportError("there is none")')):
        (tmp_path / name / "vggcli").mkdir(parents=True)
        (tmp_path / name / "vggcli" / "__init__.py").write_text(text)
    arguments = (tmp_path / "images", "-o", tmp_path / "out", "--ray")
    expected = {"older": "has version 0.0.1 of vggcli", "absent": "has no package vggcli (there is none)"}
    for name, why in expected.items():
        with nodes({}, {"PYTHONPATH": str(tmp_path / name)}) as cluster:
            code, said = run(*arguments, cluster.address)
        assert code == 5
        assert why in said
        assert said.splitlines()[-1].startswith("vgg: cannot run on the Ray cluster: its node ")

    with nodes({}) as cluster:
        code, said = run(*arguments, cluster.address, "--threads", "64")
    assert code == 5
    assert "no node has 64 cores" in said


def test_the_page_shows_what_happens(tmp_path: Path) -> None:
    page = (PACKAGE / "docs" / "scale.md").read_text("utf-8").replace("<!-- not run: it takes Ray;", "<!-- run by")
    (tmp_path / "vggcli" / "demo").mkdir(parents=True)
    (tmp_path / "vggcli" / "demo" / "digits").symlink_to(DIGITS)
    here = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    shown = list(commands(page))
    assert len(shown) == 3
    for command, lines in shown:
        line = f'vgg() {{ "{sys.executable}" -m vggcli "$@"; }}; {command}'
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=here, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        said = done.stderr.splitlines()
        assert done.returncode == 0, said
        assert all(any(alike(line, words) for words in said) for line in lines if line.startswith("vgg: ")), said
        assert [line for line in lines if not line.startswith("vgg: ")] == done.stdout.splitlines()


@pytest.mark.parametrize(
    ("address", "code", "why"),
    [
        ("127.0.0.1:PORT", 5, "connection refused"),
        ("nowhere", 2, "it is no HOST:PORT"),
        ("ray://head:10001", 2, "a Ray client does not carry datasets"),
        ("auto", 5, "this machine belongs to none that runs"),
    ],
)
def test_dead_addresses(address: str, code: int, why: str, tmp_path: Path) -> None:
    make_images(tmp_path / "images", 3)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    given = address.replace("PORT", str(port))
    environment = {"RAY_TMPDIR": str(tmp_path)}  # where "auto" looks for a cluster that was started here
    found, said = run(tmp_path / "images", "-o", tmp_path / "out", "--ray", given, environment=environment)

    assert found == code, said
    assert why in said
