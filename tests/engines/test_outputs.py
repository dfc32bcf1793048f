"""Named outputs: what torch hooks see in a network whose ReLUs are not in place, and nothing computed beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch
from engine_examples import SIZE, TOLERANCE, Array, distance, opened
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vggcli.engines import folding
from vggcli.engines import openvino as on_openvino
from vggcli.engines.openvino import import_openvino
from vggcli.errors import UsageError
from vggcli.weights.model import Model
from vggcli.weights.opening import open_model

openvino = import_openvino()  # a plain import would send telemetry in a thread of its own


def hooked(network: nn.Module, pixels: NDArray[np.uint8]) -> dict[str, Array]:
    """Every module's output under the name of the paper, by the order in which the modules are called."""
    seen: dict[str, Array] = {}
    place = {"stage": 1, "conv": 0, "linear": 5, "part": "features"}

    def note(module: nn.Module, _: Any, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            place["conv"] += 1
        elif isinstance(module, nn.Linear):
            place["linear"] += 1
        kinds = {nn.Conv2d: "conv", nn.Linear: "fc", nn.BatchNorm2d: "bn", nn.BatchNorm1d: "bn", nn.ReLU: "relu"}
        at = f"{place['stage']}-{place['conv']}" if place["linear"] == 5 else str(place["linear"])
        if isinstance(module, nn.MaxPool2d):
            name = f"pool{place['stage']}"
            place["stage"], place["conv"] = place["stage"] + 1, 0
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            name = "avgpool"
        else:
            name = f"{kinds.get(type(module), 'drop')}{at}"
        seen[name] = output.numpy().copy()

    handles = []
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
        if not list(module.children()):
            handles.append(module.register_forward_hook(note))
    seen["fc8"] = networks.logits_of(network, pixels)
    for handle in handles:
        handle.remove()
    return seen


@dataclass
class Example:
    """A network, as a model and by what its hooks see for five images."""

    model: Model
    pixels: NDArray[np.uint8]
    seen: dict[str, Array]


NETWORKS = {
    "plain": lambda: networks.Torchvision(batch_norm=False),
    "batch norm": lambda: networks.Torchvision(widths=networks.NARROW),
    "batch norm without bias": lambda: networks.Torchvision(widths=networks.NARROW, bias=False),
    "classifier norm": lambda: networks.Staged(widths=networks.NARROW, pool=2),
}


@pytest.fixture(scope="module", params=NETWORKS)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    network = networks.randomised(NETWORKS[request.param]())
    path: Path = tmp_path_factory.mktemp("weights") / "network.pth"
    torch.save(network.state_dict(), path)
    pixels = networks.images(5, SIZE)
    with closing(open_model(path)) as model:
        yield Example(replace(model, recipe=replace(model.recipe, size=SIZE)), pixels, hooked(network, pixels))


def names_of(example: Example) -> list[str]:
    return [layer.name for layer in example.model.architecture.layers()]


def assert_near(kind: str, got: dict[str, Array], example: Example, names: list[str]) -> None:
    assert list(got) == names
    for name in names:
        layer = example.model.architecture.layer(name).name
        expected = example.seen[layer] if layer in example.seen else np.maximum(example.seen[f"bn{layer[-1]}"], 0)
        assert (got[name].dtype, got[name].shape) == (np.float32, expected.shape), name
        assert got[name].flags.c_contiguous, name
        assert distance(got[name], expected) <= TOLERANCE[kind], name


# The numbers


def test_every_layer_gives_what_a_hook_sees(kind: str, example: Example) -> None:
    names = names_of(example)
    with closing(opened(kind, example.model, outputs=names)) as running:
        assert_near(kind, running.start(example.pixels)(), example, names)


@pytest.mark.parametrize(
    "names",
    [["fc7"], ["relu7"], ["pool5"], ["conv5-2"], ["relu5-2"], ["conv1-1"], ["fc6"], ["fc8", "conv3-1", "relu6"]],
    ids=",".join,
)
def test_a_layer_asked_for_by_itself_gives_the_same(kind: str, example: Example, names: list[str]) -> None:
    with closing(opened(kind, example.model, outputs=names)) as running:
        assert_near(kind, running.start(example.pixels)(), example, names)


@pytest.mark.parametrize("name", ["bn1-1", "bn5-2", "bn6"])
def test_batch_norm_gives_what_stands_between_it_and_relu(kind: str, example: Example, name: str) -> None:
    if name not in names_of(example):
        with pytest.raises(UsageError, match=f"unknown layer {name}"):
            opened(kind, example.model, outputs=[name])
        return
    with closing(opened(kind, example.model, outputs=[name])) as running:
        got = running.start(example.pixels)()
        assert_near(kind, got, example, [name])
    assert got[name].min() < 0, "before ReLU"


def test_a_convolutions_own_output_is_not_the_batch_norms(kind: str, example: Example) -> None:
    """Without this difference the tests above could not tell one from the other."""
    if "bn3-1" in example.seen:
        assert distance(example.seen["conv3-1"], example.seen["bn3-1"]) > 0.01
    assert distance(example.seen["relu3-1"], example.seen["conv3-1"]) > 0.01


# Names


@pytest.fixture
def names(narrow: Model) -> list[str]:
    return [layer.name for layer in narrow.architecture.layers()]


def test_an_output_comes_under_the_name_it_was_asked_for(kind: str, narrow: Model, images: NDArray[np.uint8]) -> None:
    asked = ["relu3_1", "fc7", "drop6", "relu3-1", "relu6", "fc7"]
    with closing(opened(kind, narrow, outputs=asked)) as running:
        got = running.start(images[:2])()

    assert list(got) == ["relu3_1", "fc7", "drop6", "relu3-1", "relu6"]
    assert np.array_equal(got["relu3_1"], got["relu3-1"])
    assert np.array_equal(got["drop6"], got["relu6"])


def test_every_array_is_its_callers_own(kind: str, narrow: Model, images: NDArray[np.uint8]) -> None:
    """With names for one and the same result, an average pool that changes nothing, and dropout."""
    sized = replace(narrow, recipe=replace(narrow.recipe, size=224))
    asked = ["pool5", "avgpool", "relu5-2", "relu5_2", "fc6", "relu6", "drop6", "fc8"]
    pixels = networks.images(1, 224)
    with closing(opened(kind, sized, outputs=asked)) as running:
        expected = {name: array.copy() for name, array in running.start(pixels)().items()}
        got = running.start(pixels)()
        for name in asked:
            assert np.array_equal(got[name], expected[name]), name
            got[name].fill(np.nan)
        again = running.start(pixels)()

    assert all(np.array_equal(again[name], expected[name]) for name in asked)
    assert np.array_equal(expected["pool5"], expected["avgpool"])


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (
            ("fc9",),
            UsageError,
            r"unknown layer fc9: the network has none of that name\. The nearest names are fc8, fc7",
        ),
        (("relu7", "conv6-1"), UsageError, "unknown layer conv6-1"),
        ((), UsageError, r"cannot compute: no output is asked for\. fc8 is the last layer\."),
        ("fc7", TypeError, r"outputs are several names, such as \('fc7',\), not a str"),
        ((7,), TypeError, 'a str such as "fc7", not int'),
    ],
    ids=str,
)
def test_names_that_are_none_are_refused_in_plain_words(
    kind: str, narrow: Model, asked: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        opened(kind, narrow, outputs=asked)


# In any batch


@pytest.mark.parametrize("count", [1, 3, 8])
def test_every_output_is_the_same_to_the_bit_in_a_batch_of_any_size(
    kind: str, narrow: Model, names: list[str], images: NDArray[np.uint8], count: int
) -> None:
    with closing(opened(kind, narrow, outputs=names)) as running:
        whole = running.start(images)()
        parts = [running.start(images[first : first + count])() for first in range(0, 25, count)]

    for name in names:
        assert len(whole[name]) == 25, "rows that were filled up are no images"
        assert np.array_equal(np.concatenate([part[name] for part in parts]), whole[name]), name


def test_so_it_is_with_every_kind_of_batch_norm(kind: str, example: Example) -> None:
    names = names_of(example)
    with closing(opened(kind, example.model, outputs=names)) as running:
        whole = running.start(example.pixels)()
        parts = [running.start(example.pixels[first : first + 2])() for first in range(0, 5, 2)]

    for name in names:
        assert np.array_equal(np.concatenate([part[name] for part in parts]), whole[name]), name


def test_outputs_of_batches_in_flight_stay_apart(
    kind: str, narrow: Model, names: list[str], images: NDArray[np.uint8]
) -> None:
    with closing(opened(kind, narrow, outputs=names)) as running:
        expected = [running.start(images[first : first + 1 + first % 3])() for first in range(6)]
        begun = [running.start(images[first : first + 1 + first % 3].copy()) for first in range(6)]
        got = {number: begun[number]() for number in (3, 5, 0, 1, 4, 2)}

    for number in range(6):
        assert all(np.array_equal(got[number][name], expected[number][name]) for name in names)


def test_in_bf16_outputs_are_near_and_in_float32(kind: str, example: Example) -> None:
    names = ["conv1-1", "pool5", "relu6", "fc8"]
    with closing(opened(kind, example.model, "bf16", names)) as running:
        got = running.start(example.pixels)()

    for name in names:
        assert got[name].dtype == np.float32
        assert distance(got[name], example.seen.get(name, np.maximum(example.seen.get("bn6", 0), 0))) < 0.02, name


# Only what was asked for


def test_the_steps_end_at_the_last_output_and_batch_norm_unfolds_only_there(narrow: Model) -> None:
    steps = list(folding.steps(narrow, ("conv2-1", "bn3-1", "pool4")))
    shown = [(step.layer.name, step.scale is not None, step.activation is not None, step.outputs) for step in steps]

    assert shown == [
        ("conv1-1", True, True, ()),
        ("pool1", False, False, ()),
        ("conv2-1", False, False, ("conv2-1",)),
        ("bn2-1", True, True, ()),
        ("pool2", False, False, ()),
        ("conv3-1", True, False, ("bn3-1",)),
        ("relu3-1", False, True, ()),
        ("conv3-2", True, True, ()),
        ("pool3", False, False, ()),
        ("conv4-1", True, True, ()),
        ("conv4-2", True, True, ()),
        ("pool4", False, False, ("pool4",)),
    ]


def test_for_the_logits_every_batch_norm_and_relu_is_folded(narrow: Model) -> None:
    steps = list(folding.steps(narrow))
    names = [step.layer.name for step in steps]

    assert names[:4] == ["conv1-1", "pool1", "conv2-1", "pool2"]
    assert names[-5:] == ["pool5", "avgpool", "fc6", "fc7", "fc8"]
    assert [step.layer.name for step in steps if step.bias is not None and step.activation is None] == ["fc8"]
    assert [step.layer.name for step in steps if step.scale is not None] == [n for n in names if n.startswith("conv")]


def test_a_pool_whose_maps_have_its_size_is_no_step(narrow: Model) -> None:
    native = replace(narrow, recipe=replace(narrow.recipe, size=narrow.architecture.native_size))
    steps = [(step.layer.name, step.outputs) for step in folding.steps(native, ("avgpool", "fc6"))]

    assert steps[-2:] == [("pool5", ("avgpool",)), ("fc6", ("fc6",))]


def test_without_folding_batch_norm_is_a_step_of_its_own(narrow: Model) -> None:
    steps = list(folding.steps(narrow, ("fc6",), fold=False))

    assert [step.layer.name for step in steps[:4]] == ["conv1-1", "bn1-1", "pool1", "conv2-1"]
    assert {step.layer.name[:2] for step in steps if step.activation} == {"bn"}
    assert not any(step.scale is not None for step in steps if step.layer.name.startswith("conv"))


@pytest.mark.parametrize(
    ("precision", "outputs", "norms"),
    [("fp32", ["fc8"], 0), ("fp32", ["fc8", "fc7"], 8), ("fp32", ["pool2"], 2), ("bf16", ["fc7"], 0)],
    ids=str,
)
def test_torch_in_fp32_sums_as_the_network_was_trained_wherever_more_than_logits_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    narrow: Model,
    images: NDArray[np.uint8],
    precision: str,
    outputs: list[str],
    norms: int,
) -> None:
    """Folding rounds the weights once more, which by the depth of vgg16_bn's fc7 is more than 1e-5."""
    seen: list[Any] = []
    real = functional.batch_norm
    monkeypatch.setattr(functional, "batch_norm", lambda *a, **b: [seen.append(a), real(*a, **b)][1])
    with closing(opened("torch", narrow, precision, outputs)) as running:
        running.start(images[:2])()

    assert len(seen) == norms


def operations(model: Model, *outputs: str) -> list[str]:
    """Types of the graph's operations, in order."""
    graph, _ = on_openvino._graph(model, outputs, 8)
    return [node.get_type_name() for node in graph.get_ordered_ops()]


def test_openvinos_graph_ends_where_the_outputs_do(narrow: Model) -> None:
    whole, cut, first = operations(narrow, "fc8"), operations(narrow, "pool5"), operations(narrow, "conv1-1")

    assert [whole.count(kind) for kind in ("Convolution", "MaxPool", "MatMul", "Result")] == [8, 5, 3, 1]
    assert [cut.count(kind) for kind in ("Convolution", "MaxPool", "MatMul", "Result")] == [8, 5, 0, 1]
    assert [first.count(kind) for kind in ("Convolution", "Relu", "MaxPool", "Result")] == [1, 0, 0, 1]
    assert not {"Pad", "Slice", "AdaptiveAvgPool"} & set(cut), "what the classifier needs"


def test_an_unfolded_batch_norm_costs_one_multiplication_and_no_other_layer_unfolds(narrow: Model) -> None:
    folded, unfolded = operations(narrow, "fc8"), operations(narrow, "fc8", "conv4-2")

    assert unfolded.count("Multiply") == folded.count("Multiply") + 1
    assert unfolded.count("Convolution") == folded.count("Convolution")


@pytest.mark.parametrize(
    ("outputs", "calls"),
    [
        (["conv1-1"], ["conv"]),
        (["pool2"], ["conv", "pool", "conv", "pool"]),
        (["pool5"], "conv pool conv pool conv conv pool conv conv pool conv conv pool".split()),
        (["fc6", "relu1-1"], "conv pool conv pool conv conv pool conv conv pool conv conv pool linear".split()),
    ],
    ids=str,
)
def test_torch_computes_no_further_than_the_last_output(
    monkeypatch: pytest.MonkeyPatch,
    narrow: Model,
    images: NDArray[np.uint8],
    outputs: list[str],
    calls: list[str],
) -> None:
    seen: list[str] = []
    for name, short in (("conv2d", "conv"), ("max_pool2d", "pool"), ("linear", "linear")):
        real = getattr(functional, name)

        def noted(*given: Any, _real: Any = real, _short: str = short, **options: Any) -> Any:
            seen.append(_short)
            return _real(*given, **options)

        monkeypatch.setattr(functional, name, noted)
    with closing(opened("torch", narrow, outputs=outputs)) as running:
        running.start(images[:2])()

    assert seen == calls


def test_weights_beyond_the_last_output_are_not_even_read(
    monkeypatch: pytest.MonkeyPatch, kind: str, narrow: Model
) -> None:
    read: list[str] = []
    array = Model.array
    monkeypatch.setattr(Model, "array", lambda self, key: [read.append(key), array(self, key)][1])
    opened(kind, narrow, outputs=["pool5"]).close()

    assert any(key.startswith("features") for key in read)
    assert not any(key.startswith("classifier") for key in read)
