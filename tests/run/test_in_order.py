"""Work by several threads: results in order, errors in their turn, no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from fakes import wait_for_threads_but

from vggcli.run.in_order import in_order


def test_results_come_in_order_whatever_ends_first() -> None:
    second = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second.wait(60)
        elif item == 1:
            second.set()
        return item * item

    assert list(in_order(iter(range(100)), work, 2)) == [item * item for item in range(100)]


def test_an_error_comes_in_its_turn() -> None:
    before = threading.enumerate()

    def items() -> Iterator[int]:
        yield from (1, 2)
        raise LookupError("no more")

    found = in_order(items(), lambda item: 6 // item, 2)
    assert [next(found), next(found)] == [6, 3]
    with pytest.raises(LookupError, match="no more"):
        next(found)
    broken = in_order(iter([1, 0, 1, 1, 1, 1, 1, 1, 1, 1]), lambda item: 6 // item, 2)
    assert next(broken) == 6
    with pytest.raises(ZeroDivisionError):
        next(broken)
    wait_for_threads_but(before)


def test_no_further_items_are_taken_far_ahead_or_after_the_end() -> None:
    before, taken = threading.enumerate(), []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    found = in_order(items(), str, 2)
    assert next(found) == "0"
    found.close()

    assert len(taken) < 20
    wait_for_threads_but(before)
