"""Logits to probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from vggcli.run.ranking import best, to_probabilities


@pytest.mark.filterwarnings("error")
def test_a_sigmoid_of_any_logit_is_a_probability() -> None:
    logits = np.array([-1000, -20, -1, 0, 1, 20, 1000], np.float32)

    found = to_probabilities(logits, 7, "sigmoid")

    assert found == pytest.approx([0, 2.0611536e-9, 0.2689414, 0.5, 0.7310586, 1 - 2.0611536e-9, 1])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_one_logit_of_two_classes_speaks_for_the_second(activation: str) -> None:
    logit = np.array([2.0], np.float32)

    assert to_probabilities(logit, 2, activation) == pytest.approx([0.1192029, 0.8807971])
    assert [p.label for p in best(logit, ("cat", "dog"), 5, activation)] == ["dog", "cat"]


def test_a_log_softmax_at_the_end_changes_nothing() -> None:
    logits = np.random.default_rng(0).normal(0, 3, 10).astype(np.float32)
    logarithms = (logits - np.log(np.exp(logits.astype(np.float64)).sum())).astype(np.float32)

    assert to_probabilities(logarithms, 10, "softmax") == pytest.approx(
        to_probabilities(logits, 10, "softmax"), abs=1e-6
    )


@pytest.mark.parametrize("top_k", [1, 3, 7, 20])
def test_the_best_are_those_of_a_full_sort_and_equal_ones_stand_in_index_order(top_k: int) -> None:
    random = np.random.default_rng(0)
    for classes in (1, 2, 7, 20, 50):
        for _ in range(20):
            logits = random.integers(0, 4, classes).astype(np.float32)
            names = tuple(map(str, range(classes)))
            expected = sorted(range(classes), key=lambda index: (-logits[index], index))[:top_k]
            assert [p.index for p in best(logits, names, top_k)] == expected
