"""Full single precision in torch, and the process's switches as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import torch
from engine_examples import logits, opened
from numpy.typing import NDArray
from torch.nn import functional

from vggcli.engines import precision
from vggcli.engines.precision import conv2d_without_tf32, full_single_precision
from vggcli.weights.model import Model


def switches() -> list[Any]:
    """What torch would round, as it stands."""
    named = [getattr(owner, name) for owner, name, _ in precision._precision_switches()]
    return [*named, torch.backends.cudnn.allow_tf32]


@pytest.fixture
def rounding() -> Iterator[list[Any]]:
    """A program that has asked torch for fast matrix products; its switches."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield switches()
    torch.set_float32_matmul_precision(before)


def is_full() -> bool:
    return all(getattr(owner, name) in full for owner, name, full in precision._precision_switches())


def test_products_are_in_full_precision_inside_and_the_programs_own_outside(rounding: list[Any]) -> None:
    assert not is_full()
    with full_single_precision():
        assert is_full()
    assert switches() == rounding

    with pytest.raises(KeyError), full_single_precision():
        raise KeyError
    assert switches() == rounding


def test_the_last_of_several_threads_puts_the_switches_back(rounding: list[Any]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with full_single_precision():
            entered.set()
            leave.wait(60)

    with full_single_precision():
        other = threading.Thread(target=stay)
        other.start()
        assert entered.wait(60)
    assert is_full(), "another thread still computes"
    leave.set()
    other.join(60)

    assert switches() == rounding


def test_nothing_is_switched_where_the_program_asked_for_nothing() -> None:
    before = switches()
    with full_single_precision():
        assert switches() == before
    assert switches() == before


def test_an_engine_in_fp32_computes_in_it_whatever_the_program_asked_for(
    monkeypatch: pytest.MonkeyPatch, rounding: list[Any], narrow: Model, images: NDArray[np.uint8]
) -> None:
    seen: list[bool] = []
    linear = functional.linear
    monkeypatch.setattr(functional, "linear", lambda *given: [seen.append(is_full()), linear(*given)][1])
    with closing(opened("torch", narrow)) as running:
        fast = logits(running, images)
        assert switches() == rounding
    torch.set_float32_matmul_precision("highest")
    with closing(opened("torch", narrow)) as running:
        assert np.array_equal(logits(running, images), fast)

    assert seen == [True] * 6


def test_the_convolution_without_tf32_is_torchs_own() -> None:
    """On a CPU, which knows no tf32: the same numbers; and it says no to tf32 where there is."""
    random = torch.Generator().manual_seed(0)
    x, kernel, bias = (torch.randn(shape, generator=random) for shape in ((3, 5, 14, 14), (7, 5, 3, 3), (7,)))
    with torch.inference_mode():
        assert torch.equal(conv2d_without_tf32(x, kernel, bias), functional.conv2d(x, kernel, bias, padding=1))


def test_the_convolution_without_tf32_says_so_in_the_argument_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(torch, "_convolution", lambda *arguments: given.extend(arguments))
    conv2d_without_tf32(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3), torch.zeros(1))
    (schema,) = [
        schema for schema in torch._C._jit_get_schemas_for_operator("aten::_convolution") if not schema.overload_name
    ]
    named = dict(zip([argument.name for argument in schema.arguments], given, strict=True))

    assert (named["allow_tf32"], named["padding"], named["transposed"], named["groups"]) == (False, [1, 1], False, 1)
    assert named["cudnn_enabled"] is torch.backends.cudnn.enabled
    assert named["benchmark"] is torch.backends.cudnn.benchmark
    assert named["deterministic"] is torch.backends.cudnn.deterministic
