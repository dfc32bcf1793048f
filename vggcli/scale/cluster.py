"""The Ray cluster: connecting to it, what its nodes have, and whether they can do the work."""

from __future__ import annotations

import logging
import os
import platform
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vggcli import __version__, errors
from vggcli.engines.devices import cores, first_line
from vggcli.errors import DeviceError, UsageError, VggError

if TYPE_CHECKING:
    from vggcli.scale.storage import Storage
    from vggcli.settings import Settings

_LOCAL_STORE_BYTES = 100_000_000  # what goes through it is a few hundred bytes per block
_KNOCK_SECONDS = 10.0
_PROBE_SECONDS = 180.0
_MOST_CORES = 8  # of one actor: an engine on more of them gains less than a second actor does
_LEAST_USED = 0.9  # of a cluster's cores, by the actors' shares
_MEMORY_BESIDE_WEIGHTS = 512 << 20
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
    # Ray would print how it is used and tell its makers, and its C++ side prints warnings for its developers.
    for name, value in (("RAY_USAGE_STATS_ENABLED", "0"), ("RAY_BACKEND_LOG_LEVEL", "fatal")):
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
    text = first_line(error)
    why = (getattr(error, "strerror", None) or text).lower() if isinstance(error, OSError) else text
    if isinstance(error, ConnectionError) and address == "auto":
        why = "this machine belongs to none that runs"
    return DeviceError("cannot reach the Ray cluster", address, why, _OTHER_CLUSTER)


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
        needs = f"{share} cores and {memory / 1e9:.1f} GB of memory" + " beside its GPU" * uses_gpu
        step = "Give --threads fewer cores, or the cluster a larger node"
        raise DeviceError("cannot run on the Ray cluster", "", f"no node has {needs}", step)
    return Share(share, int(uses_gpu), memory, actors)


def best_share(nodes: Sequence[int]) -> int:
    """Cores per actor that leave few cores of these nodes without one, and each engine with enough of them."""
    for share in range(_MOST_CORES, 1, -1):
        if sum(count - count % share for count in nodes) >= _LEAST_USED * sum(nodes):
            return share
    return 1


def check_nodes(storage: Storage) -> None:
    """Ask every node that is there now whether it can take part.

    Args:
        storage: of the run.

    Raises:
        DeviceError: a node lacks this package, has another version of it, or does not see the folder of the output.
    """
    ray = import_ray()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    name = f"seen-{os.urandom(8).hex()}"
    seen = os.path.abspath(os.path.join(storage.where, name)) if storage.is_folder else None

    def probe() -> dict[str, Any]:  # a function inside a function travels by value, to nodes without this package too
        try:
            import vggcli
        except ImportError as error:
            return {"absent": str(error)}
        return {"version": vggcli.__version__, "sees": seen is None or os.path.exists(seen)}

    if seen is not None:
        storage.write(name, lambda file: None)
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        asked = []
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            options = {"num_cpus": 0, "max_retries": 1, "scheduling_strategy": there}
            asked.append(ray.remote(probe).options(**options).remote())
        for node, reference in zip(nodes, asked, strict=True):
            try:
                found = ray.get(reference, timeout=_PROBE_SECONDS)
            except Exception as error:
                _check_is_gone(ray, node, error)
            else:
                _check_answer(node["NodeManagerAddress"], found, storage.where)
    finally:
        if seen is not None:
            storage.remove(name)


def computing(settings: Settings, share: Share) -> dict[str, str]:
    """What an actor of this cluster computes with: `engine`, `device`, `precision`.

    One node is asked, and all others are told to do the same: numbers of two kinds in one run would be nobody's.

    Raises:
        VggError: the weights or the engine cannot be used there.
    """
    ray = import_ray()
    options = {"num_cpus": share.cores, "num_gpus": share.gpus, "memory": share.memory, "max_retries": 2}
    try:
        found: dict[str, Any] = ray.get(ray.remote(_open).options(**options).remote(settings))
    except ray.exceptions.RayError as error:
        why = f"a node cannot open the classifier ({first_line(error)})"
        raise DeviceError("cannot run on the Ray cluster", "", why, "Look after its memory") from error
    if "error" in found:
        raise as_error(found["error"], found["arguments"], found["node"])
    return found


def _open(settings: Settings) -> dict[str, Any]:
    """On a node: open a classifier once."""
    from vggcli.classifier import Classifier

    try:
        with Classifier(settings) as classifier:
            engine = classifier.open_engine()
            return {"engine": engine.name, "device": engine.device, "precision": engine.precision}
    except VggError as error:
        arguments = [error.what, error.where, error.why, error.next_step]
        return {"error": type(error).__name__, "arguments": arguments, "node": platform.node()}


def _check_is_gone(ray: Any, node: dict[str, Any], error: Exception) -> None:
    """A node that left while it was asked is no fault of the run."""
    alive = {other["NodeID"] for other in ray.nodes() if other["Alive"]}
    if node["NodeID"] in alive:
        why = f"its node {node['NodeManagerAddress']} does not answer ({first_line(error)})"
        raise DeviceError("cannot run on the Ray cluster", "", why, "Look after that node") from error


def _check_answer(node: str, found: dict[str, Any], where: str) -> None:
    what, same = "cannot run on the Ray cluster", f"Install vgg-cli {__version__} on every node"
    if "absent" in found:
        raise DeviceError(what, "", f"its node {node} has no package vggcli ({found['absent']})", same)
    if found["version"] != __version__:
        raise DeviceError(
            what, "", f"its node {node} has version {found['version']} of vggcli, not {__version__}", same
        )
    if not found["sees"]:
        why = f"its node {node} does not see the folder {where} of this machine"
        raise DeviceError(what, "", why, "Name a folder that all nodes share, or a bucket, with -o")


def as_error(name: str, arguments: Sequence[str], node: str = "") -> VggError:
    """An error that happened on a node, as one of ours."""
    kind: type[VggError] = getattr(errors, name, errors.StoppedError)
    what, where, why, step = arguments
    return kind(what, where, f"{why} (on {node})" if node and node != platform.node() else why, step)
