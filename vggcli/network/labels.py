"""Class names: one list for ImageNet, a file of the user's, or the names that a checkpoint brings along."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from vggcli.errors import UsageError
from vggcli.json_reader import parse_json

IMAGENET_CLASSES = 1000
LONGEST_CHARACTERS = 1000  # one name; ImageNet's longest has 121
_MOST_CHARACTERS_OF_ALL = 16 << 20  # 100,000 names of 160
_LIST_KEYS = ("labels", "classes", "class_names", "categories")
_MAP_KEYS = ("idx_to_class", "id2label", "class_to_idx", "label2id")


class UnusableError(ValueError):
    """Names that no list of classes has; the message says which, a clause without a full stop."""


def imagenet() -> tuple[str, ...]:
    """The 1000 ImageNet-1K class names in index order."""
    here = Path(__file__).resolve().parent.parent
    # In a wheel the list lies in the package, in a checkout at the top; it is the same file.
    for path in (here / "imagenet_classes.txt", here.parent / "imagenet_classes.txt"):
        if path.is_file():
            return tuple(path.read_text("utf-8").splitlines())
    raise UsageError("cannot find", "imagenet_classes.txt", "the installation is incomplete", "Install vgg-cli again")


def imagenet_wordnet_ids() -> tuple[str, ...]:
    """The WordNet ids (synsets of WordNet 3.0, e.g. "n01440764") of the same classes, in index order."""
    return tuple(Path(__file__).with_name("wordnet_ids.txt").read_text("ascii").split())


def read(path: str) -> tuple[str, ...]:
    """Names from a text file, one a line (UTF-8; a byte-order mark, CRLF and a last empty line are no names).

    Raises:
        UsageError: the file cannot be read or holds no names.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError("cannot read the labels", path, why, "Give --labels a text file, one name a line") from error
    except UnicodeDecodeError as error:
        raise UsageError("cannot read the labels", path, "it is not UTF-8 text", "Save it as UTF-8") from error
    names = tuple(line.rstrip("\r") for line in text.rstrip("\r\n").split("\n"))
    if names == ("",):
        raise UsageError("cannot read the labels", path, "the file is empty", "Put one name on each line")
    try:
        return _checked(names)
    except UnusableError as error:
        raise UsageError("cannot read the labels", path, str(error), "Put one name on each line") from error


def for_model(num_classes: int, path: str | None, own: Sequence[str] | None) -> tuple[str, ...]:
    """The names of a model's classes: the user's file, else the checkpoint's own, else ImageNet's, else "class N".

    A model of one logit has one name or two: the second is what the logit speaks for.

    Raises:
        UsageError: the user's file has another number of names than the model has classes.
    """
    if path is not None:
        names = read(path)
        if not _fits(len(names), num_classes):
            why = f"it has {len(names)} names, the model has {num_classes} classes"
            raise UsageError("cannot use the labels", path, why, "Give one name a line, in the order of the classes")
        return names
    if own is not None and _fits(len(own), num_classes):
        return tuple(own)
    if num_classes == IMAGENET_CLASSES:
        return imagenet()
    return tuple(f"class {index}" for index in range(num_classes))


def _fits(names: int, num_classes: int) -> bool:
    """Whether there is a name for each class; a single logit may decide between two."""
    return names == num_classes or (names, num_classes) == (2, 1)


def in_checkpoint(root: object, metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """The class names that a checkpoint carries beside its weights, under one of the customary keys; None without.

    Raises:
        UnusableError: they are too long, one of them or all together: a file can repeat one name for every class.
    """
    for holder in (root, metadata):
        if not isinstance(holder, Mapping):
            continue
        for key in (*_LIST_KEYS, *_MAP_KEYS):
            names = _names(_parsed(holder.get(key)))
            if names is not None:
                return _checked(names)
    return None


def _checked(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, none of which is too long.

    Raises:
        UnusableError: one is, or all together are.
    """
    longest = max(range(len(names)), key=lambda index: len(names[index]))
    if len(names[longest]) > LONGEST_CHARACTERS:
        most = f"{LONGEST_CHARACTERS:,} at most are read"
        raise UnusableError(f"name {longest + 1} has {len(names[longest]):,} characters, {most}")
    if sum(map(len, names)) > _MOST_CHARACTERS_OF_ALL:
        raise UnusableError(f"its {len(names):,} names have {sum(map(len, names)):,} characters together")
    return names


def _parsed(value: object) -> object:
    # safetensors metadata holds only strings, so lists travel in it as JSON.
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return parse_json(value, _MOST_CHARACTERS_OF_ALL)
        except ValueError:
            return None
    return value


def _names(value: object) -> tuple[str, ...] | None:
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    if not isinstance(value, Mapping) or not value:
        return None
    pairs = [(k, v) if isinstance(v, str) else (v, k) for k, v in value.items()]
    try:
        by_index = {int(index): str(name) for index, name in pairs if isinstance(name, str)}
    except (TypeError, ValueError, OverflowError):
        return None
    return tuple(by_index[i] for i in range(len(pairs))) if sorted(by_index) == list(range(len(pairs))) else None


def digest(names: Sequence[str]) -> str:
    """A short fingerprint of a list of names, to tell one list from another."""
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:12]
