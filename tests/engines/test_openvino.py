"""OpenVINO: its precision, its words for memory that is refused, and an import that leaves the process whole."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from engine_examples import logits
from numpy.typing import NDArray

from vggcli.engines import cpu, openvino_import
from vggcli.engines import openvino as on_openvino
from vggcli.engines.openvino import OpenVINOEngine, import_openvino
from vggcli.errors import DeviceError
from vggcli.weights.model import Model

openvino = import_openvino()  # a plain import would send telemetry in a thread of its own


# Precision


@pytest.mark.parametrize(
    ("asked", "amx", "capabilities", "expected"),
    [
        ("auto", True, ["FP32", "INT8"], "fp32"),
        ("auto", True, ["FP32", "FP16"], "fp32"),
        ("auto", True, ["FP32", "BF16", "FP16"], "bf16"),
        ("auto", False, ["FP32", "BF16", "FP16"], "fp32"),  # AVX512-BF16, which is slower
        ("fp32", True, ["FP32", "BF16", "FP16"], "fp32"),
        ("bf16", False, ["FP32"], "bf16"),  # emulated
        ("fp16", False, ["FP32", "FP16"], "fp16"),
    ],
)
def test_the_precision_follows_the_cpu(
    monkeypatch: pytest.MonkeyPatch, asked: str, amx: bool, capabilities: list[str], expected: str
) -> None:
    monkeypatch.setattr(cpu, "has_amx", lambda: amx)
    assert on_openvino._precision(asked, capabilities) == expected


def test_half_precision_without_hardware_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"cannot compute in fp16: .*\. Use --precision auto or fp32") as caught:
        on_openvino._precision("fp16", ["FP32", "BF16"])
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("asked", ["auto", "fp32", "bf16", "fp16"])
def test_the_network_is_compiled_in_the_precision_that_the_engine_names(narrow: Model, asked: str) -> None:
    """By what OpenVINO itself says of the compiled network, on the CPU that is here."""
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if asked == "fp16" and "FP16" not in capabilities:
        with pytest.raises(DeviceError, match="cannot compute in fp16"):
            OpenVINOEngine(narrow, asked)
        return
    with closing(OpenVINOEngine(narrow, asked)) as running:
        compiled = running._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()

    assert {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}[compiled] == running.precision
    fast = "bf16" if "BF16" in capabilities and cpu.has_amx() else "fp32"
    assert running.precision == (fast if asked == "auto" else asked)


# Errors


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


# The first is what the CPU plugin said of a batch beyond its process's limit of memory.
MESSAGES = [
    (
        "Exception from src/plugins/intel_cpu/src/node.cpp:794:\n[CPU] Convolution node with name 'Convolution_14' "
        "Check 'ptr' failed at src/plugins/intel_cpu/src/cpu_memory.cpp:257:\n"
        "Failed to allocate 822083584 bytes of memory",
        MemoryError,
    ),
    ("Exception from src/inference:\ncould not create a memory object", MemoryError),
    ("Exception from src/inference:\nstd::bad_alloc", MemoryError),
    ("Exception from src/inference:\nmmap: Cannot allocate memory", MemoryError),
    ("Exception from src/inference:\nFailed to allocate required number of vector registers", DeviceError),
    ("Exception from src/inference:\ncould not reshape a memory descriptor", DeviceError),
    ("Exception from src/inference:\nCould not find allocated child edge", DeviceError),
    ("Exception from src/inference:\nthe graph is broken\n", DeviceError),
]


@pytest.mark.parametrize("at_start", [True, False], ids=["start", "wait"])
@pytest.mark.parametrize(
    ("message", "expected"), MESSAGES, ids=[text.strip().splitlines()[-1][:30] for text, _ in MESSAGES]
)
def test_only_memory_that_was_refused_counts_as_out_of_memory(
    narrow: Model, images: NDArray[np.uint8], message: str, expected: type[Exception], at_start: bool
) -> None:
    with closing(OpenVINOEngine(narrow, "fp32")) as running:
        before = logits(running, images[:1])
        running._free.append(FailingRequest(message, at_start))
        with pytest.raises(expected, match=message.strip().splitlines()[-1]):
            running.start(images[:2])()
        assert np.array_equal(logits(running, images[:1]), before), "the engine goes on with smaller batches"


# The import


def said_by(code: str, folder: Path) -> list[str]:
    """The words that a new process prints; without telemetry, which would open a connection."""
    code = f"import sys; sys.modules['openvino_telemetry'] = None\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.split()


OPEN = """
from vggcli.engines.openvino import OpenVINOEngine, import_openvino
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.opening import open_model
hooks = list(sys.meta_path)
engine = OpenVINOEngine(open_model(DEMO_FILE), "fp32")
assert sys.meta_path == hooks
"""


def test_openvino_is_imported_without_its_converter_and_without_torch(tmp_path: Path) -> None:
    names = ["openvino", "openvino.tools.ovc", "torch"]

    assert said_by(OPEN + f"print(*[name in sys.modules for name in {names}])", tmp_path) == ["True", "False", "False"]


@pytest.mark.parametrize(
    "use",
    [
        "from openvino import convert_model; print(convert_model.__module__)",
        "import openvino; print(openvino.tools.ovc.convert_model.__module__)",
        "import openvino.tools.ovc; print(openvino.convert_model.__module__)",
    ],
)
def test_a_program_that_wants_the_converter_finds_it_after_an_engine_was_opened(tmp_path: Path, use: str) -> None:
    assert said_by(OPEN + use, tmp_path) == ["openvino.tools.ovc.convert"]


@pytest.mark.long
def test_the_converter_that_is_found_converts(tmp_path: Path) -> None:
    code = """
import torch, openvino
model = openvino.convert_model(torch.nn.Linear(3, 2), example_input=torch.zeros(1, 3))
print(type(model).__name__, len(model.outputs))
"""
    assert said_by(OPEN + code, tmp_path)[-2:] == ["Model", "1"]


def test_an_openvino_that_the_program_has_imported_is_left_as_it_is(tmp_path: Path) -> None:
    code = "import openvino; before = dict(vars(openvino))\n" + OPEN
    code += "print(import_openvino() is openvino, dict(vars(openvino)) == before, 'convert_model' in before)"

    assert said_by(code, tmp_path) == ["True", "True", "True"]


def test_a_converter_that_cannot_be_imported_is_missing_as_it_is_after_a_plain_import(tmp_path: Path) -> None:
    code = OPEN + "sys.modules['openvino.tools.ovc'] = None\nimport openvino\n"
    code += "print(hasattr(openvino, 'convert_model'), hasattr(openvino, 'no_such_thing'), hasattr(openvino, 'Core'))"

    assert said_by(code, tmp_path) == ["False", "False", "True"]


@pytest.fixture
def no_openvino(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has not imported it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    return


@pytest.mark.usefixtures("no_openvino")
def test_an_openvino_that_cannot_be_imported_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(sys.meta_path)
    seen: list[bool] = []

    def fail(name: str) -> None:
        seen.append(sys.meta_path == before)
        raise ImportError("libopenvino.so is broken")

    monkeypatch.setattr(openvino_import.importlib, "import_module", fail)
    with pytest.raises(ImportError, match="broken"):
        import_openvino()
    assert seen == [False]
    assert sys.meta_path == before


def test_while_it_is_imported_other_threads_find_the_tools() -> None:
    hidden = openvino_import._HiddenTools()
    with pytest.raises(ModuleNotFoundError, match=r"openvino\.tools\.ovc"):
        hidden.find_spec("openvino.tools.ovc")
    assert hidden.find_spec("openvino.toolsmith") is None

    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(hidden.find_spec("openvino.tools.ovc")))
    thread.start()
    thread.join()
    assert found == [None], "left to the finders after it"
