"""What the network's last layer sees of images, computed once and kept on disk.

There is a folder for each network, layer, recipe, engine and precision, which `about.json` names for people; what else
is in it, `feature_files` says.  A file that was not changed since is not even opened; one that was moved or copied is
known by its bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vggcli.classifier import Classifier
from vggcli.errors import OutputError
from vggcli.images.item import Input
from vggcli.network.layers import Dropout, Linear
from vggcli.training.dataset import Example
from vggcli.training.feature_files import ROWS, Kept
from vggcli.training.observer import InterruptedError, Observer
from vggcli.weights import store

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 20  # bytes that are hashed at a time
_ABOUT = "about.json"
NO_FILE = "it is no regular file, and only such are trained on"
_FORM = 1  # of the files; another number is another folder


def cache_folder() -> Path:
    """Where features are kept by default: `vgg/features` in the user's cache; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vgg" / "features"


def last_input(classifier: Classifier) -> tuple[str, int]:
    """The layer whose output the last linear layer sees, when it is not training, and how many numbers that is."""
    layers = classifier.architecture.layers()
    place = max(number for number, layer in enumerate(layers) if isinstance(layer, Linear))
    before = next(layer for layer in reversed(layers[:place]) if not isinstance(layer, Dropout))
    return before.name, classifier.architecture.linears[-1].in_features


@dataclass
class Computed:
    """The features of a data set.

    Attributes:
        matrix: (rows, width) float32, mapped from the disk.
        rows: by path, of the images that could be read.
        digests: by path, SHA-256 of the file's bytes, in hexadecimal.
        failures: by path, why it could not be read.
        new: how many were computed by this run; the others were there.
        folder: where they are kept.
    """

    matrix: NDArray[np.float32]
    folder: Path
    rows: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    new: int = 0


def compute(classifier: Classifier, examples: Sequence[Example], cache: Path, observer: Observer) -> Computed:
    """The features of these images: from the disk, and computed where they are not there.

    Raises:
        InterruptedError: it was told to stop; what was computed is kept.
        DeviceError: the device or engine cannot be used.
        OutputError: the disk is full, or the folder cannot be written.
    """
    layer, width = last_input(classifier)
    about = _about(classifier, layer, width)
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache / name
    with _in_plain_words(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _ABOUT).write_text(json.dumps(about, indent=2) + "\n", "utf-8")
        with _locked(folder, observer), Kept(folder, width) as kept:
            found = _Pass(classifier, layer, kept)
            found.run([example.path for example in examples], observer)
            rows = kept.rows
    matrix = np.memmap(folder / ROWS, np.float32, "r", shape=(rows, width)) if rows else np.empty((0, width), "f4")
    return Computed(matrix, folder, found.rows, found.digests, found.failures, found.new)


def _about(classifier: Classifier, layer: str, width: int) -> dict[str, Any]:
    """What the numbers depend on."""
    engine = classifier.open_engine((layer,))
    return {
        "form": _FORM,
        "weights": classifier.model.name,
        "fingerprint": store.fingerprint(classifier.model.path),
        "layer": layer,
        "width": width,
        "recipe": classifier.recipe.to_json(),
        "preprocessing": classifier.preprocessing,
        "engine": engine.name,
        "precision": engine.precision,
    }


@contextmanager
def _in_plain_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why, step = (error.strerror or str(error)).lower(), "Make room, or name another folder with --features"
        raise OutputError("cannot keep features in", str(folder), why, step) from error


@contextmanager
def _locked(folder: Path, observer: Observer) -> Iterator[None]:
    """One process at a time; the second one then finds what the first has computed."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        observer.say(f"another run computes features in {folder}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class _Pass:
    """One pass over the images of a data set."""

    def __init__(self, classifier: Classifier, layer: str, kept: Kept) -> None:
        self._classifier, self._layer, self._kept = classifier, layer, kept
        self._keys: dict[str, tuple[str, int, int]] = {}
        self._copies: list[str] = []  # of what this very pass computes
        self.rows: dict[str, int] = {}
        self.digests: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self.new = 0

    def run(self, paths: Sequence[str], observer: Observer) -> None:
        """Compute what is missing."""
        wanted = self._missing(dict.fromkeys(paths))
        pipeline = self._classifier.pipeline(wanted, (self._layer,))
        try:
            with observer.watching(pipeline, len(paths)) as progress:
                for result in pipeline.results():
                    path = str(result.item.path)
                    if result.outputs is None:
                        self.failures[path] = str(result.error.why if result.error else "")
                    elif path not in self._keys:
                        self.failures[path] = NO_FILE
                    else:
                        digest = self.digests[path]
                        self.rows[path] = self._kept.add(self._keys[path], digest, result.outputs[self._layer].ravel())
                        self.new += 1
                    progress.advance(self.new, len(self.failures), len(self.rows) - self.new)
                self._settle_copies()
        finally:
            pipeline.stop()
        if len(self.rows) + len(self.failures) < len(dict.fromkeys(paths)):
            raise InterruptedError

    def _missing(self, paths: Iterable[str]) -> Iterator[Input]:
        """The images to compute; asked for by one of the pipeline's threads at a time, as it needs them."""
        begun: set[str] = set()
        for path in paths:
            try:
                status = os.stat(path)
                key = os.path.abspath(path), status.st_size, status.st_mtime_ns
                known = self._kept.of_file(key)
                digest = known[0] if known else digest_of(path)
            except (OSError, ValueError):
                yield Input(path)  # reading it will say in plain words why it cannot be
                continue
            self._keys[path], self.digests[path] = key, digest
            if known is not None:
                self.rows[path] = known[1]
            elif digest in begun or self._kept.of_digest(digest) is not None:
                self._copies.append(path)
            else:
                begun.add(digest)
                yield Input(path)

    def _settle_copies(self) -> None:
        """Give copies of an image its row, or its failure."""
        failed = {self.digests[path]: why for path, why in self.failures.items() if path in self.digests}
        for path in self._copies:
            digest = self.digests[path]
            if self._kept.of_digest(digest) is not None:
                self.rows[path] = self._kept.add(self._keys[path], digest, None)
            elif digest in failed:
                self.failures[path] = failed[digest]


def digest_of(path: str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    sha256 = hashlib.sha256()
    # A FIFO would wait for a writer, and what comes from one is not there a second time.
    if not os.path.isfile(path):
        raise OSError
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
    return sha256.hexdigest()
