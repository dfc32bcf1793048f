"""Which images are held out: a share of each class, copies together, the same ones for a seed."""

from __future__ import annotations

from collections import Counter

import pytest

from vggcli.training.split import Labelled, Split, split

CLASSES = ("a", "b")


def images(*counts: int, part: str = "") -> list[Labelled]:
    """So many images of each class."""
    return [
        Labelled(f"{label}/{n}.png", label, f"{label}-{n}", part)
        for label, count in enumerate(counts)
        for n in range(count)
    ]


def counts(found: Split) -> tuple[Counter[int], Counter[int]]:
    return Counter(image.label for image in found.train), Counter(image.label for image in found.val)


@pytest.mark.parametrize(("fraction", "held_out"), [(0.2, (20, 2)), (0.01, (1, 1)), (0.9, (90, 9)), (0.0, (0, 0))])
def test_a_share_of_each_class_is_held_out(fraction: float, held_out: tuple[int, int]) -> None:
    train, val = counts(split(images(100, 10), CLASSES, fraction, 0))

    assert (val[0], val[1]) == held_out
    assert (train[0], train[1]) == (100 - held_out[0], 10 - held_out[1])


def test_the_seed_decides_and_not_the_order_or_the_names() -> None:
    found = images(20, 20)
    renamed = [Labelled(f"new/{image.path}", image.label, image.digest) for image in reversed(found)]

    same = split(renamed, CLASSES, 0.2, 5)
    other = split(found, CLASSES, 0.2, 6)

    assert same.digest() == split(found, CLASSES, 0.2, 5).digest() != other.digest()


def test_most_images_stay_where_they_are_when_others_come() -> None:
    before = {image.digest for image in split(images(50, 50), CLASSES, 0.2, 0).val}
    after = {image.digest for image in split(images(55, 55), CLASSES, 0.2, 0).val}

    assert len(before & after) >= 14


def test_copies_are_on_one_side() -> None:
    found = images(10, 10) + [Labelled(f"0/copy{n}.png", 0, f"0-{n}") for n in range(10)]

    parts = split(found, CLASSES, 0.3, 0)

    assert not {image.digest for image in parts.train} & {image.digest for image in parts.val}
    assert parts.notes == ()


def test_a_class_of_one_image_trains_and_is_told() -> None:
    found = split(images(10, 1), CLASSES, 0.2, 0)

    assert counts(found)[0][1] == 1
    assert found.notes == ("nothing is held out of these classes, which have too few images: b",)
    assert split(images(1, 1), CLASSES, 0.2, 0).notes[0].startswith("nothing is held out, as no class")


def test_a_split_of_the_persons_is_kept_and_copies_across_it_are_told() -> None:
    train, val = images(5, 5, part="train"), [Labelled("val/x.png", 1, "0-3", "val")]

    found = split([*train, *val], CLASSES, 0.2, 0)

    assert (found.train, found.val) == (tuple(train), tuple(val))
    assert found.notes[0] == (
        "1 images of val are in train too, so its accuracy says too much: e.g. val/x.png is 0/3.png"
    )
    assert found.notes[1] == "the same image is in two classes: 0/3.png and val/x.png"
