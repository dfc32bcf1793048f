"""From what people call a class to its index: a WordNet id, its name, or the index itself; never by any order."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cached_property

from vggcli.network import labels
from vggcli.text import unescape

_NEAREST = 3
_FURTHEST = 0.5  # of difflib's ratios: a name of which half is other letters is no near one


class ClassIndex:
    """The classes of a network by every name that means one of them.

    A name is understood, in this order, as the very label, a WordNet id (where the classes are ImageNet's), an index,
    the name of a folder of `vgg predict --sort-into`, and a label in other case, with underscores for spaces.  Where
    labels are numbers themselves that are not their own indices, a number is a label and no index.

    Args:
        names: of the classes, in index order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._exact, self._folded = _by_name(self.names), _by_name([_fold(name) for name in self.names])
        self._takes_indices = all(int(name) == index for index, name in enumerate(self.names) if _is_number(name))

    @cached_property
    def wordnet_ids(self) -> tuple[str, ...]:
        """Those of the classes, in index order; empty where the classes are not ImageNet's."""
        if len(self.names) != labels.IMAGENET_CLASSES:
            return ()
        # Lists with all synonyms ("tench, Tinca tinca") are the same classes.
        is_imagenet = [_first(name) for name in self.names] == [_fold(name) for name in labels.imagenet()]
        return labels.imagenet_wordnet_ids() if is_imagenet else ()

    def find(self, name: str) -> tuple[int, ...]:
        """The indices that a name may mean: none for an unknown name, several for an ambiguous one."""
        if name in self._exact:
            return self._exact[name]
        if name in self._by_wordnet_id:
            return (self._by_wordnet_id[name],)
        if _is_number(name):
            return (int(name),) if self._takes_indices and int(name) < len(self.names) else ()
        return self._exact.get(unescape(name)) or self._folded.get(_fold(name)) or ()

    def shown(self, index: int) -> str:
        """A class in a message, so that it can be told from another of the same name."""
        wordnet_id = f", {self.wordnet_ids[index]}" if self.wordnet_ids else ""
        return f"{index} ({self.names[index]}{wordnet_id})"

    def nearest(self, name: str) -> list[str]:
        """The labels most like an unknown name, perhaps none."""
        near = difflib.get_close_matches(_fold(name), self._folded, _NEAREST, _FURTHEST)
        return [self.names[self._folded[found][0]] for found in near]

    def headings(self, indices: Sequence[int]) -> list[str]:
        """Labels as the headings of a table: those that several classes share get their index."""
        return [f"{self.names[i]} ({i})" if len(self._exact[self.names[i]]) > 1 else self.names[i] for i in indices]

    @cached_property
    def _by_wordnet_id(self) -> dict[str, int]:
        return {wordnet_id: index for index, wordnet_id in enumerate(self.wordnet_ids)}


def _by_name(names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for index, name in enumerate(names):
        found[name] = (*found.get(name, ()), index)
    return found


def _fold(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _first(name: str) -> str:
    return _fold(name.partition(",")[0])


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 10
