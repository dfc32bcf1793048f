"""What the program tells the person beside the results: lines on standard error."""

from __future__ import annotations

import contextlib
import os
import sys

from vggcli.text import printable


def is_terminal() -> bool:
    """Whether a person reads standard error."""
    return sys.stderr is not None and sys.stderr.isatty()


def stdout_is_terminal() -> bool:
    """Whether standard output is a terminal; it may be closed."""
    return sys.stdout is not None and sys.stdout.isatty()


def show_cursor() -> None:
    """Undo what a progress line does to a terminal, when the process ends from one moment to the next."""
    if is_terminal():
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), b"\x1b[?25h\r\n")


def note(text: str) -> None:
    """One line, `vgg: ...`; whatever stands in file names and foreign messages cannot drive the terminal."""
    if sys.stderr is None:
        return  # closed (2>&-), and `print` would take standard output in its place
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody listens on standard error
        print(f"vgg: {printable(text)}", file=sys.stderr, flush=True)
