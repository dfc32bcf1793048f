"""What every test needs: a home of its own, and the commands run in this process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vggcli.cli.app import app

# Before torch is loaded: its idle threads wait in a loop that takes the cores from other workers.  Measured on two busy
# cores, the tests of engines and networks take half the CPU time and half as long with it, with as many threads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The commands that tests start keep their compiled modules, as everybody's do: without them each would spend a third of
# a second on compiling this package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

Vgg = Callable[..., "Output"]


class Output:
    """What a command left behind."""

    def __init__(self, code: int, out: bytes, err: str) -> None:
        self.code, self.bytes, self.err = code, out, err

    @property
    def out(self) -> str:
        return self.bytes.decode()

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores, since many tests wait: for signals, for time limits, for processes to start."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-goldens", action="store_true", help="Write what comes out into tests/goldens.")


@pytest.fixture(autouse=True)
def isolated_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No test sees the person's files, caches, mirror, proxies or terminal."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("VGG_MIRROR", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to reach the network fails the test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "__init__", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def vgg() -> Vgg:
    """Run `vgg` with these arguments in this process; an exception that reaches the top fails the test."""

    def run(*arguments: str | Path, input: bytes | None = None, env: dict[str, str] | None = None) -> Output:
        words = [str(argument) for argument in arguments]
        result = CliRunner().invoke(app, words, input=input, env={"COLUMNS": "120", **(env or {})}, prog_name="vgg")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Output(result.exit_code, result.stdout_bytes, result.stderr)

    return run


@pytest.fixture(scope="session")
def narrow_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint of random weights: the demo's network in torchvision's layout, ten classes without names."""
    import networks
    import torch

    path = tmp_path_factory.mktemp("weights") / "narrow.pth"
    torch.save(networks.randomised(networks.Torchvision(widths=networks.NARROW)).state_dict(), path)
    return path


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare with a file in tests/goldens; `pytest --rewrite-goldens` writes it first (then read the diff)."""

    def check(name: str, text: str) -> None:
        path = Path(__file__).parent / "goldens" / name
        if request.config.getoption("--rewrite-goldens"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
        assert text == path.read_text("utf-8")

    return check
