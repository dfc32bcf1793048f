"""What the figures were measured on, in one paragraph."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

# What decides how fast a CPU multiplies matrices, as the kernel names it.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
_PACKAGES = ("torch", "torchvision", "openvino", "timm", "transformers", "pillow", "numpy")


def describe() -> str:
    """CPU, cores, instruction sets, memory, library versions, and how busy the machine was."""
    cpu = _cpu()
    flags = [flag for flag in _FLAGS if flag in cpu.get("flags", "").split()]
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    versions = ", ".join(f"{name} {version}" for name in _PACKAGES if (version := _version(name)))
    return (
        f"{cpu.get('model name', platform.machine())}, {cores} cores ({', '.join(flags) or 'no known extensions'}), "
        f"{memory:.0f} GB of memory; Python {platform.python_version()}, {versions}; "
        f"load average before the start {os.getloadavg()[0]:.1f}"
    )


def _cpu() -> dict[str, str]:
    """The first processor of /proc/cpuinfo."""
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
