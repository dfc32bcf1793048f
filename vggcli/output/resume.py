"""Runs whose output can be gone on with: the same bytes in the end as without the interruption.

Beside a file given with `-o` stands a sidecar with the settings of the run, written before the first record and kept.
`--resume` compares it, walks the finished records along with the inputs, cuts off what a kill tore, and hands out the
inputs that are left: first those without a record, appended as usual, then those that had failed, whose new records
replace the old ones in one atomic step at the end.  A kill loses at most the record being written and those retries.

A Parquet file cannot be appended to: the run, and its resumption, happen in the journal beside it
(`vggcli.output.parquet`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from vggcli.errors import UsageError
from vggcli.images.discover import Input
from vggcli.output.atomic import check_replaceable, replace_atomically
from vggcli.output.lines import ENCODERS, LineSink
from vggcli.output.parquet import journal_path, restore
from vggcli.output.readback import header_end, read_back
from vggcli.output.sinks import Sink, open_sink
from vggcli.output.stream import is_regular, is_stdout
from vggcli.records import Record, Settings

_COPY_BYTES = 1 << 20


def sidecar_path(output: Path) -> Path:
    """The file beside an output that holds the settings of its run."""
    return output.with_name(output.name + ".vgg.json")


@dataclass(frozen=True, slots=True)
class _Failed:
    """A failure of an earlier run: its input and the bytes of its record in the file."""

    item: Input
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Old:
    """What an earlier run left: the file of its lines, their format ("jsonl" for parquet), where to name it."""

    lines: Path
    format: str
    where: str


class Run:
    """The output of one run, new or resumed.

    Use as a context: leaving it finishes the output, leaving it with an error or interruption suspends it.

        with open_run("tsv", Path("out.tsv"), settings, resume=True) as run:
            for record in classify(run.inputs(found)):
                run.write(record)

    Attributes:
        kept: records of an earlier run that stay as they are.
        is_resumable: whether a later run can go on from what this one leaves.
    """

    def __init__(self, sink: Sink, settings: Settings, old: _Old | None = None, *, is_resumable: bool = True) -> None:
        self._sink, self._settings, self._old = sink, settings, old
        self._is_placed = old is None  # whether the file ends where this run writes
        self._written = 0  # records taken
        self._appended: int | None = None  # inputs without an old record, once all of them have been handed out
        self._failed: list[_Failed] = []
        self._retried: list[Record] = []
        self.kept = 0
        self.is_resumable = is_resumable

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.suspend()

    def inputs(self, found: Iterable[Input]) -> Iterator[Input]:
        """The inputs to classify, lazily: those without a record, then those that failed in an earlier run.

        Args:
            found: every input of the run, in order.

        Raises:
            UsageError: the records of the file are not those of the first inputs.
        """
        rest = iter(found)
        if self._old is not None:
            self._skip_done(rest, self._old)
        appended = 0
        for item in rest:
            appended += 1
            yield item
        self._appended = appended
        for failed in self._failed:
            yield failed.item

    def write(self, record: Record) -> None:
        """Take the record of the next input that `inputs` gave.

        Records of retried inputs are held until the end; all others are written before this returns.

        Raises:
            BrokenPipeError, OutputError: see `Sink.write`.
        """
        if record.predictions and len(record.predictions) != self._settings.top_k:
            raise ValueError(f"{len(record.predictions)} predictions where the settings say {self._settings.top_k}")
        if self._appended is None or self._written < self._appended:
            self._sink.write(record)
        elif record.path == self._failed[len(self._retried)].item.path:
            self._retried.append(record)
        else:
            raise ValueError(f"record of {record.path!r} is not that of the next input")
        self._written += 1

    def close(self) -> None:
        """Finish the output: put retried records in their places, write the footer or the Parquet file.

        Raises:
            OutputError: no room, an input/output error; what was written before stays and can be resumed.
        """
        if not self._is_placed:  # nobody asked for the inputs, so nothing was compared or cut
            self._sink.suspend()
            return
        self._splice()
        self._sink.close(self._settings)

    def suspend(self) -> None:
        """Leave the output so that `--resume` goes on from it, retried records included."""
        self._splice()
        self._sink.suspend()

    def _skip_done(self, inputs: Iterator[Input], old: _Old) -> None:
        with old.lines.open("rb") as file:
            end = header_end(file, old.format, old.where)
            for number, written in enumerate(read_back(file, old.format, self._settings.top_k, old.where), start=1):
                item = next(inputs, None)
                if item is None or item.path != written.path:
                    raise _other_input(old.where, number, written.path, item)
                if written.failed:
                    self._failed.append(_Failed(item, written.start, written.end))
                else:
                    self.kept += 1
                end = written.end
        assert isinstance(self._sink, LineSink)
        self._sink.stream.cut(end)
        self._is_placed = True

    def _splice(self) -> None:
        """Replace the records of retried inputs, all at once; the file is copied by byte ranges, not parsed."""
        if not self._retried or self._old is None:
            return
        old, encode = self._old, ENCODERS[self._old.format]

        def write(file: BinaryIO) -> None:
            with old.lines.open("rb") as source:
                for failed, record in zip(self._failed, self._retried, strict=False):
                    _copy(source, file, failed.start - source.tell())
                    file.write(encode(record))
                    source.seek(failed.end)
                _copy(source, file, old.lines.stat().st_size - source.tell())

        replace_atomically(old.lines, write)
        self._retried.clear()


def _copy(source: BinaryIO, target: BinaryIO, count: int) -> None:
    while count > 0 and (block := source.read(min(count, _COPY_BYTES))):
        target.write(block)
        count -= len(block)


def _other_input(where: str, number: int, path: str, item: Input | None) -> UsageError:
    now = f"input {number} of this run is {item.path!r}" if item else f"this run has only {number - 1} inputs"
    return UsageError(
        "cannot resume",
        where,
        f"its record {number} is of {path!r}, but {now}",
        "Name the same inputs in the same order, or start anew with --overwrite",
    )


def open_run(
    format: str, output: Path | None, settings: Settings, *, resume: bool = False, overwrite: bool = False
) -> Run:
    """Open the output of a run, before its first image is read.

    Args:
        format: one of `sinks.FORMATS` (see `sinks.choose_format`).
        output: the file of `-o`, None for standard output.
        settings: of this run; `top_k` at most the number of classes, so that a record's rows can be counted.
        resume: go on with what an earlier run left in `output`; start as usual where it left nothing.
        overwrite: replace what is there.

    Raises:
        UsageError: the file exists and neither was asked for, or both; `resume` without a file that can be resumed,
            without its sidecar, or with other settings; pyarrow is missing.
        OutputError: the path cannot be written.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite", "", "they contradict each other", "Choose one")
    if output is None or is_stdout(output) or not is_regular(output) or format == "table":
        if resume:
            why = "a table is for people" if format == "table" else "it needs a file"
            raise UsageError("cannot resume", "", why, "Use -o FILE with the format tsv, csv, jsonl or parquet")
        return Run(open_sink(format, output, overwrite=overwrite), settings, is_resumable=False)
    target = Path(os.path.realpath(output))
    lines = journal_path(target) if format == "parquet" else target
    if resume and _has_records(lines, target):
        _compare_sidecar(target, format, settings)
        if not lines.exists():
            restore(target, lines)
        sink = open_sink(format, output, resume=True)
        return Run(sink, settings, _Old(lines, "jsonl" if format == "parquet" else format, str(output)))
    check_replaceable(sidecar_path(target))  # before an old file is emptied
    sink = open_sink(format, output, overwrite=overwrite or resume)
    # After the file is emptied and before its first record: a sidecar never stands beside records of another run.
    _write_sidecar(target, format, settings)
    return Run(sink, settings)


def _has_records(lines: Path, target: Path) -> bool:
    """Whether there is something to resume; an empty file is what a kill leaves before the first record."""
    return lines.stat().st_size > 0 if lines.exists() else target.exists()


def _write_sidecar(target: Path, format: str, settings: Settings) -> None:
    text = json.dumps({"format": format, **asdict(settings)}, indent=2) + "\n"

    def write(file: BinaryIO) -> None:
        file.write(text.encode())

    replace_atomically(sidecar_path(target), write)


def _compare_sidecar(target: Path, format: str, settings: Settings) -> None:
    path = sidecar_path(target)
    try:
        old = json.loads(path.read_bytes())
        if not isinstance(old, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        why = f"its settings are not readable in {path.name}"
        raise UsageError("cannot resume", str(target), why, "Start anew with --overwrite") from error
    new = {"format": format, **asdict(settings)}
    names = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    if names:
        why = "; ".join(f"its {name} is {old.get(name)!r}, this run's is {new.get(name)!r}" for name in names)
        raise UsageError("cannot resume", str(target), why, "Repeat its options, or start anew with --overwrite")
