"""What SIGINT and SIGTERM do to a run: rows in flight are finished, and the process ends within two seconds."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from vggcli.commands.console import Console

# After an interruption the batch on the engine may finish within the first time, and its rows be written within the
# second, after which the process ends wherever it is: the promise is two seconds in all.
_FINISH_SECONDS, _LEAVE_SECONDS = 1.5, 1.9
_ENDING = (signal.SIGINT, signal.SIGTERM)


class Stoppable(Protocol):
    """A run as signals see it, a `Pipeline` for one; both are safe to call from a signal handler."""

    def stop(self) -> None:
        """Take no further inputs."""

    def abandon_after(self, seconds: float) -> None:
        """Give up after `stop` on what takes longer."""


class Interruption:
    """The first signal ends the run in good order, a second one at once.

    In another thread than the main one, where signals never arrive, it watches nothing.

    Args:
        console: to leave the terminal in order.
        say: called when the process is about to end without having finished.

    Attributes:
        signal: the number that came; None as long as none has.
    """

    def __init__(self, console: Console, say: Callable[[], None]) -> None:
        self._console, self._say = console, say
        self._is_over = threading.Event()
        self._pipeline: Stoppable | None = None
        self.signal: int | None = None

    @property
    def exit_code(self) -> int:
        """As a shell gives it to a process that the signal ended."""
        return 128 + (self.signal or signal.SIGINT)

    @contextmanager
    def watching(self, pipeline: Stoppable) -> Iterator[None]:
        """Stop this pipeline when a signal comes."""
        self._pipeline = pipeline
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # A handler runs only between this thread's own steps.  While it blocks in a write that nobody reads, the byte
        # that a signal leaves in this pipe still reaches the thread that keeps the deadline.
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._keep_deadline, args=(reading,), daemon=True).start()
        handlers = {number: signal.signal(number, self._handle) for number in _ENDING}
        try:
            yield
        finally:
            self._is_over.set()
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(woken)
            os.close(writing)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self._console.leave_terminal()
            os._exit(128 + number)
        self.signal = number
        if self._pipeline is not None:
            self._pipeline.stop()
            self._pipeline.abandon_after(_FINISH_SECONDS)

    def _keep_deadline(self, reading: int) -> None:
        """The way out when the output takes no more rows: a pager that does not read on, a dead file server."""
        with open(reading, "rb", buffering=0) as signals:
            while number := signals.read(1):
                if number[0] in _ENDING:
                    if not self._is_over.wait(_LEAVE_SECONDS):
                        self._console.leave_terminal()
                        self._say()
                        os._exit(128 + number[0])
                    return
