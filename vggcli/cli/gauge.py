"""How far something is, in words: as a bar that fits the terminal, or as one plain line."""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass

_SMALLEST_BAR, _LARGEST_BAR = 6, 40
_WINDOW_SECONDS = 30.0  # speed is that of the last half minute: large images come in runs
_GAP = "  "
_CYAN, _RED, _DIM = 36, 31, 2  # SGR codes


class Speed:
    """Units per second, of late."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def per_second(self, seconds: float, done: float) -> float:
        """The speed when `done` are done at this time of the clock; 0 as long as it cannot be told."""
        self._seen.append((seconds, done))
        while len(self._seen) > 2 and self._seen[1][0] < seconds - _WINDOW_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        return (done - before) / (seconds - then) if seconds > then else 0.0


@dataclass(frozen=True)
class Gauge:
    """How far something is.

    Attributes:
        name: what it is; empty where that is plain.
        share: done of all, in [0, 1]; None while nobody knows how much there is.
        counts: done, and all where that is known.
        unit: of what; left out where there is no room.
        failed: what went wrong, in words; or empty.
        speed: in words; or empty.
        seconds_left: None where nobody knows.
    """

    name: str
    share: float | None
    counts: str
    unit: str
    failed: str
    speed: str
    seconds_left: float | None

    def plain(self) -> str:
        """All of it in one line."""
        return ", ".join(part for part in (f"{self.counts} {self.unit}", self.failed, self.speed, self._left()) if part)

    def drawn(self, width: int) -> str:
        """As much of it as fits into `width` cells, with colours where they are liked."""
        percent = "" if self.share is None else f"{int(self.share * 100):3}% "
        room = width - len(self.counts) - (len(percent) + _SMALLEST_BAR + len(_GAP)) * bool(percent)
        shown = {self.counts}
        for text in (self._left(), self.failed, self.unit, self.speed, self.name):  # what matters most, first
            if text and len(text) + len(_GAP) <= room:
                shown.add(text)
                room -= len(text) + len(_GAP)
        counts = f"{self.counts} {self.unit}" if self.unit in shown else self.counts
        parts = [(self.name, 0), (counts, 0), (self.failed, _RED), (self.speed, _DIM), (self._left(), 0)]
        parts = [(text, code) for text, code in parts if text in shown or text == counts]
        line, cells = _GAP.join(_styled(*part) for part in parts), len(_GAP.join(text for text, _ in parts))
        bar = min(width - cells - len(percent) - len(_GAP), _LARGEST_BAR)
        if percent and bar >= _SMALLEST_BAR:
            return f"{percent}{_bar(self.share or 0.0, bar)}{_GAP}{line}"
        return line if cells <= width else self.counts[:width]

    def _left(self) -> str:
        return "" if self.seconds_left is None or self.share == 1 else f"{duration(self.seconds_left)} left"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as a clock shows them; days where there are any."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours}:{minutes:02}:{seconds:02}"
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _bar(share: float, width: int) -> str:
    is_utf8 = (getattr(sys.stderr, "encoding", "") or "").lower().startswith("utf")
    full, empty = ("━", "━" if _has_colour() else " ") if is_utf8 else ("#", "-")
    done = int(share * width)
    return _styled(full * done, _CYAN) + _styled(empty * (width - done), _DIM)


def _styled(text: str, code: int) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code and text and _has_colour() else text


def _has_colour() -> bool:
    return not os.environ.get("NO_COLOR")
