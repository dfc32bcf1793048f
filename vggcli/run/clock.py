"""Time that passes for this process, for limits that a stopped one must not reach."""

from __future__ import annotations

import threading
import time

_LONGEST_STEP_SECONDS = 2.0  # several times what lies between two looks of a waiting pipeline


class RunningClock:
    """Seconds during which this process was running, as far as regular looks at it tell.

    Between two looks at most two seconds count: a process that was stopped (Ctrl-Z) is not a stuck decoder.
    """

    def __init__(self) -> None:
        self._seconds, self._seen = 0.0, time.monotonic()
        self._looking = threading.Lock()

    def seconds(self) -> float:
        with self._looking:
            now = time.monotonic()
            self._seconds += min(now - self._seen, _LONGEST_STEP_SECONDS)
            self._seen = now
            return self._seconds
