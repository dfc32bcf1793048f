"""What the nodes of a cluster can do: whether they have this package and see the output, and what they compute with."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vggcli import __version__, errors
from vggcli.errors import DeviceError, VggError
from vggcli.scale.cluster import Share, import_ray

if TYPE_CHECKING:
    from vggcli.library.settings import Settings
    from vggcli.scale.storage import Storage

_PROBE_SECONDS = 180.0


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
        version = getattr(vggcli, "__version__", None)
        if version is None:
            return {"absent": "but a folder of that name"}
        return {"version": version, "sees": seen is None or os.path.exists(seen)}

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
        why = f"a node cannot open the classifier ({_last_line(error)})"
        raise DeviceError("cannot run on the Ray cluster", "", why, "Look after its memory") from error
    if "error" in found:
        raise as_error(found["error"], found["arguments"], found["node"])
    return found


def _open(settings: Settings) -> dict[str, Any]:
    """On a node: open a classifier once."""
    from vggcli.classifier import Classifier
    from vggcli.engines import choice

    try:
        with Classifier(settings) as classifier:
            engine = classifier.open_engine()
            why = choice.why(settings.precision, classifier.model, engine)
            found = {"engine": engine.name, "device": engine.device, "precision": engine.precision}
            return {**found, "precision_source": why}
    except VggError as error:
        arguments = [error.what, error.where, error.why, error.next_step]
        return {"error": type(error).__name__, "arguments": arguments, "node": platform.node()}


def _check_is_gone(ray: Any, node: dict[str, Any], error: Exception) -> None:
    """A node that left while it was asked is no fault of the run."""
    alive = {other["NodeID"] for other in ray.nodes() if other["Alive"]}
    if node["NodeID"] in alive:
        why = f"its node {node['NodeManagerAddress']} does not answer ({_last_line(error)})"
        raise DeviceError("cannot run on the Ray cluster", "", why, "Look after that node") from error


def _last_line(error: Exception) -> str:
    """What an error of a Ray task comes to, below the node and the stack that it begins with."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip().rstrip(".")[:200]


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
