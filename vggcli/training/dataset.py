"""Labelled images as people keep them: a folder for each class, `train/` and `val/` of such folders, or a csv."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from vggcli.errors import UsageError
from vggcli.images.discover import Skipped, expand_path
from vggcli.network.labels import LONGEST_CHARACTERS
from vggcli.text import brief, printable

WHAT = "cannot finetune on"
TRAIN, VAL = "train", "val"
_VAL_NAMES = (VAL, "valid", "validation")
_FORM = "Give a folder with a folder of images for each class, or a csv with the columns path and label"
_SHOWN = 3  # names quoted in a message


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled image.

    Attributes:
        path: as found.
        name: of its class.
        part: TRAIN or VAL where the person says so, else "".
    """

    path: str
    name: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What was found, nothing of it opened yet.

    Attributes:
        classes: names of the classes that have images, sorted.
        examples: in the order of the classes and of their names, or of the csv.
        notes: what should be known, one sentence each.
    """

    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()


def read(source: str) -> Dataset:
    """The labelled images in a folder or csv.

    Raises:
        UsageError: there is none, it cannot be read, it has fewer than two classes, or a label that none can be.
    """
    notes: list[str] = []
    if os.path.isdir(source):
        examples = list(_in_folder(source, notes))
    elif os.path.isfile(source) and source.lower().endswith((".csv", ".tsv")):
        examples = list(_in_table(source))
    else:
        why = "it is no folder and no csv" if os.path.lexists(source) else "there is no such folder or csv"
        raise UsageError(WHAT, source, why, _FORM)
    classes = tuple(sorted({example.name for example in examples}))
    _check(source, classes, examples)
    return Dataset(classes, tuple(examples), (*notes, *_alike(classes)))


def quoted(names: list[str] | tuple[str, ...]) -> str:
    """The first three names, as one line, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(printable(name) for name in names[:_SHOWN]) + more


def _in_folder(source: str, notes: list[str]) -> Iterator[Example]:
    folders = _folders(source)
    val = next((name for name in _VAL_NAMES if name in folders), None)
    is_parted = TRAIN in folders and (val is not None or len(folders) == 1) and bool(_folders(folders[TRAIN]))
    if not is_parted:
        yield from _classes(source, folders, "", notes)
        return
    others = sorted(set(folders) - {TRAIN, val})
    if others:
        notes.append(f"passed over beside {TRAIN} and {val} in {source}: {quoted(others)}")
    yield from _classes(folders[TRAIN], _folders(folders[TRAIN]), TRAIN if val else "", notes)
    if val is not None:
        yield from _classes(folders[val], _folders(folders[val]), VAL, notes)


def _folders(folder: str) -> dict[str, str]:
    """Name to path of the folders in a folder, sorted by name; hidden ones are left out."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())
    except OSError as error:
        raise UsageError(WHAT, folder, (error.strerror or str(error)).lower(), _FORM) from error
    return {name: os.path.join(folder, name) for name in names}


def _classes(source: str, folders: dict[str, str], part: str, notes: list[str]) -> Iterator[Example]:
    empty, skipped = [], Skipped()
    for name, folder in folders.items():
        paths = [item.path for item in expand_path(folder, recursive=True, skipped=skipped) if item.path is not None]
        yield from (Example(path, name, part) for path in paths)
        if not paths:
            empty.append(name)
    loose = Skipped()
    for _ in islice(expand_path(source, recursive=False, skipped=loose), 1):
        notes.append(f"images in {source} that are in no class's folder are passed over")
    if empty:
        notes.append(f"no class, since there are no images in it: {quoted(empty)}")
    if skipped.files.count:
        notes.append(f"{skipped.files.count} files are no images and passed over, e.g. {skipped.files.example}")


def _in_table(table: str) -> Iterator[Example]:
    """The rows of a csv with a header: path, label and, if the person splits, split (train or val)."""
    try:
        # Undecodable bytes as in all paths; a mark of the byte order is no part of the first name.
        with open(table, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t" if table.lower().endswith(".tsv") else ",")
            absent = [name for name in ("path", "label") if name not in (rows.fieldnames or ())]
            if absent:
                known = quoted(list(rows.fieldnames or ())) or "none"
                raise UsageError(WHAT, table, f"it has no column {' and none '.join(absent)}; its columns are {known}")
            for row in rows:
                yield _of_row(row, f"{table}, line {rows.line_num}")
    except (OSError, csv.Error) as error:
        raise UsageError(WHAT, table, str(getattr(error, "strerror", None) or error).lower(), _FORM) from error


def _of_row(row: dict[str, str | None], where: str) -> Example:
    path, name, part = (row.get(column) or "" for column in ("path", "label", "split"))
    if not path or not name.strip():
        raise UsageError(WHAT, where, f"its {'label' if path else 'path'} is empty", "Complete the row, or remove it")
    part = VAL if part in _VAL_NAMES else part
    if part not in ("", TRAIN, VAL):
        raise UsageError(WHAT, where, f"its split is {brief(part)}", f"Known are {TRAIN} and {VAL}")
    return Example(path, name.strip(), part)


def _check(source: str, classes: tuple[str, ...], examples: list[Example]) -> None:
    """Refuse what no network can be trained on."""
    for name in classes:
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise UsageError(WHAT, source, f"the class {printable(name)} has a name that is no UTF-8", "Rename it")
        if len(name) > LONGEST_CHARACTERS:
            raise UsageError(
                WHAT, source, f"the name of class {brief(name)} has {len(name):,} characters", "Shorten it"
            )
    if not examples:
        raise UsageError(WHAT, source, "there are no images in folders of classes", _FORM)
    if len(classes) < 2:
        raise UsageError(WHAT, source, f"it has one class, {printable(classes[0])}, and telling takes two", _FORM)
    trained = {example.name for example in examples if example.part != VAL}
    unknown = sorted(set(classes) - trained)
    if unknown:
        raise UsageError(
            WHAT, source, f"classes of {VAL} that {TRAIN} has not: {quoted(unknown)}", "Rename or move them"
        )


def _alike(classes: tuple[str, ...]) -> Iterator[str]:
    """A note on classes that are probably one."""
    folded = Counter(unicodedata.normalize("NFC", name).casefold().strip() for name in classes)
    same = [name for name in classes if folded[unicodedata.normalize("NFC", name).casefold().strip()] > 1]
    if same:
        yield f"these classes have almost the same name, and are trained as different ones: {quoted(same)}"
