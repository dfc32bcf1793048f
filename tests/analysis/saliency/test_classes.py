"""Which classes are explained: by name, by index, by WordNet id, or the best."""

from __future__ import annotations

import numpy as np
import pytest

from vggcli.analysis.saliency.classes import Choice, index_of
from vggcli.errors import UsageError
from vggcli.network.labels import imagenet

NAMES = ("cat", "Cat", "dog", "3", "hot dog")


@pytest.mark.parametrize(
    ("name", "index"), [("cat", 0), ("Cat", 1), ("DOG", 2), ("3", 3), ("4", 4), (2, 2), ("Hot Dog", 4)]
)
def test_a_class_by_name_first_and_then_by_index(name: str | int, index: int) -> None:
    assert index_of(name, NAMES) == index


def test_a_wordnet_id_where_the_classes_are_imagenets() -> None:
    assert imagenet()[index_of("n02111889", imagenet())] == "Samoyed"
    with pytest.raises(UsageError, match="none of that name"):
        index_of("n02111889", NAMES)


@pytest.mark.parametrize(
    ("name", "names", "message"),
    [
        (
            "samoyd",
            imagenet(),
            "unknown class samoyd: the network has none of that name. The nearest names are Samoyed",
        ),
        ("CAT", NAMES, "cannot tell the class CAT: 2 classes have that name: 0, 1. Give the index."),
        ("crane", imagenet(), "2 classes have that name: 134, 517"),
        ("zebra", NAMES, "The nearest names are cat, Cat, dog, 3, hot dog."),
        ("", NAMES, "The nearest names are cat"),
        ("5", NAMES, "unknown class 5: the network has 5, counted from 0."),
        (-1, NAMES, "unknown class -1"),
        ("9" * 5000, NAMES, "unknown class 9999"),
    ],
)
def test_a_class_that_is_none_is_told_the_nearest(name: str | int, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as error:
        index_of(name, names)

    assert message in str(error.value)


def test_only_names_and_numbers_are_classes() -> None:
    for value in (True, 1.0, None):
        with pytest.raises(TypeError, match="its name or its index"):
            index_of(value, NAMES)  # type: ignore[arg-type]


def test_a_named_class_has_its_rank_among_all() -> None:
    logits = np.array([1, 5, 3, 3, 0], np.float32)

    assert [p.rank for p in Choice(NAMES, "softmax", 1, (3, 2, 1)).predictions(logits)] == [3, 2, 1]
    assert [p.index for p in Choice(NAMES, "softmax", 9).predictions(logits)] == [1, 2, 3, 0, 4]


def test_a_single_logit_speaks_against_the_first_of_two_classes() -> None:
    places, signs = Choice(("no", "yes"), "sigmoid", 2).places(np.array([2.0], np.float32))

    assert (places.tolist(), signs.tolist()) == ([0, 0], [1, -1])


def test_logits_that_are_no_numbers_choose_nothing() -> None:
    places, signs = Choice(NAMES, "softmax", 2).places(np.array([np.nan] * 5, np.float32))

    assert (places.tolist(), signs.tolist()) == ([0, 0], [0, 0])
