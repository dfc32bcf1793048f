"""What a command needs of whoever called it: a place for words, and a view of how far it is."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vggcli.weights.download import progress as download


class Progress(Protocol):
    """How far a run is.

    Attributes:
        name: what else is to be said of it, e.g. "12/50 blocks".
    """

    name: str

    def advance(self, classified: int, failed: int, kept: int = 0) -> None:
        """So many images are done, and so many were done by an earlier run."""


class Console(Protocol):
    """A person, or the log of a job.

    Attributes:
        is_terminal: a person reads the words as they come.
        shows_results: standard output is a terminal too.
        shares_terminal: results on standard output may come out where the words do.
    """

    @property
    def is_terminal(self) -> bool: ...

    @property
    def shows_results(self) -> bool: ...

    @property
    def shares_terminal(self) -> bool: ...

    def note(self, text: str) -> None:
        """One line."""

    def progress(self, wanted: bool, counts: Iterable[int] = ()) -> AbstractContextManager[Progress]:
        """A view of how many images are done.

        Args:
            wanted: whether the results leave room for it.
            counts: the number of inputs found so far, ever larger, the last being all; empty where nobody can know.
                It is iterated in another thread.
        """

    def transfer(self, name: str) -> download.Progress:
        """A view of the download of the file of this name."""

    def leave_terminal(self) -> None:
        """Take what is drawn from the terminal, when the process ends from one moment to the next."""
