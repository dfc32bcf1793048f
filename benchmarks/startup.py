"""Start-up of the commands that compute nothing: seconds, memory, and how much of a weights file they touch."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import resource
from pathlib import Path

import processes
from contestants import VGG
from figures import number, spread, table
from materials import Materials


def report(materials: Materials, rounds: int) -> str:
    """A table of `vgg --help`, and of `vgg inspect` on the same weights in torch's zip and legacy formats.

    Raises:
        FailedError: a run failed.
    """
    zipped, legacy = materials.model("zip"), materials.model("legacy")
    rows = [
        _row("vgg --help", [VGG, "--help"], None, rounds),
        _row("vgg inspect, zip", [VGG, "inspect", str(zipped)], zipped, rounds),
        _row("vgg inspect, legacy", [VGG, "inspect", str(legacy)], legacy, rounds),
    ]
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    note = f"A peak of less than {number(own)} MB, this process's own, cannot be seen; see processes.run."
    return table(["", "seconds", "peak, MB", "of the file in memory afterwards, MB"], rows) + f"\n\n{note}"


def _row(name: str, command: list[str], file: Path | None, rounds: int) -> list[str]:
    processes.run(command)
    runs = [processes.run(command) for _ in range(rounds)]
    touched = "" if file is None else number(_touched_mb(command, file))
    return [name, str(spread([run.seconds for run in runs])), str(spread([run.peak_mb for run in runs])), touched]


def _touched_mb(command: list[str], file: Path) -> float:
    """MB that a command brings into an emptied page cache, read-ahead included; NaN where it cannot be emptied."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())  # pages that are not written yet cannot be dropped
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident_bytes(file):
        return math.nan
    processes.run(command)
    return resident_bytes(file) / 1e6


def resident_bytes(file: Path) -> int:
    """How much of a file is in the page cache; see mincore(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    # A private mapping only because ctypes wants writable memory to find its address; nothing is written.
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        start = ctypes.c_char.from_buffer(mapped)
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(mapped)), pages)
        del start  # else the mapping cannot be closed
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(file))
    return sum(page & 1 for page in pages) * mmap.PAGESIZE
