"""Where a model's numbers come from: a file, what it holds besides them, what lies beside it, and who published it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from vggcli.network import zoo
from vggcli.weights import store
from vggcli.weights.checkpoint import Tensor
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.neighbours import Neighbours

# Conversions of the authors' Caffe networks, by the beginning of their SHA-256, which is in their published names too.
CAFFE_SHA256 = {"00b39a1b": "vgg16", "d01eb7cb": "vgg19"}


@dataclass(frozen=True)
class Origin:
    """Where recipes and names of classes may stand.

    Attributes:
        path: of the file; None when it is not on this machine.
        root, metadata: what the checkpoint holds.
        tensors: by key.
        beside: the documents next to it.
    """

    path: Path | None
    root: object
    metadata: Mapping[str, str]
    tensors: Mapping[str, Tensor]
    beside: Neighbours = field(default_factory=Neighbours)

    @property
    def name(self) -> str:
        return self.path.name if self.path is not None else "the file"

    @cached_property
    def identity(self) -> str:
        """The recipe of a file that somebody has published: "imagenet", "caffe", or "" for a file that is nobody's.

        What lies in the cache under a published name was verified when it got that name; elsewhere name and size tell,
        as hashing half a GB takes up to a second.  A file of a published size or of Caffe's under another name is
        hashed, once.
        """
        return "" if self.path is None else _identity(self.path)


def _identity(path: Path) -> str:
    if path == DEMO_FILE:
        return "imagenet"
    published, prefix = zoo.published(path.name), store.sha256_prefix_of(path.name) or ""
    is_caffe = prefix[:8] in CAFFE_SHA256
    in_cache = path.parent == store.cache_folder()
    if in_cache and (published or is_caffe):
        return "caffe" if is_caffe else "imagenet"
    has_size = _mib(path) in {row.size_mib for row in zoo.VARIANTS.values() if row.weights}
    if published and has_size:
        return "imagenet"
    if not (published or has_size or is_caffe):
        return ""
    digest = store.verify(path)
    if any(digest.startswith(prefix) for prefix in CAFFE_SHA256):
        return "caffe"
    return "imagenet" if any(digest.startswith(f.sha256_prefix) for f in zoo.WEIGHTS_FILES.values()) else ""


def _mib(path: Path) -> float:
    try:
        return round(path.stat().st_size / (1 << 20), 3)
    except OSError:
        return 0.0


def published_variant(path: Path) -> zoo.Variant | None:
    """The row of the zoo whose published weights a file holds, under whatever name; None for any other file.

    Only a file of a published size is hashed, and none in the cache, which was when it got its name.

    Raises:
        WeightsError: it cannot be read.
    """
    rows = [row for row in zoo.VARIANTS.values() if row.weights is not None]
    if path.parent == store.cache_folder():
        return next((row for row in rows if row.weights is not None and row.weights.name == path.name), None)
    size = _mib(path)
    rows = [row for row in rows if row.size_mib == size]
    digest = store.verify(path) if rows else ""
    return next((row for row in rows if row.weights and digest.startswith(row.weights.sha256_prefix)), None)
