"""Torch on a number of cores of its own, while every other thread of the process keeps what it has.

`torch.set_num_threads` sets two things where torch is built with OpenMP, as its packages are: the number for the thread
that calls it, and the one that threads take over when they first use torch.  So the work gets a thread of its own,
which sets its number once; another thread, which ends at once, puts back what it set for newcomers.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from vggcli.engines import devices

_log = logging.getLogger("vggcli")
_Job = tuple[Callable[[], Any], "Future[Any]"]
_setting = threading.Lock()  # of two that set at once, one would take the other's number for the newcomers'


class Worker:
    """One thread that runs torch operations on a number of cores, one piece of work after the other.

    Args:
        threads: cores; None for what torch takes by itself, but no more than `devices.cores`.
    """

    def __init__(self, threads: int | None) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # Daemon: an interrupted program does not wait for the batch.
        threading.Thread(target=_work, args=(self._jobs, threads), daemon=True).start()
        self._end = weakref.finalize(self, self._jobs.put, None)
        self._ending = threading.Lock()

    def run(self, work: Callable[[], Any]) -> Any:
        """What `work` returns or raises on the worker's thread; DeviceError after `close`."""
        done: Future[Any] = Future()
        with self._ending:  # nobody waits for a thread that is gone
            if not self._end.alive:
                raise devices.closed("torch")
            self._jobs.put((work, done))
        try:
            return done.result()
        finally:
            del done  # an error would hold itself by way of this frame, and with it the batch

    def close(self) -> None:
        """End the thread once it has done what it was given before."""
        with self._ending:
            self._end()


def _work(jobs: SimpleQueue[_Job | None], threads: int | None) -> None:
    _limit(threads)
    while (job := jobs.get()) is not None:
        work, done = job
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)
        del job, work, done  # they hold the batch and its outputs


def _limit(threads: int | None) -> None:
    """Set the number for this thread alone."""
    import torch

    with _setting:  # from this thread's first question on, which may take the number in between for its own
        if "parallel backend: OpenMP" not in torch.__config__.parallel_info():
            if threads is not None:
                _log.info("this torch has one number of threads for the whole process, so it stays as it is")
            return
        newcomers = torch.get_num_threads()  # this thread being one
        wanted = min(newcomers, devices.cores()) if threads is None else threads
        if wanted != newcomers:
            torch.set_num_threads(wanted)
            restoring = threading.Thread(target=torch.set_num_threads, args=(newcomers,))
            restoring.start()
            restoring.join()
