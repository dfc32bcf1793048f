"""Stand-ins for what is slow: an engine whose answer can be read off the picture, and pictures that carry theirs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = 10


def shade(label: int) -> int:
    """The grey value that stands for a class, far enough from the next to survive JPEG."""
    return 25 * label + 12


def picture(label: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A grey picture of one class."""
    return Image.new("RGB", size, (shade(label),) * 3)


def save_picture(path: Path, label: int, **options: object) -> Path:
    """Write it in the format of the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(label).save(path, **options)
    return path


def pixels_of(label: int) -> NDArray[np.uint8]:
    """The same as a loader gives it, small."""
    return np.full((8, 8, 3), shade(label), np.uint8)


def labels_of(logits: NDArray[np.float32]) -> int:
    """The class that logits name."""
    return int(logits.argmax())


def wait_for_threads_but(others: Iterable[threading.Thread]) -> None:
    """Until no thread is left but these; one that stays fails the test."""
    for thread in set(threading.enumerate()).difference(others):
        thread.join(60)
        assert not thread.is_alive(), thread


class FakeEngine:
    """Reads the class off the first pixel.

    Args:
        batch_size: the batch that it likes.
        depth: batches in flight.
        fits: images that its memory holds; larger batches raise MemoryError, in `start` or in the result.
        late: raise in the result.
        fail_after: batches after which `error` is raised instead.
        error: what it raises then.
    """

    name = "torch"
    device = "cpu"
    precision = fast_precision = "fp32"

    def __init__(
        self,
        batch_size: int = 4,
        depth: int = 2,
        *,
        fits: int | None = None,
        late: bool = False,
        fail_after: int | None = None,
        error: BaseException | None = None,
    ) -> None:
        self.batch_size, self.depth = batch_size, depth
        self._fits, self._late, self._fail_after, self._error = fits, late, fail_after, error
        self.batches: list[int] = []

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], dict[str, NDArray[np.float32]]]:
        if self._fail_after is not None and len(self.batches) >= self._fail_after:
            assert self._error is not None
            raise self._error
        too_large = self._fits is not None and len(batch) > self._fits
        if too_large and not self._late:
            raise MemoryError("full")
        self.batches.append(len(batch))

        def result() -> dict[str, NDArray[np.float32]]:
            if too_large:
                raise MemoryError("full")
            logits = np.zeros((len(batch), CLASSES), np.float32)
            logits[np.arange(len(batch)), batch[:, 0, 0, 0] // 25] = 9
            return {"fc8": logits}

        return result

    def close(self) -> None:
        """Nothing to release."""
