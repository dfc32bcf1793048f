"""Batches through an engine: several in flight, in order, smaller ones when memory runs out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vggcli.engines import Engine
from vggcli.errors import DeviceError, InputError
from vggcli.images.attempt import Attempt
from vggcli.images.discover import Input

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vggcli.images.thumbnail import Thumbnail

    Outputs = dict[str, NDArray[np.float32]]


@dataclass(slots=True)
class Result:
    """What became of one input: the outputs that were asked for, or an error.

    Attributes:
        outputs: by layer name, float32, shaped (channels, height, width) or (features,); None when the input failed.
        picture: the decoded picture, where the loader was told to keep it.
        thumbnail: where the loader was told to make them.
    """

    item: Input
    outputs: Outputs | None = None
    error: InputError | None = None
    truncated: bool = False
    picture: NDArray[np.uint8] | None = None
    thumbnail: Thumbnail | None = None

    @property
    def nbytes(self) -> int:
        """What it takes in memory, in bytes."""
        picture = sum(kept.nbytes for kept in (self.picture, self.thumbnail) if kept is not None)
        return picture + self.item.nbytes + sum(array.nbytes for array in (self.outputs or {}).values())


class Job:
    """One input on its way through the decoders.

    Attributes:
        result: filled in as it goes.
        image: the network's input (size, size, 3) uint8, until its batch is put together.
        attempt: the try at decoding it, with its clock.
        done: decoded, failed or given up.
    """

    __slots__ = ("attempt", "done", "image", "result")

    def __init__(self, item: Input, attempt: Attempt) -> None:
        self.result = Result(item)
        self.image: NDArray[np.uint8] | None = None
        self.attempt = attempt
        self.done = False


class Inference:
    """Batches through an engine, several in flight, smaller when memory runs out."""

    def __init__(self, engine: Engine, size: int) -> None:
        self._engine, self._size = engine, size
        self._flying: deque[tuple[list[Job], NDArray[np.uint8], Callable[[], Outputs] | None]] = deque()

    def run(self, take: Callable[[int, bool], list[Job] | None], give: Callable[[list[Result]], None]) -> None:
        """Until `take` ends: start batches, hand finished ones to `give`, in order."""
        size = 1  # one image first: the first answer is worth more than a full batch
        while True:
            jobs = take(size, not self._flying)
            if jobs:
                self._start(jobs)
                size = self._size
            if self._flying and (not jobs or len(self._flying) >= self._engine.depth):
                give(self._finish())
                size = min(size, self._size)
            if jobs is None and not self._flying:
                return

    def _start(self, jobs: list[Job]) -> None:
        images = [job.image for job in jobs if job.image is not None]
        for job in jobs:
            job.image = None
        if not images:
            self._flying.append((jobs, np.empty((0,), np.uint8), None))
            return
        batch = np.stack(images)
        try:
            self._flying.append((jobs, batch, self._engine.start(batch)))
        except MemoryError as error:
            why = str(error)  # not the error itself, which holds what the batch has filled the memory with
            self._flying.append((jobs, batch, lambda: self._halved(batch, why)))
        except DeviceError as error:
            self._flying.append((jobs, batch, partial(_fail, error)))  # in its turn: the batches before it are given

    def _finish(self) -> list[Result]:
        jobs, batch, pending = self._flying.popleft()
        if pending is not None:
            outputs = self._computed(batch, pending)
            classified = (job.result for job in jobs if job.result.error is None)
            for row, result in enumerate(classified):
                # Copies: whoever keeps one row must not keep its whole batch.
                result.outputs = {name: array[row].copy() for name, array in outputs.items()}
        return [job.result for job in jobs]

    def _computed(self, batch: NDArray[np.uint8], pending: Callable[[], Outputs]) -> Outputs:
        try:
            return pending()
        except MemoryError as error:
            why = str(error)
        # Not in the handler: as long as the error lives, so do the frames and tensors of the batch that did not fit.
        return self._halved(batch, why)

    def _halved(self, batch: NDArray[np.uint8], why: str) -> Outputs:
        """The batch in halves, and batches of that size from now on."""
        size = len(batch) // 2
        if size == 0:
            raise DeviceError(
                "cannot classify on",
                self._engine.device,
                f"there is not enough memory for a single image ({why})",
                "Close other programs that use the device, or run with --device cpu",
            )
        self._size = min(self._size, size)
        parts = []
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            parts.append(self._computed(part, partial(self._now, part)))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _now(self, batch: NDArray[np.uint8]) -> Outputs:
        return self._engine.start(batch)()


def _fail(error: DeviceError) -> Outputs:
    raise error
