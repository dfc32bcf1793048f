"""Mapped pages are dropped while OpenVINO lays the weights out, and no longer."""

from __future__ import annotations

import threading
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from vggcli.engines import pages
from vggcli.engines.openvino import OpenVINOEngine
from vggcli.weights.model import Model


def test_pages_are_dropped_again_and_again_until_the_dropper_is_stopped() -> None:
    calls = 0
    thrice = threading.Event()

    def forget() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            thrice.set()

    before = set(threading.enumerate())
    dropper = pages.PageDropper(forget)
    (thread,) = set(threading.enumerate()) - before
    assert thrice.wait(60), "it works by itself"
    dropper.stop()
    thread.join(60)
    assert not thread.is_alive()
    after = calls
    dropper.stop()

    assert calls == after >= 4, "once more when it is stopped, and then no more"
    assert thread.daemon, "it never keeps the program from ending"


def test_pages_are_dropped_until_the_first_answer_and_no_longer(
    narrow: Model, images: NDArray[np.uint8], page_droppers: list[list[str]]
) -> None:
    with closing(OpenVINOEngine(narrow, "fp32")) as running:
        assert page_droppers == [["begun"]]
        running.start(images[:1])()
        assert page_droppers == [["begun", "stopped"]]


def test_an_engine_that_is_closed_unused_drops_no_more_pages(narrow: Model, page_droppers: list[list[str]]) -> None:
    OpenVINOEngine(narrow, "fp32").close()

    assert page_droppers == [["begun", "stopped"]]
