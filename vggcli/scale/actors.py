"""What runs on the nodes: an actor with one opened classifier, which reads, infers and writes block by block."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vggcli.errors import DeviceError, VggError, WeightsError
from vggcli.images.access import Access
from vggcli.images.item import Input
from vggcli.scale.attempts import MOST_DEATHS, Attempt
from vggcli.scale.blocks import read_block
from vggcli.scale.isolation import Question, classify
from vggcli.scale.notes import Note, as_note
from vggcli.scale.shards import ShardWriter
from vggcli.scale.storage import open_storage

if TYPE_CHECKING:
    from vggcli.classifier import Classifier
    from vggcli.library.settings import Settings
    from vggcli.records import Provenance, Record

ROW, OUTCOME = "block", "outcome"  # columns of the dataset
_LONGEST_PAUSE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Job:
    """What every actor of a run is told.

    Attributes:
        settings: of the classifier, with the run's engine and precision and the actor's share of cores.
        question: see `Question`.
        provenance: of the run; an actor whose numbers would be others writes none.
        where: the folder or bucket of the shards.
        format: of the shards.
        run: the name of this run.
        folder: where the driver was started: what relative paths begin at.
        retries: whether failures of an earlier run are tried again.
    """

    settings: Settings
    question: Question
    provenance: Provenance
    where: str
    format: str
    run: str
    folder: str
    retries: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """A block that this actor could not do, and another may.

    Attributes:
        block: its number.
        error: name of the class in `vggcli.errors`, or of a foreign one.
        arguments: of a `VggError`: what, where, why, next step.
        node: on which it happened.
    """

    block: int
    error: str
    arguments: tuple[str, str, str, str]
    node: str


def encode(outcome: Note | Refusal) -> str:
    """An outcome as text, which is all that goes through the object store."""
    return json.dumps({"refused": isinstance(outcome, Refusal), **asdict(outcome)})


def decode(text: str) -> Note | Refusal:
    """The inverse of `encode`."""
    fields = json.loads(text)
    if not fields.pop("refused"):
        return as_note(fields)
    return Refusal(fields["block"], fields["error"], tuple(fields["arguments"]), fields["node"])


class BlockActor:
    """One opened classifier, called with blocks; no exception leaves it, since Ray would drop or end more than a block.

    Args:
        job: see there.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._classifier: Classifier | None = None
        self._process = contextlib.ExitStack()
        self._refused = 0  # blocks, one after the other

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {OUTCOME: [encode(self._outcome(int(number))) for number in batch[ROW]]}

    def _outcome(self, number: int) -> Note | Refusal:
        try:
            note = self._write(number)
        except Exception as error:
            # A node that can do nothing would else take all blocks from those that can.
            time.sleep(min(2.0**self._refused - 1, _LONGEST_PAUSE_SECONDS))
            self._refused += 1
            if isinstance(error, VggError):
                return Refusal(
                    number,
                    type(error).__name__,
                    (error.what, error.where, error.why, error.next_step),
                    platform.node(),
                )
            why = f"{type(error).__name__}: {error}"
            return Refusal(number, "", ("cannot classify block", str(number), why, ""), platform.node())
        self._refused = 0
        return note

    def _write(self, number: int) -> Note:
        job = self._job
        storage = open_storage(job.where)
        writer = ShardWriter(storage, job.format, codec_of(job), job.run, retries=job.retries)
        block = read_block(storage, number)
        _go_to(job.folder, block.items)
        access = Access(job.settings.max_bytes, job.settings.timeout, job.settings.allow_private)
        with Attempt(storage, number) as attempt:
            how = self._classify_apart if attempt.deaths >= MOST_DEATHS else self._classify
            return writer.write(number, block, lambda items: how(attempt.begun(items)), access)

    def _classify(self, items: Iterable[Input]) -> Iterator[Record]:
        question = self._job.question
        return self._opened().predict(items, question.top_k, min_prob=question.min_prob)

    def _classify_apart(self, items: Iterable[Input]) -> Iterator[Record]:
        if self._classifier is not None:  # two copies of the weights may be one too many
            self._classifier.close()
            self._classifier = None
        return classify(self._job.settings, self._job.question, items)

    def _opened(self) -> Classifier:
        if self._classifier is None:
            from vggcli.classifier import Classifier
            from vggcli.images.process import own_process

            classifier = Classifier(self._job.settings)
            check_weights(classifier, self._job.provenance)
            classifier.open_engine()
            self._process.close()
            self._process.enter_context(own_process(self._job.settings.max_pixels))
            self._classifier = classifier
        return self._classifier


def _go_to(folder: str, items: Iterable[Input]) -> None:
    """Begin relative paths where the driver's begin.

    Raises:
        DeviceError: there are such paths, and here is no such folder.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        item = next((item for item in items if item.path and "://" not in item.path and item.path[0] != os.sep), None)
        if item is not None:
            why = f"there is no folder {folder}, where its path begins"
            step = "Name inputs by paths that are the same on every node"
            raise DeviceError("cannot read", item.path or "", why, step) from error


def codec_of(job: Job) -> Any:
    """How the records of a run are written."""
    from vggcli.output.predictions import PredictionCodec

    return PredictionCodec(job.provenance.top_k, job.provenance.min_prob)


def check_weights(classifier: Classifier, provenance: Provenance) -> None:
    """Refuse weights, or names of classes, that are not the run's.

    Raises:
        WeightsError: this node has others under the same name.
    """
    from vggcli.network import labels
    from vggcli.weights import store

    model = classifier.model
    here = store.fingerprint(model.path), labels.digest(model.labels), classifier.preprocessing, classifier.temperature
    p = provenance
    if here != (p.weights_fingerprint, p.labels, p.preprocessing, p.temperature):
        why = f"on {platform.node()} they are not those of the machine that began the run"
        raise WeightsError("cannot use weights", str(model.path), why, "Give every node the same files")
