"""Cosine similarity between many vectors: the nearest of each query, and groups of near duplicates.

Both are exact.  The vectors may lie in a mapped file, as float16 too: they are taken in blocks, brought to float32 and
multiplied by NumPy's BLAS, on several threads, so that memory is bounded whatever their number.  A row that holds no
direction (NaN, an infinity, all zeros) is like nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_VALUES = 1 << 22  # float32 values of a block: 16 MiB, several of which are at hand on each thread
_MOST_ROWS = 8192  # in a block
_QUERIES = 512  # at once; more only repeat the pass over the vectors
_MOST_THREADS = 8
_PAIR_ROWS, _PAIR_COLUMNS = 2048, 4096  # of a block of all pairs
_SLAB_ROWS = 256  # of it, whose pairs are listed at once
# By which the similarity of equal vectors may miss 1 in float32.
ROUNDING = 1e-6


class Nearest(NamedTuple):
    """The rows that are most similar to each query.

    Attributes:
        rows: (queries, k) int64, best first, equal ones by their number; -1 where there are fewer.
        similarities: (queries, k) float32, in [-1, 1]; -inf where there is none.
    """

    rows: NDArray[np.int64]
    similarities: NDArray[np.float32]


def directions(vectors: NDArray[np.generic]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors (n, dimensions) of length 1, and which of them have a direction at all; the others are zeros."""
    found = np.array(vectors, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", found, found))
    is_known = np.isfinite(lengths) & (lengths > 0)
    found[~is_known] = 0
    found /= np.where(is_known, lengths, 1)[:, None]
    return found, is_known


def query_count(dimensions: int) -> int:
    """Queries that `nearest` takes best at once."""
    return max(1, min(_QUERIES, 4 * _BLOCK_VALUES // dimensions))


def nearest(vectors: NDArray[np.generic], queries: NDArray[np.float32], k: int, threads: int) -> Nearest:
    """The `k` rows of `vectors` with the largest cosine for each query.

    Args:
        vectors: (N, dimensions) float16 or float32.
        queries: (queries, dimensions), of length 1.
        k: 1 or more.
        threads: to compute on.
    """
    threads = max(1, min(threads, _MOST_THREADS, len(vectors) // _MOST_ROWS + 1))
    bounds = [len(vectors) * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        parts = [pool.submit(_nearest_in, vectors, start, end, queries, k) for start, end in pairwise(bounds)]
        best = [part.result() for part in parts]
    found = best[0]
    for part in best[1:]:
        found = _merged(found, part.rows, part.similarities)
    return Nearest(found.rows, np.clip(found.similarities, None, 1))


def _block_rows(dimensions: int, most: int) -> int:
    return max(1, min(most, _BLOCK_VALUES // dimensions))


def _nearest_in(vectors: NDArray[np.generic], start: int, end: int, queries: NDArray[np.float32], k: int) -> Nearest:
    """The nearest among the rows from `start` to `end`."""
    count, dimensions = queries.shape
    size = _block_rows(dimensions, _MOST_ROWS)
    block = np.empty((size, dimensions), np.float32)
    products = np.empty((size, count), np.float32)
    best = Nearest(np.full((count, k), -1), np.full((count, k), -np.inf, np.float32))
    for first in range(start, end, size):
        rows = min(size, end - first)
        values, found = block[:rows], products[:rows]
        np.copyto(values, vectors[first : first + rows])
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
            np.matmul(values, queries.T, out=found)
            found /= lengths[:, None]
        found[~(np.isfinite(lengths) & (lengths > 0))] = -np.inf
        best = _with_block(best, found, first, k)
    return best


def _with_block(best: Nearest, found: NDArray[np.float32], first: int, k: int) -> Nearest:
    """The best of what was found so far and of a block's similarities (rows, queries)."""
    least = best.similarities[:, -1]
    is_better = found > least
    if len(found) > k and not np.isfinite(least).all():  # else the first block would be sorted as a whole
        is_better &= found >= np.partition(found, len(found) - k, axis=0)[len(found) - k]
    rows, columns = np.nonzero(is_better)
    if not len(rows):
        return best
    counts = np.bincount(columns, minlength=found.shape[1])
    # As a rectangle, a line for each query.
    order = np.argsort(columns, kind="stable")
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    new_rows = np.full((found.shape[1], counts.max()), -1)
    similarities = np.full(new_rows.shape, -np.inf, np.float32)
    new_rows[columns[order], place] = rows[order] + first
    similarities[columns[order], place] = found[rows[order], columns[order]]
    return _merged(best, new_rows, similarities)


def _merged(best: Nearest, rows: NDArray[np.int64], similarities: NDArray[np.float32]) -> Nearest:
    """As many of both, `best` and others with larger row numbers, as `best` has."""
    k = best.rows.shape[1]
    all_rows = np.concatenate([best.rows, rows], axis=1)
    all_similarities = np.concatenate([best.similarities, similarities], axis=1)
    order = np.argsort(-all_similarities, axis=1, kind="stable")[:, :k]
    return Nearest(np.take_along_axis(all_rows, order, 1), np.take_along_axis(all_similarities, order, 1))


class Groups:
    """Rows that belong together since each is like another of them: a forest whose roots are the first of each group.

    Args:
        count: of rows.
    """

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)

    def join(self, ones: NDArray[np.int64], others: NDArray[np.int64]) -> None:
        """Put pairs of rows into one group each."""
        while len(ones):
            ones, others = self.firsts(ones), self.firsts(others)
            differ = ones != others
            low, high = np.minimum(ones, others)[differ], np.maximum(ones, others)[differ]
            np.minimum.at(self._parents, high, low)  # of several, the others stay for the next turn
            ones, others = low, high

    def firsts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first row of the group that each of these is in."""
        found = self._parents[rows]
        while True:
            above = self._parents[found]
            if np.array_equal(above, found):
                self._parents[rows] = found
                return found
            found = above

    def members(self) -> Iterator[NDArray[np.int64]]:
        """The rows of each group of two and more, in order; the groups in the order of their first rows."""
        firsts = self.firsts(np.arange(len(self._parents)))
        order = np.argsort(firsts, kind="stable")
        bounds = np.append(np.flatnonzero(np.diff(firsts[order], prepend=-1)), len(order))
        for start, end in pairwise(bounds.tolist()):
            if end - start > 1:
                yield order[start:end]


def duplicates(vectors: NDArray[np.generic], least: float, threads: int, groups: Groups) -> Iterator[int]:
    """Join all rows whose similarity is at least `least`, whatever the number of steps between them.

    Args:
        vectors: (N, dimensions) float16 or float32.
        least: cosine.
        threads: to compute on.
        groups: of N rows; complete when the iterator ends.

    Yields:
        The number of rows that have been held against all behind them.
    """
    count, dimensions = vectors.shape
    threads = max(1, min(threads, _MOST_THREADS))
    rows, columns = (_block_rows(dimensions, most) for most in (_PAIR_ROWS, _PAIR_COLUMNS))

    def alike(ones: NDArray[np.float32], start: int) -> NDArray[np.bool_]:
        others, _ = directions(vectors[start : start + columns])
        return np.asarray(ones @ others.T >= max(least - ROUNDING, np.finfo(np.float32).tiny))

    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, count, rows):
            ones, _ = directions(vectors[first : first + rows])
            running: list[tuple[int, Future[NDArray[np.bool_]]]] = []
            for start in range(first, count, columns):
                running.append((start, pool.submit(alike, ones, start)))
                if len(running) > threads:
                    _join(groups, first, *running.pop(0))
            for block in running:
                _join(groups, first, *block)
            yield min(first + rows, count)


def _join(groups: Groups, first: int, start: int, found: Future[NDArray[np.bool_]]) -> None:
    mask = found.result()
    if not mask.any():
        return
    for slab in range(0, len(mask), _SLAB_ROWS):
        ones, others = np.nonzero(mask[slab : slab + _SLAB_ROWS])
        groups.join(ones + first + slab, others + start)


def similarities_to_first(vectors: NDArray[np.generic], members: NDArray[np.int64]) -> Iterator[tuple[int, float]]:
    """Each row of a group with its cosine to the first of them, in bounded memory."""
    first, _ = directions(vectors[members[:1]])
    size = _block_rows(vectors.shape[1], _MOST_ROWS)
    for start in range(0, len(members), size):
        part = members[start : start + size]
        others: Any = directions(vectors[part])[0] @ first[0]
        yield from zip(part.tolist(), np.clip(others, -1, 1).tolist(), strict=True)
