"""How far a run is, on standard error, when a person looks there and the results go elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from vggcli.cli.notes import is_terminal, note
from vggcli.text import printable


class Progress:
    """A line that counts images, drawn only on a terminal; notes go above it.

    Args:
        wanted: whether the results leave the terminal free.
    """

    def __init__(self, wanted: bool) -> None:
        self._bar: Any = None
        self._task: Any = None
        if wanted and is_terminal():
            from rich.console import Console
            from rich.progress import Progress as Bar
            from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

            counts = TextColumn("{task.completed} images, {task.fields[failed]} failed{task.fields[rate]}")
            self._bar = Bar(SpinnerColumn(), counts, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=None, failed=0, rate="")

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, classified: int, failed: int) -> None:
        """So many images are done."""
        if self._bar is not None:
            speed = self._bar.tasks[0].speed
            rate = f", {speed:.1f} images/s" if speed else ""
            self._bar.update(self._task, completed=classified + failed, failed=failed, rate=rate)

    def note(self, text: str) -> None:
        """One line for the person, above the counter."""
        if self._bar is None:
            note(text)
        else:
            self._bar.console.print(f"vgg: {printable(text)}", markup=False, highlight=False, soft_wrap=True)
