"""The Ray cluster: connecting to it, and what one actor gets of it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vggcli.engines.devices import cores, first_line
from vggcli.errors import DeviceError, UsageError

_LOCAL_STORE_BYTES = 100_000_000  # what goes through it is a few hundred bytes per block
_KNOCK_SECONDS = 10.0
_MOST_WORDS = 300  # characters of what Ray says
_MOST_CORES = 8  # of one actor: an engine on more of them gains less than a second actor does
_LEAST_USED = 0.9  # of a cluster's cores, by the actors' shares
_MEMORY_BESIDE_WEIGHTS = 512 << 20
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nobody is told how it is used
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its C++ side prints warnings for its developers
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a thread that is late when a run is interrupted would begin all anew
}
_OTHER_CLUSTER = "Give --ray local, auto, or the HOST:PORT of a cluster that runs"


@dataclass(frozen=True, slots=True)
class Share:
    """What one actor gets.

    Attributes:
        cores: of its node.
        gpus: 0 or 1.
        memory: bytes that it may take, as Ray counts them when it places actors.
        actors: that the cluster has room for now.
    """

    cores: int
    gpus: int
    memory: int
    actors: int


def import_ray() -> Any:
    """The package; UsageError where it is not installed."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        why = f"the package ray is not installed ({first_line(error)})"
        raise UsageError("cannot run on a cluster", "", why, "Run `pip install 'ray[data]'`") from error
    return ray


def connect(address: str) -> None:
    """Connect this process to a cluster, or start one on this machine alone.

    Args:
        address: "local" for this machine's cores; "auto" for the cluster that this machine belongs to, or that of
            `RAY_ADDRESS`; HOST:PORT of its head.

    Raises:
        UsageError: ray is not installed, or an address that cannot be.
        DeviceError: nobody answers there, or another version of Ray or Python.
    """
    if address not in ("local", "auto"):
        _knock(address)
    ray = import_ray()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == "local":
        quiet |= {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": _LOCAL_STORE_BYTES}
    try:
        with _silent_stderr():
            ray.init(address=address, **quiet)
    except Exception as error:
        raise _unreachable(address, error) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Without what Ray's C++ side prints by itself while it starts, that its log level was set for one."""
    try:
        kept = os.dup(2)
    except OSError:  # closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _knock(address: str) -> None:
    """Find out within seconds, and not after Ray's minutes, that nobody is there."""
    if "://" in address:
        why = "a Ray client does not carry datasets"
        step = "Run vgg on a node of the cluster, or with `ray job submit`, and give --ray auto"
        raise UsageError("cannot use the Ray cluster", address, why, step)
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal()):
        raise UsageError("cannot use the Ray cluster", address, "it is no HOST:PORT", _OTHER_CLUSTER)
    try:
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> DeviceError:
    what = "cannot reach the Ray cluster"
    if "AuthToken" in f"{error}{error.__cause__}":
        step = "Set RAY_AUTH_MODE=token, and give this machine the cluster's ~/.ray/auth_token"
        return DeviceError(what, address, "it asks for a token that this process has not", step)
    text = " ".join(str(error).split()).rstrip(".")[:_MOST_WORDS] or type(error).__name__  # versions have lines each
    why = (getattr(error, "strerror", None) or text).lower() if isinstance(error, OSError) else text
    if isinstance(error, ConnectionError) and address == "auto":
        why = "this machine belongs to none that runs"
    return DeviceError(what, address, why, _OTHER_CLUSTER)


def share_of(device: str, threads: int | None, weights_bytes: int) -> Share:
    """What an actor gets on this cluster: cores that are never given twice, or a GPU.

    Args:
        device: "auto": GPUs where there are any.
        threads: cores per actor; None for what uses the nodes' cores best.
        weights_bytes: of the file.

    Raises:
        UsageError: one GPU of a node by its number, which Ray hands out.
        DeviceError: no node has what an actor needs.
    """
    if device not in ("auto", "cpu", "cuda"):
        why = "over a cluster Ray hands out the devices"
        raise UsageError("cannot use the device", device, why, "Use --device auto, cpu or cuda")
    nodes = [node["Resources"] for node in import_ray().nodes() if node["Alive"]]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if device == "cuda" and not gpus:
        raise DeviceError("cannot use the device", device, "no node of the cluster has a GPU", "Use --device cpu")
    uses_gpu = gpus > 0 and device != "cpu"
    able = [node for node in nodes if not uses_gpu or node.get("GPU", 0) >= 1]
    parts = [int(node.get("GPU", 0)) if uses_gpu else 1 for node in able]
    found = [int(node.get("CPU", 0)) // part for node, part in zip(able, parts, strict=True)]
    share = threads or best_share([count for count in found if count])
    memory = 2 * weights_bytes + _MEMORY_BESIDE_WEIGHTS
    actors = 0
    for node in able:
        rooms = [node.get("CPU", 0) // share, node.get("memory", 0) // memory]
        actors += int(min([*rooms, node["GPU"]] if uses_gpu else rooms))
    if not actors:
        needs = f"{share} core{'s' * (share > 1)} and {memory / 1e9:.1f} GB of memory" + " beside its GPU" * uses_gpu
        step = "Give --threads fewer cores, or the cluster a larger node"
        raise DeviceError("cannot run on the Ray cluster", "", f"no node has {needs}", step)
    return Share(share, int(uses_gpu), memory, actors)


def best_share(nodes: Sequence[int]) -> int:
    """Cores per actor that leave few cores of these nodes without one, and each engine with enough of them."""
    for share in range(_MOST_CORES, 1, -1):
        if nodes and sum(count - count % share for count in nodes) >= _LEAST_USED * sum(nodes):
            return share
    return 1
