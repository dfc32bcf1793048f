"""Two classifiers on the same images, held against what each of them says alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import networks
import numpy as np
import pytest
import torch
from predict_examples import DIGITS, LABELS, digit

import vggcli
from vggcli.analysis.agreement import AgreementCounter
from vggcli.errors import MismatchError, UsageError
from vggcli.images.decode import ImageLoader
from vggcli.images.discover import Input
from vggcli.library.paired import Paired
from vggcli.run.batches import Result
from vggcli.run.ranking import to_probabilities


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two narrow networks without batch norm that see 32x32 pixels, ten classes without names: one.pth and two.pth."""
    path = tmp_path_factory.mktemp("weights")
    for seed, name in enumerate(("one", "two")):
        network = networks.Torchvision(widths=networks.NARROW, batch_norm=False)
        torch.save({"state_dict": networks.randomised(network, seed).state_dict()}, path / f"{name}.pth")
    return path


def load(path: Path, **settings: object) -> vggcli.Classifier:
    return vggcli.load(path, **{"recipe": "cifar10", "precision": "fp32", "size": 32, **settings})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def one(folder: Path) -> Iterator[vggcli.Classifier]:
    with load(folder / "one.pth") as classifier:
        yield classifier


@pytest.fixture(scope="module")
def two(folder: Path) -> Iterator[vggcli.Classifier]:
    with load(folder / "two.pth") as classifier:
        yield classifier


def probabilities(classifier: vggcli.Classifier) -> list[np.ndarray]:
    """Of each digit, by the classifier alone."""
    items = classifier.activations(str(DIGITS), "fc8")
    return [to_probabilities(item["fc8"], 10, classifier.recipe.activation) for item in items]


def test_it_is_what_the_two_say_alone(one: vggcli.Classifier, two: vggcli.Classifier) -> None:
    counter = AgreementCounter()
    ours, theirs = probabilities(one), probabilities(two)
    for reference, other in zip(theirs, ours, strict=True):
        counter.add(reference, other)
    changes = [abs(float(b[b.argmax()] - a[b.argmax()])) for a, b in zip(ours, theirs, strict=True)]

    found = vggcli.compare(one, two, [str(DIGITS), "none.png"])

    expected = counter.result()
    assert (found.agreement.equal_labels, found.agreement.interval) == (expected.equal_labels, expected.interval)
    for name in ("mean_change", "largest_change", "top5_overlap"):
        assert getattr(found.agreement, name) == pytest.approx(getattr(expected, name), abs=1e-6)
    assert found.agreement.equal_labels < 10
    assert found.largest_at == sorted(map(str, DIGITS.iterdir()))[int(np.argmax(changes))]
    assert (found.failures, found.failed) == ({"missing": 1}, 1)
    assert len(found.differing) == 10 - found.agreement.equal_labels
    assert [pair.difference.change for pair in found.differing if pair.difference] == sorted(
        (pair.difference.change for pair in found.differing if pair.difference), reverse=True
    )
    for pair in found.differing:
        assert pair.path is not None
        assert pair.labels == (one.classify(pair.path).predictions[0].label,)
        assert pair.against_labels == (two.classify(pair.path).predictions[0].label,)
        assert pair.against_probability == pytest.approx(two.classify(pair.path).predictions[0].probability, abs=1e-6)


def test_a_network_agrees_with_itself(one: vggcli.Classifier) -> None:
    found = vggcli.compare(one, one, digit("two").read_bytes())

    assert found.to_json() == {
        "images": 1,
        "equal_labels": 1,
        "interval": list(found.agreement.interval),
        "mean_change": 0.0,
        "largest_change": 0.0,
        "top5_overlap": 1.0,
        "largest_change_path": None,
        "differing": [],
        "failures": {},
    }


def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gets the name of each image that is decoded."""
    seen: list[str] = []
    load_one = ImageLoader.load

    def load(self: ImageLoader, item: Input, *rest: object) -> object:
        seen.append(item.name)
        return load_one(self, item, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageLoader, "load", load)
    return seen


def test_an_image_is_decoded_once_where_both_see_it_alike(
    one: vggcli.Classifier, two: vggcli.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = decodings(monkeypatch)
    vggcli.compare(one, two, str(DIGITS))

    assert sorted(seen) == sorted(map(str, DIGITS.iterdir()))


@pytest.mark.parametrize("other", [{"size": 48}, {"recipe": "caffe"}, {"resize": "letterbox", "size": 40}])
def test_recipes_that_differ_are_each_sides_own(
    folder: Path, one: vggcli.Classifier, other: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(folder / "one.pth", **other) as another:
        ours, theirs = probabilities(one), probabilities(another)
        seen = decodings(monkeypatch)
        both = Paired(one, another)
        pairs = [both.pair(result) for result in both.pipeline(iter([Input(str(digit(n))) for n in LABELS])).results()]

    assert sorted(seen) == sorted(2 * list(map(str, DIGITS.iterdir())))
    order = {str(path): index for index, path in enumerate(sorted(DIGITS.iterdir()))}
    for pair in pairs:
        index = order[str(pair.path)]
        best = int(theirs[index].argmax())
        assert pair.probability == pytest.approx(ours[index][best], abs=1e-5)
        assert pair.against_probability == pytest.approx(theirs[index][best], abs=1e-5)


def test_labels_that_exclude_no_other_are_compared_as_sets(folder: Path) -> None:
    with load(folder / "one.pth", activation="sigmoid") as one, load(folder / "two.pth", activation="sigmoid") as two:
        found = vggcli.compare(one, two, str(DIGITS))
        assert found.differing
        for pair in found.differing:
            expected = tuple(sorted(p.label for p in one.classify(str(pair.path)).predictions))
            assert tuple(sorted(pair.labels)) == expected


def test_other_classes_cannot_be_compared(one: vggcli.Classifier, tmp_path: Path, folder: Path) -> None:
    network = networks.randomised(networks.Torchvision(widths=networks.NARROW, classes=3))
    torch.save(network.state_dict(), tmp_path / "three.pth")
    (tmp_path / "names.txt").write_text("\n".join([*LABELS[:9], "ten"]))
    named = load(folder / "two.pth", labels=tmp_path / "names.txt")
    with load(tmp_path / "three.pth") as three, named, vggcli.load("demo") as demo:
        for mine, other, why in (
            (one, three, "the first has 10 classes and the second 3"),
            (demo, named, "class 9 is 'nine' in the first and 'ten' in the second"),
        ):
            with pytest.raises(MismatchError, match=why):
                vggcli.compare(mine, other, [])


def test_exclusive_labels_cannot_be_held_against_others(folder: Path, one: vggcli.Classifier) -> None:
    with load(folder / "two.pth", activation="sigmoid") as other, pytest.raises(UsageError, match="--activation"):
        vggcli.compare(one, other, [])


def test_what_is_no_number_is_a_failure(one: vggcli.Classifier) -> None:
    logits = {"ours": np.zeros(10, np.float32), "theirs": np.full(10, np.nan, np.float32)}
    pair = Paired(one, one).pair(Result(Input("a.png"), logits))

    assert (pair.difference, pair.failure and pair.failure.kind) == (None, "model")
