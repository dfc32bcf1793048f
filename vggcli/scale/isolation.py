"""Inputs read one at a time in a child process: one that kills it costs its own row and no other."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from vggcli.errors import DeviceError
from vggcli.images.item import Input
from vggcli.records import Failure, Record
from vggcli.settings import Settings

_PROGRAM = "from vggcli.scale.isolation import serve; serve()"
# A child that opens its network, or has an image that the decoder's own clock does not end.
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for of each input; see `Classifier.predict`."""

    top_k: int | None
    min_prob: float | None


class _DiedError(Exception):
    """The child ended; its message is a clause."""


def classify(settings: Settings, question: Question, items: Iterable[Input]) -> Iterator[Record]:
    """One record for each input, in order; those that kill their process have the failure `crashed`.

    Raises:
        DeviceError: a child ends before it has read anything.
    """
    child: _Child | None = None
    try:
        for item in items:
            child = child or _Child(settings, question)
            try:
                yield child.ask(item)
            except _DiedError as death:
                child.close()
                child = None
                yield Record(item.path, failure=Failure("crashed", f"the process that read it {death}"))
    finally:
        if child is not None:
            child.close()


class _Child:
    """A process with a classifier of its own."""

    def __init__(self, settings: Settings, question: Question) -> None:
        # Single-threaded where images are read, so that what it dies of is the image that it has.
        settings = replace(settings, workers=1)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            self._send((settings, question))
            self._receive()
        except _DiedError as death:
            self.close()
            raise DeviceError("cannot read images apart", "", f"the process for them {death}") from death

    def ask(self, item: Input) -> Record:
        """The record of an input; _DiedError when the process dies over it."""
        self._send(item)
        record: Record = self._receive()
        return record

    def close(self) -> None:
        """End it."""
        process = self._process
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        process.wait()

    def _send(self, value: Any) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(value, self._process.stdin)
            self._process.stdin.flush()
        except OSError as error:
            raise _DiedError(self._end()) from error

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], _PATIENCE_SECONDS)
        if not readable:
            raise _DiedError(f"did not answer within {_PATIENCE_SECONDS:.0f} s")
        try:
            return pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise _DiedError(self._end()) from error

    def _end(self) -> str:
        code = self._process.wait()
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"


def serve() -> None:
    """The child: settings and question, then inputs, each answered by its record, until the pipe ends."""
    from vggcli.classifier import Classifier
    from vggcli.images.process import own_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints is no answer
        settings, question = pickle.load(sys.stdin.buffer)
        with own_process(settings.max_pixels), Classifier(settings) as classifier:
            classifier.open_engine()
            pickle.dump(None, answers)
            answers.flush()
            while True:
                try:
                    item = pickle.load(sys.stdin.buffer)
                except EOFError:
                    return
                (record,) = classifier.predict([item], question.top_k, min_prob=question.min_prob)
                pickle.dump(record, answers)
                answers.flush()
