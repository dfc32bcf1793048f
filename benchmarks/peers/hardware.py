"""What the torch peers ask the CPU."""

from __future__ import annotations

import torch


def fast_dtype() -> torch.dtype:
    """bf16 where the CPU has AMX for it, else fp32: AVX512-BF16 and emulated bf16 are slower."""
    return torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32
