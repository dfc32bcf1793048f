"""What a name means among the classes of a network."""

from __future__ import annotations

import pytest

from vggcli.network import labels
from vggcli.network.class_index import ClassIndex


@pytest.fixture(scope="module")
def imagenet() -> ClassIndex:
    return ClassIndex(labels.imagenet())


@pytest.mark.parametrize(
    ("name", "indices"),
    [
        *(("n02123045", (281,)), ("tabby", (281,)), ("Tabby", (281,)), ("281", (281,)), ("0281", (281,))),
        *(("great white shark", (2,)), ("great_white_shark", (2,)), ("Great  White_Shark ", (2,))),
        *(("crane", (134, 517)), ("maillot", (638, 639)), ("cardigan", (474,)), ("Cardigan", (264,))),
        *(("CARDIGAN", (264, 474)), ("1000", ()), ("n00000000", ()), ("tabbby", ()), ("", ()), ("-1", ()), ("²", ())),
    ],
)
def test_imagenets_classes_by_id_label_and_index(name: str, indices: tuple[int, ...], imagenet: ClassIndex) -> None:
    assert imagenet.find(name) == indices


def test_an_ambiguous_name_can_be_told_by_what_is_shown(imagenet: ClassIndex) -> None:
    assert [imagenet.shown(index) for index in imagenet.find("crane")] == [
        "134 (crane, n02012849)",
        "517 (crane, n03126707)",
    ]
    assert imagenet.headings([134, 281, 517]) == ["crane (134)", "tabby", "crane (517)"]


def test_the_nearest_labels(imagenet: ClassIndex) -> None:
    assert imagenet.nearest("Siamese_cats")[0] == "Siamese cat"
    assert imagenet.nearest("§§§") == []


def test_wordnet_ids_mean_nothing_to_other_classes() -> None:
    others = (*labels.imagenet()[:-1], "something else")

    assert ClassIndex(others).find("n02123045") == ()
    assert ClassIndex(("n02123045", "n02123159")).find("n02123159") == (1,)  # unless they are the labels
    synonyms = [f"{name}, or so" for name in labels.imagenet()]
    assert ClassIndex(synonyms).find("n02123045") == (281,)


def test_where_numbers_are_labels_they_are_no_indices() -> None:
    flowers = ClassIndex(("1", "10", "100"))
    digits = ClassIndex(("0", "1", "2"))

    assert [flowers.find(name) for name in ("1", "10", "0", "2")] == [(0,), (1,), (), ()]
    assert [digits.find(name) for name in ("0", "2", "3")] == [(0,), (2,), ()]


def test_the_folders_of_sorted_images_are_understood() -> None:
    classes = ClassIndex(("a/b", "c\td"))

    assert [classes.find(name) for name in ("a\\x2fb", "c\\td")] == [(0,), (1,)]
