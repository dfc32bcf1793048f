"""`vgg report`: the page of a finished run, its images read again for their thumbnails."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from vggcli.commands.console import Console
from vggcli.commands.reporting import Report, check_page, settings_of
from vggcli.engines.devices import cores
from vggcli.images.decode import Decoding
from vggcli.images.item import Input, file_of, named
from vggcli.images.recipe import Recipe
from vggcli.images.refused import Refused
from vggcli.images.thumbnail import STEPS, ThumbnailLoader, Thumbnails
from vggcli.output import finished
from vggcli.output.sidecar import sidecar_path
from vggcli.run.no_network import NoNetwork
from vggcli.run.pipeline import Pipeline

if TYPE_CHECKING:
    from vggcli.records import Record

_NOT_READ = Refused("missing", "it is not read")


@dataclass(frozen=True)
class ReportRequest:
    """What `vgg report` was asked to do; the fields have the names of the options.

    Attributes:
        predictions: the output of a `vgg predict`.
        limit: only so many of its first records.
        decoding: how images are read.
    """

    predictions: Path
    output: Path
    overwrite: bool = False
    no_thumbnails: bool = False
    limit: int | None = None
    decoding: Decoding = field(default_factory=Decoding)
    workers: int | None = None
    quiet: bool = False


def report(request: ReportRequest, console: Console) -> int:
    """Write the page of a finished run.

    Returns:
        The exit code: 0, or 1 when there are no predictions.

    Raises:
        UsageError: these are no predictions, or the page exists.
        OutputError: the page cannot be written.
    """
    predictions = request.predictions
    finished.format_of(predictions)
    settings = settings_of(finished.settings_of(predictions))
    sources = [predictions, sidecar_path(predictions)]
    check_page(request.output, "-o", replace=request.overwrite, inputs=(), sources=sources)
    say: Callable[[str], None] = (lambda text: None) if request.quiet else console.note
    with Report(request.output, None if request.no_thumbnails else Thumbnails(STEPS)) as page:
        with console.progress(not request.quiet) as progress:
            records = islice(finished.read_records(predictions), request.limit)
            for _ in add_records(page, records, request.decoding, request.workers):
                progress.advance(page.tally.images - page.tally.failed, page.tally.failed)
        if not page.tally.images:
            console.note(f"there are no predictions in {predictions}")
            return 1
        page.write(settings, say, console.note)
    return 0


def add_records(
    page: Report, records: Iterable[Record], decoding: Decoding, workers: int | None = None
) -> Iterator[Record]:
    """Put records of a finished run on a page, with the thumbnail of each image that can be read again.

    Images behind addresses are not fetched; those that cannot be had are counted in the page's tally.

    Args:
        decoding: its limits are kept; its recipe plays no part.
        workers: decoding threads; None for one per core.

    Returns:
        The records that the page has, one by one.
    """
    if page.thumbnails is None:
        for record in records:
            page.take(record, None)
            yield record
        return
    waiting: deque[Record] = deque()

    def inputs() -> Iterator[Input]:
        for record in records:
            waiting.append(record)
            yield _input_of(record)

    # Large JPEGs are decoded at a reduced scale: nobody sees the difference.
    loader = ThumbnailLoader(replace(decoding, recipe=Recipe(size=STEPS[0].side), fast=True))
    pipeline = Pipeline(
        inputs(), loader.with_thumbnails(page.thumbnails), NoNetwork, workers=workers or max(2, cores())
    )
    try:
        for result in pipeline.results():
            record = waiting.popleft()
            page.tally.missing += record.ok and result.thumbnail is None
            page.take(record, result.thumbnail)
            yield record
    finally:
        pipeline.stop()


def _input_of(record: Record) -> Input:
    path = record.path or ""
    is_local = record.ok and path != "" and file_of(path) is not None
    return named(path) if is_local else Input(path, reader=_NOT_READ)
