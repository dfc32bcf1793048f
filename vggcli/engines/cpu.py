"""What this CPU multiplies with, and the batch that suits it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_CPUINFO = Path("/proc/cpuinfo")
_BATCH_SIZE = 8  # measured on 2 and 4 cores: larger batches cost memory (13 MB per image in fp32) and win nothing
# By precision, and whether it runs on AMX, whose tiles have 16 rows: measured there, 240 photos of vgg16_bn take 4.75
# instead of 5.3 s.
_BATCH_SIZES: Mapping[tuple[str, bool], int] = MappingProxyType({("bf16", True): 16})


def batch_size(precision: str, amx: bool) -> int:
    """Images per batch.

    Args:
        precision: "fp32", "bf16", ...: what really runs.
        amx: see `has_amx`.
    """
    return _BATCH_SIZES.get((precision, amx), _BATCH_SIZE)


def has_amx() -> bool:
    """Whether bf16 runs on AMX: the CPU has it, as Linux tells, and oneDNN is not held back from it.

    Without it bf16 is no fast type, also where AVX512-BF16 multiplies it: measured there, vgg16_bn takes 350 ms of CPU
    time per image in bf16 and 210 in fp32 with OpenVINO, 385 and 290 with torch.  Other systems than Linux do not tell,
    and count as without.
    """
    highest = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "DEFAULT"
    if highest.upper() not in ("ALL", "DEFAULT") and "AMX" not in highest.upper():
        return False
    try:
        with _CPUINFO.open() as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")  # of the first core
    except OSError:
        return False
    return "amx_bf16" in flags.split()
