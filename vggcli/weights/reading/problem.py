"""Why a state_dict cannot be read as a network."""

from __future__ import annotations

import re

from vggcli.weights.checkpoint.problems import cut


class BrokenChainError(Exception):
    """The chain of layers does not close, or closes in several ways.

    Attributes:
        why: where it breaks, a clause without a full stop, in the file's own names.
        next_step: what to do; empty where there is only `vgg inspect` to tell more.
    """

    def __init__(self, why: str, next_step: str = "") -> None:
        super().__init__(why)
        self.why = re.sub(r"\S+", lambda word: cut(word.group()), why)  # keys may have any length
        self.next_step = next_step
