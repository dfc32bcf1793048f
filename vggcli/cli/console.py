"""Standard error as people see it: notes, a bar for images and downloads, and what the library logs."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from vggcli.text import printable

if TYPE_CHECKING:
    from logging import Handler

    from vggcli.cli.line import Line
    from vggcli.cli.progress import RunProgress, Transfer


class Console:
    """See `vggcli.commands.console.Console`; as a context, it shows what the library logs meanwhile."""

    def __init__(self) -> None:
        self._line: Line | None = None  # what is drawn at the foot of the terminal: other lines go above it
        self._handler: Handler | None = None

    def __enter__(self) -> Console:
        import logging

        log = logging.getLogger("vggcli")
        self._handler = logging.Handler()
        self._handler.emit = lambda record: self.note(record.getMessage())  # type: ignore[method-assign]
        self._before = log.level, log.propagate
        log.setLevel(logging.INFO)
        log.propagate = False
        log.addHandler(self._handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import logging

        log = logging.getLogger("vggcli")
        if self._handler is not None:
            log.removeHandler(self._handler)
        log.level, log.propagate = self._before

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads standard error."""
        return sys.stderr is not None and sys.stderr.isatty()

    @property
    def shows_results(self) -> bool:
        """Whether standard output is a terminal; it may be closed."""
        return sys.stdout is not None and sys.stdout.isatty()

    @property
    def shares_terminal(self) -> bool:
        """Whether results on standard output may come out where standard error does.

        Who reads a pipe is not known (`cut`, `less`), so on a terminal only a file leaves the place to a bar.
        """
        try:
            out, err = os.fstat(sys.stdout.fileno()), os.fstat(sys.stderr.fileno())
        except (OSError, ValueError, AttributeError):
            return True  # closed, or no file at all
        if self.is_terminal:
            is_null = stat.S_ISCHR(out.st_mode) and os.path.samestat(out, os.stat(os.devnull))
            return not (stat.S_ISREG(out.st_mode) or is_null)
        return os.path.samestat(out, err)

    def note(self, text: str) -> None:
        """One line, `vgg: ...`; whatever stands in file names and foreign messages cannot drive the terminal."""
        if self._line is not None:
            self._line.above(f"vgg: {printable(text)}")
        else:
            note(text)

    def progress(self, wanted: bool, counts: Iterable[int] = ()) -> RunProgress:
        """See `vggcli.commands.console.Console.progress`."""
        from vggcli.cli.progress import RunProgress

        return RunProgress(self._new_line(), self.note, counts, is_shown=wanted and sys.stderr is not None)

    def transfer(self, name: str) -> Transfer:
        """A bar for the download of the file of this name, drawn only on a terminal."""
        from vggcli.cli.progress import Transfer

        return Transfer(printable(name), self._new_line(), self.note)

    def leave_terminal(self) -> None:
        """Take what is drawn from the terminal, when the process ends from one moment to the next."""
        if self._line is not None:
            self._line.leave()

    def _new_line(self) -> Line | None:
        from vggcli.cli.line import Line

        # A terminal that knows no cursor gets plain lines, as a log does.
        self._line = Line() if self.is_terminal and os.environ.get("TERM") != "dumb" else None
        return self._line


def note(text: str) -> None:
    """One line on standard error, `vgg: ...`, that cannot drive the terminal."""
    if sys.stderr is None:
        return  # closed (2>&-), and `print` would take standard output in its place
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody listens on standard error
        print(f"vgg: {printable(text)}", file=sys.stderr, flush=True)
