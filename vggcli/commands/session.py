"""One run of `predict`: pipeline, output, counts, and what a signal does to them."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from types import FrameType

from vggcli import __version__
from vggcli.cli.notes import is_terminal, note, show_cursor, stdout_is_terminal
from vggcli.cli.progress import Progress
from vggcli.engines import Engine, choice, memory
from vggcli.engines.devices import cores, may_have_accelerator
from vggcli.errors import StoppedError
from vggcli.images import discover
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.network import labels
from vggcli.output.predictions import PredictionCodec
from vggcli.output.resume import ResumableOutput, open_output
from vggcli.records import Failure, Record, Settings
from vggcli.run.pipeline import Pipeline
from vggcli.run.ranking import to_record
from vggcli.weights import store
from vggcli.weights.model import Model

# After an interruption the batch on the engine may finish within the first time, and its rows be written within the
# second, after which the process ends wherever it is: the promise is two seconds in all.
_FINISH_SECONDS, _LEAVE_SECONDS = 1.5, 1.9
_ENDING = (signal.SIGINT, signal.SIGTERM)
_TICK_SECONDS = 0.5  # how often a waiting thread looks for interruptions


@dataclass(frozen=True)
class Request:
    """What `vgg predict` was asked to do; the fields are the options of the same names."""

    inputs: tuple[str, ...] = ()
    recursive: bool = False
    files_from: str | None = None
    null: bool = False
    arch: str | None = None
    weights: str | None = None
    labels: str | None = None
    top_k: int = 5
    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    resize: str = "squash"
    decoding: Decoding = field(default_factory=Decoding)
    batch_size: int | None = None
    workers: int | None = None
    format: str = "auto"
    output: Path | None = None
    resume: bool = False
    overwrite: bool = False
    max_errors: int | None = None
    fetch: store.FetchOptions = field(default_factory=store.FetchOptions)


class _InterruptedError(Exception):
    """SIGINT or SIGTERM came."""


class Session:
    """One run: pipeline, output, counts, and what a signal does to them."""

    def __init__(self, request: Request, model: Model, format: str, found: Iterator[discover.Input]) -> None:
        self._request, self._model, self._format = request, model, format
        self._began = monotonic()
        self._output: ResumableOutput[Record] | None = None
        self._opened = threading.Event()
        self._failures: Counter[str] = Counter()
        self._classified = 0
        self._is_over = False
        self._signal: int | None = None
        self._over = threading.Event()
        decoding = replace(request.decoding, recipe=replace(model.recipe, resize=request.resize))
        loader = _loader(decoding, request)
        self._preprocessing = decoding.describe() + ", decoded on the device" * (type(loader) is not ImageLoader)
        self._pipeline = Pipeline(
            self._todo(found),
            loader,
            self._open_engine,
            workers=request.workers or default_workers(),
            batch_size=request.batch_size,
        )

    def run(self) -> int:
        """All records out; the exit code."""
        try:
            with self._signals():
                self._run()
        except _InterruptedError:
            self._say_interrupted()
            return 128 + (self._signal or signal.SIGINT)
        finally:
            self._is_over = True
            self._pipeline.stop()
        return 1 if self._failures else 0

    def _run(self) -> None:
        request = self._request
        self._model.check_numbers()  # while the other threads compile the model and decode the first images
        engine = self._pipeline.wait_for_engine()
        if engine is None:
            raise _InterruptedError
        settings = self._settings(engine)
        self._output = open_output(
            self._format,
            request.output,
            PredictionCodec(settings.top_k),
            settings,
            resume=request.resume,
            overwrite=request.overwrite,
        )
        self._opened.set()
        try:
            free = request.output is not None or not stdout_is_terminal()
            with Progress(free) as progress, self._output as output:
                self._write(output, progress)
                if self._signal is not None:
                    raise _InterruptedError  # through the output, so that it knows that it is not complete
        finally:
            self._say_counts()

    def _write(self, output: ResumableOutput[Record], progress: Progress) -> None:
        top_k = min(self._request.top_k, self._model.architecture.num_classes)
        for result in self._pipeline.results():
            record = to_record(result, self._model.labels, top_k)
            output.write(record)
            if record.failure is None:
                self._classified += 1
            else:
                self._failures[record.failure.kind] += 1
                self._say_failure(record.path or "", record.failure, progress)
            progress.advance(self._classified, self._failures.total())
            self._stop_after_failures(record)

    def _say_failure(self, path: str, failure: Failure, progress: Progress) -> None:
        # On one terminal the table's row has said it already.
        if not (self._format == "table" and self._request.output is None and stdout_is_terminal() and is_terminal()):
            shown = path or "''"
            progress.note(f"cannot classify {shown}: {failure.message}")

    def _stop_after_failures(self, record: Record) -> None:
        limit = self._request.max_errors
        if record.failure is None or limit is None or self._failures.total() <= limit:
            return
        failed = self._failures.total()
        raise StoppedError(
            "stopped at",
            record.path or "",
            f"{failed} input{'s' * (failed > 1)} failed and {limit} may",
            "The rows so far are written" + (", and --resume goes on from them" if self._is_resumable() else ""),
        )

    def _todo(self, found: Iterator[discover.Input]) -> Iterator[discover.Input]:
        """The inputs to classify; a resumed run must know its output first, any other starts decoding at once."""
        if not self._request.resume:
            yield from found
            return
        # A signal handler sets no event: it may run inside the very `set` of the thread that it interrupts.
        while not self._opened.wait(_TICK_SECONDS):
            if self._signal is not None:
                return
        if self._output is not None:
            yield from self._output.inputs(found)

    def _open_engine(self) -> Engine:
        request, model = self._request, self._model
        engine = choice.open_engine(model, request.engine, request.device, request.precision, self._note)
        if engine.device == "cpu" and request.batch_size is not None:
            # A GPU says when its memory is full; a CPU's system kills the process instead.
            memory.check_batch(request.batch_size, model.architecture.activation_bytes(model.recipe.size))
        return engine

    def _note(self, text: str) -> None:
        # When a run ends early, the weights are closed under the engine that is being opened: what it says is no news.
        if not self._is_over:
            note(text)

    def _settings(self, engine: Engine) -> Settings:
        model, request = self._model, self._request
        # Only a file can be resumed, so only then is the fingerprint worth its time.
        fingerprint = store.fingerprint(model.path) if request.output is not None else ""
        return Settings(
            version=__version__,
            weights=model.name,
            weights_fingerprint=fingerprint,
            variant=model.variant,
            dialect=model.mapping.dialect.name,
            preprocessing=self._preprocessing,
            labels=labels.digest(model.labels),
            engine=engine.name,
            device=engine.device,
            precision=engine.precision,
            top_k=min(request.top_k, model.architecture.num_classes),
        )

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the run in good order; a second one ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # A handler runs only between this thread's own steps.  While it blocks in a write that nobody reads, the byte
        # that a signal leaves in this pipe still reaches the thread that keeps the deadline.
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._keep_deadline, args=(reading,), daemon=True).start()
        old = {number: signal.signal(number, self._interrupt) for number in _ENDING}
        try:
            yield
        finally:
            self._over.set()
            for number, handler in old.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(woken)
            os.close(writing)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            show_cursor()
            os._exit(128 + number)
        self._signal = number
        self._pipeline.stop()
        self._pipeline.abandon_after(_FINISH_SECONDS)

    def _keep_deadline(self, reading: int) -> None:
        """The way out when the output takes no more rows: a pager that does not read on, a dead file server."""
        with open(reading, "rb", buffering=0) as signals:
            while number := signals.read(1):
                if number[0] in _ENDING:
                    if not self._over.wait(_LEAVE_SECONDS):
                        show_cursor()
                        self._say_interrupted()
                        os._exit(128 + number[0])
                    return

    def _say_interrupted(self) -> None:
        how = "the same command with --resume goes on" if self._is_resumable() else "the rows so far are written"
        note(f"interrupted: {how}")

    def _is_resumable(self) -> bool:
        return self._request.resume if self._output is None else self._output.is_resumable

    def _say_counts(self) -> None:
        failed, seconds = self._failures.total(), monotonic() - self._began
        total = self._classified + failed
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self._failures.items()))
        kept = f", {self._output.kept} kept from before" if self._output is not None and self._output.kept else ""
        failures = f", {failed} failed ({kinds})" if failed else ""
        rate = f", {total / seconds:.1f} images/s" if total else ""
        note(f"{self._classified} ok{failures}{kept}, {seconds:.1f} s{rate}")


def _loader(decoding: Decoding, request: Request) -> ImageLoader:
    """The host's decoder, or the device's where a fast one is asked for and there may be one."""
    device = "cuda:0" if request.device in ("auto", "cuda") else request.device.partition(",")[0]
    if decoding.fast and device.startswith("cuda") and request.engine != "openvino" and may_have_accelerator():
        from vggcli.images.nvjpeg import DeviceImageLoader

        return DeviceImageLoader(decoding, device)
    return ImageLoader(decoding)


def default_workers() -> int:
    """Decoding threads: measured, one a core is enough to keep a CPU engine fed; more than 16 feed any GPU."""
    return min(16, max(2, cores()))
