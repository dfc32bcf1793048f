"""How often and how long to try again: one loop for downloads and for remote reading."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")


class TransferError(Exception):
    """One request failed.

    Args:
        why: the reason in plain words, a clause without a full stop and without credentials.
        passing: True when the same request may succeed a little later.
        wait_s: seconds that the server asked us to wait (Retry-After); None when it did not say.
        absent: True when the server answered that it has no such file.
        forbidden: True when it answered that it does not give the file to us.
    """

    def __init__(
        self,
        why: str,
        passing: bool = False,
        wait_s: float | None = None,
        absent: bool = False,
        forbidden: bool = False,
    ) -> None:
        super().__init__(why)
        self.why, self.passing, self.wait_s, self.absent, self.forbidden = why, passing, wait_s, absent, forbidden


@dataclass(frozen=True)
class RetryPolicy:
    """Timeouts of one try, and when another one follows; the clock is a field so that tests need not wait.

    Attributes:
        connect_s: seconds for a connection to be made.
        headers_s: seconds for all headers of an answer to come, redirects each for itself.
        read_s: seconds without a single byte after which a connection counts as dead.
        slowest: bytes per second; an average below this over `slow_window_s` counts as dead too.
        slow_window_s: seconds over which the average is taken.
        idle_tries: tries in a row that bring nothing new before giving up.
        max_tries: tries in all, whatever they bring.
        first_delay_s: seconds before the first repetition; doubled for each further one, times 0.5 to 1.5 at random
            so that many clients do not come back together.
        max_delay_s: longest wait, and the longest Retry-After that is honoured; beyond it there is no other try.
    """

    connect_s: float = 15.0
    headers_s: float = 60.0
    read_s: float = 30.0
    slowest: float = 512.0
    slow_window_s: float = 60.0
    idle_tries: int = 5
    max_tries: int = 200
    first_delay_s: float = 0.5
    max_delay_s: float = 120.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[float, float], float] = random.uniform

    def delay(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row (1 or more)."""
        return min(self.first_delay_s * 2.0 ** (failures - 1) * self.jitter(0.5, 1.5), self.max_delay_s)

    def run(
        self,
        attempt: Callable[[], Result],
        progressed: Callable[[], bool] = lambda: False,
        note: Callable[[TransferError, float], None] = lambda trouble, delay_s: None,
    ) -> Result:
        """What the first attempt gives that does not fail.

        Args:
            attempt: one try; `TransferError` says whether another may help.
            progressed: asked after a failure: whether the try brought something new all the same.
            note: called with the failure and the seconds until the next try.

        Raises:
            TransferError: that of the last try.
        """
        failures = 0
        for _ in range(self.max_tries):
            try:
                return attempt()
            except TransferError as trouble:
                failures = 1 if progressed() else failures + 1
                delay_s = max(self.delay(failures), trouble.wait_s or 0.0)
                if not trouble.passing or failures >= self.idle_tries or delay_s > self.max_delay_s:
                    raise
                note(trouble, delay_s)
                self.sleep(delay_s)
        raise TransferError(f"given up after {self.max_tries} tries", passing=True)
