"""One thread at a time for each object."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Threads take turns at an object, told by its identity; at other objects they do not wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy: set[int] = set()

    @contextmanager
    def at(self, value: object) -> Iterator[None]:
        """Alone with the object while inside."""
        with self._changed:
            self._changed.wait_for(lambda: id(value) not in self._busy)
            self._busy.add(id(value))
        try:
            yield
        finally:
            with self._changed:
                self._busy.remove(id(value))
                self._changed.notify_all()
