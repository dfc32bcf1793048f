"""Ranges from histograms in bounded memory, means of channels, and the split of the images."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from vggcli.analysis.calibration import CRITERIA, Calibration, Extents, Histogram, Mean, largest_input, split
from vggcli.engines import int8
from vggcli.images.recipe import IMAGENET, RECIPES
from vggcli.network.architecture import Architecture, vgg
from vggcli.weights import int8 as weights

GENERATOR = np.random.default_rng(8)


def counted(*parts: np.ndarray) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part.astype(np.float32))
    return histogram


def test_a_histogram_is_as_large_for_a_million_values_and_loses_none_when_it_grows() -> None:
    parts = [GENERATOR.normal(0, scale, 50_000) for scale in (0.001, 1, 30, 2)]
    histogram = counted(*parts)
    values = np.abs(np.concatenate(parts).astype(np.float32))

    assert histogram.counts.size == 2048
    assert histogram.counts.sum() == values.size
    assert histogram.largest == values.max() <= histogram.width * 2048
    # Where the values lie is known to a bin.
    middle = np.searchsorted(np.cumsum(histogram.counts), values.size / 2) * histogram.width
    assert abs(middle - np.median(values)) <= histogram.width


def test_max_clips_nothing_and_percentile_the_largest_of_ten_thousand() -> None:
    values = np.abs(GENERATOR.normal(0, 1, 100_000))
    values[:5] = 1000
    histogram = counted(values)

    assert histogram.range("max", is_signed=False) == 1000
    assert histogram.range("percentile", is_signed=False) < 6
    assert np.mean(values > histogram.range("percentile", is_signed=False)) <= 1e-4


@pytest.mark.parametrize("is_signed", [False, True])
def test_mean_square_errs_least_of_all_ranges(is_signed: bool) -> None:
    values = np.abs(GENERATOR.laplace(0, 1, 200_000)).astype(np.float32)
    histogram = counted(values)
    levels = 127 if is_signed else 255

    def error(limit: float) -> float:
        step = limit / levels
        return float(np.square(np.clip(np.rint(values / step), 0, levels) * step - values).mean())

    found = histogram.range("mean_square", is_signed=is_signed)
    best = min(error(limit) for limit in np.linspace(0.1, 1, 50) * values.max())
    assert found < values.max()
    assert error(found) < 1.05 * best


def test_the_order_of_batches_changes_no_range() -> None:
    parts = [GENERATOR.exponential(scale, 10_000) for scale in (4, 1, 0.1)]
    one, other = counted(*parts), counted(np.concatenate(parts))

    for criterion in CRITERIA[:3]:
        assert one.range(criterion, is_signed=False) == pytest.approx(other.range(criterion, is_signed=False), rel=0.02)


def test_zeros_alone_have_no_range_and_infinite_values_are_refused() -> None:
    assert counted(np.zeros((2, 3))).range("mean_square", is_signed=True) == 0
    for value in (np.inf, -np.inf, np.nan):
        with pytest.raises(ValueError, match="not finite"):
            counted(np.array([1, value]))


def test_a_mean_is_of_channels_or_of_features() -> None:
    first, second = GENERATOR.normal(1, 1, (3, 4, 5, 5)), GENERATOR.normal(1, 1, (2, 4, 5, 5))
    together = np.concatenate([first, second])
    channels, features = Mean(is_flat=False), Mean(is_flat=True)
    for part in (first, second):
        channels.add(part.astype(np.float32))
        features.add(part.astype(np.float32))

    assert np.allclose(channels.value(), together.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(features.value(), together.reshape(5, -1).mean(0), atol=1e-6)


def even(architecture: Architecture) -> dict[str, np.ndarray]:
    tensors = architecture.tensors()
    return {key: np.ones(tensors[f"{key}.weight"][1], np.float32) for key in int8.inputs(architecture)}


def test_the_image_is_counted_as_the_network_sees_it() -> None:
    architecture = vgg(((4,), (4,)), pool=1, hidden=(), num_classes=2)
    calibration = Calibration(architecture, IMAGENET, even(architecture), {})
    image = np.broadcast_to(np.array([0, 128, 255], np.uint8), (2, 8, 8, 3))
    shapes = {"pool1": (2, 4, 4, 4), "avgpool": (2, 4, 1, 1)}
    calibration.add(image, {name: np.ones(shape, np.float32) for name, shape in shapes.items()})

    assert calibration.outputs == ("pool1", "avgpool")
    expected = (np.array([0, 128 / 255, 1]) - IMAGENET.mean) / IMAGENET.std
    assert np.allclose(calibration.means()["features.0"], expected, atol=1e-6)
    assert calibration.steps("max") == pytest.approx(
        {"features.0": largest_input(IMAGENET) / 127, "features.3": 1 / 255, "classifier.0": 1 / 255}
    )


def test_a_layer_that_sees_nothing_is_named() -> None:
    architecture = vgg(((4,), (4,)), pool=1, hidden=(), num_classes=2)
    calibration = Calibration(architecture, IMAGENET, even(architecture), {})
    shapes = {"pool1": (1, 4, 4, 4), "avgpool": (1, 4, 1, 1)}
    calibration.add(np.zeros((1, 8, 8, 3), np.uint8), {n: np.zeros(s, np.float32) for n, s in shapes.items()})

    with pytest.raises(ValueError, match=r"^conv2-1$"):
        calibration.steps("mean_square")


def test_each_channel_and_each_feature_is_counted_in_units_of_its_own_factor() -> None:
    architecture = vgg(((4,), (4,)), pool=2, hidden=(), num_classes=2)
    generator = np.random.default_rng(3)
    arrays = {key: generator.normal(0, 1, shape).astype(np.float32) for key, shape in architecture.tensors().items()}
    extents = Extents(architecture)
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    parts = [
        {name: generator.uniform(0, 9, (2, 4, 2, 2)).astype(np.float32) for name in ("pool1", "avgpool")}
        for _ in range(2)
    ]
    for part in parts:
        extents.add(pixels, part)
    factors = extents.factors(arrays.__getitem__)

    assert factors["features.0"].tolist() == [1, 1, 1]
    maps, features = (np.concatenate([part[name] for part in parts]) for name in ("pool1", "avgpool"))
    for key, largest in (("features.3", maps.max((0, 2, 3))), ("classifier.0", features.max(0).reshape(16))):
        assert np.array_equal(factors[key], weights.factors(arrays[f"{key}.weight"], largest))
    limits = extents.limits(factors)
    calibration = Calibration(architecture, IMAGENET, factors, limits)
    for part in parts:
        calibration.add(pixels, part)
    steps = calibration.steps("max")
    assert steps["features.3"] == pytest.approx((maps / factors["features.3"].reshape(4, 1, 1)).max() / 255)
    assert steps["classifier.0"] == pytest.approx((features.reshape(4, 16) / factors["classifier.0"]).max() / 255)
    assert np.allclose(calibration.means()["features.3"], maps.mean((0, 2, 3)))
    # What comes later is in the range of "max" and not in that of "first".
    assert calibration.steps("first") == pytest.approx(steps)
    calibration.add(pixels, {name: values * 3 for name, values in parts[0].items()})
    assert calibration.steps("first") == pytest.approx(steps)
    assert calibration.steps("max")["features.3"] > 1.5 * steps["features.3"]
    with pytest.raises(ValueError, match="not finite"):
        extents.add(pixels, parts[0] | {"avgpool": np.full((2, 4, 2, 2), np.nan, np.float32)})


def test_the_largest_input_is_black_or_white() -> None:
    assert largest_input(IMAGENET) == pytest.approx((1 - 0.406) / 0.225)
    assert largest_input(RECIPES["caffe"]) == pytest.approx(255 - 103.939)


def test_what_layers_see_and_which_of_it_cannot_be_negative() -> None:
    architecture = vgg(((4,), (4, 8)), batch_norm=True, pool=1, hidden=(6,), num_classes=2)

    assert int8.inputs(architecture) == {
        "features.0": None,
        "features.4": "pool1",
        "features.7": "relu2-1",
        "classifier.0": "avgpool",
        "classifier.3": "relu6",
    }
    assert int8.unsigned(architecture) == set(int8.inputs(architecture)) - {"features.0"}


# Which image does what


def digests(*names: int) -> dict[int, bytes]:
    return {place: hashlib.sha256(str(name).encode()).digest() for place, name in enumerate(names)}


def test_three_parts_of_sixty_twenty_and_twenty_per_cent() -> None:
    parts = split(digests(*range(103)))

    assert [len(parts.calibrate), len(parts.choose), len(parts.report)] == [63, 20, 20]
    assert sorted(parts.calibrate + parts.choose + parts.report) == list(range(103))
    assert parts.count == 103


def test_copies_count_once_and_names_and_order_change_nothing() -> None:
    names = list(range(40))
    parts = split(digests(*names))
    again = split(digests(*reversed(names), *names[:7]))

    assert parts.count == again.count == 40
    for one, other in ((parts.calibrate, again.calibrate), (parts.choose, again.choose), (parts.report, again.report)):
        assert [names[place] for place in one] == [names[::-1][place] for place in other]
