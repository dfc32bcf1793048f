"""Int8 on OpenVINO: integer kernels everywhere, right sums on every CPU, the same bits in every batch."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch
from engine_examples import distance, opened
from int8_examples import emulated, in_int8
from numpy.typing import NDArray

from vggcli.engines import choice, int8
from vggcli.engines.openvino import OpenVINOEngine
from vggcli.errors import DeviceError, UsageError
from vggcli.network.architecture import numbered
from vggcli.network.layers import Activation, Pool
from vggcli.weights.model import Model
from vggcli.weights.opening import open_model

TESTS = Path(__file__).parents[1]
LAYERS = ("Convolution", "FullyConnected", "MatMul")


@pytest.fixture(scope="module")
def model(narrow: Model, images: NDArray[np.uint8]) -> Model:
    return in_int8(narrow, images)


@pytest.fixture(scope="module")
def engine(model: Model) -> Any:
    with closing(opened("openvino", model, "int8")) as running:
        yield running


def kernels(engine: OpenVINOEngine) -> list[tuple[str, str]]:
    """What the compiled model runs for each layer with weights, and in what it takes its input."""
    found = []
    for node in engine._compiled.get_runtime_model().get_ordered_ops():
        info = {key: str(value.value) for key, value in node.get_rt_info().items() if hasattr(value, "value")}
        if info.get("layerType") in LAYERS:
            found.append((info["primitiveType"], info["runtimePrecision"]))
    return found


def changed(model: Model, **tensors: NDArray[np.float32]) -> Model:
    """The same with other numbers under some keys, dots in which are underlines here."""
    from vggcli.weights.int8 import InMemory

    by_name = {key.replace(".", "_"): key for key in model._tensors}
    return replace(model, _tensors=dict(model._tensors) | {by_name[n]: InMemory(a) for n, a in tensors.items()})


def test_every_layer_with_weights_runs_on_integers(engine: OpenVINOEngine, model: Model) -> None:
    found = kernels(engine)

    assert engine.precision == "int8"
    assert len(found) == len(model.architecture.convolutions) + len(model.architecture.linears) == 11
    assert all(kernel.endswith("_I8") for kernel, _ in found), found
    assert {taken for _, taken in found} <= {"u8", "i8"}


def test_between_convolutions_values_are_bytes(engine: OpenVINOEngine) -> None:
    """Of images of this size the last map alone is averaged, in float32."""
    given = [
        str(node.get_rt_info()["outputPrecisions"].value)
        for node in engine._compiled.get_runtime_model().get_ordered_ops()
        if str(node.get_rt_info()["layerType"].value) in ("Convolution", "Pooling")
    ]

    assert len(given) == 8 + 5
    assert given[:-2] == ["u8"] * 11


def test_an_image_has_the_same_bits_in_every_batch(model: Model, images: NDArray[np.uint8]) -> None:
    names = ["conv1-1", "bn3-1", "relu4-1", "pool5", "fc6", "relu7", "fc8"]
    with closing(opened("openvino", model, "int8", names)) as running:
        whole = running.start(images)()
        first = 0
        for count in (1, 2, 3, 5, 7, 1, 6):
            got = running.start(images[first : first + count])()
            for name in names:
                assert np.array_equal(got[name], whole[name][first : first + count]), (name, count)
            first += count

    assert first == len(images)


def test_the_logits_alone_have_the_same_bits_in_every_batch(engine: OpenVINOEngine, images: NDArray[np.uint8]) -> None:
    whole = engine.start(images)()["fc8"]

    for count in (1, 2, 4, 11, 24):
        assert np.array_equal(engine.start(images[-count:].copy())()["fc8"], whole[-count:]), count


def assert_near(got: NDArray[np.float32], expected: NDArray[np.float64], name: str) -> None:
    """Single values may round to the level beside, which later layers spread; most are equal to the last digits."""
    difference = np.abs(got - expected) / np.abs(expected).max()
    assert got.shape == expected.shape
    assert difference.max() < 0.03, name
    assert difference.mean() < 0.003, name


NAMES = "conv1-1 bn1-1 relu1-1 pool1 conv2-1 conv3-1 bn3-2 relu3-2 pool4 conv5-2 pool5 fc6 relu6 fc7 fc8".split()


def test_outputs_are_those_of_the_integers(model: Model, images: NDArray[np.uint8]) -> None:
    expected = emulated(model, images[:4])
    with closing(opened("openvino", model, "int8", NAMES)) as running:
        got = running.start(images[:4])()
    for name in NAMES:
        assert_near(got[name], expected[name], name)


@pytest.mark.parametrize("name", ["conv1-1", "conv3-1", "bn4-2", "fc6", "fc7"])
def test_an_output_asked_for_beside_the_logits_leaves_them_right(
    model: Model, images: NDArray[np.uint8], name: str
) -> None:
    """Also of a layer without bias and in front of no batch norm, which OpenVINO 2026.4 gets wrong by itself."""
    no_bias = {key.replace(".", "_"): np.zeros_like(model.array(key)) for key in model.reading.sources if "bias" in key}
    without = changed(model, **no_bias)
    expected = emulated(without, images[:2])
    with closing(opened("openvino", without, "int8", (name, "fc8"))) as running:
        got = running.start(images[:2])()

    assert_near(got[name], expected[name], name)
    assert_near(got["fc8"], expected["fc8"], "fc8")


def test_batch_norm_may_turn_a_channel_around_or_switch_it_off(model: Model, images: NDArray[np.uint8]) -> None:
    key = next(key for key in model.reading.sources if key.endswith("running_var")).replace("running_var", "weight")
    gamma = model.array(key).copy()
    gamma[::2] *= -1
    gamma[1] = 0
    turned = changed(model, **{key.replace(".", "_"): gamma})
    expected = emulated(turned, images[:2])
    with closing(opened("openvino", turned, "int8", ("relu1-1", "fc8"))) as both:
        assert_near(both.start(images[:2])()["relu1-1"], expected["relu1-1"], "relu1-1")
    with closing(opened("openvino", turned, "int8")) as alone:
        assert_near(alone.start(images[:2])()["fc8"], expected["fc8"], "fc8")


def test_other_activations_pools_and_sizes(narrow: Model, images: NDArray[np.uint8]) -> None:
    """Inputs that may be negative, averages, and an average pool that does change its maps."""
    layers = [
        replace(layer, function="leaky_relu", alpha=0.1)
        if isinstance(layer, Activation)
        else replace(layer, average=True)
        if isinstance(layer, Pool) and layer.name in ("pool1", "pool3")
        else layer
        for layer in narrow.architecture.layers()
    ]
    reading = replace(narrow.reading, architecture=numbered(layers))
    leaky = replace(narrow, reading=reading)
    model = in_int8(leaky, images)

    assert int8.unsigned(model.architecture) == frozenset()
    expected = emulated(model, images[:3])
    with closing(opened("openvino", model, "int8", ("relu2-1", "pool3", "fc8"))) as running:
        got = running.start(images[:3])()
    for name in ("relu2-1", "pool3", "fc8"):
        assert_near(got[name], expected[name], name)


# CPUs

_PROGRAM = """
import json, sys, warnings
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/engines"]
import test_int8
print(json.dumps(test_int8.extreme()))
"""


def extreme() -> dict[str, Any]:
    """A network of the largest weights on white images; run in a process under a cap of the CPU's kernels too."""
    import openvino

    from vggcli.weights import int8 as weights

    network = networks.randomised(networks.Torchvision((1, 1), (32, 32), hidden=32, batch_norm=False))
    for number in (0, 3):
        tensor = network.features[number].weight.data
        tensor[:] = 0.05
        tensor[1::2] *= -1
        network.features[number].bias.data.fill_(0.5)
    path = Path(os.environ["VGG_TEST_FOLDER"]) / f"{os.getpid()}.pth"
    torch.save(network.state_dict(), path)
    white = np.full((2, 28, 28, 3), 255, np.uint8)
    with closing(open_model(path)) as model:
        model = replace(model, recipe=replace(model.recipe, size=28))
        means = {key: np.zeros(1, np.float32) for key in weights.layer_keys(model.architecture)}
        even = {key: np.ones(model.array(f"{key}.weight").shape[1], np.float32) for key in means}
        rounded, biases = weights.quantized(model.architecture, model.array, means, even)
        layers = {key: layer.with_step(4.0 / 255) for key, layer in rounded.items()}
        quantized = model.quantized(weights.Quantization({}, layers), biases)
        expected = emulated(quantized, white)
        with closing(opened("openvino", quantized, "int8", ("conv1-1", "conv2-1", "fc6", "fc8"))) as running:
            got = running.start(white)()
            found = kernels(running)
        errors = {name: float(np.abs(got[name] - expected[name]).max() / np.abs(expected[name]).max()) for name in got}
    return {"saturates": int8.saturates(openvino.Core()), "kernels": found, "errors": errors}


def check(found: dict[str, Any]) -> None:
    """All kernels are those of integers, and their sums are right: halved weights have seven bits."""
    assert [kernel[-3:] for kernel, _ in found["kernels"]] == ["_I8"] * 5
    assert max(found["errors"].values()) < (0.05 if found["saturates"] else 0.01), found["errors"]


def test_the_largest_sums_are_right_on_this_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGG_TEST_FOLDER", str(tmp_path))
    check(extreme())


@pytest.mark.long
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the cap is one of x86")
def test_where_the_kernels_saturate_weights_are_halved(tmp_path: Path) -> None:
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "VGG_TEST_FOLDER": str(tmp_path)}
    command = [sys.executable, "-c", _PROGRAM, str(TESTS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)

    assert found["saturates"]
    check(found)


# What runs


def test_auto_on_such_weights_is_int8_and_other_precisions_take_them_as_numbers(
    model: Model, images: NDArray[np.uint8]
) -> None:
    found = {}
    for precision in ("auto", "int8", "fp32"):
        with closing(choice.open_engine(model, engine="openvino", precision=precision)) as running:
            found[precision] = running.precision, running.start(images[:2])()["fc8"]
    with closing(choice.open_engine(model, engine="torch", device="cpu", precision="fp32")) as running:
        on_torch = running.precision, running.start(images[:2])()["fc8"]

    assert [found[name][0] for name in found] == ["int8", "int8", "fp32"]
    assert np.array_equal(found["auto"][1], found["int8"][1])
    assert on_torch[0] == "fp32"
    assert distance(on_torch[1], found["fp32"][1]) < 1e-4
    assert not np.array_equal(found["int8"][1], found["fp32"][1])


def test_the_torch_engine_takes_its_own_precision_under_auto(model: Model) -> None:
    with closing(choice.open_engine(model, engine="torch", device="cpu")) as running:
        assert running.precision in ("fp32", "bf16")


def test_int8_of_other_weights_and_on_other_engines_is_wrong_usage(narrow: Model, model: Model) -> None:
    with pytest.raises(UsageError, match=r"cannot compute in int8: the weights of narrow\.pth are not in it"):
        choice.open_engine(narrow, precision="int8")
    for options in ({"engine": "torch"}, {"device": "cuda"}):
        with pytest.raises(UsageError, match="cannot compute in int8"):
            choice.open_engine(model, precision="int8", **options)


def test_without_openvino_torch_takes_over_unless_int8_was_asked_for(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice.openvino, "installed", lambda: False)
    with closing(choice.open_engine(model, device="cpu")) as running:
        assert running.name == "torch"
    with pytest.raises(DeviceError, match="not installed"):
        choice.open_engine(model, precision="int8")
