"""How a download says how it goes: to a logger by default, to whatever the caller hands in otherwise."""

from __future__ import annotations

import logging
from typing import Protocol


class Progress(Protocol):
    """What a download tells while it runs; one object for each file, made by calling a factory with the file's name."""

    def begin(self, done: int, total: int | None) -> None:
        """An answer starts at byte `done` of `total`, None when the server does not say; may come more than once."""

    def moved(self, done: int) -> None:
        """`done` bytes of the file are here."""

    def note(self, text: str) -> None:
        """Something that a person should know, one sentence without a full stop."""

    def close(self) -> None:
        """The download is over, well or badly; nothing follows."""


class LoggedProgress:
    """Notes go to the logger "vggcli" at INFO; bytes are not counted.

    Args:
        name: the file's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def begin(self, done: int, total: int | None) -> None:
        """Nothing: a log has no use for a bar."""

    def moved(self, done: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """One line in the log."""
        logging.getLogger("vggcli").info("%s: %s", self._name, text)

    def close(self) -> None:
        """Nothing is held."""
