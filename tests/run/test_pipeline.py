"""Results come out in input order, from bounded memory, whatever decoders, engines and readers do.

No test sleeps: fakes wait for events, and an event that never comes fails the test after `PATIENCE`.
"""

from __future__ import annotations

import itertools
import random
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from fakes import FakeEngine, labels_of, pixels_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vggcli.errors import DeviceError, InputError, StoppedError, UsageError
from vggcli.images.attempt import Attempt
from vggcli.images.decode import Decoded
from vggcli.images.discover import Input
from vggcli.run import pipeline as module
from vggcli.run.pipeline import Pipeline, Result

PATIENCE = 60  # seconds


def label_in(path: str) -> int:
    """The class that a path names, e.g. 3 in "17 of 3"."""
    return int(path.rsplit(" ", 1)[1])


class FakeLoader:
    """Gives the picture that the path names; "bad" paths fail, "cut" ones end early.

    Args:
        before: called with each path first, e.g. to wait.
    """

    def __init__(self, before: Callable[[str], None] = lambda path: None) -> None:
        self._before = before
        self.loaded: list[str] = []

    def load(self, item: Input, attempt: Attempt) -> Decoded:
        if not item.is_stdin:
            attempt.begin()
        self._before(item.name)
        self.loaded.append(item.name)
        if "bad" in item.name:
            raise InputError("damaged", item.name, "it is bad")
        return Decoded(pixels_of(label_in(item.name)), "cut" in item.name)


def paths(count: int) -> list[str]:
    return [f"{number} of {number % 10}" for number in range(count)]


def start(
    names: Iterable[str],
    engine: FakeEngine | None = None,
    loader: FakeLoader | None = None,
    *,
    open_engine: Callable[[], FakeEngine] | None = None,
    workers: int = 3,
    batch_size: int | None = None,
    decode_timeout: float = PATIENCE,
) -> Pipeline:
    return Pipeline(
        (Input(name) for name in names),
        loader or FakeLoader(),
        open_engine or (lambda: engine or FakeEngine()),
        workers=workers,
        batch_size=batch_size,
        decode_timeout=decode_timeout,
    )


def shown(result: Result) -> str:
    """A result in a word: its path and what became of it."""
    if result.error is not None:
        return f"{result.item.path}: {result.error.kind}"
    assert result.outputs is not None
    return f"{result.item.path}: {labels_of(result.outputs['fc8'])}" + " cut" * result.truncated


def expected(name: str) -> str:
    return f"{name}: damaged" if "bad" in name else f"{name}: {label_in(name)}" + " cut" * ("cut" in name)


def assert_whole(results: Iterable[Result], names: list[str]) -> None:
    """One result an input, in order, each with its own answer."""
    assert [shown(result) for result in results] == [expected(name) for name in names]


# Order

KINDS = st.sampled_from(["good", "bad", "cut"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(KINDS, st.integers(0, 9)), max_size=60),
    st.integers(1, 5),
    st.sampled_from([None, 1, 2, 3, 7, 1000]),
    st.integers(1, 3),
    st.sampled_from([None, 1, 2, 3]),
    st.booleans(),
)
def test_every_input_has_its_own_result_in_order(
    what: list[tuple[str, int]], workers: int, batch_size: int | None, depth: int, fits: int | None, late: bool
) -> None:
    names = [f"{number} {kind} {label}" for number, (kind, label) in enumerate(what)]
    engine = FakeEngine(depth=depth, fits=fits, late=late)
    assert_whole(start(names, engine, workers=workers, batch_size=batch_size).results(), names)
    good = sum(kind != "bad" for kind, _ in what)
    assert sum(size for size in engine.batches if fits is None or size <= fits) == good


@pytest.mark.parametrize("seed", range(5))
def test_order_does_not_depend_on_which_image_is_decoded_first(seed: int) -> None:
    names = paths(24)
    gates = {name: threading.Event() for name in names}

    def before(path: str) -> None:
        assert gates[path].wait(PATIENCE)

    running = start(names, loader=FakeLoader(before), workers=24)
    for name in random.Random(seed).sample(names, len(names)):
        gates[name].set()
    assert_whole(running.results(), names)


def test_the_last_image_decoded_first_waits_for_the_others() -> None:
    first = threading.Event()
    others = threading.Barrier(3)

    def before(path: str) -> None:
        if path == "0 of 0":
            assert first.wait(PATIENCE)
        elif path in ("2 of 2", "3 of 3"):
            others.wait(PATIENCE)

    running = start(paths(4), loader=FakeLoader(before), workers=4)
    others.wait(PATIENCE)  # the last two are being decoded, the first is not
    first.set()
    assert_whole(running.results(), paths(4))


def test_no_inputs_no_results() -> None:
    assert list(start([]).results()) == []


# Laziness and bounds


def test_the_first_result_is_out_before_the_second_input_is_known() -> None:
    second = threading.Event()

    def names() -> Iterator[str]:
        yield "0 of 3"
        assert second.wait(PATIENCE)
        yield "1 of 4"

    results = start(names()).results()
    assert shown(next(results)) == "0 of 3: 3"
    second.set()
    assert [shown(result) for result in results] == ["1 of 4: 4"]


def test_the_first_batch_is_one_image_and_later_ones_are_full() -> None:
    engine = FakeEngine(batch_size=4, depth=1)
    decoded = threading.Event()

    def names() -> Iterator[str]:
        yield from paths(13)
        decoded.set()

    def open_engine() -> FakeEngine:
        assert decoded.wait(PATIENCE)
        return engine

    running = start(names(), open_engine=open_engine, workers=2)
    assert_whole(running.results(), paths(13))
    assert engine.batches[0] == 1
    assert max(engine.batches) <= 4


def test_images_decoded_ahead_are_bounded() -> None:
    loader, engine_may_open = FakeLoader(), threading.Event()
    most = module._SLACK_BATCHES * 2 + 3
    reached = threading.Event()
    pulled = []

    def names() -> Iterator[str]:
        for name in paths(500):
            pulled.append(name)
            if len(pulled) == most:
                reached.set()
            yield name

    def open_engine() -> FakeEngine:
        assert engine_may_open.wait(PATIENCE)
        return FakeEngine(batch_size=2)

    running = start(names(), loader=loader, open_engine=open_engine, workers=3, batch_size=2)
    assert reached.wait(PATIENCE)
    # One more a worker may have been on its way when the window filled up.
    assert len(running._jobs) <= most + 2
    engine_may_open.set()
    assert_whole(running.results(), paths(500))


def test_one_decoder_works_ahead_and_the_others_when_batches_lack_images() -> None:
    """More would take the cores that compute."""
    engine_may_open, ahead = threading.Event(), threading.Event()
    by_thread: dict[int, list[int]] = {}
    lock = threading.Lock()
    window = module._SLACK_BATCHES * 10 + 3

    def before(path: str) -> None:
        with lock:
            by_thread.setdefault(threading.get_ident(), []).append(int(path.split()[0]))
            if sum(map(len, by_thread.values())) == window:
                ahead.set()

    def open_engine() -> FakeEngine:
        assert engine_may_open.wait(PATIENCE)
        return FakeEngine(batch_size=10)

    running = start(paths(60), loader=FakeLoader(before), open_engine=open_engine, workers=3, batch_size=10)
    assert ahead.wait(PATIENCE)
    with lock:
        # Beyond what is enough, and the two that the other decoders may have been about to take.
        late = {thread for thread, numbers in by_thread.items() if max(numbers) >= window - 10 + 2}
    assert len(late) == 1
    engine_may_open.set()
    assert_whole(running.results(), paths(60))


def test_results_that_nobody_takes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WAITING_RESULTS", 10)
    engine = FakeEngine(batch_size=4, depth=2)
    names = paths(300)
    for taken, result in enumerate(start(names, engine).results(), start=1):
        assert shown(result) == expected(names[taken - 1])
        # What waits may exceed the bound by one batch, and as many as the engine is deep are on it.
        assert sum(engine.batches) <= taken + 10 + 4 + 2 * 4
    assert taken == 300


def test_failures_alone_do_not_wait_for_a_batch_to_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 10 * PATIENCE)
    endless = (f"{number} bad 0" for number in itertools.count())
    results = start(endless, FakeEngine(batch_size=4)).results()
    for number, result in zip(range(200), results, strict=False):
        assert shown(result) == f"{number} bad 0: damaged"


# Memory of the device


def test_a_batch_that_does_not_fit_is_halved_and_stays_halved() -> None:
    engine = FakeEngine(batch_size=16, depth=1, fits=3)
    assert_whole(start(paths(60), engine).results(), paths(60))
    assert max(engine.batches) <= 3


def test_memory_that_runs_out_while_a_batch_is_computed_loses_nothing() -> None:
    engine = FakeEngine(batch_size=8, depth=2, fits=2, late=True)
    assert_whole(start(paths(40), engine).results(), paths(40))


def test_a_device_that_holds_no_single_image_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"not enough memory for a single image \(full\)"):
        list(start(paths(3), FakeEngine(fits=0)).results())


# Errors


def collected(results: Iterator[Result]) -> tuple[list[str], BaseException | None]:
    """What an iterator gives, and what it raises in the end."""
    taken: list[str] = []
    try:
        for result in results:
            taken.append(shown(result))
    except Exception as error:
        return taken, error
    return taken, None


@pytest.mark.parametrize("depth", [1, 2])
def test_results_before_a_lost_device_are_given_and_then_the_error(depth: int) -> None:
    gone = DeviceError("cannot go on with", "cuda:0", "it is gone")
    engine = FakeEngine(batch_size=4, depth=depth, fail_after=5, error=gone)
    taken, error = collected(start(paths(50), engine).results())
    assert error is gone
    assert taken == [expected(name) for name in paths(sum(engine.batches))]


def test_results_before_broken_inputs_are_given_and_then_the_error() -> None:
    broken = UsageError("cannot read the list of inputs", "list", "input/output error")

    def names() -> Iterator[str]:
        yield from paths(7)
        raise broken

    taken, error = collected(start(names()).results())
    assert taken == [expected(name) for name in paths(7)]
    assert error is broken


def test_an_engine_that_does_not_open_is_an_error_at_once() -> None:
    absent = DeviceError("cannot use the device", "cuda", "there is none")

    def open_engine() -> FakeEngine:
        raise absent

    running = start(paths(1000), open_engine=open_engine)
    with pytest.raises(DeviceError) as caught:
        running.wait_for_engine()
    assert caught.value is absent
    assert collected(running.results()) == ([], absent)


def test_an_engine_that_opens_is_told() -> None:
    engine = FakeEngine()
    running = start(paths(3), engine)
    assert running.wait_for_engine() is engine
    assert_whole(running.results(), paths(3))


@pytest.mark.parametrize("error", [TypeError("a bug"), RecursionError(), KeyError("x"), MemoryError()])
def test_a_loader_that_fails_oddly_costs_one_input(error: Exception) -> None:
    def before(path: str) -> None:
        if path == "2 of 2":
            raise error

    results = [shown(result) for result in start(paths(6), loader=FakeLoader(before), workers=1).results()]
    assert results == [expected(name) if name != "2 of 2" else "2 of 2: damaged" for name in paths(6)]


# Decoders that hang


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads that pipelines start."""
    started: list[threading.Thread] = []

    def spawn(target: Callable[[], None]) -> None:
        started.append(threading.Thread(target=target, daemon=True))
        started[-1].start()

    monkeypatch.setattr(Pipeline, "_spawn", staticmethod(spawn))
    return started


def test_a_decoder_that_hangs_is_given_up_and_replaced(threads: list[threading.Thread]) -> None:
    release = threading.Event()

    def before(path: str) -> None:
        if path in ("1 of 1", "4 of 4"):
            assert release.wait(PATIENCE)

    loader = FakeLoader(before)
    results = [shown(result) for result in start(paths(6), loader=loader, workers=1, decode_timeout=0.01).results()]
    release.set()
    stuck = ("1 of 1", "4 of 4")
    assert results == [f"{name}: timeout" if name in stuck else expected(name) for name in paths(6)]
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert len(threads) == 2 + len(stuck)  # a decoder, the inference, and a decoder for each that hung
    assert sorted(loader.loaded) == paths(6)  # the late ones were decoded, once, and nobody took them


def test_standard_input_takes_the_time_that_its_writer_takes() -> None:
    decoding, release = threading.Event(), threading.Event()

    def before(path: str) -> None:
        decoding.set()
        assert release.wait(PATIENCE)

    items = iter([Input("0 of 7", is_stdin=True)])
    running = Pipeline(items, FakeLoader(before), FakeEngine, workers=1, decode_timeout=0)
    assert decoding.wait(PATIENCE)
    for _ in range(3):
        with running._lock:
            running._give_up_stuck()
    release.set()
    assert [shown(result) for result in running.results()] == ["0 of 7: 7"]


def test_standard_input_is_given_up_like_any_other_once_its_bytes_are_here() -> None:
    release = threading.Event()

    class Hanging:
        def load(self, item: Input, attempt: Attempt) -> Decoded:
            attempt.begin()
            assert release.wait(PATIENCE)
            return Decoded(pixels_of(0))

    items = iter([Input("-", is_stdin=True)])
    running = Pipeline(items, Hanging(), FakeEngine, workers=1, decode_timeout=0.01)
    assert [shown(result) for result in running.results()] == ["-: timeout"]
    release.set()


def test_an_image_that_waits_for_memory_is_not_given_up() -> None:
    """Its clock begins with its decoding."""
    waiting, release = threading.Event(), threading.Event()

    class Waiting:
        def load(self, item: Input, attempt: Attempt) -> Decoded:
            attempt.begin()
            attempt.wait()
            waiting.set()
            assert release.wait(PATIENCE)
            return Decoded(pixels_of(3))

    running = Pipeline(iter([Input("0 of 3")]), Waiting(), FakeEngine, workers=1, decode_timeout=0)
    assert waiting.wait(PATIENCE)
    with running._lock:
        running._give_up_stuck()
    release.set()
    assert [shown(result) for result in running.results()] == ["0 of 3: 3"]


def test_what_was_given_up_is_told_so() -> None:
    attempts: list[Attempt] = []
    release = threading.Event()

    class Hanging:
        def load(self, item: Input, attempt: Attempt) -> Decoded:
            attempts.append(attempt)
            attempt.begin()
            if "1" in item.name:
                assert release.wait(PATIENCE)
            return Decoded(pixels_of(0))

    items = iter([Input("0 of 0"), Input("1 of 0"), Input("2 of 0")])
    running = Pipeline(items, Hanging(), FakeEngine, workers=1, decode_timeout=0.01)
    assert [result.error is not None for result in running.results()] == [False, True, False]
    release.set()
    assert [attempt.given_up for attempt in attempts] == [False, True, False]


def test_decoders_that_hang_for_ever_are_replaced_up_to_a_number_and_then_the_run_ends(
    threads: list[threading.Thread],
) -> None:
    release = threading.Event()

    def before(path: str) -> None:
        assert release.wait(PATIENCE)

    running = start(paths(500), loader=FakeLoader(before), workers=2, decode_timeout=0.01)
    taken, error = collected(running.results())
    release.set()
    given_up = 2 + module._MAX_ABANDONED
    assert taken == [f"{name}: timeout" for name in paths(given_up)]
    assert isinstance(error, StoppedError)
    assert str(error).startswith(f"stopped: {given_up} images keep their decoders busy")
    for thread in threads:
        thread.join(PATIENCE)
    assert len(threads) == 1 + given_up  # the inference, and the decoders


def test_a_decoder_that_comes_back_goes_on_where_it_was_not_replaced(
    monkeypatch: pytest.MonkeyPatch, threads: list[threading.Thread]
) -> None:
    monkeypatch.setattr(module, "_MAX_ABANDONED", 0)
    stuck, release, others = threading.Event(), threading.Event(), threading.Event()

    def before(path: str) -> None:
        if path == "1 of 1":
            stuck.set()
            assert release.wait(PATIENCE)
        if path == "2 of 2":
            others.set()

    running = start(paths(40), loader=FakeLoader(before), workers=2, decode_timeout=0.01)
    results = running.results()
    first = [shown(next(results)) for _ in range(2)]
    assert stuck.is_set()
    release.set()
    assert first == ["0 of 0: 0", "1 of 1: timeout"]
    assert [shown(result) for result in results] == [expected(name) for name in paths(40)[2:]]
    for thread in threads:
        thread.join(PATIENCE)
    assert len(threads) == 3
    assert (running._abandoned, running._missing, running._live) == (0, 0, 2)


def test_a_failure_that_waits_holds_nothing_of_the_decoder() -> None:
    class Picture:
        pass

    pictures: list[weakref.ref[Picture]] = []

    class Failing:
        def load(self, item: Input, attempt: Attempt) -> Decoded:
            picture = Picture()
            pictures.append(weakref.ref(picture))
            try:
                raise ValueError(item.name)
            except ValueError as error:
                raise InputError("damaged", item.name, "it is bad") from error

    running = Pipeline(iter([Input("a"), Input("b")]), Failing(), FakeEngine, workers=1)
    errors = [result.error for result in running.results()]
    assert len(pictures) == 2
    assert [picture() for picture in pictures] == [None, None]
    for error in errors:
        assert error is not None
        assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


def test_decoders_that_hang_together_are_given_up_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own clock: the last of four does not wait for the other three to be given up first."""
    clock, hanging, release = [0.0], threading.Semaphore(0), threading.Event()
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])

    def before(path: str) -> None:
        hanging.release()
        assert release.wait(PATIENCE)

    running = start(paths(4), loader=FakeLoader(before), workers=4, decode_timeout=60)
    for _ in range(4):
        assert hanging.acquire(timeout=PATIENCE)
    with running._lock:
        for _ in range(31):
            clock[0] += 2
            running._give_up_stuck()
    assert [shown(result) for result in running.results()] == [f"{name}: timeout" for name in paths(4)]
    release.set()


# Stopping


def test_stop_ends_an_endless_run_after_what_is_on_its_way(threads: list[threading.Thread]) -> None:
    running = start(f"{number} of {number % 10}" for number in itertools.count())
    results = running.results()
    first = [shown(next(results)) for _ in range(20)]
    running.stop()
    rest = [shown(result) for result in results]
    assert first + rest == [expected(name) for name in paths(20 + len(rest))]
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)


def test_stop_does_not_wait_for_an_engine_that_is_being_opened() -> None:
    release = threading.Event()

    def open_engine() -> FakeEngine:
        assert release.wait(PATIENCE)
        return FakeEngine()

    running = start(paths(3), open_engine=open_engine)
    running.stop()
    assert running.wait_for_engine() is None
    running.abandon_after(0)
    assert list(running.results()) == []
    release.set()


def test_a_batch_that_takes_too_long_is_abandoned() -> None:
    entered, release = threading.Event(), threading.Event()

    class Slow(FakeEngine):
        def start(self, batch: NDArray[np.uint8]) -> Callable[[], dict[str, NDArray[np.float32]]]:
            result = super().start(batch)

            def later() -> dict[str, NDArray[np.float32]]:
                if len(self.batches) > 1:
                    entered.set()
                    assert release.wait(PATIENCE)
                return result()

            return later

    running = start(paths(9), Slow(depth=1))
    results = running.results()
    assert shown(next(results)) == "0 of 0: 0"
    assert entered.wait(PATIENCE)
    running.stop()
    running.abandon_after(0)
    assert list(results) == []
    release.set()
