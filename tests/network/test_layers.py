"""The layer list: names of the paper, shapes and counts that follow from a row of numbers."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest

from vggcli.errors import UsageError
from vggcli.network.architecture import Architecture, vgg
from vggcli.network.layers import Activation, AdaptiveAvgPool, BatchNorm, Conv2d, Dropout, Linear, Pool


def two_stages(**options: Any) -> Architecture:
    return vgg(((4,), (6, 6)), hidden=(10, 8), pool=2, num_classes=3, **options)


TWO_STAGES = two_stages()


def test_the_layers_of_the_paper_come_in_its_order_under_its_names() -> None:
    names = [layer.name for layer in TWO_STAGES.layers()]

    assert names == (
        "conv1-1 relu1-1 pool1 conv2-1 relu2-1 conv2-2 relu2-2 pool2 avgpool "
        "fc6 relu6 drop6 fc7 relu7 drop7 fc8".split()
    )


def test_batch_norm_stands_between_convolution_and_relu() -> None:
    names = [layer.name for layer in two_stages(batch_norm=True).layers()]

    assert names[:4] == ["conv1-1", "bn1-1", "relu1-1", "pool1"]
    assert names[4:10] == ["conv2-1", "bn2-1", "relu2-1", "conv2-2", "bn2-2", "relu2-2"]


@pytest.mark.parametrize("classifier_norm", [False, True])
def test_every_layer_is_found_by_its_name_and_by_the_other_spelling_of_it(classifier_norm: bool) -> None:
    network = two_stages(batch_norm=True, classifier_norm=classifier_norm)

    for layer in network.layers():
        assert network.layer(layer.name) == layer
        assert network.layer(layer.name.replace("-", "_")) == layer


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("relu2-3", "relu2-2, relu2-1, relu1-1"),
        ("RELU2_2", "relu2-2, relu2-1, relu1-1"),
        ("fc9", "fc8, fc7, fc6"),
        ("bn1-1", "conv1-1, relu1-1, conv2-1"),
        ("", "conv1-1, relu1-1, pool1, conv2-1, "),
        ("features", "conv1-1, relu1-1, pool1, conv2-1, "),
    ],
)
def test_an_unknown_layer_is_refused_with_the_nearest_names(name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match="unknown layer") as caught:
        TWO_STAGES.layer(name)

    assert f"The nearest names are {nearest}" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_name_is_a_str() -> None:
    with pytest.raises(TypeError, match='a str such as "fc7", not int'):
        TWO_STAGES.layer(7)  # type: ignore[arg-type]


def test_keys_count_every_layer_of_their_part() -> None:
    def keys(architecture: Architecture) -> list[str]:
        return [layer.key for layer in architecture.layers() if layer.tensors()]

    def classifier(architecture: Architecture) -> list[str]:
        return [key for key in keys(architecture) if key.startswith("classifier")]

    assert keys(TWO_STAGES) == [f"features.{n}" for n in (0, 3, 5)] + [f"classifier.{n}" for n in (0, 3, 6)]
    assert keys(two_stages(batch_norm=True))[:6] == [f"features.{n}" for n in (0, 1, 4, 5, 7, 8)]
    assert classifier(two_stages(dropout=None)) == [f"classifier.{n}" for n in (0, 2, 4)]
    assert classifier(two_stages(classifier_norm=True)) == [f"classifier.{n}" for n in (0, 1, 4, 5, 8)]
    assert classifier(two_stages(classifier_norm=True, dropout=None)) == [f"classifier.{n}" for n in (0, 1, 3, 4, 6)]


def test_no_two_layers_share_a_key() -> None:
    for norm in (False, True):
        for dropout in (None, 0.5):
            layers = two_stages(classifier_norm=norm, dropout=dropout).layers()
            assert len({layer.key for layer in layers}) == len(layers)


def test_each_layer_says_its_output_and_its_work() -> None:
    shape = (3, 5, 5)

    assert Conv2d("k", "n", 3, 4, bias=True).output(shape) == (4, 5, 5)
    assert Conv2d("k", "n", 3, 4, bias=True).macs(shape) == 4 * 5 * 5 * 3 * 3 * 3
    assert Pool("k", "n").output(shape) == (3, 2, 2)
    assert AdaptiveAvgPool("k", "n", 7).output(shape) == (3, 7, 7)
    assert Linear("k", "n", 75, 10).output(shape) == (10,)
    assert Linear("k", "n", 75, 10).macs(shape) == 750
    for layer in (BatchNorm("k", "n", 3, spatial=True), Activation("k", "n"), Dropout("k", "n", 0.5)):
        assert (layer.output(shape), layer.macs(shape)) == (shape, 0)


def test_the_tensors_of_a_convolution_depend_on_its_bias() -> None:
    assert Conv2d("f.0", "n", 3, 4, bias=True).tensors() == {"f.0.weight": (4, 3, 3, 3), "f.0.bias": (4,)}
    assert Conv2d("f.0", "n", 3, 4, bias=False).tensors() == {"f.0.weight": (4, 3, 3, 3)}


def test_statistics_of_batch_norm_are_tensors_but_no_parameters() -> None:
    plain, normed = TWO_STAGES, two_stages(batch_norm=True)
    added = {key: shape for key, shape in normed.tensors().items() if "features" in key and len(shape) < 2}

    assert sum(key.endswith((".running_mean", ".running_var")) for key in added) == 6
    assert normed.parameters() - plain.parameters() == 2 * (4 + 6 + 6)
    assert plain.parameters() == sum(prod(shape) for shape in plain.tensors().values())


@pytest.mark.parametrize(("pool", "stages", "size"), [(7, 5, 224), (1, 5, 32), (2, 5, 64), (2, 2, 8)])
def test_the_native_size_is_the_one_that_pools_to_the_classifiers_map(pool: int, stages: int, size: int) -> None:
    architecture = vgg(((4,),) * stages, pool=pool)

    assert architecture.native_size == size


def test_a_network_without_the_adaptive_pool_has_no_such_layer() -> None:
    names = [layer.name for layer in two_stages(adaptive=False).layers()]

    assert "avgpool" not in names
    assert "avgpool" in [layer.name for layer in TWO_STAGES.layers()]


def test_another_number_of_classes_changes_the_last_layer_only() -> None:
    before, after = TWO_STAGES.tensors(), TWO_STAGES.with_classes(9).tensors()

    assert {key for key in before if before[key] != after[key]} == {"classifier.6.weight", "classifier.6.bias"}
    assert after["classifier.6.weight"] == (9, 8)
