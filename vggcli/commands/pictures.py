"""What a run of `vgg predict` shows of its images: the page of `--report`, the previews of `--show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vggcli.commands.console import Console
from vggcli.commands.reporting import Report, check_page, settings_of_run
from vggcli.commands.request import Request
from vggcli.errors import UsageError
from vggcli.images.decode import ImageLoader
from vggcli.images.thumbnail import STEPS, Thumbnail, Thumbnails
from vggcli.output.formats import Format
from vggcli.output.parquet import journal_path
from vggcli.output.preview import PreviewCodec, Previews, PreviewSink
from vggcli.output.sidecar import sidecar_path
from vggcli.output.stream import is_stdout, open_stdout

if TYPE_CHECKING:
    from vggcli.output.predictions import PredictionCodec
    from vggcli.records import Provenance, Record


class Pictures:
    """The page and the previews of one run.

    The page is written when the run has come to its end, and not before: of an interrupted run, which has to be gone
    within two seconds, nothing is.  A run that goes on with an earlier one's rows makes the page of all rows, and reads
    the images again for it.

    Args:
        request: which names one of them or both.
        format: of the rows.
        console: told what is not done.

    Attributes:
        draws: whether previews come out on the terminal.

    Raises:
        UsageError, OutputError: the page cannot be written there.
    """

    def __init__(self, request: Request, format: Format, console: Console) -> None:
        self._request, self._format, self._console = request, format, console
        self._path = request.report
        if self._path is not None:
            if request.output is not None and request.output.name:  # the root has none
                of_rows = (request.output, sidecar_path(request.output), journal_path(request.output))
                if any(_same(path, self._path) for path in of_rows):
                    raise UsageError("cannot write a report", str(self._path), "the rows go there", "Name another file")
            self.check()
        self._to_file = request.output is not None and not is_stdout(request.output)
        why_not = self._why_no_previews()
        self.draws = request.show and not why_not
        if request.show and why_not:
            console.note(f"--show draws nothing: {why_not}")
        self._previews = Previews() if self.draws else None
        box = self._previews.box.pixels if self._previews is not None else (0, 0)
        self._thumbnails = Thumbnails(STEPS if self._path is not None else (), box if all(box) else None)
        self._report: Report | None = None
        self._screen: PreviewSink | None = None
        self._has_ended = False

    def check(self, weights: Path | None = None) -> None:
        """Refuse a page in the place of something that the run reads; see `check_page`."""
        if self._path is None:
            return
        request, settings = self._request, self._request.settings
        recipe = settings.recipe if isinstance(settings.recipe, str) else None
        sources = (weights or settings.weights, settings.labels, request.files_from, recipe, request.output)
        replace = request.overwrite or request.resume
        check_page(self._path, "--report", replace=replace, inputs=request.inputs, sources=sources)

    def loader(self, loader: ImageLoader) -> ImageLoader:
        """The classifier's loader, with what is needed of each image."""
        self._loader = loader
        return loader.with_thumbnails(self._thumbnails)

    def codec(self, codec: PredictionCodec, provenance: Provenance) -> PredictionCodec:
        """What writes the rows; previews of a run that has another output come out beside it."""
        self._provenance = provenance
        if self._previews is None:
            return codec
        if not self._to_file:
            return PreviewCodec(provenance.top_k, provenance.min_prob, self._previews)
        self._screen = PreviewSink(open_stdout(), top_k=provenance.top_k, previews=self._previews)
        return codec

    def begin(self, *, goes_on: bool) -> None:
        """The output is open, and the first image is to be taken.

        Args:
            goes_on: an earlier run has left rows in it.
        """
        if self._path is not None and not goes_on:
            self._report = Report(self._path, self._thumbnails)
        else:
            self._thumbnails.steps = ()

    def take(self, record: Record, thumbnail: Thumbnail | None) -> None:
        """The next record, before it is written; OutputError when there is no room for it."""
        if self._report is not None:
            self._report.take(record, thumbnail)
        if self._previews is not None:
            self._previews.picture = None if thumbnail is None else thumbnail.preview
            if self._screen is not None:
                self._screen.write(record)

    def finish(self) -> None:
        """The run has come to its end: write the page; OutputError when it cannot be written."""
        self._has_ended = True
        if self._screen is not None:
            self._screen.close(self._provenance)
        if self._path is None:
            return
        if self._report is None:
            self._report = self._read_again(self._path)
        if self._report.tally.images:
            say = (lambda text: None) if self._request.quiet else self._console.note
            self._report.write(settings_of_run(self._provenance), say, self._console.note)

    def close(self) -> None:
        """Let go of everything, also after a run that did not come to its end."""
        if self._report is not None:
            self._report.close()
        if self._path is not None and not self._has_ended:
            self._console.note(f"{self._path} is not written: the run has not come to its end")

    def _read_again(self, path: Path) -> Report:
        from vggcli.commands.report import add_records
        from vggcli.output.finished import read_records

        assert self._request.output is not None
        report = Report(path, Thumbnails(STEPS))
        records = read_records(self._request.output, self._format)
        for _ in add_records(report, records, self._loader.decoding, self._request.settings.workers):
            pass
        return report

    def _why_no_previews(self) -> str:
        if not self._console.shows_results:
            return "standard output is no terminal"
        if not self._to_file and self._format != "table":
            return f"standard output takes the rows as {self._format}"
        return ""


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
