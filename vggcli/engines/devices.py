"""Which device and which precision: what the user asks for against what the machine has."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vggcli.engines import cpu
from vggcli.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

_DEVICE = re.compile(r"auto|cpu|mps|cuda(?::\d+(?:,\d+)*)?")
ON_CPU = "Run with --device cpu"
_CGROUP = Path("/sys/fs/cgroup")
_BF16_CAPABILITY = (8, 0)  # CUDA's number for the first cards that multiply bf16
# How CUDA and its libraries say it, torch's own type apart.  cuDNN finds no plan that fits into what is left.
_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "alloc_failed",
    "unable to find an engine",
    "unable to find a valid cudnn algorithm",
)


def check(device: str) -> None:
    """Refuse a device that is none, before anything heavy is loaded."""
    if not _DEVICE.fullmatch(device):
        raise UsageError(
            "unknown device", device, "", "Known are auto, cpu, cuda, cuda:N, cuda:N,M for several GPUs, and mps"
        )


def may_have_accelerator() -> bool:
    """Whether the machine shows any sign of a GPU that torch could use; importing torch to ask would cost seconds."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll").exists()
    signs = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd", "/proc/driver/nvidia/version")
    return any(os.path.exists(sign) for sign in signs)


def cores() -> int:
    """Cores that this process may use: its affinity, and the CPU quota of its container."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return available if quota is None else max(1, min(available, round(quota)))


def _quota() -> float | None:
    """Cores that the container may use by its cgroup, version 2 or 1; None without a limit."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((_CGROUP / name).read_text() for name in files).split()
            return int(quota) / int(period) if quota not in ("max", "-1") else None
        except (OSError, ValueError, ZeroDivisionError):
            pass  # no container, or the other kind of cgroup
    return None


def check_threads(threads: int | None) -> None:
    """Refuse fewer threads than one with a UsageError."""
    if threads is not None and threads < 1:
        raise UsageError("cannot compute on", f"{threads} threads", "there must be at least one", "Use 1 or more")


def closed(engine: str) -> DeviceError:
    """What an engine says that is used after `Engine.close`."""
    return DeviceError("cannot use the engine", engine, "it is closed", "Open another")


def import_torch() -> Any:
    """The torch package; DeviceError when it cannot be imported."""
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways, OSError for a missing library among them
        raise DeviceError(
            "cannot use the engine", "torch", f"importing it fails ({first_line(error)})", "Run pip install torch"
        ) from error
    return torch


def torch_devices(asked: str) -> list[torch.device]:
    """The devices meant by `--device`, best first under "auto".

    Raises:
        DeviceError: the device is not there.
    """
    check(asked)
    torch = import_torch()
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if asked == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("cannot use the device", asked, "this machine has no Metal GPU", ON_CPU)
    if not asked.startswith("cuda"):
        return [torch.device(asked)]
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        why = "torch sees no CUDA GPU" if built else "the installed torch is built without CUDA"
        raise DeviceError("cannot use the device", asked, why, ON_CPU)
    numbers = [int(number) for number in asked.partition(":")[2].split(",") if number] or [0]
    count = torch.cuda.device_count()
    absent = [number for number in numbers if number >= count]
    if absent:
        raise DeviceError(
            "cannot use the device", f"cuda:{absent[0]}", f"there are {count}, counted from 0", f"{ON_CPU} or cuda:0"
        )
    return [torch.device("cuda", number) for number in dict.fromkeys(numbers)]


def torch_precision(asked: str, targets: list[torch.device]) -> str:
    """What `--precision` means on devices of one type; the same for all of them, so that a row says what computed it.

    Raises:
        DeviceError: a device does not compute in that type.
    """
    import torch

    kind = targets[0].type
    old = [t for t in targets if kind == "cuda" and torch.cuda.get_device_capability(t) < _BF16_CAPABILITY]
    if asked == "auto":
        if kind == "cuda":
            return "fp16" if old else "bf16"
        return "bf16" if kind == "cpu" and cpu.has_amx() else "fp32"
    if asked == "bf16" and old:
        raise DeviceError("cannot compute in", "bf16", f"{old[0]} is too old for it", "Use fp16 or fp32")
    if asked == "fp16" and kind == "cpu":
        raise DeviceError("cannot compute in", "fp16", "torch has no fast half precision on CPUs", "Use bf16 or fp32")
    return asked


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory: a type of its own on GPUs, a sentence on CPUs."""
    import torch

    text = str(error).lower()
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(words in text for words in _OUT_OF_MEMORY)


def release_memory(device: torch.device) -> None:
    """Give cached blocks back, so that a smaller batch finds room."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()


def first_line(error: BaseException) -> str:
    """The part of a foreign error that fits into one of ours."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).strip().rstrip(".")[:200]
