"""Metrics, by hand and held against scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vggcli.analysis.evaluation import BINS, EvaluationCounter, Outcome, outcome


def counted(rows: list[tuple[int, list[float]]], **options: int) -> EvaluationCounter:
    counter = EvaluationCounter(len(rows[0][1]), **options)
    for number, (true, probabilities) in enumerate(rows):
        counter.add(outcome(f"{number}.png", true, np.array(probabilities)))
    return counter


def test_three_images_by_hand() -> None:
    found = counted([(0, [0.75, 0.25]), (0, [0.25, 0.75]), (1, [0.0, 1.0])]).result()

    assert (found.images, found.top1, found.top5, found.best) == (3, 2 / 3, 1.0, 2)
    assert [(f.index, f.precision, f.recall, f.support, f.predicted) for f in found.classes] == [
        (0, 1.0, 0.5, 2, 1),
        (1, 0.5, 1.0, 1, 2),
    ]
    assert [f.f1 for f in found.classes] == pytest.approx([2 / 3, 2 / 3])
    assert found.confusion.tolist() == [[1, 1], [0, 1]]
    # Two images in the bin of 0.75, half of them right, and one in the last, which is right.
    assert found.ece == pytest.approx(2 / 3 * 0.25)
    assert found.loss == pytest.approx((-math.log(0.75) - math.log(0.25)) / 3)
    assert found.brier == pytest.approx((2 * 0.0625 + 2 * 0.5625) / 3)
    assert [image.path for image in found.mistakes] == ["1.png"]
    assert found.top1_interval == pytest.approx((0.2077, 0.9385), abs=1e-4)


def test_many_images_as_scikit_learn_counts_them() -> None:
    from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss, precision_recall_fscore_support
    from sklearn.metrics import top_k_accuracy_score as top_k

    random = np.random.default_rng(5)
    probabilities = random.dirichlet(np.full(12, 0.3), 500)
    true = random.integers(0, 9, 500)  # three classes are never true
    found = counted([(int(t), row.tolist()) for t, row in zip(true, probabilities, strict=True)]).result()

    predicted = probabilities.argmax(1)
    figures = precision_recall_fscore_support(true, predicted, zero_division=0)
    for name, expected in zip(("precision", "recall", "f1", "support"), figures, strict=True):
        assert [getattr(f, name) for f in found.classes] == pytest.approx(expected.tolist())
    assert found.confusion.tolist() == confusion_matrix(true, predicted).tolist()
    classes = list(range(12))
    assert found.top1 == pytest.approx(top_k(true, probabilities, k=1, labels=classes))
    assert found.top5 == pytest.approx(top_k(true, probabilities, k=5, labels=classes))
    assert found.loss == pytest.approx(log_loss(true, probabilities, labels=classes))
    by_class = [brier_score_loss(true == index, probabilities[:, index]) for index in classes]
    assert found.brier == pytest.approx(sum(by_class))


def test_equal_probabilities_rank_as_in_a_record() -> None:
    even = np.full(3, 1 / 3)

    assert [outcome("", true, even).rank for true in range(3)] == [1, 2, 3]
    assert outcome("", 2, even).predicted == 0


def test_the_ends_of_the_bins() -> None:
    counter = EvaluationCounter(2)
    for probability in (0.0, 1 / BINS, 1 / BINS + 1e-9, 1.0):
        counter.add(Outcome("", 0, 0, probability, 1))

    assert [b.images for b in counter.result().bins] == [2, 1, *[0] * (BINS - 3), 1]


def test_the_most_confident_mistakes_are_kept_in_order() -> None:
    rows = [(0, [1 - p, p]) for p in (0.6, 0.9, 0.7, 0.9, 0.8)]

    assert [image.path for image in counted(rows, most_mistakes=3).result().mistakes] == ["1.png", "3.png", "4.png"]


def test_nothing_divides_by_nothing() -> None:
    nothing, one = EvaluationCounter(3), EvaluationCounter(1)
    nothing.fail("missing", "a")
    one.add(outcome("x", 0, np.array([1.0])))

    found = nothing.result()
    assert (found.top1, found.top5, found.ece, found.loss, found.top1_interval) == (None,) * 5
    assert (found.classes, found.failed, found.slices["a"].failed) == ((), 1, 1)
    assert (one.result().top1, one.result().ece, one.result().best) == (1.0, 0.0, 1)


def test_what_a_file_of_predictions_leaves_open() -> None:
    counter = EvaluationCounter(10)
    counter.add(Outcome("a", 1, 1, 0.9, 1), knows_best=False)
    assert counter.result().top5 == 1.0
    counter.add(Outcome("b", 1, 2, 0.9, None))  # not among the five that are known
    assert counter.result().top5 == 0.5
    counter.add(Outcome("c", 1, 2, 0.9, None), knows_best=False)
    assert (counter.result().top5, counter.result().top5_interval, counter.result().loss) == (None, None, None)


def test_an_underflow_is_no_infinite_loss() -> None:
    found = counted([(1, [1.0, 0.0])]).result()

    assert found.loss is not None
    assert 700 < found.loss < 800
    assert counted([(0, [0.9, 0.8])]).result().loss is not None
    independent = EvaluationCounter(2)
    independent.add(outcome("", 0, np.array([0.9, 0.8]), exclusive=False))
    assert (independent.result().loss, independent.result().brier) == (None, None)
