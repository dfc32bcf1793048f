"""Images to outputs: decoding threads and one inference thread overlap, results come out in input order.

        inputs ──> decoders ──> window of jobs, in order ──> inference thread ──> results, in order ──> caller

The window is bounded, so memory does not grow with the number of inputs, and the inputs are pulled as they are needed,
so that the first result of an endless list is out at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Protocol

from vggcli.engines import Engine
from vggcli.errors import InputError, StoppedError
from vggcli.images.attempt import Attempt
from vggcli.images.discover import Input
from vggcli.run.batches import Inference, Job, Result
from vggcli.run.clock import RunningClock

if TYPE_CHECKING:
    from vggcli.images.decode import Decoded

LINGER_SECONDS = 0.1  # how long an idle engine waits for a full batch: small ones cost more time per image
DECODE_TIMEOUT_SECONDS = 60.0  # the largest image that is let through takes about 5
_TICK_SECONDS = 0.5  # how often a waiting thread looks for stuck decoders and interruptions
# Results that nobody has taken yet; whichever is reached first.
_MAX_WAITING_RESULTS = 1024
_MAX_WAITING_BYTES = 64 << 20
# Decoders that were given up and run on, each with its picture; so many are replaced by another thread.
_MAX_ABANDONED = 4
_SLACK_BATCHES = 3  # decoded images wait in this many batches at most
_LEAVE_OUT = "Leave out the images whose rows say timeout, or look after the disk that they lie on"


class Loader(Protocol):
    """Decodes one input, or raises InputError; begins the attempt's clock."""

    def load(self, item: Input, attempt: Attempt) -> Decoded: ...


class Pipeline:
    """One pass over the inputs.

    Args:
        inputs: pulled lazily, by one thread at a time.
        loader: safe to call from many threads.
        open_engine: called in the inference thread, so that images decode while the model is compiled.  The engine is
            left open: it belongs to whoever gave this function.
        workers: number of decoding threads.
        batch_size: images per batch; None for what the engine likes.
        decode_timeout: seconds after which an image is given up.
    """

    def __init__(
        self,
        inputs: Iterator[Input],
        loader: Loader,
        open_engine: Callable[[], Engine],
        *,
        workers: int,
        batch_size: int | None = None,
        decode_timeout: float = DECODE_TIMEOUT_SECONDS,
    ) -> None:
        self._inputs, self._loader, self._open_engine = inputs, loader, open_engine
        self._batch_size = batch_size
        self._lock = threading.Lock()  # guards everything below; each kind of thread waits for its own word
        self._room = threading.Condition(self._lock)  # to the decoders: the window has room
        self._ready = threading.Condition(self._lock)  # to the inference thread: a batch, or room for results
        self._given = threading.Condition(self._lock)  # to the reader: results, the engine, the end
        self._pulling = threading.Lock()
        self._jobs: deque[Job] = deque()
        self._front = self._front_images = 0  # jobs at the front that are done, and their images
        self._batch = 1  # images that the inference thread waits for
        self._results: deque[Result] = deque()
        self._window = _SLACK_BATCHES * (batch_size or 8) + workers
        self._enough = self._window - (batch_size or 8)  # jobs from which on a single decoder works ahead
        self._exhausted = self._stopped = self._finished = False
        self._decode_timeout = decode_timeout
        self._clock = RunningClock()
        self._waiting_bytes = 0
        self._live = workers  # decoding threads that somebody waits for
        self._missing = self._abandoned = 0
        self._input_error: BaseException | None = None
        self._error: BaseException | None = None
        self.engine: Engine | None = None
        for number in range(workers):
            self._spawn(partial(self._decode, number == 0))
        self._inference = self._spawn(self._infer)

    def wait_for_engine(self) -> Engine | None:
        """The opened engine, None when the pipeline was stopped first; raises what opening it raised."""
        with self._lock:
            while self.engine is None and not self._stopped:
                self._given.wait(_TICK_SECONDS)
        if self.engine is None and self._error is not None:
            raise self._error
        return self.engine

    def results(self) -> Iterator[Result]:
        """Every input's result, in input order; ends early after `stop`.

        Raises:
            DeviceError: the device is gone; every result made before it has been given.
            StoppedError: so many decoders hang that none is left, likewise.
            UsageError: from the inputs, likewise.
        """
        while True:
            with self._lock:
                while not self._results and not self._finished:
                    self._given.wait(_TICK_SECONDS)
                if not self._results:
                    break
                was_full = self._is_full()
                result = self._results.popleft()
                self._waiting_bytes -= result.nbytes
                if was_full and not self._is_full():
                    self._ready.notify()
            yield result
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Take no further inputs; what is on the engine is finished.  Safe to call from a signal handler."""
        # No lock: the handler may run in the thread that holds it, and every waiting thread looks again within a tick.
        self._stopped = True

    def wait_for_inference(self) -> None:
        """After `stop` or the last result: until nothing runs on the engine any more."""
        self._inference.join()

    def abandon_after(self, seconds: float) -> None:
        """After `stop`: give up on a batch that takes longer; results that are here are still given."""
        timer = threading.Timer(seconds, self._abandon)
        timer.daemon = True
        timer.start()

    def _abandon(self) -> None:
        with self._lock:
            self._finished = True
            self._given.notify_all()

    @staticmethod
    def _spawn(target: Callable[[], None]) -> threading.Thread:
        # Daemons: a decoder that hangs on a dead disk must not keep the process alive.
        thread = threading.Thread(target=target, name="vggcli", daemon=True)
        thread.start()
        return thread

    def _decode(self, goes_ahead: bool = True) -> None:
        """A decoding thread.

        Args:
            goes_ahead: it fills the window; the others only see to it that batches are there in time, since on a CPU
                each of them takes a core from the batch that is computed, and all cores wait for that one.
        """
        while (job := self._next_job(goes_ahead)) is not None:
            decoded, failure = self._load(job)
            with self._lock:
                if job.done:  # it timed out
                    self._abandoned -= 1
                    if not self._missing:
                        return  # another thread took this one's place
                    self._missing, self._live = self._missing - 1, self._live + 1
                    continue
                if decoded is not None:
                    job.image = decoded.pixels
                    job.result.truncated, job.result.picture = decoded.truncated, decoded.picture
                    job.result.thumbnail = decoded.thumbnail
                job.result.error, job.done = failure, True
                self._say_done()

    def _load(self, job: Job) -> tuple[Decoded | None, InputError | None]:
        item = job.result.item
        try:
            return self._loader.load(item, job.attempt), None
        except InputError as error:
            return None, _bare(error)
        except Exception as error:
            # Nothing that a loader does wrong may cost more than this input, or leave the others waiting for it.
            why = f"decoding it failed unexpectedly ({type(error).__name__}: {error})"
            return None, InputError("damaged", item.name, why)

    def _next_job(self, goes_ahead: bool) -> Job | None:
        with self._lock:
            while len(self._jobs) >= (self._window if goes_ahead else self._enough) and not self._stopped:
                self._room.wait(_TICK_SECONDS)
        with self._pulling:
            if self._exhausted or self._stopped:
                return None
            try:
                item = next(self._inputs, None)
            except BaseException as error:
                self._input_error, item = error, None
            with self._lock:
                if item is None:
                    self._exhausted = True
                    self._ready.notify()
                    return None
                job = Job(item, Attempt(self._clock.seconds))
                self._jobs.append(job)
                return job

    def _infer(self) -> None:
        """The inference thread."""
        try:
            engine = self._open_engine()
            size = self._batch_size or engine.batch_size
            with self._lock:
                self.engine = engine
                self._window = max(self._window, _SLACK_BATCHES * size)
                self._enough = self._window - size * (engine.device == "cpu")
                self._given.notify_all()
                self._room.notify_all()
            Inference(engine, size).run(self._take, self._give)
            self._error = self._input_error
        except BaseException as error:
            self._error = error
        with self._lock:
            self._stopped = self._finished = True
            self._given.notify_all()
            self._room.notify_all()

    def _give(self, results: list[Result]) -> None:
        with self._lock:
            self._results.extend(results)
            self._waiting_bytes += sum(result.nbytes for result in results)
            self._given.notify()
            # A slow reader of the results (a pager, say) slows the whole pipeline down instead of filling the memory.
            while self._is_full() and not self._stopped:
                self._ready.wait(_TICK_SECONDS)

    def _is_full(self) -> bool:
        return len(self._results) > _MAX_WAITING_RESULTS or (self._waiting_bytes > _MAX_WAITING_BYTES)

    def _take(self, size: int, idle: bool) -> list[Job] | None:
        """The next jobs in order, decoded, with `size` images, or fewer when the engine would wait too long for more.

        Args:
            size: images that make a full batch.
            idle: whether the engine has nothing to do.

        Returns:
            An empty list when there is no full batch and the engine has other work; None after the last one.
        """
        deadline = float("inf")
        with self._lock:
            self._batch = size
            while not self._stopped:
                if self._is_batch():
                    break
                if not idle:
                    return []
                now = time.monotonic()
                deadline = min(deadline, now + LINGER_SECONDS) if self._front else deadline
                if now >= deadline:
                    break
                self._ready.wait(LINGER_SECONDS if self._front else _TICK_SECONDS)
                self._give_up_stuck()
            if self._stopped:
                return None
            return self._front_jobs(size) or None

    def _front_jobs(self, size: int) -> list[Job]:
        """The jobs at the front that are done, up to `size` images; there is room for others now."""
        jobs: list[Job] = []
        images = 0
        while self._front and images < size:
            jobs.append(self._jobs.popleft())
            images += jobs[-1].image is not None
            self._front -= 1
        self._front_images -= images
        self._room.notify_all()
        return jobs

    def _is_batch(self) -> bool:
        """Whether waiting brings no more: a batch is there, or the last jobs, or a window of failures."""
        is_last = self._exhausted and self._front == len(self._jobs)
        return self._front_images >= self._batch or self._front >= self._window or is_last

    def _say_done(self) -> None:
        """A job is done: count on at the front, and wake the inference thread for its first image and for its last."""
        front = self._front
        while self._front < len(self._jobs) and (job := self._jobs[self._front]).done:
            self._front += 1
            self._front_images += job.image is not None
        if self._front > front and (not front or self._is_batch()):
            self._ready.notify()

    def _give_up_stuck(self) -> None:
        """Turn every job whose decoder hangs into a failure, and put another thread in the decoder's place."""
        now = self._clock.seconds()
        for job in self._jobs:
            started = job.attempt.started
            if job.done or started is None or now - started < self._decode_timeout:
                continue
            why = f"decoding it took longer than {self._decode_timeout:.0f} s"
            job.result.error = InputError("timeout", job.result.item.name, why)
            job.done = True
            job.attempt.give_up()
            self._say_done()
            self._abandoned += 1
            if self._abandoned <= _MAX_ABANDONED:
                self._spawn(self._decode)
            else:
                self._missing, self._live = self._missing + 1, self._live - 1
        if not self._live and not self._exhausted:
            self._exhausted, self._input_error = (
                True,
                StoppedError(
                    "stopped",
                    "",
                    f"{self._abandoned} images keep their decoders busy, and no decoder is left",
                    _LEAVE_OUT,
                ),
            )


def _bare(error: InputError) -> InputError:
    """The error alone: tracebacks hold the frames of decoders, and those hold pictures."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error
