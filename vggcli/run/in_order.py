"""Work on items by several threads, its results in the order of the items, a few of them ahead."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(items: Iterator[T], work: Callable[[T], R], workers: int) -> Generator[R, None, None]:
    """What `work` gives for each item, in order, each as soon as it is there.

    Args:
        items: iterated in a thread of its own, as far ahead as twice the workers.
        work: called in several threads at once.
        workers: their number.

    Raises:
        Exception: what the items or the work raise, in its turn.  After that, and after the iterator is closed, no
            further work is begun; the items must end by themselves then.
    """
    waiting: Queue[Future[R] | BaseException | None] = Queue(2 * workers)
    over = False

    def feed(pool: ThreadPoolExecutor) -> None:
        ending: BaseException | None = None
        try:
            for item in items:
                if over:
                    break
                waiting.put(pool.submit(work, item))
        except BaseException as error:
            ending = error
        waiting.put(ending)

    with ThreadPoolExecutor(workers + 1, thread_name_prefix="vggcli") as pool:
        pool.submit(feed, pool)
        ended = False
        try:
            while isinstance(found := waiting.get(), Future):
                yield found.result()
            ended = True
            if found is not None:
                raise found
        finally:
            over = True
            while not ended:  # make room for the one that feeds, until its last word
                ended = not isinstance(waiting.get(), Future)
