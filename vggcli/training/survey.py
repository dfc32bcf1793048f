"""Which labelled images can be read, and which of them are the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vggcli.analysis.quantization import Digests
from vggcli.engines.devices import cores
from vggcli.errors import UsageError
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.inputs import read_ahead
from vggcli.images.item import Input
from vggcli.run.pipeline import Pipeline
from vggcli.training.dataset import VAL, WHAT, Dataset, Example, quoted
from vggcli.training.features import NO_FILE, Computed, digest_of
from vggcli.training.observer import InterruptedError, Observer
from vggcli.training.split import Labelled

_MOST_WORKERS = 16


@dataclass(frozen=True, slots=True)
class Surveyed:
    """The images that can be trained on.

    Attributes:
        classes: names of those that have any, sorted.
        failures: by path, why an image cannot be read.
        notes: what should be known, one sentence each.
    """

    classes: tuple[str, ...]
    images: tuple[Labelled, ...]
    failures: Mapping[str, str]
    notes: tuple[str, ...] = ()


def of_features(source: str, dataset: Dataset, computed: Computed) -> Surveyed:
    """By what came of computing features; see `_surveyed`."""
    return _surveyed(source, dataset, computed.digests, computed.failures, computed.rows)


def by_decoding(source: str, dataset: Dataset, decoding: Decoding, workers: int | None, observer: Observer) -> Surveyed:
    """By decoding each image once; see `_surveyed`.

    Raises:
        InterruptedError: it was told to stop.
    """
    digests: dict[str, str] = {}
    failures: dict[str, str] = {}
    read: set[str] = set()
    paths = dict.fromkeys(example.path for example in dataset.examples)

    def inputs() -> Iterator[Input]:
        for path in paths:
            with contextlib.suppress(OSError, ValueError):  # reading it will say in plain words why it cannot be
                digests[path] = digest_of(path)
            yield Input(path)

    # The pipeline's decoders with something in the network's place that only looks at pixels.
    pipeline = Pipeline(
        read_ahead(inputs(), decoding.access),
        ImageLoader(decoding),
        Digests,
        workers=workers or min(_MOST_WORKERS, max(2, cores())),
    )
    try:
        with observer.watching(pipeline, len(paths)) as progress:
            for result in pipeline.results():
                path = str(result.item.path)
                if result.error is not None or path not in digests:
                    failures[path] = NO_FILE if result.error is None else result.error.why
                else:
                    read.add(path)
                progress.advance(len(read), len(failures))
    finally:
        pipeline.stop()
    if len(read) + len(failures) < len(paths):
        raise InterruptedError
    return _surveyed(source, dataset, digests, failures, {})


def _surveyed(
    source: str, dataset: Dataset, digests: Mapping[str, str], failures: Mapping[str, str], rows: Mapping[str, int]
) -> Surveyed:
    """The images that can be read, of classes that have some to train on.

    Raises:
        UsageError: fewer than two classes are left.
    """
    usable = [example for example in dataset.examples if example.path not in failures]
    trained = {example.name for example in usable if example.part != VAL}
    classes = tuple(name for name in dataset.classes if name in trained)
    gone = [name for name in dataset.classes if name not in trained]
    notes = [f"no class, since none of its images can be read: {quoted(gone)}"] if gone else []
    if len(classes) < 2:
        left = f"one class, {quoted(classes)}," if classes else "no class"
        first = next(iter(failures.items()), ("", ""))
        raise UsageError(
            WHAT, source, f"{left} has images that can be read ({first[0]}: {first[1]})", "Mend the images"
        )
    numbers = {name: number for number, name in enumerate(classes)}

    def labelled(example: Example) -> Labelled:
        digest = digests[example.path]
        return Labelled(example.path, numbers[example.name], digest, example.part, rows.get(example.path, -1))

    images = tuple(labelled(example) for example in usable if example.name in numbers)
    return Surveyed(classes, _without_repeats(images), failures, tuple(notes))


def _without_repeats(images: Sequence[Labelled]) -> tuple[Labelled, ...]:
    """Each row of a csv once."""
    return tuple(dict.fromkeys(images))
