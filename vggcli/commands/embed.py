"""Images to vectors: what a layer gives for each, as the rows of one array."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vggcli import __version__
from vggcli.classifier import Classifier
from vggcli.commands.console import Console
from vggcli.commands.provenance import Computing
from vggcli.commands.recording import Recording
from vggcli.commands.request import RecordingRequest
from vggcli.network import zoo
from vggcli.output.sources import check_output_is_no_source
from vggcli.output.vectors import VectorCodec, companions, open_vectors, vector_format
from vggcli.records import Embedding, EmbeddingSettings
from vggcli.run.batches import Result
from vggcli.run.embedding import DTYPES, VectorForm, to_embedding
from vggcli.weights.locate import DEMO_FILE

if TYPE_CHECKING:
    from vggcli.output.resume import ResumableOutput

DEFAULT_LAYER = "fc7"  # 4096 features; the layer that most of the literature takes


@dataclass(frozen=True)
class EmbedRequest(RecordingRequest):
    """The options of one run; what it shares with `predict` means the same.

    Attributes:
        layer, pool, normalize, dtype: see `VectorForm`.
    """

    layer: str = DEFAULT_LAYER
    pool: str = "none"
    normalize: bool = False
    dtype: str = "fp32"

    def form(self, classifier: Classifier) -> VectorForm:
        """Which vector an image becomes with this classifier; see `VectorForm.of` for the errors."""
        size = classifier.recipe.size
        return VectorForm.of(
            classifier.architecture,
            size,
            self.layer,
            pool=self.pool,
            normalize=self.normalize,
            dtype=self.dtype,
        )


def embed(request: EmbedRequest, console: Console) -> int:
    """Write a vector for every input of a request; see `Recording.carry_out`."""
    return Embedder(request, console).carry_out()


class Embedder(Recording[Embedding]):
    """A run that writes vectors."""

    verb = "embed"
    _request: EmbedRequest

    def _choose_format(self) -> None:
        request = self._request
        vector_format(request.output)
        assert request.output is not None
        for path in companions(Path(os.path.realpath(request.output))):
            check_output_is_no_source(path, request.inputs, (request.settings.weights, request.files_from))

    def _check_classifier(self) -> tuple[str, ...]:
        self._form = self._request.form(self._classifier)
        return (self._form.layer,)

    def _open_output(self, computing: Computing) -> ResumableOutput[Embedding]:
        request = self._request
        assert request.output is not None
        return open_vectors(
            request.output,
            VectorCodec(self._form.dimensions, DTYPES[self._form.dtype]),
            settings_of(self._classifier, self._form, computing),
            resume=request.resume,
            overwrite=request.overwrite,
        )

    def _record(self, result: Result) -> Embedding:
        return to_embedding(result, self._form)


def settings_of(classifier: Classifier, form: VectorForm, computing: Computing) -> EmbeddingSettings:
    """What makes the vectors of a classifier what they are."""
    from vggcli.weights import store

    model, settings = classifier.model, classifier.settings
    return EmbeddingSettings(
        version=__version__,
        weights=model.name,
        weights_path=zoo.DEMO if model.path == DEMO_FILE else os.path.abspath(model.path),
        weights_fingerprint=store.fingerprint(model.path),
        variant=model.variant,
        dialect=model.reading.layout.name,
        layer=form.layer,
        pool=form.pool,
        normalize=form.normalize,
        dtype=form.dtype,
        dimensions=form.dimensions,
        preprocessing=classifier.preprocessing,
        recipe=model.recipe.to_json(),
        exif=settings.exif,
        allow_truncated=settings.allow_truncated,
        fast_decode=settings.fast_decode,
        engine=computing.engine,
        device=computing.device,
        precision=computing.precision,
        recipe_source=model.recipe.source,
        precision_source=computing.precision_source,
    )
