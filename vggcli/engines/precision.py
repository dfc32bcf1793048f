"""Full single precision in torch, whatever the program around us has asked torch for, and without asking for it itself.

What torch rounds on its way is switched for the whole process; these leave the switches as they are found.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_switching = threading.Lock()
_switched: list[tuple[Any, str, Any]] = []  # whose attribute, its name, the value to put back
_users = 0


def conv2d_without_tf32(x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A convolution that keeps the map's size, in full single precision: by default CUDA's round to 10 bits.

    What `torch.nn.functional.conv2d` comes to, with the last argument its own instead of the process's switch.
    """
    import torch

    cudnn, ones, padding = torch.backends.cudnn, [1, 1], [kernel.shape[-1] // 2] * 2
    switches = (cudnn.benchmark, cudnn.deterministic, cudnn.enabled)
    return torch._convolution(x, kernel, bias, ones, padding, ones, False, [0, 0], 1, *switches, False)


@contextmanager
def full_single_precision() -> Iterator[None]:
    """Matrix products in full single precision, where the program around us has asked torch for less.

    Torch has one switch for the process, off at first.  It is put back when the last thread in here leaves; only in a
    program that sets it does anything change for others in the meantime.
    """
    global _users
    with _switching:
        if _users == 0:
            for owner, name, full in _precision_switches():
                value = getattr(owner, name)
                if value not in full:
                    setattr(owner, name, full[0])
                    _switched.append((owner, name, value))
        _users += 1
    try:
        yield
    finally:
        with _switching:
            _users -= 1
            while _users == 0 and _switched:
                setattr(*_switched.pop())


def _precision_switches() -> list[tuple[Any, str, tuple[Any, ...]]]:
    """Whose attribute, its name, and the values that mean full precision."""
    import torch

    backends: Any = torch.backends
    if hasattr(backends.cudnn, "conv"):  # torch 2.9; once these are used it refuses to read the older ones
        owners = (backends.cuda.matmul, backends.mkldnn.matmul, backends.mkldnn.conv)
        return [(owner, "fp32_precision", ("ieee", "none")) for owner in owners]
    return [(backends.cuda.matmul, "allow_tf32", (False,))]
