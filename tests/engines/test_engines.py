"""Engines: the network's own logits, the same to the bit beside any others, and the way out when memory ends."""

from __future__ import annotations

import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import networks
import numpy as np
import pytest
import torch
from engine_examples import SIZE, TOLERANCE, distance, eager, logits, opened, reference
from numpy.typing import NDArray
from torch.nn import functional

from vggcli.engines import Engine, folding
from vggcli.engines.torch import TorchEngine
from vggcli.errors import DeviceError
from vggcli.weights.model import Model


@pytest.fixture(scope="module")
def engine(kind: str, narrow: Model) -> Iterator[Engine]:
    """An engine of each kind with the narrow network, for tests that only run batches."""
    with closing(opened(kind, narrow)) as running:
        yield running


# Logits


def test_fp32_logits_are_the_networks_own(kind: str, model: Model) -> None:
    pixels = networks.images(3, model.recipe.size)
    expected = eager(model, pixels)
    with closing(opened(kind, model)) as running:
        got = logits(running, pixels)

    assert (got.dtype, got.shape) == (np.float32, (3, model.architecture.num_classes))
    assert distance(expected[:1], expected[1:]) > 1e-2, "the logits must depend on the image"
    assert distance(got, expected) <= TOLERANCE[kind]


def test_bf16_logits_are_as_near_as_the_network_itself_in_bf16(kind: str, model: Model) -> None:
    pixels = networks.images(8, model.recipe.size)
    exact = eager(model, pixels)
    with torch.inference_mode():
        rounded = reference(model).bfloat16()(networks.normalised(pixels).bfloat16()).float().numpy()
    with closing(opened(kind, model, "bf16")) as running:
        got = logits(running, pixels)

    assert running.precision == "bf16"
    assert got.dtype == np.float32
    assert distance(rounded, exact) < 0.01, "eight bits of mantissa, rounded once a layer"
    assert TOLERANCE["openvino"] < distance(got, exact) <= 1.5 * distance(rounded, exact)


@pytest.mark.parametrize("count", [1, 3, 8, 24])
def test_an_image_has_the_same_logits_in_a_batch_of_any_size(
    engine: Engine, images: NDArray[np.uint8], count: int
) -> None:
    whole = logits(engine, images)
    parts = [logits(engine, images[first : first + count]) for first in range(0, 25, count)]

    assert whole.shape == (25, 10)
    assert np.array_equal(np.concatenate(parts), whole)


def test_an_image_has_the_same_logits_at_any_place_beside_any_others(engine: Engine, images: NDArray[np.uint8]) -> None:
    whole = logits(engine, images)
    order = np.random.default_rng(1).permutation(25)

    assert np.array_equal(logits(engine, images[order]), whole[order])
    assert np.array_equal(logits(engine, images[[7] * 5]), whole[[7] * 5])


def test_batches_in_flight_keep_their_own_rows(engine: Engine, images: NDArray[np.uint8]) -> None:
    """More than the engine's depth, of different sizes, asked for in another order than they were begun."""
    expected = [logits(engine, images[first : first + 1 + first % 3]) for first in range(6)]
    begun = [engine.start(images[first : first + 1 + first % 3].copy()) for first in range(6)]
    got = {number: begun[number]()["fc8"] for number in (3, 5, 0, 1, 4, 2)}

    assert len(begun) > engine.depth
    assert all(np.array_equal(got[number], expected[number]) for number in range(6))


def test_results_stay_as_they_were_when_the_engine_goes_on(engine: Engine, images: NDArray[np.uint8]) -> None:
    first = logits(engine, images[:2])
    kept = first.copy()
    for _ in range(engine.depth + 1):
        logits(engine, images[2:4])

    assert np.array_equal(first, kept)


def test_engines_say_what_they_are(kind: str, engine: Engine) -> None:
    assert (engine.name, engine.device, engine.precision) == (kind, "cpu", "fp32")
    assert engine.batch_size >= 1
    assert engine.depth >= 1


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
        logits(running, networks.images(1, SIZE))
    weights = [
        narrow.array(f"{step.layer.key}.weight") for step in folding.steps(narrow) if step.layer.name[:2] == "fc"
    ]

    assert matrices == [weight.ctypes.data for weight in weights]
    assert not any(weight.flags.owndata for weight in weights)


def test_a_closed_engine_lets_the_network_go(narrow: Model) -> None:
    running = TorchEngine(narrow, "cpu", "fp32")
    replica = weakref.ref(next(running._turn))
    running.close()

    assert replica() is None


def test_a_closed_engine_says_so_instead_of_waiting_for_ever(kind: str, narrow: Model) -> None:
    running = opened(kind, narrow)
    begun = running.start(networks.images(1, SIZE))
    running.close()
    running.close()

    with pytest.raises(DeviceError, match=f"cannot use the engine {kind}: it is closed"):
        running.start(networks.images(1, SIZE))
    if kind == "torch":  # whose work is done when it is asked for
        with pytest.raises(DeviceError, match="it is closed"):
            begun()
    else:
        assert begun()["fc8"].shape == (1, 10)


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
        before = logits(running, images[:1])
        with monkeypatch.context() as broken:
            broken.setattr(functional, "conv2d", fail)
            with pytest.raises(expected) as caught:
                running.start(images[:2])()
        assert np.array_equal(logits(running, images[:1]), before), "the engine goes on with smaller batches"

    assert "more" not in str(caught.value)
    assert ("--device cpu" in str(caught.value)) is (expected is DeviceError)


# The demo in a process whose memory ends: how the whole batch fares, and what it has left behind in MB; then the batch
# by way of the halving.  80 images take 48 MB as floats and 128 MB after the first convolution.
LIMITED = """
import resource, sys
sys.path[:0] = sys.argv[2:]
import networks, numpy as np
from engine_examples import logits, opened
from vggcli.engines import cpu
from vggcli.images.discover import Input
from vggcli.images.attempt import Attempt
from vggcli.run.batches import Inference, Job
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.opening import open_model

def size():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmSize"))
    return int(line.split()[1]) * 1024

cpu.batch_size = lambda *_: 80  # a larger batch than OpenVINO's own is computed in several
running = opened(sys.argv[1], open_model(DEMO_FILE))
pixels = networks.images(80, 224)
expected = [row for first in range(0, 80, 8) for row in logits(running, pixels[first : first + 8])]
before = size()
resource.setrlimit(resource.RLIMIT_AS, (before + 120 * 10**6,) * 2)
try:
    running.start(pixels)()
    print("fits")
except MemoryError as error:
    print(type(error).__name__, (size() - before) // 10**6)  # while the error lives, and what it holds
jobs = [Job(Input(str(number)), Attempt()) for number in range(len(pixels))]
for job, image in zip(jobs, pixels):
    job.image, job.done = image, True
batches, given = [jobs, None], []
Inference(running, len(jobs)).run(lambda *_: batches.pop(0) if batches else None, given.extend)
print(len(given), all(np.array_equal(one.outputs["fc8"], row) for one, row in zip(given, expected)))
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process's memory cannot be limited")
def test_a_batch_that_memory_is_refused_for_holds_none_and_goes_through_in_halves(kind: str) -> None:
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", LIMITED, kind, str(tests), str(tests.parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    raised, left, count, same = done.stdout.split()

    assert raised == "MemoryError"
    # OpenVINO keeps the buffers that it got, for batches to come.
    assert kind == "openvino" or int(left) < 30, "MB of the batch that failed"
    assert (count, same) == ("80", "True")


def test_a_model_that_does_not_fit_the_device_is_an_error_of_the_device(
    monkeypatch: pytest.MonkeyPatch, narrow: Model
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 392.00 MiB.")

    monkeypatch.setattr(torch, "from_numpy", fail)
    with pytest.raises(DeviceError, match="cannot put the model on cpu: CUDA out of memory") as caught:
        TorchEngine(narrow, "cpu")
    assert caught.value.exit_code == 5
