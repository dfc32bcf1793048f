"""What the torch peers ask the CPU."""

from __future__ import annotations

import torch


def fast_dtype() -> torch.dtype:
    """bf16 where the CPU multiplies it in hardware (AVX512-BF16 or AMX), else fp32: emulated bf16 is slower."""
    has_bf16 = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if has_bf16 else torch.float32
