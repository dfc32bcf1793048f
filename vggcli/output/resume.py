"""Runs whose output can be gone on with: the same bytes in the end as without the interruption.

Beside a file given with `-o` stands a sidecar with the settings of the run, written before the first record and kept.
`--resume` compares it, walks the finished records along with the inputs, cuts off what a kill tore, and hands out the
inputs that are left: first those without a record, appended as usual, then those that had failed, whose new records
replace the old ones in one atomic step at the end.  A kill loses at most the record being written and those retries.

A Parquet file cannot be appended to: the run, and its resumption, happen in the journal beside it
(`vggcli.output.parquet`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Generic

from vggcli import files
from vggcli.errors import UsageError
from vggcli.images.discover import Input
from vggcli.json_reader import shown
from vggcli.output.codec import R, RowCodec
from vggcli.output.sinks import Sink, open_sink
from vggcli.output.stream import in_plain_words, is_regular, is_stdout

if TYPE_CHECKING:
    from vggcli.output.lines import LineSink
    from vggcli.output.sidecar import RunSettings

_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Failed:
    """A failure of an earlier run: its input, the number of its record, from 0, and its bytes in the file."""

    item: Input
    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Lines(Generic[R]):
    """The lines by which an output is gone on with.

    Attributes:
        path: their file: the output itself, or one beside it.
        format: "tsv", "csv" or "jsonl".
        open: opens them for writing; called with `overwrite` and `resume`, see `open_file`.
        restore: writes them anew, called where there is an output without them.
    """

    path: Path
    format: str
    open: Callable[[bool, bool], LineSink[R]]
    restore: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Old(Generic[R]):
    """What an earlier run left: the file of its lines, their format ("jsonl" for parquet), where to name it."""

    lines: Path
    format: str
    where: str
    codec: RowCodec[R]
    sink: LineSink[R]


class ResumableOutput(Generic[R]):
    """The output of one run, new or gone on with.

    Use as a context: leaving it finishes the output, leaving it with an error or interruption suspends it.

        with open_output("tsv", Path("out.tsv"), PredictionCodec(5), settings, resume=True) as output:
            for record in classify(output.inputs(found)):
                output.write(record)

    Attributes:
        kept: records of an earlier run that stay as they are.
        is_resumable: whether a later run can go on from what this one leaves.
        goes_on: whether an earlier run has left records.
    """

    def __init__(
        self, sink: Sink[R], settings: RunSettings, old: _Old[R] | None = None, *, is_resumable: bool = True
    ) -> None:
        self._sink, self._settings, self._old = sink, settings, old
        self._is_placed = old is None  # whether the file ends where this run writes
        self._written = 0  # records taken
        self._appended: int | None = None  # inputs without an old record, once all of them have been handed out
        self._failed: list[_Failed] = []
        self._retried: list[bytes] = []  # the new lines of as many of the failed
        self.kept = 0
        self.is_resumable = is_resumable
        self.goes_on = old is not None

    def __enter__(self) -> ResumableOutput[R]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.suspend()

    def inputs(self, found: Iterable[Input], see_kept: Callable[[Input, str], None] | None = None) -> Iterator[Input]:
        """The inputs to classify, lazily: those without a record, then those that failed in an earlier run.

        Args:
            found: every input of the run, in order.
            see_kept: called with each input whose record stays as it is, and its best class ("" for none).

        Raises:
            UsageError: the records of the file are not those of the first inputs.
        """
        rest = iter(found)
        if self._old is not None:
            self._skip_done(rest, self._old, see_kept)
        appended = 0
        for item in rest:
            appended += 1
            yield item
        self._appended = appended
        for failed in self._failed:
            yield failed.item

    def write(self, record: R) -> None:
        """Take the record of the next input that `inputs` gave.

        Records of retried inputs are held until the end; all others are written before this returns.

        Raises:
            BrokenPipeError, OutputError: see `Sink.write`.
            ValueError: it is no whole record, or not that of the next input.
        """
        if self._old is None or self._appended is None or self._written < self._appended:
            self._sink.write(record)
        elif record.path == self._failed[len(self._retried)].item.path:
            number = self._failed[len(self._retried)].number
            self._retried.append(self._old.sink.write_again(number, record))
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

    def _skip_done(self, inputs: Iterator[Input], old: _Old[R], see_kept: Callable[[Input, str], None] | None) -> None:
        from vggcli.output.readback import header_end, read_back

        number = 0
        with old.lines.open("rb") as file:
            end = header_end(file, old.format, old.codec, old.where)
            for number, written in enumerate(read_back(file, old.format, old.codec, old.where), start=1):
                item = next(inputs, None)
                if item is None or item.path != written.path:
                    raise _other_input(old.where, number, written.path, item)
                if written.failed:
                    self._failed.append(_Failed(item.detached(), number - 1, written.start, written.end))
                else:
                    self.kept += 1
                    if see_kept is not None:
                        see_kept(item, written.label)
                end = written.end
        old.sink.cut(end, number)
        self._is_placed = True

    def _splice(self) -> None:
        """Replace the records of retried inputs, all at once; the file is copied by byte ranges, not parsed."""
        if not self._retried or self._old is None:
            return
        old = self._old

        def write(file: BinaryIO) -> None:
            with old.lines.open("rb") as source:
                for failed, lines in zip(self._failed, self._retried, strict=False):
                    _copy(source, file, failed.start - source.tell())
                    file.write(lines)
                    source.seek(failed.end)
                _copy(source, file, old.lines.stat().st_size - source.tell())

        old.sink.stream.give_way()
        with in_plain_words(old.lines):
            files.replace_file(old.lines, write)
        self._retried.clear()


def _copy(source: BinaryIO, target: BinaryIO, count: int) -> None:
    while count > 0 and (block := source.read(min(count, _COPY_BYTES))):
        target.write(block)
        count -= len(block)


def _other_input(where: str, number: int, path: str, item: Input | None) -> UsageError:
    now = f"input {number} of this run is {shown(item.path)}" if item else f"this run has only {number - 1} inputs"
    return UsageError(
        "cannot resume",
        where,
        f"its record {number} is of {shown(path)}, but {now}",
        "Name the same inputs in the same order, or start anew with --overwrite",
    )


def open_output(
    format: str,
    output: Path | None,
    codec: RowCodec[R],
    settings: RunSettings,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> ResumableOutput[R]:
    """Open the output of a run, before its first image is read.

    Args:
        format: one of `codec.formats` (see `formats.choose_format`).
        output: the file of `-o`, None for standard output.
        codec: of the records.
        settings: of this run.
        resume: go on with what an earlier run left in `output`; start as usual where it left nothing.
        overwrite: replace what is there.

    Raises:
        UsageError: the file exists and neither was asked for, or both; `resume` without a file that can be resumed,
            without its sidecar, or with settings that give other numbers; pyarrow is missing.
        OutputError: the path cannot be written.
    """
    check_contradiction(resume=resume, overwrite=overwrite)
    if output is None or is_stdout(output) or not is_regular(output) or format == "table":
        if resume:
            why = "a table is for people" if format == "table" else "it needs a file"
            raise UsageError("cannot resume", "", why, "Use -o FILE with the format tsv, csv, jsonl or parquet")
        return ResumableOutput(open_sink(format, output, codec, overwrite=overwrite), settings, is_resumable=False)
    from vggcli.output.lines import LineSink
    from vggcli.output.parquet import journal_path, restore

    target = Path(os.path.realpath(output))
    journal = journal_path(target)

    def open_lines(overwrite: bool, resume: bool) -> LineSink[R]:
        sink = open_sink(format, output, codec, overwrite=overwrite, resume=resume)
        assert isinstance(sink, LineSink)
        return sink

    if format == "parquet":
        lines = Lines(journal, "jsonl", open_lines, lambda: restore(codec, target, journal))
    else:
        lines = Lines(target, format, open_lines, lambda: None)
    return open_resumable(format, output, codec, settings, lines, resume=resume, overwrite=overwrite)


def check_contradiction(*, resume: bool, overwrite: bool) -> None:
    """Refuse to go on with a file and to replace it, both at once.

    Raises:
        UsageError: both are asked for.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite", "", "they contradict each other", "Choose one")


def open_resumable(
    format: str,
    output: Path,
    codec: RowCodec[R],
    settings: RunSettings,
    lines: Lines[R],
    *,
    resume: bool,
    overwrite: bool,
) -> ResumableOutput[R]:
    """The same for a regular file, by the lines that it, or a file beside it, consists of."""
    from vggcli.output.sidecar import compare_sidecar, sidecar_path, write_sidecar

    target = Path(os.path.realpath(output))
    files.remove_stale(target.parent)
    if resume and _has_records(lines.path, target):
        compare_sidecar(target, format, codec.kind, settings)
        if not lines.path.exists():
            lines.restore()
        sink = lines.open(False, True)
        return ResumableOutput(sink, settings, _Old(lines.path, lines.format, str(output), codec, sink))
    with in_plain_words(sidecar_path(target)):  # before an old file is emptied
        files.check_replaceable(sidecar_path(target))
    sink = lines.open(overwrite or resume, False)
    try:
        # After the file is emptied and before its first record: a sidecar never stands beside records of another run.
        write_sidecar(target, format, codec.kind, settings)
    except BaseException:
        sink.suspend()
        raise
    return ResumableOutput(sink, settings)


def _has_records(lines: Path, target: Path) -> bool:
    """Whether there is something to resume; an empty file is what a kill leaves before the first record."""
    return lines.stat().st_size > 0 if lines.exists() else target.exists()
