"""The temperature that makes a network as sure as it is right."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vggcli.analysis import temperature
from vggcli.analysis.temperature import Fitted, Logits, UnfitError


def drawn(count: int = 1500, classes: int = 4) -> tuple[NDArray[np.float32], list[int]]:
    """Logits and classes drawn with their very probabilities: as sure as right."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (count, classes))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return logits.astype(np.float32), [int(random.choice(classes, p=row)) for row in chances]


def fitted(logits: NDArray[np.float32], true: list[int], activation: str = "softmax") -> Fitted:
    with Logits(activation) as kept:
        for row, index in zip(logits, true, strict=True):
            kept.add(row, index)
        return kept.fit(seed=0)


@pytest.mark.parametrize("factor", [0.25, 1, 3])
def test_logits_that_are_too_large_or_small_are_mended(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temperature, "_CHUNK_NUMBERS", 1000)  # several parts of a file
    logits, true = drawn()
    plain, found = fitted(logits, true), fitted(logits * np.float32(factor), true)

    assert plain.temperature == pytest.approx(1, abs=0.1)
    assert found.temperature == pytest.approx(factor * plain.temperature, rel=2e-3)
    assert found.ece_after < 0.05
    assert found.loss_after == pytest.approx(plain.loss_before, abs=0.005)
    if factor != 1:
        assert found.ece_before > 2 * found.ece_after
        assert found.loss_before > found.loss_after


def test_the_halves_are_those_of_the_seed() -> None:
    logits, true = drawn(40)
    with Logits() as kept:
        for row, index in zip(logits, true, strict=True):
            kept.add(row, index)
        one, other = kept.fit(0), kept.fit(1)
        assert kept.fit(0) == one

    assert one.temperature == other.temperature
    assert one.loss_after != other.loss_after


def test_labels_of_a_sigmoid_and_a_single_logit() -> None:
    random = np.random.default_rng(1)
    single = random.normal(0, 2, (800, 1)).astype(np.float32)
    true = [int(random.random() < 1 / (1 + np.exp(-row[0]))) for row in single]

    assert fitted(3 * single, true, "sigmoid").temperature == pytest.approx(3, rel=0.15)
    assert fitted(3 * np.hstack([0 * single, single]), true).temperature == pytest.approx(
        fitted(3 * single, true, "sigmoid").temperature
    )
    logits, labels = drawn(500)
    mine, theirs = fitted(logits, labels, "sigmoid"), fitted(2 * logits, labels, "sigmoid")
    assert theirs.temperature == pytest.approx(2 * mine.temperature, rel=2e-3)


@pytest.mark.parametrize(
    ("logits", "true", "why"),
    [
        ([[9, 0]], [0], "two images"),
        ([[9, 0], [0, 9], [5, 0]], [0, 1, 0], "the lower"),
        ([[9, 0], [0, 9], [5, 0]], [1, 0, 1], "the higher"),
    ],
)
def test_what_has_no_best_temperature_is_said(logits: list[list[float]], true: list[int], why: str) -> None:
    with pytest.raises(UnfitError, match=why):
        fitted(np.array(logits, np.float32), true)
