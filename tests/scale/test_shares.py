"""What one actor gets of a cluster: cores that are never given twice, one GPU, and room for its weights."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from vggcli.errors import DeviceError, UsageError
from vggcli.scale import cluster, waves
from vggcli.scale.cluster import Share, best_share, share_of

GB = 10**9
WEIGHTS = 500_000_000
MEMORY = 2 * WEIGHTS + (512 << 20)
Nodes = Callable[..., None]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """A cluster of nodes of (cores, GPUs, GB of memory); one without cores is dead."""

    def use(*sizes: tuple[int, int, float]) -> None:
        found = [
            {"Alive": cores > 0, "Resources": {"CPU": float(cores or 64), "GPU": float(gpus), "memory": size * GB}}
            for cores, gpus, size in sizes
        ]
        monkeypatch.setattr(cluster, "import_ray", lambda: SimpleNamespace(nodes=lambda: found))

    return use


@pytest.mark.parametrize(
    ("cores", "share"),
    [([1], 1), ([2, 2], 2), ([4], 4), ([64] * 9, 8), ([7, 8], 7), ([2, 64], 8), ([3, 3], 3), ([9], 3), ([2, 3], 1)],
)
def test_shares_of_cores_leave_few_of_them_idle(cores: list[int], share: int) -> None:
    assert best_share(cores) == share


@pytest.mark.parametrize(
    ("sizes", "device", "threads", "expected"),
    [
        ([(2, 0, 8)], "auto", None, (2, 0, 1)),
        ([(64, 0, 256), (64, 0, 256), (0, 0, 256)], "cpu", None, (8, 0, 16)),
        ([(64, 0, 8)], "auto", None, (8, 0, 5)),  # of eight, memory leaves five
        ([(8, 0, 64), (4, 0, 64)], "auto", 2, (2, 0, 6)),
        ([(16, 2, 64), (32, 0, 64)], "auto", None, (8, 1, 2)),
        ([(16, 2, 64), (32, 0, 64)], "cuda", 4, (4, 1, 2)),
        ([(16, 2, 64), (32, 0, 64)], "cpu", None, (8, 0, 6)),
    ],
)
def test_what_an_actor_gets(
    sizes: list[tuple[int, int, float]],
    device: str,
    threads: int | None,
    expected: tuple[int, int, int],
    nodes: Nodes,
) -> None:
    nodes(*sizes)
    cores, gpus, actors = expected
    assert share_of(device, threads, WEIGHTS) == Share(cores, gpus, MEMORY, actors)


@pytest.mark.parametrize(
    ("sizes", "device", "threads", "why"),
    [
        ([(2, 0, 1)], "auto", None, "no node has 2 cores and 1.5 GB of memory. "),
        ([(2, 0, 8), (4, 0, 8)], "auto", 8, "no node has 8 cores and 1.5 GB of memory"),
        ([(2, 0, 8)], "cuda", None, "no node of the cluster has a GPU"),
        ([(2, 1, 1)], "auto", None, "beside its GPU"),
        ([(0, 0, 8)], "auto", None, "no node has 1 core and"),
    ],
)
def test_a_cluster_without_room_is_refused(
    sizes: list[tuple[int, int, float]], device: str, threads: int | None, why: str, nodes: Nodes
) -> None:
    nodes(*sizes)
    with pytest.raises(DeviceError, match=why):
        share_of(device, threads, WEIGHTS)


@pytest.mark.parametrize("device", ["cuda:1", "cuda:0,1", "mps"])
def test_devices_are_handed_out_by_ray(device: str, nodes: Nodes) -> None:
    nodes((2, 1, 8))
    with pytest.raises(UsageError, match="Ray hands out the devices"):
        share_of(device, None, WEIGHTS)


@pytest.mark.parametrize(
    ("error", "cause", "why"),
    [
        (
            ConnectionError("Failed to connect"),
            RuntimeError("x\nRPC error: InvalidAuthToken: y"),
            "it asks for a token",
        ),
        (
            RuntimeError("Version mismatch: The cluster was started with:\n  Ray: 2.1\nThis"),
            None,
            "with: Ray: 2.1 This",
        ),
        (ConnectionRefusedError(111, "Connection refused"), None, "head:6379: connection refused. Give --ray"),
    ],
)
def test_what_ray_says_of_a_connection_is_one_line(error: Exception, cause: Exception | None, why: str) -> None:
    error.__cause__ = cause
    said = cluster._unreachable("head:6379", error)
    assert why in str(said)
    assert "\n" not in str(said)


def test_a_wave_is_long_for_its_actors_and_bounded() -> None:
    assert waves.most_blocks(Share(2, 0, MEMORY, 1)) == 512
    assert waves.most_blocks(Share(8, 0, MEMORY, 1000)) == 32_000
