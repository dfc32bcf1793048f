"""Standard error as people see it: notes, a counter of images, a bar for downloads, and what the library logs."""

from __future__ import annotations

import contextlib
import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vggcli.text import printable

if TYPE_CHECKING:
    from logging import Handler

    from rich.progress import Progress, TaskID


class Console:
    """See `vggcli.commands.console.Console`; as a context, it shows what the library logs meanwhile."""

    def __init__(self) -> None:
        self._live: Any = None  # rich's console while a bar is drawn: lines go above the bar
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

    def note(self, text: str) -> None:
        """One line, `vgg: ...`; whatever stands in file names and foreign messages cannot drive the terminal."""
        if self._live is not None:
            self._live.print(f"vgg: {printable(text)}", markup=False, highlight=False, soft_wrap=True)
        else:
            note(text)

    def warn(self, text: str) -> None:
        """The same, whatever else is hidden."""
        self.note(text)

    def progress(self, wanted: bool) -> _Counter:
        """A line that counts images, drawn only on a terminal."""
        return _Counter(self, wanted and self.is_terminal)

    def transfer(self, name: str) -> _Transfer:
        """A bar for the download of the file of this name, drawn only on a terminal."""
        return _Transfer(self, name)

    def restore_cursor(self) -> None:
        """Undo what a bar does to a terminal, when the process ends from one moment to the next."""
        if self.is_terminal:
            with contextlib.suppress(OSError):
                os.write(sys.stderr.fileno(), b"\x1b[?25h\r\n")

    def _draw(self, bar: Progress) -> None:
        bar.start()
        self._live = bar.console

    def _stop_drawing(self, bar: Progress) -> None:
        self._live = None
        bar.stop()


def note(text: str) -> None:
    """One line on standard error, `vgg: ...`, that cannot drive the terminal."""
    if sys.stderr is None:
        return  # closed (2>&-), and `print` would take standard output in its place
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody listens on standard error
        print(f"vgg: {printable(text)}", file=sys.stderr, flush=True)


class _Counter:
    """How many images are done."""

    def __init__(self, console: Console, is_drawn: bool) -> None:
        self._console = console
        self._bar: Progress | None = None
        if is_drawn:
            from rich.console import Console as Terminal
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            counts = TextColumn("{task.completed} images, {task.fields[failed]} failed{task.fields[rate]}")
            columns = (SpinnerColumn(), counts, TimeElapsedColumn())
            self._bar = Progress(*columns, console=Terminal(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=None, failed=0, rate="")

    def __enter__(self) -> _Counter:
        if self._bar is not None:
            self._console._draw(self._bar)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._console._stop_drawing(self._bar)

    def advance(self, classified: int, failed: int) -> None:
        """So many images are done."""
        if self._bar is not None:
            speed = self._bar.tasks[0].speed
            rate = f", {speed:.1f} images/s" if speed else ""
            self._bar.update(self._task, completed=classified + failed, failed=failed, rate=rate)


class _Transfer:
    """How much of a file is here."""

    def __init__(self, console: Console, name: str) -> None:
        self._console, self._name = console, name
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal:
            from rich.console import Console as Terminal
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.progress import TransferSpeedColumn as Speed

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), Speed())
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Terminal(stderr=True))

    def begin(self, done: int, total: int | None) -> None:
        """An answer starts at byte `done` of `total`: the bar begins there, and its speed counts only new bytes."""
        if self._bar is None:
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(self._name, total=total, completed=done)
        self._console._draw(self._bar)

    def moved(self, done: int) -> None:
        """`done` bytes of the file are here."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)

    def note(self, text: str) -> None:
        """One line for the person, above the bar."""
        self._console.note(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._console._stop_drawing(self._bar)
