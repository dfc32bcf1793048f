"""Weights in int8: how they are rounded, what a file says of them, and lists of layers from strangers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vggcli.network.architecture import vgg
from vggcli.network.zoo import VARIANTS
from vggcli.weights import int8, layer_list

ARCHITECTURE = vgg(((4,), (8,)), batch_norm=True, pool=2, hidden=(16,), num_classes=3)


def numbers(seed: int = 1) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {key: generator.normal(0, 1, shape).astype(np.float32) for key, shape in ARCHITECTURE.tensors().items()}


def means() -> dict[str, Any]:
    sizes = {"features.0": 3, "features.4": 4, "classifier.0": 32, "classifier.3": 16}
    return {key: np.random.default_rng(2).uniform(0, 2, size).astype(np.float32) for key, size in sizes.items()}


def input_factors() -> dict[str, Any]:
    return {
        key: np.random.default_rng(4).uniform(0.01, 1, mean.size).astype(np.float32) for key, mean in means().items()
    }


def test_channels_of_inputs_and_of_weights_become_equally_even() -> None:
    """What spreads by a hundred in the inputs spreads by ten in both."""
    largest = np.array([1, 0.01, 1, 100, 0], np.float32)
    weight = np.zeros((2, 5, 3, 3), np.float32)
    weight[1, :, 1, 2] = [-3, 3, 0.03, 3, 3]
    found = int8.factors(weight, largest)

    assert found.dtype == np.float32
    # The last two are all but silent, and count as a hundredth of the largest.
    assert found / found[0] == pytest.approx(np.array([1, 1, 10, 10, 1]))
    assert found.max() == 1
    for zeros in ((weight * 0, largest), (weight, largest * 0)):
        assert int8.factors(*zeros).tolist() == [1] * 5
    weight[:, 2] = 0
    assert np.isfinite(int8.factors(weight, largest)).all()
    assert (int8.factors(weight, largest) > 0).all()


def test_a_step_scales_inputs_and_sums_and_leaves_the_weights() -> None:
    layers, _ = int8.quantized(ARCHITECTURE, numbers().__getitem__, means(), input_factors())
    for key, layer in layers.items():
        scaled = layer.with_step(0.25)
        assert np.array_equal(scaled.input_scales(), input_factors()[key] / 4)
        assert np.array_equal(scaled.scales(), layer.scales() / 4)
        assert np.array_equal(scaled.float32(), layer.float32())


def test_each_channel_has_its_scale_and_its_largest_weight_is_127() -> None:
    arrays = numbers()
    arrays["features.0.weight"][2] = 0
    layers, _ = int8.quantized(ARCHITECTURE, arrays.__getitem__, means(), input_factors())

    assert set(layers) == set(int8.layer_keys(ARCHITECTURE)) == set(means())
    for key, layer in layers.items():
        weight, integers = arrays[f"{key}.weight"], layer.values.numpy()
        assert integers.dtype == np.int8
        flat = np.abs(integers.reshape(len(integers), -1).astype(int)).max(1)
        assert set(flat) <= {127, 0}
        error = np.abs(layer.float32() - weight).reshape(*weight.shape[:2], -1).max(2) * input_factors()[key]
        assert (error.max(1) <= layer.scales() * 0.5001).all()
    assert not layers["features.0"].float32()[2].any()
    assert (layers["features.0"].scales() > 0).all()


def test_rounding_moves_no_channel_on_average() -> None:
    """For an input that is its mean everywhere, a layer gives what it gave before."""
    arrays, inputs = numbers(), means()
    layers, biases = int8.quantized(ARCHITECTURE, arrays.__getitem__, inputs, input_factors())

    assert set(biases) == {f"{key}.bias" for key in layers}
    for key, layer in layers.items():
        before, after = arrays[f"{key}.weight"], layer.float32()
        each = [weight.reshape(len(weight), inputs[key].size, -1).sum(2) @ inputs[key] for weight in (before, after)]
        expected = each[0] + arrays[f"{key}.bias"]
        assert np.allclose(each[1] + biases[f"{key}.bias"].numpy(), expected, atol=1e-4)
        assert not np.allclose(each[1] + arrays[f"{key}.bias"], expected, atol=1e-4)


def test_a_file_whose_labels_differ_from_fp32_says_so_in_every_run() -> None:
    def notes(**document: Any) -> tuple[str, ...]:
        return int8.Quantization(document, {}).notes

    assert notes(recipe_source="file", agreement={"images": 60, "equal_labels": 58}) == ()
    assert notes(agreement={"images": 60, "equal_labels": 31}) == (
        "in int8 29 of 60 images got another label than in fp32",
    )
    assert notes(recipe_source="assumed") == ("how its images are prepared was assumed when it was quantized",)
    for strange in ({"agreement": 1}, {"agreement": {"images": "60"}}, {"images": [], "made_from": None}):
        assert notes(**strange) == ()
        assert int8.Quantization(strange, {}).for_people() == ""


@pytest.mark.parametrize("name", list(VARIANTS))
def test_a_list_of_layers_is_read_as_it_was_written(name: str) -> None:
    architecture = VARIANTS[name].architecture

    assert layer_list.read(layer_list.write(architecture), 224) == architecture


def changed(place: int, **values: Any) -> list[Any]:
    layers = layer_list.write(ARCHITECTURE)
    layers[place] |= values
    return layers


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        [1, 2],
        ["Conv2d"],
        [{"type": "Conv2d"}],
        [{"type": ["Conv2d"]}],
        layer_list.write(ARCHITECTURE)[:-1][:4],
        layer_list.write(ARCHITECTURE) * 2,
        [layer_list.write(ARCHITECTURE)[0]] * 2000,
        changed(0, in_channels=True),
        changed(0, in_channels=-3),
        changed(0, out_channels=1 << 60),
        changed(0, out_channels=5),
        changed(0, kernel=5),
        changed(1, eps="1e-5"),
        changed(1, eps=float("nan")),
        changed(1, eps=-1.0),
        changed(1, spatial=False),
        changed(2, function="exp"),
        changed(2, type="Tanh"),
        changed(3, average=0),
        changed(-1, in_features=17),
    ],
)
def test_a_list_of_layers_that_is_none_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        layer_list.read(document, 8)
