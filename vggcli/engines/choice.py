"""Which engine runs a model: what the user names, else the fastest that is here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vggcli.engines import ENGINES, PRECISIONS, Engine, devices, folding, openvino
from vggcli.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from vggcli.weights.model import Model

_log = logging.getLogger("vggcli")


def check(engine: str, device: str, precision: str = "auto") -> None:
    """Refuse a combination that cannot be, before anything heavy is loaded.

    Raises:
        UsageError: an unknown engine, device or precision, or OpenVINO on a GPU.
        DeviceError: OpenVINO is asked for and not installed.
    """
    for what, asked, known in (("engine", engine, ENGINES), ("precision", precision, PRECISIONS)):
        if asked not in known:
            raise UsageError(f"unknown {what}", asked, "", f"Known are {', '.join(known)}")
    devices.check(device)
    if engine != "openvino":
        return
    if device not in ("auto", "cpu"):
        raise UsageError("cannot use the engine", "openvino", f"it runs on the CPU, not on {device}", "Leave out one")
    if not openvino.installed():
        raise DeviceError("cannot use the engine", "openvino", "it is not installed", f"Run {openvino.INSTALL}")


def open_engine(
    model: Model,
    outputs: Sequence[str] | None = None,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Engine:
    """Open a model on an engine.

    Under "auto" the order is: a GPU with torch, the CPU with OpenVINO, the CPU with torch.  What the user should know
    about the choice is logged as a warning.

    Args:
        model: what to run.
        outputs: names of layers, see `Architecture.layer`; `Engine.start` gives their outputs under these names.  None
            for the last layer's, the logits.
        engine: one of `ENGINES`.
        device: see `devices.torch_devices`.
        precision: one of `PRECISIONS`.
        threads: cores to compute on where the device is the CPU; None for those that this process may use.

    Raises:
        UsageError: an unknown engine, device, precision or layer, OpenVINO on a GPU, or fewer threads than one.
        DeviceError: what was asked for cannot be used.
    """
    check(engine, device, precision)
    outputs = folding.check(outputs, model.architecture)
    devices.check_threads(threads)
    precision = resolve_precision(precision, model)
    if engine == "openvino":
        return openvino.OpenVINOEngine(model, precision, outputs, threads)
    on_cpu = device == "cpu" or (device == "auto" and not _has_gpu())
    if engine == "auto" and on_cpu:
        if openvino.installed():
            try:
                return openvino.OpenVINOEngine(model, precision, outputs, threads)
            except DeviceError as error:
                _log.warning("OpenVINO cannot be used here (%s), so PyTorch runs instead", error.why)
        else:
            _log.warning("PyTorch runs; OpenVINO is faster on a CPU and starts sooner: %s", openvino.INSTALL)
    from vggcli.engines.torch import TorchEngine

    if precision == "auto" and not model.architecture.batch_norm and _is_old(device, on_cpu):
        precision = "fp32"  # the fast type of such a GPU is fp16, and the report is of bf16
    return TorchEngine(model, "cpu" if on_cpu else device, precision, outputs, threads)


def resolve_precision(precision: str, model: Model) -> str:
    """The precision asked for, with "auto" narrowed to fp32 for networks without batch norm of which nothing is known.

    Of networks that were really trained bf16 changes as little without batch norm as with it; of ones with random
    features it changes labels (docs/numbers.md).  No file says which it is, so a report beside it has to.
    """
    if precision != "auto" or model.architecture.batch_norm:
        return precision
    report = model.bf16_report
    return "auto" if report is not None and report.is_harmless else "fp32"


def why(precision: str, model: Model, engine: Engine) -> str:
    """Why an engine computes in its precision, a few words; empty where that was asked for or is the device's own.

    Args:
        precision: what was asked for.
        model: what the engine runs.
        engine: opened by `open_engine`.
    """
    if precision != "auto" or model.architecture.batch_norm or engine.fast_precision == "fp32":
        return ""
    if model.bf16_report is not None:
        return str(model.bf16_report)
    return f"without batch norm, and no report says that {engine.fast_precision} keeps its labels"


def _is_old(device: str, on_cpu: bool) -> bool:
    """Whether the device's fast type is fp16."""
    return not on_cpu and devices.torch_precision("auto", devices.torch_devices(device)) == "fp16"


def _has_gpu() -> bool:
    if not devices.may_have_accelerator():
        return False
    try:
        return devices.torch_devices("auto")[0].type != "cpu"
    except DeviceError:
        return False  # no torch, no GPU; the CPU may still do
