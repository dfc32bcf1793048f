"""The thumbnails of a page brought to the room that it has: smaller ones first, then those of some of the images."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from vggcli.engines.devices import cores
from vggcli.images.thumbnail import STEPS, Step, smaller
from vggcli.output.report.spool import Entry, Spool, in_base64

_TRIED = 64  # thumbnails from which the bytes of a step are estimated
_MARGIN = 1.02  # of that estimate
_AHEAD = 64  # entries that wait for their turn


def fit(spool: Spool, room: int) -> Spool:
    """A spool whose thumbnails take so much room at most, in base64: the same one where they do.

    Args:
        room: bytes.

    Raises:
        OutputError: no room on the disk.
    """
    if spool.picture_bytes <= room:
        return spool
    step = _step_for(spool, room)
    fitting = spool.beside()
    for entry in _at(step, spool.entries()):
        fitting.add(entry)
    if fitting.picture_bytes <= room:
        return fitting
    with fitting:
        return _thinned(fitting, room)


def _step_for(spool: Spool, room: int) -> Step:
    """The largest step at which all thumbnails have room, by a look at some; the smallest where none has."""
    every = max(1, spool.pictures // _TRIED)
    with_picture = (entry.thumbnail for entry in spool.entries() if entry.thumbnail)
    tried = [thumbnail for number, thumbnail in enumerate(with_picture) if number % every == 0]
    for step in STEPS[1:]:
        bytes_each = sum(in_base64(len(_again(thumbnail, step))) for thumbnail in tried) / len(tried)
        if bytes_each * spool.pictures * _MARGIN <= room:
            return step
    return STEPS[-1]


def _at(step: Step, entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries with their thumbnails at a step, in order, made on all cores."""
    with ThreadPoolExecutor(cores()) as workers:
        waiting: deque[tuple[bytes, Future[bytes]]] = deque()
        for entry in entries:
            waiting.append((entry.row, workers.submit(_again, entry.thumbnail, step)))
            if len(waiting) > _AHEAD:
                row, made = waiting.popleft()
                yield Entry(row, made.result())
        for row, made in waiting:
            yield Entry(row, made.result())


def _again(thumbnail: bytes, step: Step) -> bytes:
    if not thumbnail:
        return thumbnail
    with contextlib.suppress(OSError, ValueError):
        return smaller(thumbnail, step)
    return thumbnail


def _thinned(spool: Spool, room: int) -> Spool:
    """The same rows with every second thumbnail, or every third, ... as many as have room."""
    sizes = [in_base64(len(entry.thumbnail)) for entry in spool.entries() if entry.thumbnail]
    every = 2
    while sum(sizes[::every]) > room and every <= len(sizes):
        every += 1
    kept, number = spool.beside(), 0
    for entry in spool.entries():
        is_kept = bool(entry.thumbnail) and number % every == 0 and sizes[0] <= room
        number += bool(entry.thumbnail)
        kept.add(entry if is_kept else Entry(entry.row, b""))
    return kept
