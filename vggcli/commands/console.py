"""What a command needs of whoever called it: a place for words, and a view of how far it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Progress(Protocol):
    """How far a run is."""

    def advance(self, classified: int, failed: int) -> None:
        """So many images are done."""


class Transfer(Protocol):
    """How far a download is; see `vggcli.weights.download.progress`."""

    def begin(self, done: int, total: int | None) -> None: ...
    def moved(self, done: int) -> None: ...
    def note(self, text: str) -> None: ...
    def close(self) -> None: ...


class Console(Protocol):
    """A person, or the log of a job.

    Attributes:
        is_terminal: a person reads the words as they come.
        shows_results: standard output is a terminal too.
    """

    @property
    def is_terminal(self) -> bool: ...

    @property
    def shows_results(self) -> bool: ...

    def note(self, text: str) -> None:
        """One line."""

    def warn(self, text: str) -> None:
        """One line that is never hidden: without it an answer could be wrong and nobody know."""

    def progress(self, wanted: bool) -> AbstractContextManager[Progress]:
        """A counter of images.

        Args:
            wanted: whether the results leave room for it.
        """

    def transfer(self, name: str) -> Transfer:
        """A view of the download of the file of this name."""

    def restore_cursor(self) -> None:
        """Undo what a counter does to a terminal, when the process ends from one moment to the next."""
