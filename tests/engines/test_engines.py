"""Engines: the network's own logits, the same to the bit in any company, and the engine that was meant."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import networks
import numpy as np
import pytest
import torch
from networks import NARROW, Torchvision, randomised
from numpy.typing import NDArray
from torch.nn import functional

from vggcli.engines import Engine, choice, devices, folding, pages
from vggcli.engines import openvino as on_openvino
from vggcli.engines.openvino import OpenVINOEngine, import_openvino
from vggcli.engines.torch import TorchEngine
from vggcli.errors import DeviceError, UsageError
from vggcli.images.discover import Input
from vggcli.network.module import VGG
from vggcli.run.batches import Inference, Job, Result
from vggcli.weights.model import DEMO_FILE, Model, open_model

openvino = import_openvino()  # a plain import would send telemetry in a thread of its own

# How far each engine may be from the network in fp32, by the largest difference over the largest logit.
TOLERANCE = {"torch": 1e-5, "openvino": 1e-4}
SIZE = 64
Logits = NDArray[np.float32]
Open = Callable[..., Engine]


@pytest.fixture(scope="module")
def demo() -> Iterator[Model]:
    with closing(open_model(DEMO_FILE)) as model:
        yield model


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """Random weights and narrow convolutions, but linear layers wide enough for a matrix product's blocks."""
    path = tmp_path_factory.mktemp("weights") / "narrow.pth"
    torch.save(randomised(Torchvision(widths=NARROW, hidden=1024)).state_dict(), path)
    with closing(open_model(path)) as model:
        yield replace(model, recipe=replace(model.recipe, size=SIZE))


@pytest.fixture(params=["demo", "narrow"])
def model(request: pytest.FixtureRequest) -> Model:
    found: Model = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module", params=["torch", "openvino"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def opened(kind: str, model: Model, precision: str = "fp32") -> Engine:
    if kind == "openvino":
        return OpenVINOEngine(model, precision)
    return TorchEngine(model, "cpu", precision)


@pytest.fixture(scope="module")
def engine(kind: str, narrow: Model) -> Iterator[Engine]:
    """An engine of each kind with the narrow network, for tests that only run batches."""
    with closing(opened(kind, narrow)) as running:
        yield running


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return networks.images(25, SIZE)


def eager(model: Model, pixels: NDArray[np.uint8]) -> Logits:
    """What the reference network says."""
    network = VGG(model.architecture, initialise=False).eval()
    keys = [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]
    state = {key: torch.from_numpy(model.array(key).copy()) for key in keys}
    assert network.load_state_dict(state, strict=False).unexpected_keys == []
    return networks.logits_of(network, pixels)


def distance(got: Logits, expected: Logits) -> float:
    return float(np.abs(got - expected).max() / np.abs(expected).max())


# Logits


def test_fp32_logits_are_the_networks_own(kind: str, model: Model) -> None:
    pixels = networks.images(3, model.recipe.size)
    expected = eager(model, pixels)
    with closing(opened(kind, model)) as running:
        got = running.start(pixels)()

    assert (got.dtype, got.shape) == (np.float32, (3, model.architecture.num_classes))
    assert distance(expected[:1], expected[1:]) > 1e-2, "the logits must depend on the image"
    assert distance(got, expected) <= TOLERANCE[kind]


def test_bf16_logits_are_near(kind: str, demo: Model) -> None:
    pixels = networks.images(2, demo.recipe.size)
    with closing(opened(kind, demo, "bf16")) as running:
        got = running.start(pixels)()

    assert running.precision == "bf16"
    assert got.dtype == np.float32
    assert distance(got, eager(demo, pixels)) <= 0.1


@pytest.mark.parametrize("count", [1, 3, 8, 24])
def test_an_image_has_the_same_logits_in_a_batch_of_any_size(
    engine: Engine, images: NDArray[np.uint8], count: int
) -> None:
    whole = engine.start(images)()
    parts = [engine.start(images[first : first + count])() for first in range(0, 25, count)]

    assert whole.shape == (25, 10)
    assert np.array_equal(np.concatenate(parts), whole)


def test_an_image_has_the_same_logits_at_any_place_beside_any_others(engine: Engine, images: NDArray[np.uint8]) -> None:
    whole = engine.start(images)()
    order = np.random.default_rng(1).permutation(25)

    assert np.array_equal(engine.start(images[order])(), whole[order])
    assert np.array_equal(engine.start(images[[7] * 5])(), whole[[7] * 5])


def test_batches_in_flight_keep_their_own_rows(engine: Engine, images: NDArray[np.uint8]) -> None:
    """More than the engine's depth, of different sizes, asked for in another order than they were begun."""
    expected = [engine.start(images[first : first + 1 + first % 3])() for first in range(6)]
    begun = [engine.start(images[first : first + 1 + first % 3].copy()) for first in range(6)]
    got = {number: begun[number]() for number in (3, 5, 0, 1, 4, 2)}

    assert len(begun) > engine.depth
    assert all(np.array_equal(got[number], expected[number]) for number in range(6))


def test_results_stay_as_they_were_when_the_engine_goes_on(engine: Engine, images: NDArray[np.uint8]) -> None:
    first = engine.start(images[:2])()
    kept = first.copy()
    for _ in range(engine.depth + 1):
        engine.start(images[2:4])()

    assert np.array_equal(first, kept)


def test_engines_say_what_they_are(kind: str, engine: Engine) -> None:
    assert (engine.name, engine.device, engine.precision) == (kind, "cpu", "fp32")
    assert engine.batch_size >= 1
    assert engine.depth >= 1


# Folding


def test_folding_keeps_every_layer_that_computes_and_no_other(narrow: Model) -> None:
    steps = list(folding.steps(narrow))
    names = [step.layer.name for step in steps]

    assert names[:4] == ["conv1-1", "pool1", "conv2-1", "pool2"]
    assert names[-5:] == ["pool5", "avgpool", "fc6", "fc7", "fc8"]
    assert [step.layer.name for step in steps if step.bias is not None and not step.relu] == ["fc8"]
    assert [step.layer.name for step in steps if step.scale is not None] == [n for n in names if n.startswith("conv")]


# Weights stay where they are


@pytest.fixture
def matrices(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Addresses of the matrices that torch multiplies with."""
    seen: list[int] = []
    linear = functional.linear

    def noted(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        seen.append(weight.data_ptr())
        return linear(x, weight, bias)

    monkeypatch.setattr(functional, "linear", noted)
    return seen


def test_torch_on_a_cpu_multiplies_with_the_mapped_file_itself(matrices: list[int], narrow: Model) -> None:
    with closing(opened("torch", narrow)) as running:
        running.start(networks.images(1, SIZE))()
    weights = [
        narrow.array(f"{step.layer.key}.weight") for step in folding.steps(narrow) if step.layer.name[:2] == "fc"
    ]

    assert matrices == [weight.ctypes.data for weight in weights]
    assert not any(weight.flags.owndata for weight in weights)


# Running out, and worse


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory: 9 bytes", MemoryError),
        ("CUDA out of memory. Tried to allocate 20.00 MiB.\nmore", MemoryError),
        ("CUDA error: an illegal memory access was encountered\nmore", DeviceError),
    ],
)
def test_what_torch_raises_becomes_ours(
    monkeypatch: pytest.MonkeyPatch, narrow: Model, images: NDArray[np.uint8], message: str, expected: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(message)

    with closing(opened("torch", narrow)) as running:
        before = running.start(images[:1])()
        with monkeypatch.context() as broken:
            broken.setattr(functional, "conv2d", fail)
            with pytest.raises(expected) as caught:
                running.start(images[:2])()
        assert np.array_equal(running.start(images[:1])(), before), "the engine goes on with smaller batches"

    assert "more" not in str(caught.value)
    assert ("--device cpu" in str(caught.value)) is (expected is DeviceError)


def test_memory_of_a_batch_that_does_not_fit_is_free_before_the_next_try(
    monkeypatch: pytest.MonkeyPatch, narrow: Model, images: NDArray[np.uint8]
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    real = functional.conv2d

    def fill(x: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        assert not any(tensor() is not None for tensor in held), "the batch that failed is still in memory"
        if len(x) > 1:
            big = x.clone()
            held.append(weakref.ref(big))
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return real(x, *arguments, **options)

    with closing(opened("torch", narrow)) as running:
        expected = [running.start(image[None])()[0] for image in images[:4]]
        monkeypatch.setattr(functional, "conv2d", fill)
        monkeypatch.setattr("vggcli.engines.torch._doubled_if_small", lambda x: x)
        jobs = [Job(Input(str(number))) for number in range(4)]
        for job, image in zip(jobs, images[:4], strict=True):
            job.image, job.done = image, True
        batches: list[list[Job] | None] = [jobs, None]
        given: list[Result] = []
        Inference(running, 4).run(lambda *_: batches.pop(0) if batches else None, given.extend)

    assert len(held) == 3  # of four images, and of each half
    for result, logits in zip(given, expected, strict=True):
        assert result.logits is not None
        assert np.allclose(result.logits, logits, rtol=1e-4, atol=1e-4)


def test_a_model_that_does_not_fit_the_device_is_an_error_of_the_device(
    monkeypatch: pytest.MonkeyPatch, narrow: Model
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 392.00 MiB.")

    monkeypatch.setattr(torch, "from_numpy", fail)
    with pytest.raises(DeviceError, match="cannot put the model on cpu: CUDA out of memory") as caught:
        TorchEngine(narrow, "cpu")
    assert caught.value.exit_code == 5


@dataclass
class FailingRequest:
    """An OpenVINO request that fails when begun or when waited for."""

    message: str
    at_start: bool

    def start_async(self, *_: object, **__: object) -> None:
        if self.at_start:
            raise RuntimeError(self.message)

    def wait(self) -> None:
        raise RuntimeError(self.message)


@pytest.mark.parametrize("at_start", [True, False], ids=["start", "wait"])
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Exception from src/inference:\nstd::bad_alloc", MemoryError),
        ("Check failed:\ncould not allocate 9 bytes", MemoryError),
        ("Exception from src/inference:\nthe graph is broken\n", DeviceError),
    ],
)
def test_what_openvino_raises_becomes_ours(
    narrow: Model, images: NDArray[np.uint8], message: str, expected: type[Exception], at_start: bool
) -> None:
    with closing(OpenVINOEngine(narrow, "fp32")) as running:
        before = running.start(images[:1])()
        running._free.append(FailingRequest(message, at_start))
        with pytest.raises(expected, match=message.strip().splitlines()[-1]):
            running.start(images[:2])()
        assert np.array_equal(running.start(images[:1])(), before), "the engine goes on with smaller batches"


# Precision on OpenVINO


@pytest.mark.parametrize(
    ("asked", "capabilities", "expected"),
    [
        ("auto", ["FP32", "INT8"], "fp32"),
        ("auto", ["FP32", "FP16"], "fp32"),
        ("auto", ["FP32", "BF16", "FP16"], "bf16"),
        ("fp32", ["FP32", "BF16", "FP16"], "fp32"),
        ("bf16", ["FP32"], "bf16"),  # emulated
        ("fp16", ["FP32", "FP16"], "fp16"),
    ],
)
def test_openvinos_precision_follows_the_cpu(
    monkeypatch: pytest.MonkeyPatch, narrow: Model, asked: str, capabilities: list[str], expected: str
) -> None:
    hints: list[str] = []

    def refuse(_: object, graph: object, device: str, config: dict[str, Any]) -> None:
        hints.append(config["INFERENCE_PRECISION_HINT"])
        raise RuntimeError("enough")

    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: capabilities)
    monkeypatch.setattr(openvino.Core, "compile_model", refuse)
    with pytest.raises(DeviceError, match="enough"):
        OpenVINOEngine(narrow, asked)

    assert hints == [{"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[expected]]


def test_half_precision_without_hardware_is_refused(monkeypatch: pytest.MonkeyPatch, narrow: Model) -> None:
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "BF16"])
    with pytest.raises(DeviceError, match=r"cannot compute in fp16: .*\. Use --precision auto or fp32") as caught:
        OpenVINOEngine(narrow, "fp16")
    assert caught.value.exit_code == 5


# Importing OpenVINO


def test_openvino_is_imported_without_torch_and_leaves_no_trace(tmp_path: Path) -> None:
    code = (
        "import sys; from vggcli.engines.openvino import import_openvino; package = import_openvino(); "
        "print(package.Core.__name__, 'openvino.tools.ovc' in sys.modules, 'torch' in sys.modules, "
        "import_openvino() is package)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert done.stdout.split() == ["Core", "False", "False", "True"]


def test_an_openvino_that_cannot_be_imported_leaves_no_trace_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a half import may keep a later one from the model converter."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)

    def fail(name: str) -> None:
        raise ImportError("libopenvino.so is broken")

    monkeypatch.setattr(on_openvino.importlib, "import_module", fail)
    with pytest.raises(ImportError, match="broken"):
        on_openvino.import_openvino()
    assert "openvino.tools.ovc" not in sys.modules


# Which engine


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that shows no sign of a GPU; asking torch for one fails the test."""

    def asked() -> bool:
        raise AssertionError("torch was asked for CUDA")

    monkeypatch.setattr(devices, "may_have_accelerator", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", asked)


@pytest.fixture
def open_engine(narrow: Model) -> Iterator[Callable[..., tuple[Engine, list[str]]]]:
    """The engine for a command line, and the notes on it."""
    running: list[Engine] = []

    def run(engine: str = "auto", device: str = "auto", precision: str = "fp32") -> tuple[Engine, list[str]]:
        notes: list[str] = []
        running.append(choice.open_engine(narrow, engine, device, precision, notes.append))
        return running[-1], notes

    yield run
    for engine in running:
        engine.close()


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_without_a_gpu_openvino_runs_and_torch_is_not_asked_for_one(device: str, open_engine: Open) -> None:
    engine, notes = open_engine(device=device)

    assert (engine.name, engine.device, notes) == ("openvino", "cpu", [])


@pytest.mark.usefixtures("no_gpu")
def test_the_engine_asked_for_runs_without_a_word(open_engine: Open) -> None:
    assert [open_engine(name)[0].name for name in ("torch", "openvino")] == ["torch", "openvino"]
    assert open_engine("torch")[1] == []


@pytest.mark.usefixtures("no_gpu")
def test_without_openvino_torch_runs_and_says_what_is_faster(
    monkeypatch: pytest.MonkeyPatch, open_engine: Open
) -> None:
    monkeypatch.setattr(on_openvino, "installed", lambda: False)
    engine, notes = open_engine()

    assert (engine.name, engine.device) == ("torch", "cpu")
    assert notes == [
        "PyTorch runs; OpenVINO is faster on a CPU and starts sooner: pip install openvino",
    ]


def test_openvino_asked_for_and_absent_is_an_error_with_the_command(
    monkeypatch: pytest.MonkeyPatch, narrow: Model
) -> None:
    monkeypatch.setattr(on_openvino, "installed", lambda: False)
    for ask in (
        lambda: choice.check("openvino", "auto"),
        lambda: choice.open_engine(narrow, "openvino", "cpu", "fp32", print),
        lambda: OpenVINOEngine(narrow),
    ):
        with pytest.raises(DeviceError, match=r"it is not installed\. Run pip install openvino") as caught:
            ask()
        assert caught.value.exit_code == 5


@pytest.fixture
def trimmers(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What happened to each trimmer that was begun."""
    begun: list[list[str]] = []

    class Noted:
        def __init__(self, _: Callable[[], None]) -> None:
            self.events = ["begun"]
            begun.append(self.events)

        def stop(self) -> None:
            self.events.append("stopped")

    monkeypatch.setattr(on_openvino, "PageDropper", Noted)
    return begun


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenVINO that cannot compile anything."""

    def fail(*_: object) -> None:
        raise RuntimeError("Exception from src/inference/core.cpp:1:\nthe CPU is too old\n\n")

    monkeypatch.setattr(openvino.Core, "compile_model", fail)


@pytest.mark.usefixtures("no_gpu", "no_compiler")
def test_where_openvino_cannot_compile_torch_runs_and_says_why(
    open_engine: Open, trimmers: list[list[str]], images: NDArray[np.uint8]
) -> None:
    engine, notes = open_engine()

    assert engine.name == "torch"
    assert notes == ["OpenVINO cannot be used here (the CPU is too old), so PyTorch runs instead"]
    assert engine.start(images[:2])().shape == (2, 10)
    # PyTorch reads the mapped pages in place: nobody may go on dropping them.
    assert trimmers == [["begun", "stopped"]]


@pytest.mark.usefixtures("no_compiler")
def test_openvino_asked_for_and_broken_is_an_error_that_names_the_other_engine(narrow: Model) -> None:
    with pytest.raises(DeviceError, match=r"openvino: the CPU is too old\. Run with --engine torch") as caught:
        choice.open_engine(narrow, "openvino", "auto", "auto", print)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_openvino_on_a_gpu_is_a_contradiction(narrow: Model, device: str) -> None:
    for ask in (
        lambda: choice.check("openvino", device),
        lambda: choice.open_engine(narrow, "openvino", device, "auto", print),
    ):
        with pytest.raises(UsageError, match=f"it runs on the CPU, not on {device}") as caught:
            ask()
        assert caught.value.exit_code == 2


@pytest.mark.parametrize("engine", ["auto", "torch", "openvino"])
def test_an_unknown_device_is_refused_for_every_engine(engine: str) -> None:
    with pytest.raises(UsageError, match="unknown device tpu"):
        choice.check(engine, "tpu")


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

    assert open_engine()[0].name == "openvino"


@pytest.mark.parametrize(
    ("precision", "batch_norm", "runs"),
    [("auto", True, "auto"), ("auto", False, "fp32"), ("bf16", False, "bf16"), ("fp16", True, "fp16")],
)
def test_auto_is_full_precision_without_batch_norm(precision: str, batch_norm: bool, runs: str) -> None:
    model = SimpleNamespace(architecture=SimpleNamespace(batch_norm=batch_norm))
    assert choice.resolve_precision(precision, model) == runs  # type: ignore[arg-type]


def test_under_auto_a_gpu_goes_before_openvino(monkeypatch: pytest.MonkeyPatch, narrow: Model) -> None:
    from vggcli.engines import torch as on_torch

    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(devices, "may_have_accelerator", lambda: True)
    monkeypatch.setattr(devices, "torch_devices", lambda _: [torch.device("cuda", 0)])
    monkeypatch.setattr(on_torch, "TorchEngine", lambda *arguments: asked.append(arguments))
    choice.open_engine(narrow, "auto", "auto", "auto", print)

    assert asked == [(narrow, "auto", "auto")]


# Trimming


def test_a_trimmer_works_until_it_is_stopped() -> None:
    calls = 0
    thrice = threading.Event()

    def forget() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            thrice.set()

    before = set(threading.enumerate())
    trimmer = pages.PageDropper(forget)
    (thread,) = set(threading.enumerate()) - before
    assert thrice.wait(60), "it works by itself"
    trimmer.stop()
    thread.join(60)
    assert not thread.is_alive()
    after = calls
    trimmer.stop()

    assert calls == after >= 4, "once more when it is stopped, and then no more"
    assert thread.daemon, "it never keeps the program from ending"


def test_pages_are_dropped_until_the_first_answer_and_no_longer(
    narrow: Model, images: NDArray[np.uint8], trimmers: list[list[str]]
) -> None:
    with closing(OpenVINOEngine(narrow, "fp32")) as running:
        assert trimmers == [["begun"]]
        running.start(images[:1])()
        assert trimmers == [["begun", "stopped"]]


def test_an_engine_that_is_closed_unused_drops_no_more_pages(narrow: Model, trimmers: list[list[str]]) -> None:
    OpenVINOEngine(narrow, "fp32").close()

    assert trimmers == [["begun", "stopped"]]
