"""What is counted of two sides' probabilities, held against figures made by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from vggcli.analysis.agreement import AgreementCounter, difference, wilson


def counted(*pairs: tuple[list[float], list[float]], exclusive: bool = True) -> AgreementCounter:
    counter = AgreementCounter(exclusive=exclusive)
    for reference, other in pairs:
        counter.add(np.array(reference), np.array(other))
    return counter


def test_counts_what_two_sides_have_in_common() -> None:
    same = [0.5, 0.2, 0.1, 0.08, 0.06, 0.04, 0.02]
    flipped = [0.3, 0.4, 0.02, 0.08, 0.06, 0.04, 0.1]  # another best class, and class 6 instead of class 2

    found = counted((same, same), (same, flipped), (same, same), (same, same)).result()

    assert (found.images, found.equal_labels, found.equal_share) == (4, 3, 0.75)
    assert found.mean_change == pytest.approx(0.05)
    assert found.largest_change == pytest.approx(0.2)  # of the reference's best, not of the other's
    assert found.top5_overlap == pytest.approx((3 + 0.8) / 4)
    assert found.interval == pytest.approx((0.300642, 0.954413), abs=1e-5)


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [
        # scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
        (0, 10, (0.0, 0.2775328)),
        (10, 10, (0.7224672, 1.0)),
        (300, 300, (0.9873570, 1.0)),
        (81, 263, (0.2552885, 0.3662096)),
        (0, 0, (0.0, 1.0)),
    ],
)
def test_interval_is_wilsons(successes: int, trials: int, expected: tuple[float, float]) -> None:
    low, high = wilson(successes, trials)

    assert (low, high) == pytest.approx(expected, abs=1e-6)
    assert 0 <= low <= successes / (trials or 1) <= high <= 1


def test_no_image_says_nothing_and_its_json_is_valid() -> None:
    found = AgreementCounter().result()

    assert (found.images, found.equal_labels, found.interval) == (0, 0, (0.0, 1.0))
    assert math.isnan(found.mean_change)
    assert math.isnan(found.equal_share)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == {
        "images": 0,
        "equal_labels": 0,
        "interval": [0.0, 1.0],
        "mean_change": None,
        "largest_change": None,
        "top5_overlap": None,
    }


def test_json_has_the_figures() -> None:
    found = counted(([0.75, 0.25], [0.5, 0.5])).result()

    assert json.loads(json.dumps(found.to_json())) == {
        "images": 1,
        "equal_labels": 1,
        "interval": list(found.interval),
        "mean_change": 0.25,
        "largest_change": 0.25,
        "top5_overlap": 1.0,
    }


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5])
def test_few_classes_are_all_among_the_best(classes: int) -> None:
    one = np.linspace(0.1, 0.4, classes)

    assert difference(one, one[::-1].copy()).overlap == 1


def test_equally_probable_classes_stand_in_index_order() -> None:
    assert difference(np.array([0.3, 0.4, 0.4]), np.array([0.2, 0.45, 0.4])).is_equal
    assert not difference(np.array([0.3, 0.4, 0.4]), np.array([0.2, 0.4, 0.45])).is_equal


def test_labels_that_exclude_no_other_are_those_of_at_least_a_half() -> None:
    reference = [0.9, 0.6, 0.1]

    # The best class is another one, and the labels are the same; then the second label is lost.
    found = counted((reference, [0.7, 0.8, 0.2]), (reference, [0.9, 0.49, 0.1]), exclusive=False).result()

    assert found.equal_labels == 1
    assert found.largest_change == pytest.approx(0.2)


def test_one_label_is_there_or_not() -> None:
    pairs = [([0.7], [0.5]), ([0.2], [0.4]), ([0.51], [0.49])]

    assert counted(*pairs, exclusive=False).result().equal_labels == 2
    assert counted(*pairs).result().top5_overlap == 1


@pytest.mark.parametrize(
    ("reference", "other"),
    [([0.5, 0.5], [1.0]), ([], []), ([[0.5, 0.5]], [[0.5, 0.5]]), ([math.nan, 1], [0, 1]), ([0, 1], [math.inf, 1])],
)
def test_what_cannot_be_compared_is_refused_and_not_counted(reference: list[float], other: list[float]) -> None:
    counter = AgreementCounter()

    with pytest.raises(ValueError, match=r"compared|finite"):
        counter.add(np.array(reference), np.array(other))

    assert counter.result().images == 0
