"""Threads take turns at one object and never wait at another."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vggcli.images.turns import Turns

PATIENCE = 60  # seconds


def test_at_one_object_there_is_one_thread_at_a_time() -> None:
    turns, value, inside = Turns(), object(), [0]

    def work(_: int) -> int:
        with turns.at(value):
            inside[0] += 1
            seen = inside[0]
            inside[0] -= 1
            return seen

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(500))) == {1}


def test_a_thread_that_hangs_at_one_object_keeps_nobody_from_another() -> None:
    turns, hung, other = Turns(), [1], [1]
    entered, leave = threading.Event(), threading.Event()

    def hang() -> None:
        with turns.at(hung):
            entered.set()
            assert leave.wait(PATIENCE)

    with ThreadPoolExecutor(2) as pool:
        hanging = pool.submit(hang)
        assert entered.wait(PATIENCE)
        with turns.at(other):
            pass
        leave.set()
        hanging.result()
        with turns.at(hung):
            pass


def test_an_error_inside_ends_the_turn() -> None:
    turns, value = Turns(), object()

    def fail() -> None:
        with turns.at(value):
            raise ValueError

    for _ in range(2):  # the second would wait for ever
        with pytest.raises(ValueError, match=r"^$"):
            fail()
