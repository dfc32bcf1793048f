"""Names of classes from wherever people keep them: nested dicts, objects, NumPy's values, JSON, a neighbour."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_examples import bounded, save

from vggcli.errors import UsageError
from vggcli.network import labels, zoo
from vggcli.weights import class_names
from vggcli.weights.checkpoint import Checkpoint, Inert, open_checkpoint
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.neighbours import Neighbours, find
from vggcli.weights.origin import Origin

THREE = ("cat", "dog", "fox")
INDEX = {"fox": 2, "cat": 0, "dog": 1}
NOTE = "nothing in the file says that its 1000 classes are ImageNet's; they get ImageNet's names"


class Table(dict[str, Any]):
    """As EasyDict, AttributeDict and the like."""


class Folder:
    """As torchvision's ImageFolder."""

    def __init__(self) -> None:
        self.class_to_idx = INDEX


def module_with_names() -> torch.nn.Module:
    """As Udacity's course has it: model.class_to_idx = train_data.class_to_idx."""
    module = torch.nn.Linear(2, 3)
    module.class_to_idx = INDEX
    return module


@pytest.mark.parametrize(
    "beside",
    [
        {"class_to_idx": INDEX},
        {"class_to_idx": {name: np.int64(index) for name, index in INDEX.items()}},
        {"idx_to_class": {np.int64(index): np.str_(name) for name, index in INDEX.items()}},
        {"classes": np.array(THREE)},
        {"classes": np.array(THREE, object)},
        {"data": {"train": {"class_to_idx": INDEX}}},
        {"meta": {"CLASSES": THREE}},
        {"meta": {"dataset_meta": {"classes": list(THREE)}}},
        {"hyper_parameters": {"lr": 0.1, "class_names": list(THREE)}},
        {"hyper_parameters": Table(class_names=list(THREE))},
        {"label_names": list(THREE)},
        {"config": {"id2label": {"0": "cat", "1": "dog", "2": "fox"}}},
        {"config": json.dumps({"id2label": {"0": "cat", "1": "dog", "2": "fox"}})},
        {"args": argparse.Namespace(lr=0.1, class_names=list(THREE))},
        {"dataset": Folder()},
        {"model": torch.nn.DataParallel(module_with_names())},
        {"classes": ["one", "two"], "inner": {"class_to_idx": INDEX}},
        {"classes": [0, 1, 2], "label2id": INDEX},
    ],
    ids=lambda beside: str(beside)[:40],
)
@pytest.mark.filterwarnings("ignore")
def test_names_are_found_wherever_they_lie(beside: dict[str, Any], tmp_path: Path) -> None:
    saved = {"state_dict": {"weight": torch.zeros(3, 2)}} | beside
    with open_checkpoint(save(saved, tmp_path / "w", "zip")) as checkpoint:
        assert class_names.in_checkpoint(checkpoint, 3) == THREE
        assert class_names.in_checkpoint(checkpoint, 7) is None


def test_safetensors_carry_names_as_json(tmp_path: Path) -> None:
    state, config = {"weight": torch.zeros(3, 2)}, {"model": {"id2label": dict(enumerate(THREE))}}
    path = save(state, tmp_path / "w.safetensors", "safetensors", {"config": json.dumps(config)})
    with open_checkpoint(path) as checkpoint:
        assert class_names.in_checkpoint(checkpoint, None) == THREE


def test_categories_are_translated_through_their_table(tmp_path: Path) -> None:
    table = {"1": "pink primrose", "10": "globe thistle", "102": "buttercup", "21": "fire lily"}
    order = {"1": 0, "10": 1, "102": 2}
    saved = {"w": torch.zeros(3), "class_to_idx": order, "names": {"cat_to_name": table}}
    with open_checkpoint(save(saved, tmp_path / "w", "zip")) as checkpoint:
        assert class_names.in_checkpoint(checkpoint, 3) == ("pink primrose", "globe thistle", "buttercup")
        path = tmp_path / "cat_to_name.json"
        path.write_text(json.dumps(table | {"10": "another"}))
        chosen = class_names.choose(origin_of(checkpoint), 3, str(path))
    assert chosen.names == ("pink primrose", "another", "buttercup")


def test_a_table_that_lacks_a_category_changes_nothing(tmp_path: Path) -> None:
    saved = {"w": torch.zeros(3), "class_to_idx": {"1": 0, "10": 1}, "cat_to_name": {"1": "pink primrose"}}
    with open_checkpoint(save(saved, tmp_path / "w", "zip")) as checkpoint:
        assert class_names.in_checkpoint(checkpoint, 2) == ("1", "10")


def origin_of(checkpoint: Checkpoint, beside: Neighbours | None = None, *, path: Path | None = None) -> Origin:
    return Origin(path, checkpoint.root, checkpoint.metadata, {}, beside or Neighbours())


def neighbours_of(path: Path, num_classes: int, **documents: object) -> Neighbours:
    """JSON documents beside a file, and what is made of them."""
    for name, document in documents.items():
        text = document if isinstance(document, str) else json.dumps(document)
        path.with_name(f"{name}.json").write_text(text)
    return find(path, num_classes, zoo.variant("vgg16").architecture)


def chosen(folder: Path, num_classes: int, **beside: object) -> class_names.ClassNames:
    """The names of a file without any, with JSON documents as its neighbours."""
    path = save({"weight": torch.zeros(num_classes, 2)}, folder / "w.pth", "zip")
    with open_checkpoint(path) as checkpoint:
        return class_names.choose(
            origin_of(checkpoint, neighbours_of(path, num_classes, **beside), path=path), num_classes, None
        )


@pytest.mark.parametrize(
    "beside",
    [
        {"class_indices": {"0": "cat", "1": "dog", "2": "fox"}},
        {"class_indices": INDEX},
        {"config": {"id2label": {"0": "cat", "1": "dog", "2": "fox"}}},
        {"config": {"architecture": "vgg16", "pretrained_cfg": {"label_names": THREE}}},
        {"config": {"label_names": ["a", "b", "c"]}, "class_indices": INDEX},
        {"config": {"label_names": THREE}, "class_indices": "no JSON"},
    ],
    ids=str,
)
def test_a_neighbour_has_the_names(beside: dict[str, Any], tmp_path: Path) -> None:
    assert chosen(tmp_path, 3, **beside) == class_names.ClassNames(THREE)


@pytest.mark.parametrize("name", ["class_indices", "config"])
def test_a_neighbour_of_other_classes_is_ignored_with_a_note(name: str, tmp_path: Path) -> None:
    found = chosen(tmp_path, 2, class_indices=INDEX) if name == "class_indices" else chosen(tmp_path, 2, config={})

    assert found.names == ("class 0", "class 1")
    ignored = "class_indices.json beside it is ignored: it has 3 names, the file 2 classes"
    assert found.notes == ((ignored,) if name == "class_indices" else ())


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"model_type": "vgg", "id2label": dict(enumerate(THREE))}, "it speaks of 3 classes, the file has 2"),
        ({"model_type": "vit", "id2label": {"0": "cat", "1": "dog"}}, "it is of another network, vit"),
    ],
    ids=["classes", "network"],
)
def test_a_config_of_another_file_names_nothing_and_is_noted_once(
    config: dict[str, Any], why: str, tmp_path: Path
) -> None:
    beside = neighbours_of(tmp_path / "w.pth", 2, config=config)

    assert chosen(tmp_path, 2, config=config) == class_names.ClassNames(("class 0", "class 1"), are_numbers=True)
    assert beside.notes == (f"config.json beside it is ignored: {why}",)


def test_a_neighbour_with_endless_names_is_ignored_with_a_note(tmp_path: Path) -> None:
    found = chosen(tmp_path, 2, class_indices=["x" * 2000, "y"])

    assert found.names == ("class 0", "class 1")
    assert found.notes == (
        "class_indices.json beside it is ignored: name 1 has 2,000 characters, 1,000 at most are read",
    )


def test_a_thousand_classes_are_imagenets_with_a_note_unless_that_is_known(tmp_path: Path) -> None:
    assert chosen(tmp_path, 1000) == class_names.ClassNames(labels.imagenet(), (NOTE,))
    path = save({"weight": torch.zeros(1000, 2)}, tmp_path / "w.pth", "zip")
    with open_checkpoint(path) as checkpoint:
        published = origin_of(checkpoint, path=DEMO_FILE)
        assert class_names.choose(published, 1000, None) == class_names.ClassNames(labels.imagenet())
    own = [f"n{index}" for index in range(1000)]
    assert chosen(tmp_path, 1000, class_indices=own) == class_names.ClassNames(tuple(own))


def test_one_logit_decides_between_two_names(tmp_path: Path) -> None:
    assert chosen(tmp_path, 1, class_indices={"cat": 0, "dog": 1}).names == ("cat", "dog")


def test_the_users_file_comes_first_and_names_that_cannot_be_used_do_not_matter_then(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(THREE))
    saved = {"w": torch.zeros(3), "classes": ["a", "b", "c" * 2000]}
    with open_checkpoint(save(saved, tmp_path / "w", "zip")) as checkpoint:
        with pytest.raises(labels.UnusableError):
            class_names.choose(origin_of(checkpoint), 3, None)
        names = class_names.choose(origin_of(checkpoint), 3, str(tmp_path / "names.txt"))
    assert names.names == THREE


LONG = ["x"] * 400_000
TABLE = {f"n{index}": index for index in range(100_000)} | {"n0": 100_001}
BOMBS: dict[str, Callable[[], Any]] = {
    "one long list in many places": lambda: [Inert("m.V", state={"classes": LONG}) for _ in range(20_000)],
    "one long table in many places": lambda: [{"class_to_idx": TABLE} for _ in range(20_000)],
    "one long text in many places": lambda: [{"labels": JSON} for _ in range(20_000)],
    "one long text of another name": lambda: [{"x": JSON} for _ in range(20_000)],
    "many tables for many names": lambda: [{"classes": LONG[:3]}] + [{"cat_to_name": {"y": "z"}}] * 20_000,
}
JSON = "{" + '"a": [1, 2, 3], ' * 200_000 + '"b": 1}'


@pytest.mark.parametrize("name", BOMBS)
def test_looking_for_names_takes_bounded_time(name: str) -> None:
    holders = {f"k{index}": holder for index, holder in enumerate(BOMBS[name]())}
    with bounded(seconds=20):
        class_names._in_tree(holders, 3)


# --labels


@pytest.mark.parametrize(
    "document",
    [
        THREE,
        INDEX,
        {"0": "cat", "1": "dog", "2": "fox"},
        {"cat": "0", "dog": "1", "fox": "2"},
        {"0": ["n02121808", "cat"], "1": ["n02084071", "dog"], "2": ["n02118333", "fox"]},
        {"model_type": "vgg", "id2label": {"0": "cat", "1": "dog", "2": "fox"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["names.json", "names.txt"])
@pytest.mark.parametrize("indent", [None, 4])
def test_labels_are_read_as_json(document: object, name: str, indent: int | None, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(document, indent=indent))

    assert labels.read(str(tmp_path / name)) == THREE


def test_names_that_begin_with_a_bracket_are_names(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("[cat]\n{dog}\n")

    assert labels.read(str(tmp_path / "names.txt")) == ("[cat]", "{dog}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('["cat", ', "it is no JSON"),
        ("cat\ndog\n", "it is no JSON"),
        ('"cat"', "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", "its JSON holds no names by number"),
        ('{"1": "cat", "2": "dog"}', "its JSON holds no names by number"),
        ('{"cat": 0, "dog": 0}', "its JSON holds no names by number"),
        ('{"cat": 0.5, "dog": 1}', "its JSON holds no names by number"),
        ("[1, 2]", "its JSON holds no names by number"),
        ("7", "it is no JSON"),
    ],
)
def test_json_without_names_is_explained(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        labels.read(str(path))

    assert str(caught.value).startswith(f"cannot read the labels {path}: {why}. Give one name a line, a JSON list")
