"""One try at decoding an image, shared by the thread that decodes and the one that waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable


class GivenUpError(Exception):
    """Nobody waits for this image any more."""


class Attempt:
    """The clock of one try, and the word that it was given up.

    Args:
        seconds: the clock that `started` is read from.

    Attributes:
        started: when it began to work, by that clock; None while it waits for something that takes as long as it
            takes: a writer of standard input, or memory that other images hold.
        given_up: nobody waits for it any more.
    """

    __slots__ = ("_on_give_up", "_seconds", "given_up", "started")

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self.started: float | None = None
        self.given_up = False
        self._on_give_up: Callable[[], None] | None = None

    def begin(self) -> None:
        """From now on its time counts."""
        self.started = self._seconds()

    def wait(self) -> None:
        """Until `begin` its time does not count."""
        self.started = None

    def check(self) -> None:
        """End the thread's work on it, if it was given up.

        Raises:
            GivenUpError: it was.
        """
        if self.given_up:
            raise GivenUpError("it was given up")

    def give_up(self) -> None:
        """Stop waiting for it: it ends at its next read, and what it has reserved is free at once."""
        self.given_up = True
        if self._on_give_up is not None:
            self._on_give_up()

    def when_given_up(self, call: Callable[[], None]) -> None:
        """What to do when it is given up, at most one thing."""
        self._on_give_up = call
