"""Devices and precisions: what is asked for against what the machine has, and the way out when it has not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vggcli.engines import cpu, devices
from vggcli.errors import DeviceError, UsageError

CPU, GPU, METAL = torch.device("cpu"), torch.device("cuda", 0), torch.device("mps")


def gpus(monkeypatch: pytest.MonkeyPatch, count: int, *, metal: bool = False) -> None:
    """A machine with so many CUDA GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: metal)


# Devices


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:12", "cuda:0,1", "cuda:3,1,2"])
def test_known_devices_pass(device: str) -> None:
    devices.check(device)


@pytest.mark.parametrize(
    "device", ["", "tpu", "CPU", "cpu:0", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:0,", "cuda:,1", "cuda 0", "cuda\n"]
)
def test_unknown_devices_are_refused_with_the_known_ones(device: str) -> None:
    for refuse in (devices.check, devices.torch_devices):
        with pytest.raises(UsageError, match=r"unknown device.*Known are auto, cpu, cuda, cuda:N") as caught:
            refuse(device)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("count", "metal", "expected"), [(0, False, "cpu"), (0, True, "mps"), (1, False, "cuda:0"), (2, True, "cuda:0")]
)
def test_auto_takes_the_best_there_is(monkeypatch: pytest.MonkeyPatch, count: int, metal: bool, expected: str) -> None:
    gpus(monkeypatch, count, metal=metal)

    assert devices.torch_devices("auto") == [torch.device(expected)]


@pytest.mark.parametrize(
    ("asked", "numbers"), [("cuda", [0]), ("cuda:1", [1]), ("cuda:1,0", [1, 0]), ("cuda:2,0,2", [2, 0])]
)
def test_several_gpus_in_the_order_asked_for_and_each_once(
    monkeypatch: pytest.MonkeyPatch, asked: str, numbers: list[int]
) -> None:
    gpus(monkeypatch, 3)

    assert devices.torch_devices(asked) == [torch.device("cuda", number) for number in numbers]


@pytest.mark.parametrize("asked", ["cuda", "cuda:0", "cuda:0,1"])
@pytest.mark.parametrize(
    ("built", "why"), [("12.8", "torch sees no CUDA GPU"), (None, "the installed torch is built without CUDA")]
)
def test_without_cuda_the_cpu_is_named_as_the_way_out(
    monkeypatch: pytest.MonkeyPatch, asked: str, built: str | None, why: str
) -> None:
    gpus(monkeypatch, 0)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(DeviceError) as caught:
        devices.torch_devices(asked)

    assert caught.value.exit_code == 5
    assert str(caught.value) == f"cannot use the device {asked}: {why}. Run with --device cpu."


def test_a_gpu_beyond_the_last_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    with pytest.raises(DeviceError, match=r"device cuda:5: there are 2, counted from 0\. Run with --device cpu or"):
        devices.torch_devices("cuda:1,5")


def test_metal_on_a_machine_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    with pytest.raises(DeviceError, match=r"device mps: this machine has no Metal GPU\. Run with --device cpu"):
        devices.torch_devices("mps")


def test_a_broken_torch_is_an_error_with_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DeviceError, match=r"importing it fails \(.+\)\. Run pip install torch"):
        devices.torch_devices("cpu")


def test_torch_is_imported_under_the_programs_own_warning_filters() -> None:
    """The list of filters belongs to the whole process; even a restored one is another thread's surprise."""
    code = """
import warnings
from vggcli.engines import devices
before, shown = warnings.filters, warnings.showwarning
import builtins, sys
imported = builtins.__import__
def look(name, *rest, **more):
    if name == "torch" and "torch" not in sys.modules:
        print(warnings.filters is before, warnings.showwarning is shown)
        raise ImportError("seen")
    return imported(name, *rest, **more)
builtins.__import__ = look
try:
    devices.import_torch()
except Exception as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["True", "True", "DeviceError"]


# Signs of a GPU, found without torch


@pytest.mark.parametrize(
    "sign", ["/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/proc/driver/nvidia/version"]
)
def test_linux_shows_its_gpus(monkeypatch: pytest.MonkeyPatch, sign: str) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices.os.path, "exists", {sign}.__contains__)
    assert devices.may_have_accelerator()

    monkeypatch.setattr(devices.os.path, "exists", set().__contains__)
    assert not devices.may_have_accelerator()


@pytest.mark.parametrize(("machine", "expected"), [("arm64", True), ("x86_64", False)])
def test_only_apples_own_processors_have_metal(monkeypatch: pytest.MonkeyPatch, machine: str, expected: bool) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(devices.platform, "machine", lambda: machine)

    assert devices.may_have_accelerator() is expected


def test_windows_shows_its_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    assert not devices.may_have_accelerator()

    (tmp_path / "System32").mkdir()
    (tmp_path / "System32" / "nvcuda.dll").touch()
    assert devices.may_have_accelerator()


# Cores


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),  # a tenth of a core is still one thread
        ("6400000 100000", 8),
        ("", 8),
        ("many 100000", 8),
        ("100000 0", 8),
        (None, 8),
    ],
)
def test_cores_are_those_of_the_affinity_within_the_containers_quota(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str | None, expected: int
) -> None:
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(devices, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    assert devices.cores() == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [
        ("-1", "100000", 8),
        ("300000", "100000", 3),
        ("20000", "50000", 1),
        ("6400000", "100000", 8),
        ("300000", None, 8),
        ("", "", 8),
    ],
)
def test_the_older_kind_of_cgroup_has_its_quota_in_two_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, period: str | None, expected: int
) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    if period is not None:
        (tmp_path / "cpu" / "cpu.cfs_period_us").write_text(f"{period}\n")
    monkeypatch.setattr(devices, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    assert devices.cores() == expected


@pytest.mark.parametrize(("count", "expected"), [(4, 4), (None, 1)])
def test_cores_where_there_is_no_affinity(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int | None, expected: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    monkeypatch.setattr(devices, "_CGROUP", tmp_path / "absent")

    assert devices.cores() == expected


# Precision


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_on_a_gpu_is_its_fast_type(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    assert devices.torch_precision("auto", [GPU]) == expected


@pytest.mark.parametrize("amx", [False, True])
def test_auto_on_a_cpu_is_bf16_only_on_amx(monkeypatch: pytest.MonkeyPatch, amx: bool) -> None:
    monkeypatch.setattr(cpu, "has_amx", lambda: amx)

    assert devices.torch_precision("auto", [CPU]) == ("bf16" if amx else "fp32")
    assert devices.torch_precision("auto", [METAL]) == "fp32"


def test_several_gpus_compute_in_what_all_of_them_have(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [torch.device("cuda", 0), torch.device("cuda", 1)]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8 - device.index, 0))

    assert devices.torch_precision("auto", gpus) == "fp16"
    assert devices.torch_precision("auto", gpus[:1]) == "bf16"
    with pytest.raises(DeviceError, match=r"cannot compute in bf16: cuda:1 is too old for it\. Use fp16 or fp32"):
        devices.torch_precision("bf16", gpus)


@pytest.mark.parametrize("device", [CPU, GPU, METAL], ids=str)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_what_is_asked_for_is_done_or_refused(
    monkeypatch: pytest.MonkeyPatch, precision: str, device: torch.device
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    if (precision, device) == ("fp16", CPU):
        with pytest.raises(DeviceError, match=r"cannot compute in fp16: .*\. Use bf16 or fp32"):
            devices.torch_precision(precision, [device])
    else:
        assert devices.torch_precision(precision, [device]) == precision


# Foreign errors


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA: no room"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("CUDA error: unspecified launch failure"), False),
    ],
)
def test_out_of_memory_is_told_from_other_failures(error: RuntimeError, expected: bool) -> None:
    assert devices.is_out_of_memory(error) is expected


@pytest.mark.parametrize(("device", "emptied"), [(CPU, 0), (GPU, 1)], ids=str)
def test_only_a_gpu_has_blocks_to_give_back(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, emptied: int
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(None))
    devices.release_memory(device)

    assert len(calls) == emptied


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("\n  Out of luck.\nstack\nmore"), "Out of luck"),
        (OSError(), "OSError"),
        (RuntimeError("x" * 999), "x" * 200),
    ],
    ids=["lines", "silent", "long"],
)
def test_of_a_foreign_error_the_first_line_is_told(error: Exception, expected: str) -> None:
    assert devices.first_line(error) == expected
