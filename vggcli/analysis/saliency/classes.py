"""Which classes of an image are explained."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vggcli.errors import UsageError
from vggcli.network import labels
from vggcli.records import Prediction
from vggcli.run.ranking import best, to_probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_NAMED = 5


def index_of(name: str | int, names: Sequence[str]) -> int:
    """The place of a class.

    Args:
        name: its name, in any case where that is enough to tell; or its index, also in digits; or, where the classes
            are ImageNet's, its WordNet id.
        names: of all classes, in index order.

    Raises:
        UsageError: there is none, with the nearest names; or there are several.
        TypeError: neither a str nor an int.
    """
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise TypeError(f"a class is its name or its index, not {type(name).__name__}")
    text = str(name)
    if isinstance(name, str):
        folded = text.casefold()
        found = [place for place, other in enumerate(names) if other == text]
        found = found or [place for place, other in enumerate(names) if other.casefold() == folded]
        if len(found) > 1:
            why = f"{len(found)} classes have that name: {', '.join(map(str, found[:_MOST_NAMED]))}"
            raise UsageError("cannot tell the class", text, why, "Give the index")
        if found:
            return found[0]
    if text.isascii() and text.isdigit() and len(text) < 10:
        if int(text) < len(names):
            return int(text)
        raise UsageError("unknown class", text, f"the network has {len(names)}, counted from 0", "")
    if text[:1] == "n" and text[1:].isdigit() and tuple(names) == labels.imagenet():
        ids = labels.imagenet_wordnet_ids()
        if text in ids:
            return ids.index(text)
    raise UsageError("unknown class", text, "the network has none of that name", _nearest(text, names))


def _nearest(text: str, names: Sequence[str]) -> str:
    by_folded = {name.casefold(): name for name in reversed(names)}
    near = difflib.get_close_matches(text.casefold(), by_folded, n=_MOST_NAMED, cutoff=0.5)
    holding = [folded for folded in by_folded if text.casefold() in folded][: _MOST_NAMED if text else 0]
    found = [by_folded[folded] for folded in dict.fromkeys([*holding, *near])][:_MOST_NAMED] or names[:_MOST_NAMED]
    more = ", ..." if len(found) < len(names) and found == names[:_MOST_NAMED] else ""
    return f"The nearest names are {', '.join(found)}{more}"


class Choice:
    """The classes to explain of each image: always the same, or its most probable ones.

    Args:
        names: of all classes, in index order; two of them may share a single logit.
        activation: "softmax" or "sigmoid", see `Recipe`.
        top_k: so many of the most probable.
        fixed: these instead, by their places.
    """

    def __init__(self, names: tuple[str, ...], activation: str, top_k: int, fixed: Sequence[int] = ()) -> None:
        self._names, self._activation, self._fixed = names, activation, tuple(fixed)
        self.count = len(self._fixed) or min(top_k, len(names))

    def predictions(self, logits: NDArray[np.float32]) -> tuple[Prediction, ...]:
        """The chosen classes of an image, with their ranks among all."""
        if not self._fixed:
            return best(logits, self._names, self.count, self._activation)
        probabilities = to_probabilities(logits, len(self._names), self._activation)
        ranks = {int(place): rank for rank, place in enumerate(np.argsort(-probabilities, kind="stable"), 1)}
        return tuple(
            Prediction(ranks[place], place, self._names[place], float(probabilities[place])) for place in self._fixed
        )

    def places(self, logits: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Places among the logits, (k,), and what each is multiplied by: a single one speaks against the first."""
        if not np.isfinite(logits).all():  # no class is the best; whoever asks for the predictions finds out
            return np.zeros(self.count, np.intp), np.zeros(self.count, np.float32)
        places = np.array([prediction.index for prediction in self.predictions(logits)], np.intp)
        if (len(logits), len(self._names)) == (1, 2):
            return np.zeros(self.count, np.intp), np.where(places == 1, 1, -1).astype(np.float32)
        return places, np.ones(self.count, np.float32)
