"""Several networks in one pipeline: each image decoded for all of them, each batch through all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from vggcli.engines import Engine
from vggcli.images.attempt import Attempt
from vggcli.images.decode import Decoded, ImageLoader
from vggcli.images.discover import Input
from vggcli.images.open import open_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the networks.

    Attributes:
        name: under which its logits are given.
        engine: opened for `logits`; it stays its owner's.
        logits: name of the last layer.
        shape: of its input, (size, size, channels).
    """

    name: str
    engine: Engine
    logits: str
    shape: tuple[int, int, int]


class SideBySideLoader(ImageLoader):
    """Decodes an image once for each side; the pixels of all are one row of bytes, which `SideBySideEngines` takes."""

    def __init__(self, *sides: ImageLoader) -> None:
        self._sides = sides

    def load(self, item: Input, attempt: Attempt | None = None) -> Decoded:
        """See `ImageLoader.load`."""
        attempt = attempt or Attempt()
        if item.is_stdin or item.is_read_ahead:  # can be read only once, or is fetched once
            with open_bytes(item, self._sides[0].decoding.access, attempt) as stream:
                item = Input(item.path, content=stream.read())
        decoded = [side.load(item, attempt) for side in self._sides]
        pixels = np.concatenate([one.pixels.ravel() for one in decoded])
        return Decoded(pixels, any(one.truncated for one in decoded))


class SideBySideEngines:
    """The engines of all sides as one, which gives the logits of each; closing them is left to their owners.

    Args:
        sides: the networks.
        shared: they take the same pixels; otherwise a batch is (N, bytes), an image's pixels for one after the other.
    """

    name = "side by side"

    def __init__(self, sides: Sequence[Side], *, shared: bool) -> None:
        self._sides, self._shared = sides, shared
        engines = [side.engine for side in sides]
        first = engines[0]
        self.device, self.precision, self.fast_precision = first.device, first.precision, first.fast_precision
        self.batch_size = min(engine.batch_size for engine in engines)
        self.depth = min(engine.depth for engine in engines)

    def start(self, batch: NDArray[np.uint8]) -> Callable[[], Outputs]:
        """See `Engine.start`."""
        pending = [side.engine.start(part) for side, part in zip(self._sides, self._parts(batch), strict=True)]
        return lambda: {side.name: done()[side.logits] for side, done in zip(self._sides, pending, strict=True)}

    def close(self) -> None:
        """See `Engine.close`."""

    def _parts(self, batch: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        if self._shared:
            return [batch] * len(self._sides)
        ends = np.cumsum([prod(side.shape) for side in self._sides])[:-1]
        parts = np.split(batch, ends, axis=1)
        return [
            np.ascontiguousarray(part).reshape(-1, *side.shape) for side, part in zip(self._sides, parts, strict=True)
        ]
