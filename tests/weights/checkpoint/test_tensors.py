"""Every tensor that torch can save reads back as torch.load reads it: any dtype, shape, view, stride and sharing."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_examples import as_torch, leaves, save
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from vggcli.weights.checkpoint import Tensor, open_checkpoint

NUMBERS = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.complex128,
    torch.uint16,
    torch.uint32,
]
UNTYPED = [torch.uint16, torch.uint32]
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@st.composite
def bases(draw: st.DrawFn) -> torch.Tensor:
    """A contiguous tensor of any dtype and up to five dimensions, of random bits (but for bool)."""
    shape = draw(st.lists(st.integers(0, 4), max_size=5))
    dtype = draw(st.sampled_from(NUMBERS))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    if dtype == torch.bool:
        return torch.rand(shape, generator=generator) > 0.5
    size = torch.tensor([], dtype=dtype).element_size()
    return torch.randint(0, 256, (*shape, size), generator=generator, dtype=torch.uint8).view(dtype).reshape(shape)


@st.composite
def views(draw: st.DrawFn, base: torch.Tensor) -> torch.Tensor:
    """The tensor itself or something that looks into its memory."""
    view = base
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["permute", "slice", "select", "expand", "parameter", "channels_last"]))
        if kind == "permute":
            view = view.permute(draw(st.permutations(range(view.dim()))))
        elif kind == "slice" and view.dim() and view.shape[0]:
            first = draw(st.integers(0, view.shape[0] - 1))
            view = view[first :: draw(st.integers(1, 2))]
        elif kind == "select" and view.dim() and view.shape[-1]:
            view = view[..., draw(st.integers(0, view.shape[-1] - 1))]
        elif kind == "expand":
            view = view.unsqueeze(0).expand(draw(st.integers(0, 3)), *view.shape)
        elif kind == "parameter" and view.is_floating_point() and not isinstance(view, torch.nn.Parameter):
            view = torch.nn.Parameter(view, requires_grad=draw(st.booleans()))
        elif kind == "channels_last" and view.dim() == 4:
            view = view.detach().contiguous(memory_format=torch.channels_last)
    return view


@st.composite
def states(draw: st.DrawFn) -> OrderedDict[str, Any]:
    """A state_dict with views into shared memory."""
    state: OrderedDict[str, Any] = OrderedDict()
    for i in range(draw(st.integers(1, 4))):
        base = draw(bases())
        for j in range(draw(st.integers(1, 3))):
            state[f"block{i}.tensor{j}"] = draw(views(base))
    return state


def assert_same(ours: Tensor, theirs: torch.Tensor) -> None:
    assert ours.dtype == str(theirs.dtype).removeprefix("torch.")
    assert ours.shape == tuple(theirs.shape)
    assert ours.stride == theirs.stride()
    read = as_torch(ours)
    wanted = theirs.detach().clone(memory_format=torch.contiguous_format)
    if wanted.numel():  # compared bit by bit, so that NaN equals NaN
        assert torch.equal(read.reshape(-1).view(torch.uint8), wanted.reshape(-1).view(torch.uint8))
        assert ours.numpy().strides == tuple(
            step * wanted.element_size() if size > 1 else wanted.element_size()
            for size, step in zip(ours.shape, ours.stride, strict=True)
        )


@pytest.mark.parametrize("form", ["zip", "legacy"])
@given(state=states())
@QUICK
def test_equals_torch_load(form: str, state: OrderedDict[str, Any], tmp_path: Path) -> None:
    if form == "legacy":  # torch writes the newer dtypes in this format, too, but fails to read them
        assume(not any(tensor.dtype in UNTYPED for tensor in state.values()))
    path = save(state, tmp_path / "w", form)
    loaded = torch.load(path, weights_only=True)
    with open_checkpoint(path) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        assert list(checkpoint.root) == list(loaded)
        for name, theirs in loaded.items():
            assert_same(checkpoint.root[name], theirs)


@given(tensors=st.lists(bases(), min_size=1, max_size=4))
@QUICK
def test_equals_the_safetensors_loader(tensors: list[torch.Tensor], tmp_path: Path) -> None:
    import safetensors.torch

    tensors = [tensor.to(torch.complex64) if tensor.dtype == torch.complex128 else tensor for tensor in tensors]
    path = save({f"t{i}": tensor for i, tensor in enumerate(tensors)}, tmp_path / "w", "safetensors")
    loaded = safetensors.torch.load_file(path)
    with open_checkpoint(path) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        assert set(checkpoint.root) == set(loaded)
        for name, theirs in loaded.items():
            assert_same(checkpoint.root[name], theirs)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_attributes_on_tensors_and_parameters_do_no_harm(form: str, tmp_path: Path) -> None:
    tensor, parameter = torch.arange(3.0), torch.nn.Parameter(torch.ones(2))
    tensor.note, parameter.note = "mine", {"also": 1}  # type: ignore[attr-defined]
    with open_checkpoint(save([tensor, parameter], tmp_path / "w", form)) as checkpoint:
        for ours, theirs in zip(leaves(checkpoint.root), (tensor, parameter), strict=True):
            assert_same(ours, theirs)


def test_every_protocol_of_torch_save(tmp_path: Path) -> None:
    for protocol in (2, 3, 4, 5):
        for new in (True, False):
            torch.save(
                {"w": torch.arange(4.0), "raw": b"\x00\xff", "set": frozenset({"a"})},
                tmp_path / "w",
                pickle_protocol=protocol,
                _use_new_zipfile_serialization=new,
            )
            with open_checkpoint(tmp_path / "w") as checkpoint:
                assert isinstance(checkpoint.root, dict)
                assert checkpoint.root["raw"] == b"\x00\xff"
                assert checkpoint.root["set"] == {"a"}
                assert_same(checkpoint.root["w"], torch.arange(4.0))


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_float8_is_described_and_its_numbers_are_refused(form: str, tmp_path: Path) -> None:
    from vggcli.errors import CheckpointError

    tensor = torch.ones(3).to(torch.float8_e4m3fn)
    with open_checkpoint(save([tensor], tmp_path / "w", form)) as checkpoint:
        (ours,) = leaves(checkpoint.root)
        assert (ours.dtype, ours.shape, ours.nbytes) == ("float8_e4m3fn", (3,), 3)
        with pytest.raises(CheckpointError, match="float8_e4m3fn"):
            ours.numpy()
