"""What images really show: a folder for each class, or a table of paths and labels.

Every name of a class is looked up, and every image looked for under two of them, before anything is computed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from vggcli.errors import UsageError
from vggcli.images import discover
from vggcli.images.access import Access
from vggcli.images.item import Input, Skipped, is_special
from vggcli.network.class_index import ClassIndex

_NAMED = 5  # unknown classes in one message
_MOST_NOTES = 5  # about copies
_BLOCK_BYTES = 1 << 20
_HOW = "Name each by WordNet id, label or index of the network's"


@dataclass(frozen=True, slots=True)
class Example:
    """An image and what it shows.

    Attributes:
        item: the image.
        index: of its class.
        group: the folder that it counts for among the slices: for a folder of classes the one below that of the class,
            "." for none; for a table the folder in its path.
    """

    item: Input
    index: int
    group: str


class Truth(ABC):
    """Images with their classes.

    Args:
        where: the folder or table.
        classes: of the network.
        access: how archives and addresses are read.

    Attributes:
        notes: what should be known, one sentence each; filled by `check`.
        contradictions: images that have a copy, the same bytes in another file, under another class; likewise.
    """

    def __init__(self, where: str, classes: ClassIndex, access: Access) -> None:
        self.where, self.classes, self.access = where, classes, access
        self.notes: list[str] = []
        self.contradictions = 0
        self._indices: dict[str, int] = {}

    @abstractmethod
    def examples(self) -> Iterator[Example]:
        """Every image, in order; the same at every call as long as nothing changes on the disk."""

    @abstractmethod
    def names(self) -> Iterator[tuple[str, str]]:
        """The names of classes, and where each stands."""

    def check(self) -> int:
        """Find out that every class is known and no image has two of them.

        Returns:
            The number of images.

        Raises:
            UsageError: what is wrong, by name.
        """
        unknown: dict[str, str] = {}
        for name, where in self.names():
            if name in self._indices or name in unknown:
                continue
            found = self.classes.find(name)
            if len(found) > 1:
                meant = " or ".join(map(self.classes.shown, found))
                raise UsageError("ambiguous class", repr(name), f"{where} may mean {meant}", "Name it by index")
            if found:
                self._indices[name] = found[0]
            else:
                unknown[name] = where
        if unknown:
            raise self._unknown(unknown)
        return self._count()

    def index(self, name: str) -> int:
        """Of the class that a name in the truth means, after `check`."""
        return self._indices[name]

    def _unknown(self, unknown: dict[str, str]) -> UsageError:
        name, where = next(iter(unknown.items()))
        others = [repr(name) for name in unknown][1:_NAMED]
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        also = f"; nor has it {', '.join(others)}{more}" if others else ""
        count = len(self.classes.names)
        why = f"the network has no class of that name among its {count} ({where}){also}"
        near = self.classes.nearest(name)
        return UsageError("unknown class", repr(name), why, f"The nearest are {', '.join(near)}" if near else _HOW)

    def _count(self) -> int:
        """The number of images, none of which has two classes."""
        seen: dict[object, tuple[int, str]] = {}
        by_size: dict[int, list[tuple[int, str]]] = {}
        images = 0
        for example in self.examples():
            images += 1
            path, index = example.item.path or "", example.index
            identity, size = _identity(example.item)
            if 0 < size <= self.access.max_bytes and identity not in seen:
                by_size.setdefault(size, []).append((index, path))
            first = seen.setdefault(identity, (index, path))
            if first[0] != index:
                one, other = map(self.classes.shown, (first[0], index))
                same = "" if first[1] == path else f", the same image as {first[1]},"
                why = f"it{same} is said to be both {one} and {other}"
                raise UsageError("two classes for", path, why, "Leave one of them out")
        if images > len(seen):
            self.notes.append(f"of the {images:,} images {images - len(seen):,} were named before, and count again")
        self._compare([group for group in by_size.values() if len({index for index, _ in group}) > 1])
        return images

    def _compare(self, groups: list[list[tuple[int, str]]]) -> None:
        """Look for copies under several classes among files of one size; classes and paths in each group."""
        found: list[str] = []
        for group in groups:
            by_digest: dict[bytes, list[tuple[int, str]]] = {}
            for index, path in group:
                if digest := _digest(path):
                    by_digest.setdefault(digest, []).append((index, path))
            for copies in by_digest.values():
                classes = dict(reversed(copies))
                if len(classes) > 1:
                    self.contradictions += len(copies)
                    (one, first), (other, second) = list(classes.items())[:2]
                    shown = f"{first} and {second} are the same image, and said to be {self.classes.shown(one)}"
                    found.append(f"{shown} and {self.classes.shown(other)}")
        self.notes += found[:_MOST_NOTES]
        if len(found) > _MOST_NOTES:
            self.notes.append(f"so are {len(found) - _MOST_NOTES} other images under two classes")


class FolderTruth(Truth):
    """A folder for each class, at any depth below which its images lie."""

    def __init__(self, where: str, classes: ClassIndex, access: Access) -> None:
        super().__init__(where, classes, access)
        try:
            with os.scandir(where) as found:
                entries = sorted((entry.name, entry.is_dir()) for entry in found if entry.name[0] != ".")
        except OSError as error:
            raise UsageError("cannot read", where, (error.strerror or str(error)).lower()) from error
        self._folders = [name for name, is_folder in entries if is_folder]
        loose = [path for name, _ in entries if name not in set(self._folders) if _is_image(path := self._in(name))]
        if loose and not self._folders:
            why = f"its images lie in no folder of a class, {loose[0]} for one"
            raise UsageError("cannot evaluate on", where, why, "Make a folder for each class, or give a table")
        if loose:
            self.notes.append(f"{len(loose)} images in no class's folder are not counted, e.g. {loose[0]}")

    def names(self) -> Iterator[tuple[str, str]]:
        for name in self._folders:
            yield name, f"the folder {self._in(name)}"

    def examples(self) -> Iterator[Example]:
        for name in self._folders:
            folder, index = self._in(name), self.index(name)
            if "::" in folder:
                from vggcli.images import addresses

                folder = addresses.escaped(folder)
            for item in discover.expand_path(folder, True, Skipped(), self.access):
                below = (item.path or "")[len(folder) :].strip(os.sep).split(os.sep)
                yield Example(item, index, below[0] if len(below) > 1 else ".")

    def _in(self, name: str) -> str:
        return os.path.join(self.where, name)


def _is_image(path: str) -> bool:
    return not os.path.isdir(path) and discover.is_image_like(path)


def _identity(item: Input) -> tuple[object, int]:
    """What two names of one file have in common, as links of both kinds lead to it, and its bytes where it has any."""
    path = item.path or ""
    if is_special(path):
        return path, 0
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.abspath(path), 0
    return (status.st_dev, status.st_ino), status.st_size if stat.S_ISREG(status.st_mode) else 0


def _digest(path: str) -> bytes:
    """Of a file's bytes; empty where it cannot be read, which will be said when it is an image's turn."""
    digest = hashlib.blake2b()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return b""
    return digest.digest()
