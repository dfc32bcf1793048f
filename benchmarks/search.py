"""`vgg search` over random vectors: the nearest of 100 rows, and near duplicates: `search.py [ROWS [DIMENSIONS]]`."""

from __future__ import annotations

import json
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import processes
from contestants import VGG
from figures import number, spread, table

QUERIES, NEAREST = 100, 10
ROUNDS = 5
DUPLICATES_ROWS = 100_000  # at most: twice the rows are four times the pairs
_BLOCK = 50_000  # rows that are made at once


def make(folder: Path, rows: int, dimensions: int) -> Path:
    """A file of random float16 vectors as `vgg embed` lays it out, the last of which is the first once more."""
    path = folder / f"{rows}.npy"
    random = np.random.default_rng(rows)
    array = np.lib.format.open_memmap(path, "w+", np.float16, (rows, dimensions))
    for start in range(0, rows, _BLOCK):
        array[start : start + _BLOCK] = random.standard_normal((min(_BLOCK, rows - start), dimensions), np.float32)
    array[-1] = array[0]
    array.flush()
    with (folder / f"{path.name}.paths.jsonl").open("w") as lines:
        lines.writelines(json.dumps({"path": f"photos/{row:08}.jpg", "status": "ok"}) + "\n" for row in range(rows))
    return path


def report(folder: Path, rows: int, dimensions: int, rounds: int = ROUNDS) -> str:
    """A table of seconds, CPU seconds and peak memory beyond the file, which is mapped and in the page cache.

    Raises:
        FailedError: a run failed, or did not find the row that is there twice.
    """
    path = _made_apart(folder, rows, dimensions)
    queries = [word for row in range(QUERIES) for word in ("--row", str(row))]
    found = _row(f"top {NEAREST} of {QUERIES} in {rows:,}", path, [*queries, "-k", str(NEAREST)], rounds)
    few = min(rows, DUPLICATES_ROWS)
    some = _made_apart(folder, few, dimensions) if few < rows else path
    groups = _row(f"duplicates among {few:,}", some, ["--duplicates"], 1)
    return table(["", "seconds", "CPU seconds", "peak beyond the file, MB"], [found, groups])


def _made_apart(folder: Path, rows: int, dimensions: int) -> Path:
    """`make` in another process: into the peak of a new program the system counts that of the one that starts it."""
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        return apart.submit(make, folder, rows, dimensions).result()


def _row(name: str, path: Path, words: list[str], rounds: int) -> list[str]:
    command = [VGG, "search", str(path), *words, "-q", "-f", "tsv"]
    runs = [processes.run(command) for _ in range(rounds)]
    for run in runs:
        if not any("1.000000" in row for row in run.rows):
            raise processes.FailedError(f"{name}: the row that is there twice was not found")
    beyond = [run.peak_mb - path.stat().st_size / 1e6 for run in runs]
    seconds, cpu = [run.seconds for run in runs], [run.cpu_seconds for run in runs]
    return [name, str(spread(seconds)), str(spread(cpu)), number(max(beyond))]


def main(rows: str = "1000000", dimensions: str = "512") -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        print(report(Path(folder), int(rows), int(dimensions)))


if __name__ == "__main__":
    main(*sys.argv[1:])
