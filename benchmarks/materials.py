"""What the contestants read: photos, weights and converted models, made once and kept in the work folder."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import processes
from contestants import DEMO_FILE, HERE

DISTINCT_PHOTOS = 100  # more images are further links to these
_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@dataclass(frozen=True)
class Materials:
    """The inputs of one benchmark.

    Attributes:
        work: folder that keeps what was made.
        photos: the distinct photos.
        weights: the checkpoint that every contestant starts from.
        int8: what `vgg quantize` made from it, if it takes part.
    """

    work: Path
    photos: tuple[Path, ...]
    weights: Path
    int8: Path | None = None

    def model(self, kind: str) -> Path:
        """The model in the form that a contestant reads.

        Args:
            kind: "weights", "int8", "ir" (OpenVINO), "transformers" (model folder), "zip" or "legacy" (torch's two
                formats).

        Raises:
            FailedError: it cannot be made from these weights.
        """
        if kind == "weights":
            return self.weights
        if kind == "int8":
            if self.int8 is None or not self.int8.is_file():
                raise processes.FailedError(f"{self.int8} is no file")
            return self.int8
        key = _digest([str(self.weights.resolve()), str(self.weights.stat().st_mtime_ns)])
        if kind in ("zip", "legacy"):
            return _made(self.work / f"{kind}-{key}.pth", "resave", kind, str(self.weights))
        folder = _made(self.work / f"{kind}-{key}", kind, str(self.weights))
        return folder / "model.xml" if kind == "ir" else folder

    def folder(self, count: int) -> Path:
        """A folder of `count` links to the photos in turn."""
        return _links(self.work, self.photos, count)

    def warm(self) -> None:
        """Read photos and weights once, so that every contestant finds them in the page cache."""
        for path in (*self.photos, self.weights):
            with path.open("rb") as file:
                while file.read(1 << 20):
                    pass


def gather(work: Path, photos: Path | None, weights: str | None, count: int) -> Materials:
    """Find or make photos and weights.

    Args:
        work: folder that keeps what is made.
        photos: folder of photos; None to generate some.
        weights: checkpoint file, or "demo" for the one in the package; None for a random vgg16_bn.
        count: how many photos are used at most.

    Raises:
        FailedError: something cannot be found or made.
    """
    work.mkdir(parents=True, exist_ok=True)
    wanted = min(count, DISTINCT_PHOTOS)
    source = photos or _made(work / f"generated-{wanted}", "photos", str(wanted))
    if not source.is_dir():
        raise processes.FailedError(f"{source} is no folder")
    found = sorted(path.resolve() for path in source.iterdir() if path.suffix.lower() in _ENDINGS)[:wanted]
    if not found:
        raise processes.FailedError(f"no photos in {source}")
    return Materials(work, tuple(found), _weights(work, weights, found))


def _weights(work: Path, weights: str | None, photos: Sequence[Path]) -> Path:
    if weights is None:
        key = _digest([str(path) for path in photos])
        return _made(work / f"random-{key}.pth", "weights", str(_links(work, photos, len(photos))))
    path = DEMO_FILE if weights == "demo" else Path(weights)
    if not path.is_file():
        raise processes.FailedError(f"{path} is no file")
    return path


def _links(work: Path, photos: Sequence[Path], count: int) -> Path:
    folder = work / f"links-{_digest([str(path) for path in photos])}-{count}"
    if not folder.is_dir():
        unfinished = _unfinished(folder)
        unfinished.mkdir()
        for number, photo in enumerate(itertools.islice(itertools.cycle(photos), count)):
            (unfinished / f"{number:06d}{photo.suffix.lower()}").symlink_to(photo)
        unfinished.rename(folder)
    return folder


def _made(path: Path, verb: str, *arguments: str) -> Path:
    """The file or folder, made by `prepare.py` if it is not there; whole or not at all."""
    if not path.exists():
        print(f"making {path} ...", file=sys.stderr, flush=True)
        unfinished = _unfinished(path)
        processes.run([sys.executable, str(HERE / "prepare.py"), verb, *arguments, str(unfinished)])
        unfinished.rename(path)
    return path


def _unfinished(path: Path) -> Path:
    """An empty place beside the path."""
    unfinished = path.with_name(f"unfinished-{path.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.unlink(missing_ok=True)
    return unfinished


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:8]
