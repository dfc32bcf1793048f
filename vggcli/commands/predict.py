"""The main verb: inputs in, the best classes of each out, and with them sorted images, a page, previews."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vggcli.commands.console import Console
from vggcli.commands.named import access_of
from vggcli.commands.provenance import Computing, provenance_of
from vggcli.commands.recording import Recording
from vggcli.commands.request import Request
from vggcli.commands.sorting import Sorting
from vggcli.images import discover
from vggcli.images.decode import ImageLoader
from vggcli.output.formats import choose_format
from vggcli.records import Record
from vggcli.run.batches import Result
from vggcli.weights.opening import check_classifies

if TYPE_CHECKING:
    from vggcli.commands.pictures import Pictures
    from vggcli.output.resume import ResumableOutput


def predict(request: Request, console: Console) -> int:
    """Classify every input of a request; see `Recording.carry_out`."""
    return Prediction(request, console).carry_out()


class Prediction(Recording[Record]):
    """A run that classifies."""

    verb = "classify"
    _request: Request

    def __init__(self, request: Request, console: Console) -> None:
        super().__init__(request, console)
        self.keeps = request.sort_into is not None
        self._pictures: Pictures | None = None

    def _choose_format(self) -> None:
        self._format = choose_format(self._request.format, self._request.output, self._console.shows_results)

    def _prepare(self) -> None:
        request, console = self._request, self._console
        if request.report is not None or request.show:
            from vggcli.commands.pictures import Pictures

            self._pictures = Pictures(request, self._format, console)
            self.shows_progress = not self._pictures.draws
        # On one terminal the table's row says it already.
        is_table = self._format == "table" and request.output is None and console.shows_results
        self.shows_failures = console.is_terminal and (is_table or not self.shows_progress)
        self._sorting = Sorting(
            request.sort_into,
            request.inputs,
            request.recursive,
            link=request.link,
            dry_run=request.dry_run,
            access=access_of(request.settings, keeps=self.keeps),
            note=console.note,
            say=self._say,
        )

    def _check_classifier(self) -> tuple[str, ...]:
        classifier, request = self._classifier, self._request
        model = classifier.model
        check_classifies(model.reading, model.path, has_names=model.has_names)
        if self._pictures is not None:
            self._pictures.check(model.path)
        self._selection = classifier.selection(request.top_k, request.min_prob)
        return ()

    def _loader(self) -> ImageLoader | None:
        return None if self._pictures is None else self._pictures.loader(self._classifier.loader)

    def _open_output(self, computing: Computing) -> ResumableOutput[Record]:
        # Here and not above, while the network is compiled on another thread: nobody waits for these imports.
        from vggcli.output.predictions import PredictionCodec
        from vggcli.output.resume import open_output

        request = self._request
        # Only a file can be resumed, so only then are the fingerprints worth their time.
        is_kept = request.output is not None
        provenance = provenance_of(self._classifier, self._selection, computing, is_kept=is_kept)
        codec = PredictionCodec(provenance.top_k, provenance.min_prob)
        if self._pictures is not None:
            codec = self._pictures.codec(codec, provenance)
        output = open_output(
            self._format, request.output, codec, provenance, resume=request.resume, overwrite=request.overwrite
        )
        if self._pictures is not None:
            self._pictures.begin(goes_on=output.goes_on)
        return output

    def _record(self, result: Result) -> Record:
        record = self._classifier.record(result, self._selection)
        self._sorting.take(record, result.item)
        if self._pictures is not None:
            self._pictures.take(record, result.thumbnail)
        return record

    def _see_kept(self, item: discover.Input, label: str) -> None:
        if label:
            self._sorting.take_image(item, label)

    def _finish(self) -> None:
        if self._pictures is not None:
            self._pictures.finish()

    def _close(self) -> None:
        if self._pictures is not None:
            self._pictures.close()

    def _more_counts(self) -> str:
        return self._sorting.counts()

    def _guarded(self) -> int:
        code = super()._guarded()
        return code or int(bool(self._sorting.failed))
