"""The names of a model's classes, from wherever they are: the user, the checkpoint, a neighbour, ImageNet's list."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vggcli.errors import CheckpointError
from vggcli.network import labels
from vggcli.weights.checkpoint import Checkpoint, Inert

NEIGHBOURS = ("class_indices.json", "config.json")  # the more explicit first
_DEPTH = 6  # of dicts and objects in each other
_MOST_HOLDERS = 20_000  # of them that are looked into
_MOST_BYTES = 4 << 20  # of a JSON document: 20,000 names of 200
_TO_NAME = ("cat_to_name", "category_to_name", "class_to_name")


@dataclass(frozen=True, slots=True)
class ClassNames:
    """The names of a model's classes.

    Attributes:
        names: in index order; two where a single logit decides between them.
        notes: what should be known about them, one sentence each.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose(
    checkpoint: Checkpoint, num_classes: int, labels_path: str | None, *, beside: Path | None, is_imagenet: bool
) -> ClassNames:
    """The names of a model's classes: the user's, else the checkpoint's, a neighbour's, ImageNet's, or "class N".

    Args:
        checkpoint: the file.
        num_classes: width of its last layer.
        labels_path: the user's file, if any.
        beside: the weights file, whose neighbours may have names; None for one that has none.
        is_imagenet: the file is known to have ImageNet's classes.

    Raises:
        UsageError: the user's file cannot be read or has another number of names.
        CheckpointError: the checkpoint's names are longer than names are.
    """
    own = in_checkpoint(checkpoint, num_classes)
    if labels_path is not None or own is not None:
        return ClassNames(labels.for_model(num_classes, labels_path, own))
    names, notes = _in_neighbours(beside, num_classes) if beside is not None else (None, ())
    chosen = labels.for_model(num_classes, None, names)
    if names is None and num_classes == labels.IMAGENET_CLASSES and not is_imagenet:
        notes += ("nothing in the file says that its 1000 classes are ImageNet's; they get ImageNet's names",)
    return ClassNames(chosen, notes)


def in_checkpoint(checkpoint: Checkpoint, num_classes: int | None) -> tuple[str, ...] | None:
    """The class names that a checkpoint carries, however deep they lie beside the weights; None without.

    Those for `num_classes` classes, if it is known; the outermost, and translated by a table such as `cat_to_name` when
    there is one.

    Raises:
        CheckpointError: they are too long, one of them or all together.
    """
    try:
        return _in_tree(checkpoint.root, num_classes) or _in_tree(checkpoint.metadata, num_classes)
    except labels.UnusableError as error:
        why = f"the names of its classes are unusable: {error}"
        raise CheckpointError("cannot read weights", checkpoint.path, why) from error


def _in_tree(root: object, num_classes: int | None) -> tuple[str, ...] | None:
    holders = [*_holders(root)]
    for holder in holders:
        names = labels.in_checkpoint(holder, {}, num_classes)
        if names is not None:
            tables = (other.get(key) for other in holders for key in _TO_NAME)
            return next((better for table in tables if (better := labels.translated(names, table))), names)
    return None


def _holders(root: object) -> Iterator[Mapping[str, object]]:
    """The dicts of a file, the attributes of its objects and what its texts hold as JSON, the outermost first."""
    waiting = deque([(root, 0)])
    seen: dict[int, object] = {}  # by identity, and held for it
    while waiting and len(seen) < _MOST_HOLDERS:
        node, depth = waiting.popleft()
        if id(node) in seen or depth > _DEPTH:
            continue
        seen[id(node)] = node
        if isinstance(node, Inert):
            waiting.extendleft(((node.attributes, depth), (node.entries, depth)))
        elif isinstance(node, Mapping):
            yield node
            waiting.extend((value, depth + 1) for value in map(_opened, node.values()) if value is not None)


def _opened(value: object) -> object:
    """A dict or object, also one that is written as JSON; None for anything else."""
    if isinstance(value, str) and value[:1] == "{":
        value = _document(value)
    return value if isinstance(value, Mapping | Inert) else None


def _in_neighbours(path: Path, num_classes: int) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The names in a document beside a weights file, and notes on documents that speak of another number of classes."""
    notes: list[str] = []
    for name in NEIGHBOURS:
        document = _read(path.with_name(name))
        if document is None:
            continue
        try:
            plain = labels.in_checkpoint({"labels": document}, {}) if name == NEIGHBOURS[0] else None
            names = plain or _in_tree(document, num_classes)
        except labels.UnusableError as error:
            notes.append(f"{name} beside it is ignored: {error}")
            continue
        if names is not None and labels.fits(len(names), num_classes):
            return names, tuple(notes)
        if names is not None:
            notes.append(f"{name} beside it is ignored: it has {len(names)} names, the file {num_classes} classes")
    return None, tuple(notes)


def _read(path: Path) -> object:
    """The JSON document of that name; None when there is none."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return _document(file.read(_MOST_BYTES + 1).decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return None


def _document(text: str) -> object:
    """The value of a JSON text; None for one that is none, or too long."""
    try:
        return json.loads(text) if len(text) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        return None
