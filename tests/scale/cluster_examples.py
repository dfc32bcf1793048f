"""Runs over simulated clusters: nodes are processes of this machine, drivers are processes of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from predict_examples import DIGITS

import vggcli

PATIENCE = 240  # seconds for one run, on a busy machine
STORE_BYTES = 80_000_000
MARK = f"NODES_OF_TEST={os.getpid()}"
PACKAGE = Path(vggcli.__file__).parent.parent


def make_images(folder: Path, count: int) -> list[str]:
    """So many different pictures, some of them broken; their names in order."""
    folder.mkdir(parents=True)
    digits = [np.array(Image.open(path).convert("L")) for path in sorted(DIGITS.glob("*.png"))]
    for number in range(count):
        path = folder / f"{number:06}.png"
        if number % 97 == 13:
            path.write_bytes(b"" if number % 2 else b"this is no picture")
            continue
        pixels = digits[number % len(digits)].copy()
        pixels.flat[number % pixels.size] ^= 0xFF
        Image.fromarray(pixels).save(path, compress_level=1)
    return [str(path) for path in sorted(folder.iterdir())]


# Ray's workers give way to all others; on a machine that is busy with other tests they would wait for ever.
os.environ.setdefault("RAY_worker_niceness", "0")


@contextlib.contextmanager
def nodes(*environments: dict[str, str], cores: int = 1) -> Iterator[Any]:
    """A cluster with a node of one core for each environment, the first being its head; its `address` is for --ray."""
    from ray.cluster_utils import Cluster

    name, _, value = MARK.partition("=")
    here = {name: value, "PYTHONPATH": os.pathsep.join([str(PACKAGE), os.environ.get("PYTHONPATH", "")])}
    cluster = Cluster()
    try:
        for environment in environments:
            cluster.add_node(num_cpus=cores, object_store_memory=STORE_BYTES, env_vars={**here, **environment})
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()


def command(*arguments: str | Path) -> list[str]:
    """`vgg predict` with the demo's weights."""
    return [sys.executable, "-m", "vggcli", "predict", "--weights", "demo", *map(str, arguments)]


def start(*arguments: str | Path, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """The command as a process of its own, in a session of its own."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "COLUMNS": "120", **(environment or {})}
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tempfile.gettempdir(),  # Ray's workers look for packages where the driver was started, too
        start_new_session=True,
    )


def finish(driver: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was said."""
    try:
        _, said = driver.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        driver.kill()
        raise AssertionError(f"it did not end: {driver.communicate()[1]}") from None
    return driver.returncode, said


def run(*arguments: str | Path, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """The command to its end: exit code and what was said."""
    return finish(start(*arguments, environment=environment))


def shards(folder: Path) -> int:
    """Shards that are finished."""
    return len(list(folder.glob("part-*.note")))


def until(condition: Callable[[], bool], driver: subprocess.Popen[str]) -> None:
    """Wait for something that a running driver brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert driver.poll() is None, f"it ended too early: {driver.communicate()[1]}"
        assert time.monotonic() < deadline, "it takes too long"
        os.sched_yield()
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(0.05)


def actor_processes() -> list[int]:
    """The processes that classify blocks on the simulated nodes of this test process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_ours = MARK.encode() in (folder / "environ").read_bytes()
            if is_ours and b"BlockActor" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return sorted(found)


def joined(folder: Path, output: Path) -> bytes:
    """The shards as one file."""
    code, said = run("--join", folder, "-o", output)
    assert code in (0, 1), said
    return output.read_bytes()


def plain(inputs: Sequence[str | Path], output: Path) -> bytes:
    """What a run on one machine writes, with as many threads as a node has cores: they decide the order of sums."""
    code, said = run(*inputs, "-o", output, "--quiet", "--threads", "1")
    assert code in (0, 1), said
    return output.read_bytes()
