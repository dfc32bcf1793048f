"""Class names: one list for ImageNet, a file of the user's, or the names that a checkpoint brings along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vggcli.errors import UsageError
from vggcli.json_reader import parse_json

IMAGENET_CLASSES = 1000
LONGEST_CHARACTERS = 1000  # one name; ImageNet's longest has 121
_LONGEST_KEY = 40
_MOST_CHARACTERS_OF_ALL = 16 << 20  # 100,000 names of 160
# As people write them but for case and what stands between words, the surest first.
_KEYS = (
    *("labels", "classes", "classnames", "labelnames", "categories", "targetnames"),
    *("idxtoclass", "idx2class", "id2label", "indextoname", "idxtolabels", "idxtoname", "classindices"),
    *("classtoidx", "class2idx", "label2id", "labeltoidx", "nametoidx", "labelmap", "names"),
)
_MOST_BYTES = 16 << 20  # of a file of names
_JSON_NEXT = "Give one name a line, a JSON list of names, or a JSON object of names and numbers from 0"


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


def read(path: str, own: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names from a text file (UTF-8; a byte-order mark, CRLF and a last empty line are no names).

    It has one name a line, or is a JSON list of names, a JSON object from names to numbers or from numbers to names, or
    one from other names to names, as cat_to_name.json is.

    Args:
        path: of the file.
        own: the names that the checkpoint carries, which an object of names may translate.

    Raises:
        UsageError: the file cannot be read or holds no names.
    """
    try:
        with Path(path).open("rb") as file:  # also a pipe, as shells make one for <(command)
            data = file.read(_MOST_BYTES + 1)
        text = data.decode("utf-8-sig") if len(data) <= _MOST_BYTES else ""
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError("cannot read the labels", path, why, "Give --labels a text file, one name a line") from error
    except UnicodeDecodeError as error:
        raise UsageError("cannot read the labels", path, "it is not UTF-8 text", "Save it as UTF-8") from error
    except ValueError as error:  # no name of a file
        raise UsageError("cannot read the labels", path, str(error), "Give --labels a text file") from error
    if len(data) > _MOST_BYTES:
        why = f"it has more than {_MOST_BYTES >> 20} MiB"
        raise UsageError("cannot read the labels", path, why, "Put one name on each line")
    try:
        names = _in_json(text, path, own) or tuple(line.rstrip("\r") for line in text.rstrip("\r\n").split("\n"))
        if names == ("",):
            raise UsageError("cannot read the labels", path, "the file is empty", "Put one name on each line")
        return _checked(names)
    except UnusableError as error:
        raise UsageError("cannot read the labels", path, str(error), "Put one name on each line") from error


def _in_json(text: str, path: str, own: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names in a JSON text; None for a text that is none.

    Raises:
        UsageError: it is JSON without names, or broken where its name says that it is JSON.
    """
    is_called_so = path.lower().endswith(".json")
    if text.lstrip()[:1] not in ("[", "{") and not is_called_so:
        return None
    value = _parsed(text.strip())
    if isinstance(value, str):
        value = None
    if value is None and not is_called_so:
        return None  # a name that begins with a bracket
    names = translated(own or (), value) or of_value(value) or in_checkpoint(value, {})
    if not names:
        why = "it is no JSON" if value is None else "its JSON holds no names by number"
        raise UsageError("cannot read the labels", path, why, _JSON_NEXT)
    return names


def translated(names: Sequence[str], table: object) -> tuple[str, ...] | None:
    """The names that a table has for all of others, e.g. flowers for numbers of categories; None when it has not.

    Raises:
        UnusableError: they are too long, one of them or all together.
    """
    if not names or not isinstance(table, Mapping):
        return None
    found: list[str] = []
    for name in names:
        index = _index(name)
        other = table.get(name) if index is None else table.get(name, table.get(index))
        if not isinstance(other, str):
            return None
        found.append(other)
    return _checked(tuple(found))


def for_model(num_classes: int, path: str | None, own: Sequence[str] | None) -> tuple[str, ...]:
    """The names of a model's classes: the user's file, else the checkpoint's own, else ImageNet's, else "class N".

    A model of one logit has one name or two: the second is what the logit speaks for.

    Raises:
        UsageError: the user's file has another number of names than the model has classes.
    """
    if path is not None:
        names = read(path, own)
        if not fits(len(names), num_classes):
            why = f"it has {len(names)} names, the model has {num_classes} classes"
            raise UsageError("cannot use the labels", path, why, "Give one name a line, in the order of the classes")
        return names
    if own is not None and fits(len(own), num_classes):
        return tuple(own)
    if num_classes == IMAGENET_CLASSES:
        return imagenet()
    return tuple(f"class {index}" for index in range(num_classes))


def fits(names: int, num_classes: int) -> bool:
    """Whether there is a name for each class; a single logit may decide between two."""
    return names == num_classes or (names, num_classes) == (2, 1)


def in_checkpoint(root: object, metadata: Mapping[str, str], num_classes: int | None = None) -> tuple[str, ...] | None:
    """The class names that a checkpoint carries beside its weights, under one of the customary keys; None without.

    Args:
        root, metadata: dicts that are looked at, without the dicts in them.
        num_classes: only names for so many classes are taken; None for any.

    Raises:
        UnusableError: they are too long, one of them or all together: a file can repeat one name for every class.
    """
    for holder in (root, metadata):
        if not isinstance(holder, Mapping):
            continue
        for value in candidates(holder):
            names = of_value(value)
            if names is not None and (num_classes is None or fits(len(names), num_classes)):
                return names
    return None


def candidates(holder: Mapping[object, object]) -> list[object]:
    """What a dict holds under the customary keys, the surest first."""
    found = {_folded(key): value for key, value in holder.items() if isinstance(key, str)}
    return [found[key] for key in _KEYS if key in found]


def of_value(value: object) -> tuple[str, ...] | None:
    """The names in a list, a table of names and numbers, or either as JSON; None in anything else.

    Raises:
        UnusableError: they are too long, one of them or all together.
    """
    names = _names(_parsed(value))
    return None if names is None else _checked(names)


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


def _folded(key: str) -> str:
    """CLASS_NAMES, classNames and class-names are the same."""
    return key.replace("_", "").replace("-", "").replace(" ", "").lower() if len(key) <= _LONGEST_KEY else key


def _names(value: object) -> tuple[str, ...] | None:
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    if not isinstance(value, Mapping) or not value:
        return None
    # ImageNet's own table has [WordNet id, name] for each number.
    table = [(key, held[-1] if isinstance(held, list | tuple) and held else held) for key, held in value.items()]
    return _by_index(table) or _by_index([(held, key) for key, held in table])


def _by_index(pairs: Sequence[tuple[object, object]]) -> tuple[str, ...] | None:
    """The names of pairs of index and name, when the indices are 0, 1, 2 and so on."""
    found = {_index(index): name for index, name in pairs if isinstance(name, str)}
    is_whole = len(found) == len(pairs) and all(index in found for index in range(len(pairs)))
    return tuple(str(found[index]) for index in range(len(pairs))) if is_whole else None


def _index(value: object) -> int | None:
    """The number of a class, also in digits; None for anything else."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def digest(names: Sequence[str]) -> str:
    """A short fingerprint of a list of names, to tell one list from another."""
    import hashlib

    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:12]
