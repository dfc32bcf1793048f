"""Threads: as many cores as were asked for, none of the host program's settings changed, any thread as a caller."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import networks
import numpy as np
import pytest
import torch
from engine_examples import SIZE, logits, opened
from numpy.typing import NDArray

from vggcli.engines import devices
from vggcli.engines.openvino import OpenVINOEngine
from vggcli.engines.threads import Worker
from vggcli.engines.torch import TorchEngine
from vggcli.errors import UsageError
from vggcli.weights.model import Model


def in_new_thread(work: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def threads_of(engine: Any) -> int:
    """Cores that an engine computes on, by what its library says."""
    if isinstance(engine, OpenVINOEngine):
        return int(engine._compiled.get_property("INFERENCE_NUM_THREADS"))
    return int(engine._worker.run(torch.get_num_threads))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_engine_computes_on_the_cores_asked_for(
    kind: str, narrow: Model, images: NDArray[np.uint8], threads: int
) -> None:
    if threads > devices.cores():
        pytest.skip("OpenVINO takes no more than there are, and there is one")
    with closing(opened(kind, narrow, threads=threads)) as running:
        logits(running, images[:2])
        assert threads_of(running) == threads


def test_by_default_an_engine_stays_within_the_quota_of_its_container(
    monkeypatch: pytest.MonkeyPatch, kind: str, narrow: Model
) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 1)
    with closing(opened(kind, narrow)) as running:
        assert threads_of(running) == 1


def test_by_default_torch_takes_no_more_than_it_would_by_itself(monkeypatch: pytest.MonkeyPatch, narrow: Model) -> None:
    """OMP_NUM_THREADS, the program's own setting, one thread per core where a core has two."""
    monkeypatch.setattr(devices, "cores", lambda: 1000)
    with closing(opened("torch", narrow)) as running:
        assert threads_of(running) == in_new_thread(torch.get_num_threads) < 1000


@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_threads_than_one_are_refused(kind: str, narrow: Model, threads: int) -> None:
    with pytest.raises(UsageError, match=f"cannot compute on {threads} threads: there must be at least one") as caught:
        opened(kind, narrow, threads=threads)
    assert caught.value.exit_code == 2


def test_torch_has_its_number_of_threads_as_before_everywhere_else(narrow: Model, images: NDArray[np.uint8]) -> None:
    before, of_newcomers = torch.get_num_threads(), in_new_thread(torch.get_num_threads)
    counts = [before + 1, before + 2, before + 3]
    engines = [opened("torch", narrow, threads=count) for count in counts]
    begun = [running.start(images[:2]) for running in engines]
    for result in begun:
        result()

    assert [threads_of(running) for running in engines] == counts, "beside each other"
    assert torch.get_num_threads() == before
    assert in_new_thread(torch.get_num_threads) == of_newcomers
    for running in engines:
        running.close()


def test_workers_that_begin_at_once_leave_newcomers_their_number() -> None:
    of_newcomers = in_new_thread(torch.get_num_threads)
    for _ in range(20):
        workers = [Worker(of_newcomers + more) for more in (1, 2, 3)]
        for more, worker in enumerate(workers, 1):
            assert worker.run(torch.get_num_threads) == of_newcomers + more
            worker.close()
    assert in_new_thread(torch.get_num_threads) == of_newcomers


@pytest.mark.long
def test_a_program_that_chose_a_number_keeps_it_for_threads_to_come() -> None:
    code = """
import threading, torch
from vggcli.engines.torch import TorchEngine
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.opening import open_model
torch.set_num_threads(3)
model = open_model(DEMO_FILE)
engines = [TorchEngine(model, "cpu", "fp32", threads=count) for count in (1, 5)]
print(*[engine._worker.run(torch.get_num_threads) for engine in engines], torch.get_num_threads())
thread = threading.Thread(target=lambda: print(torch.get_num_threads()))
thread.start(), thread.join()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["1", "5", "3", "3"]


def test_eight_threads_may_use_one_engine(kind: str, narrow: Model) -> None:
    pixels = networks.images(8 * 6, SIZE).reshape(8, 6, SIZE, SIZE, 3)
    names = ("fc8", "pool5")
    with closing(opened(kind, narrow, outputs=names)) as running:
        expected = [running.start(batch)() for batch in pixels]
        together = threading.Barrier(8)

        def use(number: int) -> bool:
            together.wait(60)
            got = [running.start(pixels[number][: 1 + turn % 6])() for turn in range(12)]
            return all(
                np.array_equal(one[name], expected[number][name][: 1 + turn % 6])
                for turn, one in enumerate(got)
                for name in names
            )

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(use, range(8))) == [True] * 8


def test_two_engines_with_different_threads_run_beside_each_other(narrow: Model, images: NDArray[np.uint8]) -> None:
    engines = [opened(kind, narrow, threads=threads) for kind in ("torch", "openvino") for threads in (1, 2)]
    alone = [logits(running, images) for running in engines]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            beside = list(pool.map(lambda running: logits(running, images), engines))
            assert all(np.array_equal(one, other) for one, other in zip(alone, beside, strict=True))
    for running in engines:
        running.close()


# The worker


def worker_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in before]


@pytest.mark.parametrize("end", ["closed", "forgotten"])
def test_the_worker_ends_with_its_engine(narrow: Model, end: str) -> None:
    before = set(threading.enumerate())
    running = TorchEngine(narrow, "cpu", "fp32")
    (thread,) = worker_threads(before)
    assert thread.daemon, "it never keeps the program from ending"
    if end == "closed":
        running.close()
        running.close()
    del running
    gc.collect()
    thread.join(60)

    assert not thread.is_alive()


def test_a_worker_hands_over_what_its_work_raises_and_goes_on() -> None:
    worker = Worker(1)

    def fail() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        worker.run(fail)
    assert worker.run(lambda: 7) == 7
    worker.close()


def test_a_torch_with_one_number_for_the_whole_process_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "vggcli")
    monkeypatch.setattr(torch.__config__, "parallel_info", lambda: "ATen parallel backend: native thread pool\n")
    monkeypatch.setattr(torch, "set_num_threads", lambda _: pytest.fail("the process was changed"))
    before = in_new_thread(torch.get_num_threads)
    worker = Worker(before + 1)

    assert worker.run(torch.get_num_threads) == before
    assert "one number of threads for the whole process" in caplog.text
    worker.close()
