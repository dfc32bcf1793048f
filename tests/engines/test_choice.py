"""The engine that was meant, and what is said when it is another."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from engine_examples import logits
from numpy.typing import NDArray

from vggcli.engines import Engine, choice, devices
from vggcli.engines import openvino as on_openvino
from vggcli.engines.openvino import OpenVINOEngine, import_openvino
from vggcli.errors import DeviceError, UsageError
from vggcli.weights.agreement_report import AgreementReport
from vggcli.weights.model import Model

openvino = import_openvino()  # a plain import would send telemetry in a thread of its own
Open = Callable[..., Engine]


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that shows no sign of a GPU; asking torch for one fails the test."""

    def asked() -> bool:
        raise AssertionError("torch was asked for CUDA")

    monkeypatch.setattr(devices, "may_have_accelerator", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", asked)


@pytest.fixture
def open_engine(narrow: Model) -> Iterator[Open]:
    """The engine for what is asked for, in fp32."""
    running: list[Engine] = []

    def run(**asked: Any) -> Engine:
        running.append(choice.open_engine(narrow, **{"precision": "fp32", **asked}))
        return running[-1]

    yield run
    for engine in running:
        engine.close()


@pytest.fixture
def notes(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str]]]:
    """What the package logged: level and text."""
    caplog.set_level(logging.INFO, "vggcli")
    return lambda: [
        (name, text)
        for logger, level, text in caplog.record_tuples
        for name in [logging.getLevelName(level)]
        if logger == "vggcli"
    ]


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_without_a_gpu_openvino_runs_and_torch_is_not_asked_for_one(
    device: str, open_engine: Open, notes: Callable[[], list[tuple[str, str]]]
) -> None:
    engine = open_engine(device=device)

    assert (engine.name, engine.device, notes()) == ("openvino", "cpu", [])


@pytest.mark.usefixtures("no_gpu")
def test_the_engine_asked_for_runs_without_a_word(
    open_engine: Open, notes: Callable[[], list[tuple[str, str]]], capfd: pytest.CaptureFixture[str]
) -> None:
    assert [open_engine(engine=name).name for name in ("torch", "openvino")] == ["torch", "openvino"]
    assert notes() == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("no_gpu")
def test_without_openvino_torch_runs_and_says_what_is_faster(
    monkeypatch: pytest.MonkeyPatch, open_engine: Open, notes: Callable[[], list[tuple[str, str]]]
) -> None:
    monkeypatch.setattr(on_openvino, "installed", lambda: False)
    engine = open_engine()

    assert (engine.name, engine.device) == ("torch", "cpu")
    assert notes() == [("WARNING", "PyTorch runs; OpenVINO is faster on a CPU and starts sooner: pip install openvino")]


def test_openvino_asked_for_and_absent_is_an_error_with_the_command(
    monkeypatch: pytest.MonkeyPatch, narrow: Model
) -> None:
    monkeypatch.setattr(on_openvino, "installed", lambda: False)
    for ask in (
        lambda: choice.check("openvino", "auto"),
        lambda: choice.open_engine(narrow, engine="openvino", device="cpu"),
        lambda: OpenVINOEngine(narrow),
    ):
        with pytest.raises(DeviceError, match=r"it is not installed\. Run pip install openvino") as caught:
            ask()
        assert caught.value.exit_code == 5


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenVINO that cannot compile anything."""

    def fail(*_: object) -> None:
        raise RuntimeError("Exception from src/inference/core.cpp:1:\nthe CPU is too old\n\n")

    monkeypatch.setattr(openvino.Core, "compile_model", fail)


@pytest.mark.usefixtures("no_gpu", "no_compiler")
def test_where_openvino_cannot_compile_torch_runs_and_says_why(
    open_engine: Open,
    notes: Callable[[], list[tuple[str, str]]],
    page_droppers: list[list[str]],
    images: NDArray[np.uint8],
) -> None:
    engine = open_engine()

    assert engine.name == "torch"
    assert notes() == [("WARNING", "OpenVINO cannot be used here (the CPU is too old), so PyTorch runs instead")]
    assert logits(engine, images[:2]).shape == (2, 10)
    # PyTorch reads the mapped pages in place: nobody may go on dropping them.
    assert page_droppers == [["begun", "stopped"]]


@pytest.mark.usefixtures("no_compiler")
def test_openvino_asked_for_and_broken_is_an_error_that_names_the_other_engine(narrow: Model) -> None:
    with pytest.raises(DeviceError, match=r"openvino: the CPU is too old\. Run with --engine torch") as caught:
        choice.open_engine(narrow, engine="openvino")
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_openvino_on_a_gpu_is_a_contradiction(narrow: Model, device: str) -> None:
    for ask in (
        lambda: choice.check("openvino", device),
        lambda: choice.open_engine(narrow, engine="openvino", device=device),
    ):
        with pytest.raises(UsageError, match=f"it runs on the CPU, not on {device}") as caught:
            ask()
        assert caught.value.exit_code == 2


@pytest.mark.parametrize("engine", ["auto", "torch", "openvino"])
def test_an_unknown_device_is_refused_for_every_engine(engine: str) -> None:
    with pytest.raises(UsageError, match="unknown device tpu"):
        choice.check(engine, "tpu")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"engine": "onnx"}, r"unknown engine onnx\. Known are auto, torch, openvino\."),
        ({"precision": "fp64"}, r"unknown precision fp64\. Known are auto, fp32, bf16, fp16\."),
        ({"device": "tpu"}, "unknown device tpu"),
        ({"outputs": ("fc9",)}, "unknown layer fc9"),
        ({"outputs": ()}, "no output is asked for"),
        ({"threads": 0}, r"cannot compute on 0 threads: there must be at least one\. Use 1 or more\."),
        ({"threads": -2}, "cannot compute on -2 threads"),
    ],
    ids=str,
)
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_what_no_engine_knows_is_refused_before_anything_is_opened(
    monkeypatch: pytest.MonkeyPatch, narrow: Model, engine: str, asked: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(type(narrow), "array", lambda *_: pytest.fail("a weight was read"))
    with pytest.raises(UsageError, match=words) as caught:
        choice.open_engine(narrow, **{"engine": engine, **asked})
    assert caught.value.exit_code == 2


def test_a_gpu_asked_for_and_absent_is_no_reason_to_take_the_cpu(
    monkeypatch: pytest.MonkeyPatch, open_engine: Open
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="Run with --device cpu"):
        open_engine(device="cuda")


@pytest.mark.parametrize("why", ["no GPU after all", "no torch"])
def test_a_sign_of_a_gpu_that_torch_cannot_use_leaves_the_cpu(
    monkeypatch: pytest.MonkeyPatch, open_engine: Open, why: str
) -> None:
    monkeypatch.setattr(devices, "may_have_accelerator", lambda: True)
    if why == "no torch":
        monkeypatch.setitem(sys.modules, "torch", None)
    else:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    assert open_engine().name == "openvino"


def model_of(batch_norm: bool, report: AgreementReport | None = None) -> Any:
    """What the choice of a precision looks at."""
    return SimpleNamespace(architecture=SimpleNamespace(batch_norm=batch_norm), bf16_report=report)


@pytest.mark.parametrize(
    ("precision", "batch_norm", "runs"),
    [("auto", True, "auto"), ("auto", False, "fp32"), ("bf16", False, "bf16"), ("fp16", True, "fp16")],
)
def test_auto_is_full_precision_without_batch_norm(precision: str, batch_norm: bool, runs: str) -> None:
    model = model_of(batch_norm)
    assert choice.resolve_precision(precision, model) == runs


@pytest.mark.parametrize(("least_equal", "runs"), [(0.98, "auto"), (0.979, "fp32")])
def test_a_report_can_let_auto_be_the_fast_type(least_equal: float, runs: str) -> None:
    report = AgreementReport("bf16", 300, 299, least_equal, 0.001)

    assert choice.resolve_precision("auto", model_of(False, report)) == runs


@pytest.mark.parametrize(
    ("asked", "batch_norm", "fast", "is_measured", "why"),
    [
        ("auto", False, "bf16", True, "bf16 kept 299 of 300 labels"),
        ("auto", False, "bf16", False, "without batch norm, and no report says that bf16 keeps its labels"),
        ("auto", False, "fp32", True, ""),  # whatever it is, this device has nothing faster
        ("fp32", False, "bf16", True, ""),
        ("auto", True, "bf16", False, ""),
    ],
)
def test_a_choice_that_is_not_the_devices_own_has_a_reason(
    asked: str, batch_norm: bool, fast: str, is_measured: bool, why: str
) -> None:
    report = AgreementReport("bf16", 300, 299, 0.981, 0.001) if is_measured else None
    model = model_of(batch_norm, report)

    assert choice.why(asked, model, SimpleNamespace(fast_precision=fast)) == why  # type: ignore[arg-type]


def test_under_auto_a_gpu_goes_before_openvino(monkeypatch: pytest.MonkeyPatch, narrow: Model) -> None:
    from vggcli.engines import torch as on_torch

    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(devices, "may_have_accelerator", lambda: True)
    monkeypatch.setattr(devices, "torch_devices", lambda _: [torch.device("cuda", 0)])
    monkeypatch.setattr(on_torch, "TorchEngine", lambda *arguments: asked.append(arguments))
    choice.open_engine(narrow, ("fc7",), threads=3)

    assert asked == [(narrow, "auto", "auto", ("fc7",), 3)]
