"""How far a run or a download is, told from a thread of its own: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from vggcli.cli.gauge import Gauge, Speed
from vggcli.cli.line import Line
from vggcli.errors import VggError

_FRAME_SECONDS = 0.25
# Without a terminal: lines when a run proves long, one in ten seconds at first and one a minute in the end.
_FIRST_SECONDS, _MOST_SECONDS = 10.0, 60.0


def pause(seconds: float) -> float:
    """Until the next plain line of a run that has taken so many seconds."""
    return min(max(_FIRST_SECONDS, seconds / 60), _MOST_SECONDS)


class _Shown(ABC):
    """Something whose gauge is shown again and again.

    Args:
        line: drawn on; None where standard error is no terminal.
        say: called with a line of text.
    """

    def __init__(self, line: Line | None, say: Callable[[str], None]) -> None:
        self._line, self._say = line, say
        self._clock = line or Line()
        self._speed = Speed()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    @abstractmethod
    def gauge(self) -> Gauge:
        """How far it is now."""

    def _begin(self, *works: Callable[[], None]) -> None:
        if self._line is not None:
            self._line.__enter__()
        for work in works:
            self._start(work)

    def _start(self, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    def _end(self) -> None:
        self._ended.set()
        for thread in tuple(self._threads):
            thread.join(1.0)  # one that waits for a slow file server may be left to itself
        if self._line is not None:
            self._line.__exit__()

    def _draw(self) -> None:
        while self._line is not None:
            self._line.draw(self.gauge().drawn(self._line.width))
            if self._ended.wait(_FRAME_SECONDS):
                return


class RunProgress(_Shown):
    """How many images are done.

    Args:
        line, say: see `_Shown`.
        counts: the number of inputs found so far, ever larger, the last being all; empty where nobody can know.
        is_shown: else nothing is done at all.

    Attributes:
        name: see `vggcli.commands.console.Progress`.
    """

    def __init__(
        self, line: Line | None, say: Callable[[str], None], counts: Iterable[int], *, is_shown: bool = True
    ) -> None:
        super().__init__(line, say)
        self._counts, self._is_shown = counts, is_shown
        self.name = ""
        self._done = 0, 0, 0  # classified, failed, kept: replaced as one, so that a reader sees them of one moment
        self._total: int | None = None

    def __enter__(self) -> RunProgress:
        if self._is_shown:
            self._speed.per_second(self._clock.seconds(), 0)
            self._begin(*([self._tell] if self._line is None else [self.count, self._draw]))
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            self._end()

    def advance(self, classified: int, failed: int, kept: int = 0) -> None:
        """So many images are done, and so many were done by an earlier run."""
        self._done = classified, failed, kept

    def gauge(self) -> Gauge:
        """How far it is now."""
        classified, failed, kept = self._done
        new, total = classified + failed, self._total
        done, speed = new + kept, self._speed.per_second(self._clock.seconds(), new)
        if total is not None and total < done:
            total = None  # the folder has grown since it was counted
        return Gauge(
            name="",
            share=None if total is None else done / max(total, 1),
            counts=f"{done:,}" if total is None else f"{done:,}/{total:,}",
            unit=f"images, {self.name}" if self.name else "images",
            failed=f"{failed:,} failed" if failed else "",
            speed=f"{speed:.1f} images/s" if speed else "",
            seconds_left=(total - done) / speed if total is not None and speed else None,
        )

    def count(self) -> None:
        """Learn how many there are."""
        total = None
        try:
            for total in self._counts:  # noqa: B007 (the last is wanted)
                if self._ended.is_set():
                    return
        except (OSError, VggError):
            return  # the run itself says so
        self._total = total

    def _tell(self) -> None:
        began = self._clock.seconds()
        if self._ended.wait(_FIRST_SECONDS / 2):
            return  # most runs are over by then, and nobody needs the count
        self._start(self.count)
        while not self._ended.wait(pause(self._clock.seconds() - began)):
            self._say(self.gauge().plain())


class Transfer(_Shown):
    """How much of a file is here; see `vggcli.weights.download.progress.Progress`.

    Args:
        name: of the file.
        line, say: see `_Shown`.
    """

    def __init__(self, name: str, line: Line | None, say: Callable[[str], None]) -> None:
        super().__init__(line, say)
        self._name = name
        self._bytes: tuple[int, int | None] = 0, None

    def begin(self, done: int, total: int | None) -> None:
        """An answer starts at byte `done` of `total`: the bar begins there, and its speed counts only new bytes."""
        self._bytes, self._speed = (done, total), Speed()
        if self._line is not None and not self._threads:
            self._begin(self._draw)

    def moved(self, done: int) -> None:
        """`done` bytes of the file are here."""
        self._bytes = done, self._bytes[1]

    def note(self, text: str) -> None:
        """One line for the person, above the bar."""
        self._say(text)

    def close(self) -> None:
        """Leave the terminal as it was, but for how it ended."""
        if self._line is not None and self._threads:
            self._end()
            self._line.above(self.gauge().drawn(self._line.width))

    def gauge(self) -> Gauge:
        """How far it is now."""
        done, total = self._bytes
        speed = self._speed.per_second(self._clock.seconds(), done)
        return Gauge(
            name=self._name,
            share=None if total is None else min(done / max(total, 1), 1.0),
            counts=f"{done / 1e6:.1f}" if total is None else f"{done / 1e6:.1f}/{total / 1e6:.1f}",
            unit="MB",
            failed="",
            speed=f"{speed / 1e6:.1f} MB/s" if speed else "",
            seconds_left=max(total - done, 0) / speed if total is not None and speed else None,
        )
