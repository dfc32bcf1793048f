"""Inputs read one at a time in a child process: one that kills it costs its own row and no other.

The two talk in lines of JSON: what an image has made of the child cannot make anything of its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from vggcli.errors import DeviceError
from vggcli.images.item import Input, named
from vggcli.json_reader import parse_json
from vggcli.library.settings import Settings
from vggcli.output.readback import LONGEST_LINE
from vggcli.records import Failure, Prediction, Record

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
            self._send([asdict(settings), asdict(question)])
            self._receive()
        except _DiedError as death:
            self.close()
            raise DeviceError("cannot read images apart", "", f"the process for them {death}") from death

    def ask(self, item: Input) -> Record:
        """The record of an input; _DiedError when the process dies over it."""
        self._send([item.address, item.given])
        return _record(item.path, self._receive())

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
            self._process.stdin.write(_line(value))
            self._process.stdin.flush()
        except OSError as error:
            raise _DiedError(self._end()) from error

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], _PATIENCE_SECONDS)
        if not readable:
            raise _DiedError(f"did not answer within {_PATIENCE_SECONDS:.0f} s")
        line = self._process.stdout.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise _DiedError(self._end())
        try:
            return parse_json(line, LONGEST_LINE)
        except ValueError as error:
            raise _DiedError("gave no answer that can be read") from error

    def _end(self) -> str:
        code = self._process.wait()
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"  # ASCII: bytes of a path that are no UTF-8 are escaped


def _answer(record: Record) -> list[Any]:
    failure = record.failure and [record.failure.kind, record.failure.message]
    # A probability that is not a number is no JSON.
    predictions = [[p.rank, p.index, p.label, p.probability.hex()] for p in record.predictions]
    return [failure, record.truncated, predictions]


def _record(path: str | None, answer: Any) -> Record:
    """The inverse of `_answer`; _DiedError where it is none."""
    try:
        failure, truncated, predictions = answer
        return Record(
            path,
            tuple(Prediction(int(r), int(i), str(label), float.fromhex(p)) for r, i, label, p in predictions),
            failure and Failure(*map(str, failure)),
            bool(truncated),
        )
    except (TypeError, ValueError) as error:
        raise _DiedError("gave no answer that can be read") from error


def serve() -> None:
    """The child: settings and question, then inputs, each answered by its record, until the pipe ends."""
    from vggcli.classifier import Classifier
    from vggcli.images.process import own_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints is no answer
        fields, question = json.loads(sys.stdin.buffer.readline())
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        settings = Settings(**values)
        with own_process(settings.max_pixels), Classifier(settings) as classifier:
            classifier.open_engine()
            answers.write(_line(None))
            answers.flush()
            for line in sys.stdin.buffer:
                address, given = json.loads(line)
                item = replace(named(address), given=given)
                (record,) = classifier.predict([item], question["top_k"], min_prob=question["min_prob"])
                answers.write(_line(_answer(record)))
                answers.flush()
