"""What is searched for: images, brought to vectors as those of the file were, or rows that are vectors already."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vggcli.analysis.embeddings import WHAT, EmbeddingFile
from vggcli.classifier import Classifier
from vggcli.commands.console import Console
from vggcli.commands.interruption import Interruption
from vggcli.commands.named import NamedImages, access_of, say_nothing, say_skipped
from vggcli.engines.devices import cores
from vggcli.errors import UsageError
from vggcli.images import discover, recipe_files
from vggcli.images.recipe import Recipe
from vggcli.json_reader import shown
from vggcli.library.settings import Settings
from vggcli.network import zoo
from vggcli.output.sidecar import sidecar_path
from vggcli.records import Failure
from vggcli.run.embedding import POOLS, VectorForm, to_embedding
from vggcli.weights import store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_K = 10
_ROWS = 1024  # of a file of queries, whose paths are read at a time
_NO_VECTOR = Failure("damaged", "its row holds no vector")
# What makes vectors comparable: with other values of these they lie in other spaces.
_COMPARED = ("weights_fingerprint", "layer", "pool", "recipe", "exif", "fast_decode")
_NAMES = {"weights_fingerprint": "network"}  # in messages


@dataclass(frozen=True)
class SearchRequest(NamedImages):
    """The options of one search; the images are those of the queries.

    Attributes:
        features: the file of vectors that is searched.
        queries: a file whose rows are the queries.
        rows: rows of `features` that are queries, from 0.
        k: images per query.
        include_self: an image may be found by itself.
        duplicates: groups instead of queries.
        min_similarity: cosine from which images are alike; None for any, and for `DUPLICATES_LEAST` of duplicates.
        settings: what computes the vectors of query images; the network and its recipe are those of `features`.
    """

    features: Path = Path()
    queries: Path | None = None
    rows: tuple[int, ...] = ()
    k: int = DEFAULT_K
    include_self: bool = False
    duplicates: bool = False
    min_similarity: float | None = None
    settings: Settings = field(default_factory=Settings)
    format: str = "auto"
    output: Path | None = None
    overwrite: bool = False
    quiet: bool = False

    @property
    def has_images(self) -> bool:
        """Whether there are images among the queries."""
        return bool(self.inputs) or self.files_from is not None

    @property
    def threads(self) -> int:
        """Cores to compute on."""
        return self.settings.threads or cores()


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One vector that is searched for.

    Attributes:
        name: its path.
        vector: (dimensions,) of any length; None when it failed.
        row: in the file that is searched, when it is of it.
    """

    name: str
    vector: NDArray[np.generic] | None
    row: int | None = None
    failure: Failure | None = None


class Queries:
    """The queries of a request.

    Args:
        request: what was asked for.
        features: the file that is searched.
        console: told of queries that fail.

    Attributes:
        exit_code: that of an interrupted run, else None.
    """

    def __init__(self, request: SearchRequest, features: EmbeddingFile, console: Console) -> None:
        self._request, self._features, self._console = request, features, console
        self.exit_code: int | None = None

    def found(self) -> Iterator[Query]:
        """Each query, in order and lazily.

        Raises:
            UsageError: vectors of another network, layer or recipe; weights that cannot be found.
            VggError: as `Classifier`.
        """
        if self._request.rows:
            return self._of_rows(self._features, self._request.rows)
        if self._request.queries is not None:
            return self._of_file(self._request.queries)
        return self._of_images()

    def _of_rows(self, file: EmbeddingFile, rows: tuple[int, ...] | range) -> Iterator[Query]:
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            for row, (path, failure) in zip(some, file.outcomes(some), strict=True):
                vector = file.vectors[row]
                is_known = failure is None and _has_direction(vector)
                failure = None if is_known else failure or _NO_VECTOR
                if failure is not None:
                    self._say_failure(path, failure)
                yield Query(path, vector if is_known else None, row if file is self._features else None, failure)

    def _of_file(self, path: Path) -> Iterator[Query]:
        features = self._features
        if os.path.exists(path) and os.path.samefile(path, features.path):
            return self._of_rows(features, range(len(features)))
        other = EmbeddingFile(path)
        ours, others = features.settings(), other.settings()
        differences = [
            f"its {_NAMES.get(name, name)} is {_shown(others, name)}, that of {features.path} is {_shown(ours, name)}"
            for name in _COMPARED
            if _plain(others.get(name)) != _plain(ours.get(name))
        ]
        if differences or other.dimensions != features.dimensions:
            why = "; ".join(differences) or f"it has {other.dimensions} dimensions, not {features.dimensions}"
            raise UsageError(WHAT, f"with the vectors of {path}", why, "Embed both in the same way")
        return self._of_rows(other, range(len(other)))

    def _of_images(self) -> Iterator[Query]:
        request, console = self._request, self._console
        settings = self._features.settings()
        classifier = _opened(request, settings, self._features, console)
        form = _form(classifier, settings, self._features)
        if not request.quiet:
            for text in classifier.notes:
                console.note(text)
        skipped = discover.Skipped()
        found = request.find(skipped, access_of(classifier.settings))
        return self._computed(classifier, form, found, skipped)

    def _computed(
        self, classifier: Classifier, form: VectorForm, found: Iterator[discover.Input], skipped: discover.Skipped
    ) -> Iterator[Query]:
        interruption = Interruption(self._console, lambda: self._console.note("interrupted"))
        pipeline = classifier.pipeline(found, (form.layer,))
        try:
            with interruption.watching(pipeline):
                for result in pipeline.results():
                    item = to_embedding(result, form)
                    if item.failure is not None:
                        self._say_failure(item.path or "", item.failure)
                    yield Query(item.path or "", item.vector, failure=item.failure)
        finally:
            pipeline.stop()
        if interruption.signal is not None:
            self._console.note("interrupted")
            self.exit_code = interruption.exit_code
            return
        say_skipped(skipped, self._console.note, say_nothing if self._request.quiet else self._console.note)
        classifier.close()

    def _say_failure(self, path: str, failure: Failure) -> None:
        self._console.note(f"cannot search for {path or chr(39) * 2}: {failure.message}")


def _has_direction(vector: NDArray[np.generic]) -> bool:
    from vggcli.analysis import similarity

    return bool(similarity.directions(vector[None])[1][0])


def _plain(value: object) -> object:
    """A setting as it is compared: what the logits are for says nothing of a vector."""
    return {name: part for name, part in value.items() if name != "activation"} if isinstance(value, dict) else value


def _shown(settings: Mapping[str, Any], name: str) -> str:
    if name == "weights_fingerprint":
        return f"{shown(settings.get('weights'))} ({shown(settings.get(name))})"
    return shown(settings.get("preprocessing" if name == "recipe" else name))


def _opened(request: SearchRequest, made: Mapping[str, Any], features: EmbeddingFile, console: Console) -> Classifier:
    """The network that made the vectors of a file."""
    given = request.settings.weights
    settings = replace(
        request.settings,
        weights=given if given is not None else _weights(made, features),
        recipe=_recipe(made, features),
        exif=made.get("exif") is not False,
        allow_truncated=made.get("allow_truncated") is True,
        fast_decode=made.get("fast_decode") is True,
    )
    classifier = Classifier(settings, progress=None if request.quiet else console.transfer)
    ours, theirs = store.fingerprint(classifier.model.path), made.get("weights_fingerprint")
    if ours != theirs:
        why = f"its network is {_shown(made, 'weights_fingerprint')}, and {classifier.model.name} is {shown(ours)}"
        raise UsageError(WHAT, str(features.path), why, "Name the file that made its vectors with --weights")
    if _plain(classifier.recipe.to_json()) != _plain(made.get("recipe")):
        why = f"its recipe is {_shown(made, 'recipe')}, and the network takes {classifier.recipe.describe()}"
        raise UsageError(WHAT, str(features.path), why, "Embed the images anew")
    return classifier


def _weights(made: Mapping[str, Any], features: EmbeddingFile) -> str:
    path, name = made.get("weights_path"), made.get("weights")
    if isinstance(path, str) and (path == zoo.DEMO or os.path.isfile(path)):
        return path
    if isinstance(name, str) and zoo.published(name) is not None:
        return name
    why = f"the weights that made its vectors, {shown(name)}, are not at {shown(path)}"
    raise UsageError(WHAT, str(features.path), why, "Name them with --weights")


def _recipe(made: Mapping[str, Any], features: EmbeddingFile) -> Recipe:
    try:
        stated = recipe_files.stated_in(made.get("recipe"))
        if stated is None:
            raise ValueError("it says nothing of images")
        return Recipe(**stated)
    except (UsageError, TypeError, ValueError) as error:
        why = f"the recipe in {sidecar_path(features.path).name} is none: {str(error).rstrip('.')}"
        raise UsageError(WHAT, str(features.path), why, "Embed the images anew") from error


def _form(classifier: Classifier, made: Mapping[str, Any], features: EmbeddingFile) -> VectorForm:
    layer, pool = made.get("layer"), made.get("pool")
    if not isinstance(layer, str) or pool not in POOLS:
        why = f"{sidecar_path(features.path).name} names the layer {shown(layer)}, pooled by {shown(pool)}"
        raise UsageError(WHAT, str(features.path), why, "Embed the images anew")
    size = classifier.recipe.size
    form = VectorForm.of(classifier.architecture, size, layer, pool=str(pool), normalize=False, dtype="fp32")
    if form.dimensions != features.dimensions:
        why = f"it has {features.dimensions} dimensions, and {layer} of its network gives {form.dimensions}"
        raise UsageError(WHAT, str(features.path), why, "Embed the images anew")
    return form
