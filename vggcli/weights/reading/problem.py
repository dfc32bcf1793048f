"""Why a state_dict cannot be read as a network."""

from __future__ import annotations


class BrokenChainError(Exception):
    """The chain of layers does not close, or closes in several ways.

    Attributes:
        why: where it breaks, a clause without a full stop, in the file's own names.
        next_step: what to do; empty where there is only `vgg inspect` to tell more.
    """

    def __init__(self, why: str, next_step: str = "") -> None:
        super().__init__(why)
        self.why, self.next_step = why, next_step
