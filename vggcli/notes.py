"""What the program tells the person beside the results: lines on standard error."""

from __future__ import annotations

import contextlib
import sys

from vggcli.text import printable


def is_terminal() -> bool:
    """Whether a person reads standard error."""
    return sys.stderr is not None and sys.stderr.isatty()


def stdout_is_terminal() -> bool:
    """Whether standard output is a terminal; it may be closed."""
    return sys.stdout is not None and sys.stdout.isatty()


def note(text: str) -> None:
    """One line, `vgg: ...`; whatever stands in file names and foreign messages cannot drive the terminal."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody listens on standard error
        print(f"vgg: {printable(text)}", file=sys.stderr, flush=True)
