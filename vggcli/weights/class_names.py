"""The names of a model's classes, from wherever they are: the user, the checkpoint, a neighbour, ImageNet's list."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from vggcli.json_reader import MOST_BYTES_WITH_NAMES, parse_json
from vggcli.network import labels
from vggcli.weights.checkpoint import Checkpoint, Inert
from vggcli.weights.neighbours import CONFIG, INDICES, Neighbours
from vggcli.weights.origin import Origin

_DEPTH = 6  # of dicts and objects in each other
_MOST_HOLDERS = 20_000  # of them that are looked into
_TO_NAME = ("cat_to_name", "category_to_name", "class_to_name")


class ClassNames(NamedTuple):
    """The names of a model's classes.

    Attributes:
        names: in index order; two where a single logit decides between them.
        notes: what should be known about them, one sentence each.
        are_numbers: nothing names the classes: they are "class 0" and so on.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    are_numbers: bool = False


def choose(origin: Origin, num_classes: int, labels_path: str | None) -> ClassNames:
    """The names of a model's classes: the user's, else the checkpoint's, a neighbour's, ImageNet's, or "class N".

    Args:
        origin: the file.
        num_classes: width of its last layer.
        labels_path: the user's file, if any.

    Raises:
        UsageError: the user's file cannot be read or has another number of names.
        labels.UnusableError: the checkpoint's names are too long, and the user gives none.
    """
    if labels_path is not None:
        return ClassNames(labels.for_model(num_classes, labels_path, _to_translate(origin.root, num_classes)))
    own = in_checkpoint(origin, num_classes)
    if own is not None:
        return ClassNames(own)
    names, notes = _in_neighbours(origin.beside, num_classes)
    chosen = labels.for_model(num_classes, None, names)
    if names is None and num_classes == labels.IMAGENET_CLASSES and not origin.identity:
        notes += ("nothing in the file says that its 1000 classes are ImageNet's; they get ImageNet's names",)
    return ClassNames(chosen, notes, names is None and num_classes != labels.IMAGENET_CLASSES)


def in_checkpoint(checkpoint: Checkpoint | Origin, num_classes: int | None) -> tuple[str, ...] | None:
    """The class names that a checkpoint carries, however deep they lie beside the weights; None without.

    Those for `num_classes` classes, if it is known; the outermost, and translated by a table such as `cat_to_name` when
    there is one.

    Raises:
        labels.UnusableError: they are too long, one of them or all together.
    """
    return _in_tree(checkpoint.root, num_classes) or _in_tree(checkpoint.metadata, num_classes)


def _to_translate(root: object, num_classes: int) -> tuple[str, ...] | None:
    """The checkpoint's names for a table of the user's, as they are; None without, or when they cannot be used."""
    try:
        return _in_tree(root, num_classes, translate=False)
    except labels.UnusableError:
        return None


def _in_tree(root: object, num_classes: int | None, *, translate: bool = True) -> tuple[str, ...] | None:
    holders = [*_holders(root)]
    examined: set[int] = set()  # by identity: a file may hold one long list in many places
    for value in (value for holder in holders for value in labels.candidates(holder)):
        if id(value) in examined:
            continue
        examined.add(id(value))
        names = labels.of_value(value)
        if names is not None and (num_classes is None or labels.fits(len(names), num_classes)):
            tables = {id(table): table for other in holders * translate for table in map(other.get, _TO_NAME)}
            return next((better for table in tables.values() if (better := labels.translated(names, table))), names)
    return None


def _holders(root: object) -> Iterator[Mapping[object, object]]:
    """The dicts of a file, the attributes of its objects and what its texts hold as JSON, the outermost first."""
    waiting = deque([(root, 0)])
    seen: dict[int, object] = {}  # by identity, and held for it
    while waiting and len(seen) < _MOST_HOLDERS:
        node, depth = waiting.popleft()
        if id(node) in seen or depth > _DEPTH:
            continue
        seen[id(node)] = node
        if isinstance(node, str):
            node = _document(node)
        if isinstance(node, Inert):
            waiting.extendleft(((node.attributes, depth), (node.entries, depth)))
        elif isinstance(node, Mapping):
            yield node
            waiting.extend((value, depth + 1) for value in node.values() if _may_hold(value))


def _may_hold(value: object) -> bool:
    """Whether this is a dict or object, also one that is written as JSON."""
    return value[:1] == "{" if isinstance(value, str) else isinstance(value, Mapping | Inert)


def _in_neighbours(beside: Neighbours, num_classes: int) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The names in a document beside a weights file, and notes on those that cannot be used."""
    notes: list[str] = []
    for name, document in ((INDICES, beside.indices), (CONFIG, beside.config)):
        try:
            names = (labels.of_value(document) if name == INDICES else None) or _in_tree(document, num_classes)
        except labels.UnusableError as error:
            notes.append(f"{name} beside it is ignored: {error}")
            continue
        if names is not None and labels.fits(len(names), num_classes):
            return names, tuple(notes)
        if names is not None:
            notes.append(f"{name} beside it is ignored: it has {len(names)} names, the file {num_classes} classes")
    return None, tuple(notes)


def _document(text: str) -> object:
    """The value of a JSON text; None for one that is none, or too long."""
    try:
        return parse_json(text, MOST_BYTES_WITH_NAMES)
    except ValueError:
        return None
