"""Images per second of an engine's forward pass, by batch size: `forward_only.py ENGINE WEIGHTS`."""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from vggcli.engines import Engine, choice
from vggcli.weights.opening import open_model

BATCH_SIZES = (1, 8, 16, 32)
REPEATS = 3
IMAGES = 32  # in each repeat, or two batches: about a second on two fast cores, several on slow ones


def rate(engine: Engine, batch: NDArray[np.uint8], batches: int) -> float:
    """Images per second with as many batches in flight as the engine takes."""
    began = perf_counter()
    in_flight = deque(engine.start(batch) for _ in range(min(engine.depth, batches)))
    for _ in range(batches - len(in_flight)):
        in_flight.popleft()()
        in_flight.append(engine.start(batch))
    for result in in_flight:
        result()
    return batches * len(batch) / (perf_counter() - began)


def main(engine_name: str, weights: str) -> None:
    """Print `batch size<TAB>images per second`, the median of the repeats, for each batch size."""
    model = open_model(Path(weights))
    engine = choice.open_engine(model, engine=engine_name, device="cpu")
    size = model.recipe.size
    random = np.random.default_rng(0)
    for batch_size in BATCH_SIZES:
        batch = random.integers(0, 256, (batch_size, size, size, 3), np.uint8)
        rate(engine, batch, 2)  # the first batches of a new size choose kernels and take memory
        rates = [rate(engine, batch, max(2, IMAGES // batch_size)) for _ in range(REPEATS)]
        print(f"{batch_size}\t{median(rates)}", flush=True)
    engine.close()
    model.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
