"""`vgg predict --ray`: the same run over a cluster, its rows in shards."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from dataclasses import asdict, dataclass, replace
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING

from vggcli.classifier import Classifier
from vggcli.commands.console import Console, Progress
from vggcli.commands.interruption import Interruption
from vggcli.commands.named import access_of, say_skipped
from vggcli.commands.provenance import Computing, provenance_of
from vggcli.commands.request import Request
from vggcli.errors import StoppedError
from vggcli.images import discover
from vggcli.images.item import named
from vggcli.output.formats import Format
from vggcli.scale import cluster, directory, nodes, waves
from vggcli.scale.actors import Job
from vggcli.scale.blocks import Spooler
from vggcli.scale.isolation import Question
from vggcli.scale.notes import Note
from vggcli.scale.run import ClusterRun, counts
from vggcli.scale.storage import Storage, open_storage
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.opening import check_classifies

if TYPE_CHECKING:
    from collections.abc import Iterator

EMPTY = "there was nothing to classify; with --allow-empty that is no failure"
_TICK_SECONDS = 0.5
_FINISH_SECONDS = 0.8  # for the wave of blocks, when the run ended before it
_LEAVE_SECONDS = 1.0  # for Ray's processes on this machine, when the run was interrupted


@dataclass(frozen=True)
class OnCluster:
    """What `--ray` adds to a request.

    Attributes:
        address: "auto", "local" or HOST:PORT.
        where: the folder or bucket of `-o`, as given.
        format: of the shards.
        block_size: inputs in each.
    """

    address: str
    where: str
    format: Format
    block_size: int


def predict_on_cluster(request: Request, on: OnCluster, console: Console) -> int:
    """Classify every input of a request on a Ray cluster.

    Returns:
        The exit code: 0 all classified, 1 some failed, 130 or 143 interrupted.

    Raises:
        VggError: the run could not begin, or ended before its last input.
    """
    storage = open_storage(on.where)
    with storage.reserve():
        directory.check(storage, resume=request.resume, overwrite=request.overwrite)
        if request.quiet:
            logging.getLogger("vggcli").setLevel(logging.WARNING)
        classifier = Classifier(request.settings, progress=None if request.quiet else console.transfer)
        try:
            return _Cluster(request, on, storage, classifier, console).run()
        finally:
            classifier.close()


class _Cluster:
    """One run: what is said, counted and compared around the blocks."""

    def __init__(
        self,
        request: Request,
        on: OnCluster,
        storage: Storage,
        classifier: Classifier,
        console: Console,
    ) -> None:
        self._request, self._on, self._storage, self._format = request, on, storage, on.format
        self._classifier, self._console = classifier, console
        self._say = (lambda text: None) if request.quiet else console.note
        self._skipped = discover.Skipped()
        self._began = monotonic()
        self._rows = 0
        self._failures: Counter[str] = Counter()
        self._interruption = Interruption(console, self._say_interrupted)
        self._results: SimpleQueue[Note | BaseException | None] = SimpleQueue()
        self._work: ClusterRun | None = None
        self._producer = threading.Thread(target=self._produce, daemon=True)
        self._is_over = threading.Event()

    def run(self) -> int:
        """All shards in place; the exit code."""
        model = self._classifier.model
        check_classifies(model.reading, model.path, has_names=model.has_names)
        for text in self._classifier.notes:
            if not (self._request.quiet and model.path == DEMO_FILE):
                self._console.note(text)
        cluster.connect(self._on.address)
        try:
            with self._interruption.watching(self):
                self._run()
        finally:
            self._is_over.set()
            self._leave()
        if self._interruption.signal is not None:
            self._say_interrupted()
            return self._interruption.exit_code
        return self._end()

    def _leave(self) -> None:
        """End the connection, unless the producer waits inside Ray.

        Ray ends the whole process, with a code of its own, when it is shut down under a thread that uses it.  Then it
        is left as it is: the process ends soon, and the cluster gives up the blocks of a driver that is gone.
        """
        if self._producer.ident is not None:
            self._producer.join(_FINISH_SECONDS)
        if self._producer.is_alive():
            return
        leaving = threading.Thread(target=cluster.import_ray().shutdown, daemon=True)
        leaving.start()
        leaving.join(_LEAVE_SECONDS if self._interruption.signal is not None else None)

    def stop(self) -> None:
        """Give out no more blocks; safe to call from a signal handler."""
        if self._work is not None:
            self._work.stop()

    def abandon_after(self, seconds: float) -> None:
        """Blocks in flight are left to a later run: their rows come when they are whole, or not at all."""

    def _run(self) -> None:
        settings = self._request.settings
        share = cluster.share_of(settings.device, settings.threads, self._classifier.model.path.stat().st_size)
        if self._on.address != "local":
            nodes.check_nodes(self._storage)
        job = self._job(share)
        self._spooler = Spooler(self._storage, self._found(), self._on.block_size)
        self._work = ClusterRun(
            self._storage,
            self._spooler,
            self._format,
            lambda numbers: waves.outcomes(job, share, numbers),
            first=waves.FIRST_BLOCKS_PER_ACTOR * share.actors,
            most=waves.most_blocks(share),
        )
        self._spooler.start()
        if job.retries:
            self._work.keep()
        parts = f"{share.cores} core{'s' * (share.cores > 1)}" + " and a GPU" * share.gpus
        self._say(f"{job.provenance.describe()}; {share.actors} actor{'s' * (share.actors > 1)} of {parts}")
        self._producer.start()
        try:
            leaves_room = not self._request.quiet
            with self._console.progress(leaves_room, counts(self._spooler, self._is_over.is_set)) as progress:
                self._consume(self._work, progress)
        finally:
            self._work.stop()
            self._say_counts(self._work)

    def _job(self, share: cluster.Share) -> Job:
        """What the actors are told, once it is known what computes there, and that the folder is of such a run."""
        request, device = self._request, "cuda" if share.gpus else "cpu"
        workers = request.settings.workers or min(16, max(2, share.cores))
        settings = replace(request.settings, device=device, threads=share.cores, workers=workers)
        settings = self._classifier.portable(settings)
        found = nodes.computing(settings, share)
        settings = replace(settings, engine=found["engine"], precision=found["precision"])
        selection = self._classifier.selection(request.top_k, request.min_prob)
        provenance = provenance_of(self._classifier, selection, Computing(**found))
        kept = directory.ClusterSettings(
            **asdict(provenance),
            inputs=tuple(named(path).path or "" for path in request.inputs),  # without credentials
            recursive=request.recursive,
            files_from=request.files_from,
            null=request.null,
            column=request.column,
            block_size=self._on.block_size,
        )
        goes_on = directory.begin(self._storage, self._format, kept, resume=request.resume)
        where = os.path.abspath(self._storage.where) if self._storage.is_folder else self._storage.where
        question = Question(request.top_k, request.min_prob)
        run = os.urandom(8).hex()
        return Job(settings, question, provenance, where, self._format, run, os.getcwd(), retries=goes_on)

    def _found(self) -> Iterator[discover.Input]:
        request = self._request
        return discover.discover(
            request.inputs,
            self._skipped,
            recursive=request.recursive,
            files_from=request.files_from,
            null=request.null,
            column=request.column,
            access=access_of(request.settings),
            opens_archives=False,
        )

    def _produce(self) -> None:
        """A thread of its own, so that signals reach the main one."""
        assert self._work is not None
        try:
            for note in self._work.notes():
                self._results.put(note)
            self._results.put(None)
        except BaseException as error:
            self._results.put(error)

    def _consume(self, work: ClusterRun, progress: Progress) -> None:
        from queue import Empty

        while self._interruption.signal is None:
            progress.advance(self._rows - self._failures.total(), self._failures.total(), work.kept)
            progress.name = f"{work.shards.finished:,}/{self._spooler.blocks:,} blocks"
            try:
                result = self._results.get(timeout=_TICK_SECONDS)
            except Empty:
                continue
            if result is None:
                return
            if isinstance(result, BaseException):
                raise result
            self._rows += result.rows
            self._failures.update(result.failures)
            limit = self._request.max_errors
            if limit is not None and (failed := self._failures.total()) > limit:
                why = f"{failed} input{'s' * (failed > 1)} failed and {limit} may"
                step = "The shards so far are written, and the same command with --resume goes on from them"
                raise StoppedError("stopped at block", str(result.block), why, step)

    def _end(self) -> int:
        work = self._work
        assert work is not None
        directory.write_manifest(self._storage, work.shards)
        say_skipped(self._skipped, self._console.note, self._say)
        if work.shards.failures:
            return 1
        if not work.shards.rows and not self._request.allow_empty:
            self._console.note(EMPTY)
            return 1
        return 0

    def _say_interrupted(self) -> None:
        resume = "goes on" if self._request.resume else "with --resume goes on"
        self._console.note(f"interrupted: the same command {resume}")

    def _say_counts(self, work: ClusterRun) -> None:
        failed, seconds = self._failures.total(), monotonic() - self._began
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self._failures.items()))
        failures = f", {failed} failed ({kinds})" if failed else ""
        kept = f", {work.kept} kept from before" if work.kept else ""
        rate = f", {self._rows / seconds:.1f} images/s" if self._rows else ""
        shards = f" in {work.shards.finished} shard{'s' * (work.shards.finished != 1)}"
        self._say(f"{self._rows - failed} ok{failures}{kept}{shards}, {seconds:.1f} s{rate}")
