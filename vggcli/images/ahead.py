"""Objects and streams read before it is their turn: by several threads, in bounded memory, in order.

        inputs ──> lister ──> queue, in order ──> decoders
                     └──> fetchers ───┘

One thread pulls the inputs, and with them what comes out of compressed and remote archives; others fetch the objects
behind addresses.  A slow list is no reason to wait: each input is handed on as soon as it is known.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from vggcli.images.access import Access, UnreadableError
from vggcli.images.attempt import Attempt
from vggcli.images.item import Input, Reader
from vggcli.images.readers import Held, nothing
from vggcli.images.sources import reader_of

_FETCHERS = 16  # a round trip of 50 ms then still leaves 300 images/s
_MOST_FETCHERS = 64  # those that hang and were replaced included
_MOST_WAITING = 48  # inputs
_MOST_WAITING_BYTES = 64 << 20  # of what came as a stream; of objects as many as wait times the next
_LARGE_BYTES = 4 << 20  # a larger object is fetched in its turn
_TICK_SECONDS = 0.5
_GRACE_SECONDS = 5.0  # for a fetcher to say by itself that time is over


def read_ahead(inputs: Iterator[Input], access: Access) -> Iterator[Input]:
    """The same inputs, read ahead; whatever the inputs raise is raised in its turn.

    Args:
        inputs: pulled by a thread of its own until the iterator that is returned is closed or forgotten.
        access: how addresses are read.
    """
    queue = _Queue(access)
    threading.Thread(target=queue.fill, args=(inputs,), name="vggcli", daemon=True).start()
    try:
        while (item := queue.take()) is not None:
            yield item
    except GeneratorExit:
        queue.stop()
        raise


class _Queue:
    """What waits between the lister, the fetchers and the decoders."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._changed = threading.Condition()  # guards everything below
        self._items: deque[Input] = deque()
        self._todo: deque[Fetched] = deque()
        self._bytes = 0
        self._fetchers = self._idle = 0
        self._ended = self._stopped = False
        self._error: BaseException | None = None

    def fill(self, inputs: Iterator[Input]) -> None:
        """The lister: until the inputs end, or nobody wants them any more."""
        from vggcli.images import http_file

        try:
            with http_file.wanted():  # connections are kept for the next object
                for item in inputs:
                    if not self._put(item):
                        break
                with self._changed:
                    self._ended = True
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._stopped or not (self._items or self._todo))
        except BaseException as error:
            with self._changed:
                self._error, self._ended = error, True
                self._changed.notify_all()
        finally:
            close: Callable[[], Any] = getattr(inputs, "close", lambda: None)
            close()

    def _put(self, item: Input) -> bool:
        nbytes = item.nbytes
        with self._changed:
            if item.is_read_ahead and not nbytes:
                item = self._fetched(item)
            self._items.append(item)
            self._bytes += nbytes
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopped or not self._is_over())
            return not self._stopped

    def _is_over(self) -> bool:
        return len(self._items) >= _MOST_WAITING or self._bytes > _MOST_WAITING_BYTES

    def _fetched(self, item: Input) -> Input:
        try:
            reader = item.reader or reader_of(item, self._access)
        except UnreadableError:
            return item  # it says so in its turn
        if reader is None or isinstance(reader, Fetched):
            return item
        task = Fetched(reader, self._access, self.replace_fetcher)
        self._todo.append(task)
        if len(self._todo) > self._idle and self._fetchers < _FETCHERS:
            self._spawn()
        return replace(item, reader=task)

    def _spawn(self) -> None:
        self._fetchers += 1
        threading.Thread(target=self._fetch, name="vggcli", daemon=True).start()

    def replace_fetcher(self) -> None:
        """Put another thread in the place of one that hangs."""
        with self._changed:
            if self._fetchers < _MOST_FETCHERS and not self._stopped:
                self._spawn()

    def _fetch(self) -> None:
        """A fetcher."""
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._todo or self._stopped or self._ended)
                self._idle -= 1
                if self._stopped or not self._todo:
                    return
                task = self._todo.popleft()
                self._changed.notify_all()
            task.fetch()

    def take(self) -> Input | None:
        """The next input; None after the last one."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended)
            if not self._items:
                if self._error is not None:
                    raise self._error
                return None
            item = self._items.popleft()
            if isinstance(item.reader, Held):
                self._bytes -= item.nbytes
            self._changed.notify_all()
            return item

    def stop(self) -> None:
        """Nobody wants any more."""
        with self._changed:
            self._stopped = True
            for task in self._todo:
                task.skip()
            self._todo.clear()
            self._changed.notify_all()


class Fetched:
    """An object that another thread fetches, once; a second reading goes the usual way.

    Args:
        reader: the usual way.
        access: how long it may take.
        on_hang: called when it takes longer all the same.
    """

    is_stream = True

    def __init__(self, reader: Reader, access: Access, on_hang: Callable[[], None]) -> None:
        self._reader, self._access, self._on_hang = reader, access, on_hang
        self._done = threading.Event()
        self._began: float | None = None
        self._data: bytes | None = None
        self._error: BaseException | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return nothing, ()

    @property
    def nbytes(self) -> int:
        """What it takes in memory, in bytes."""
        return len(self._data or b"")

    def fetch(self) -> None:
        """What the fetcher does."""
        self._began = time.monotonic()
        try:
            data = self._reader.read(min(_LARGE_BYTES, self._access.max_bytes), Attempt())
            self._data = data if len(data) <= _LARGE_BYTES else None
        except BaseException as error:
            is_large = isinstance(error, UnreadableError) and error.kind == "too-large"
            self._error = None if is_large and self._access.max_bytes > _LARGE_BYTES else error
        self._done.set()

    def skip(self) -> None:
        """Leave it to whoever reads it."""
        self._done.set()

    def read(self, max_bytes: int, attempt: Attempt) -> bytes:
        """The bytes, when they are here; see `Reader`."""
        asked = time.monotonic()
        while not self._done.wait(_TICK_SECONDS):
            attempt.check()
            if time.monotonic() - (self._began or asked) > self._access.timeout + _GRACE_SECONDS:
                self._on_hang()
                raise UnreadableError("network", f"it took longer than {self._access.timeout:g} s")
        data, error = self._data, self._error
        if not self._access.keeps:
            self._data = self._error = None
        if error is not None:
            raise error
        if data is None:
            return self._reader.read(max_bytes, attempt)
        attempt.begin()
        return data
