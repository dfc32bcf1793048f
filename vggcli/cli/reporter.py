"""Tells the person how a download goes, on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vggcli.cli.notes import is_terminal, note
from vggcli.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Reporter:
    """A `weights.download.progress.Progress` on standard error: notes always, and a bar where that is a terminal."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        if is_terminal():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.progress import TransferSpeedColumn as Speed

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), Speed())
            self._progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))

    def begin(self, done: int, total: int | None) -> None:
        """An answer starts at byte `done` of `total`: the bar begins there, and its speed counts only new bytes."""
        if self._progress is None:
            return
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(self._name, total=total, completed=done)
        self._progress.start()

    def moved(self, done: int) -> None:
        """`done` bytes of the file are here."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done)

    def note(self, text: str) -> None:
        """One line for the person."""
        if self._progress is not None:
            self._progress.console.print(f"vgg: {printable(text)}", markup=False, highlight=False, soft_wrap=True)
        else:
            note(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._progress is not None:
            self._progress.stop()
