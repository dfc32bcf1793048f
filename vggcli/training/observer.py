"""What training needs of whoever asked for it: somebody to tell, and a way to be stopped."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class InterruptedError(Exception):
    """The run was told to stop; what it has kept on disk is whole."""


class Stoppable(Protocol):
    """Work as signals see it; both are safe to call from a signal handler."""

    def stop(self) -> None:
        """Begin nothing new."""

    def abandon_after(self, seconds: float) -> None:
        """Give up after `stop` on what takes longer."""


class Progress(Protocol):
    """How far a part of the run is.

    Attributes:
        name: what else is to be said of it, e.g. the epoch and its loss.
    """

    name: str

    def advance(self, classified: int, failed: int, kept: int = 0) -> None:
        """So many images are done."""


class Observer(Protocol):
    """Whoever asked for a training."""

    def say(self, text: str) -> None:
        """One line that --quiet hides."""

    def warn(self, text: str) -> None:
        """One line that it does not."""

    def watching(self, work: Stoppable, images: int) -> AbstractContextManager[Progress]:
        """Show a part of the run and stop it when a signal comes.

        Args:
            work: what to stop.
            images: how many it has to do, one seen in several epochs counted as often.
        """


class Flag:
    """Work that looks now and then whether it was told to stop.

    Attributes:
        is_set: whether it was.
    """

    def __init__(self) -> None:
        self.is_set = False

    def stop(self) -> None:
        """See `Stoppable`."""
        self.is_set = True

    def abandon_after(self, seconds: float) -> None:
        """See `Stoppable`; a step that takes longer ends with the process."""

    def check(self) -> None:
        """Raise InterruptedError once it was told to stop."""
        if self.is_set:
            raise InterruptedError
