"""An end to every wait for a server, also for one that sends a byte now and then.

httpx bounds each read of a socket, and a server that never pauses as long as that can keep one waiting for ever: with
endless `103 Early Hints`, with a header or a chunk's length at a byte a second. So every read of a connection also ends
when the answer as a whole should have moved on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# What httpcore tells its `trace` when it has made a stream: on the socket, or TLS over it, also through proxies.
_STREAM_MADE = (".connect_tcp.complete", ".start_tls.complete")


class Deadline:
    """When reading must be over; there is one for all connections of a client, which serves one request at a time.

    Attributes:
        has_passed: whether a read was refused for it since it was last moved.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = self._last = float("inf")
        self.has_passed = False

    def move(self, seconds: float) -> None:
        """Allow so many seconds from now."""
        self._end, self.has_passed = min(self._clock() + seconds, self._last), False

    def limit(self, seconds: float) -> None:
        """Allow no more than so many seconds from now on, wherever it is moved to."""
        self._last = self._clock() + seconds

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """What httpcore's `trace` extension calls: the reads of every new stream end in time."""
        stream = info.get("return_value")
        if event.endswith(_STREAM_MADE) and stream is not None:
            stream.read = self._bounded(stream.read)

    def _bounded(self, read: Callable[..., bytes]) -> Callable[..., bytes]:
        import httpcore

        def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
            left = self._end - self._clock()
            if left > 0:
                try:
                    return read(max_bytes, timeout=left if timeout is None else min(timeout, left))
                except httpcore.ReadTimeout:
                    self.has_passed = timeout is None or left < timeout
                    raise
            self.has_passed = True
            raise httpcore.ReadTimeout("the answer takes too long")

        return read_in_time
