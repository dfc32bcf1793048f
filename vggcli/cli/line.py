"""One line at the foot of a terminal that is drawn over and over, while other lines go above it.

Drawn by hand: a bar of `rich` neither finds its place again after the terminal was made narrower, nor leaves the shell
its cursor after Ctrl-Z, nor keeps quiet in the background.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

# A thread that draws on a terminal that takes nothing (Ctrl-S) holds the lock; signals have to work all the same.
_PATIENCE_SECONDS = 0.2
_ERASE = "\x1b[J"  # from the cursor to the end of the screen


class Line:
    """The line.  The cursor stays at its beginning: there it still is when the terminal has become narrower and broken
    the line into several rows, or has shown a ^C.  It is never hidden, so that a process killed leaves nothing to undo.

    As a context it is ready to be stopped by Ctrl-Z: it clears itself, and is drawn again when the process goes on.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # the handler of Ctrl-Z may run inside any other method
        self._text = ""
        self._is_drawn = False
        self._is_over = False
        self._stopped_seconds = 0.0
        self._handler: Any = None

    def __enter__(self) -> Line:
        can_handle = hasattr(signal, "SIGTSTP") and threading.current_thread() is threading.main_thread()
        if can_handle and signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:
            self._handler = signal.signal(signal.SIGTSTP, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        if self._handler is not None:
            signal.signal(signal.SIGTSTP, self._handler)

    @property
    def width(self) -> int:
        """Cells that a line may take: one less than the terminal has, or the cursor may be on the next one."""
        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
        except (OSError, ValueError, AttributeError):
            columns = 0
        return (columns or 80) - 1

    def seconds(self) -> float:
        """A clock that stands still while the process is stopped."""
        return time.monotonic() - self._stopped_seconds

    def draw(self, text: str) -> None:
        """Show this text, no wider than `width`, in the place of the one before."""
        with self._lock:
            if not self._is_over and _is_in_foreground():
                _write(f"\r{_ERASE}{text}\r")
                self._text, self._is_drawn = text, True

    def above(self, text: str) -> None:
        """Print a line above it."""
        with self._lock:
            shown = self._text if _is_in_foreground() else ""
            _write(f"{self._erased()}{text}\n" + (f"{shown}\r" if shown else ""))
            self._is_drawn = bool(shown)

    def clear(self) -> None:
        """Take it from the screen."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        """The same, whoever is drawing."""
        _write(self._erased())
        self._text, self._is_drawn = "", False

    def leave(self) -> None:
        """Take it from the screen for good, from a signal handler or a thread, when the process is about to end."""
        self._is_over = True
        locked = self._lock.acquire(timeout=_PATIENCE_SECONDS)
        self._clear()
        if locked:
            self._lock.release()

    def _erased(self) -> str:
        return f"\r{_ERASE}" if self._is_drawn else ""

    def _stop(self, number: int, frame: FrameType | None) -> None:
        locked = self._lock.acquire(timeout=_PATIENCE_SECONDS)
        text, began = self._text, time.monotonic()
        self._clear()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)  # here the process stands still
        signal.signal(number, self._stop)
        self._stopped_seconds += time.monotonic() - began
        if locked:
            self._lock.release()
        if text:
            self.draw(text)


def _is_in_foreground() -> bool:
    """Whether the terminal is this process's to draw on: not after `bg`, when the shell has it."""
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return True  # not the terminal that controls this process


def _write(text: str) -> None:
    # Past Python's buffer, which a signal handler may not enter again.
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody listens on standard error
        data = text.encode(sys.stderr.encoding or "utf-8", "backslashreplace")
        while data:
            data = data[os.write(sys.stderr.fileno(), data) :]
