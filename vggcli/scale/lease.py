"""A bucket knows no locks: a run says in a small object that it is there, again and again."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from typing import TYPE_CHECKING

from vggcli.errors import UsageError, VggError

if TYPE_CHECKING:
    from vggcli.scale.storage import Storage

_NAME = "running.json"
_BEAT_SECONDS = 20.0
_STALE_SECONDS = 90.0  # by the clocks of two machines, which may differ by some seconds
_MOST_BYTES = 4096


class Lease:
    """As a context, the sign that a run writes here.

    Two runs that begin within the same second may both see nothing; the second one to look again gives way.

    Raises:
        UsageError: another run's sign is fresh.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._owner = f"{platform.node()} {os.getpid()} {os.urandom(4).hex()}"
        self._ended = threading.Event()

    def __enter__(self) -> Lease:
        self._check()
        self._say()
        self._check()
        threading.Thread(target=self._beat, name="vggcli", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._storage.remove(_NAME)

    def _check(self) -> None:
        try:
            with self._storage.open(_NAME) as file:
                sign = json.loads(file.read(_MOST_BYTES))
            owner, age = str(sign["owner"]), time.time() - float(sign["seconds"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return
        if owner != self._owner and age < _STALE_SECONDS:
            why = f"another run is writing it (process {' on '.join(reversed(owner.split()[:2]))}, {age:.0f} s ago)"
            step = f"Wait for that run; one that was killed is forgotten after {_STALE_SECONDS:.0f} s"
            raise UsageError("cannot write", self._storage.where, why, step)

    def _say(self) -> None:
        data = json.dumps({"owner": self._owner, "seconds": time.time()}).encode()
        self._storage.write(_NAME, lambda file: file.write(data))

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_SECONDS):
            try:
                self._say()
            except VggError:  # it comes again, and a shard that cannot be written says so
                continue
