"""What a weights file holds: keys, shapes, types, and which VGG it is; without loading torch or reading the weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vggcli.errors import MismatchError, UsageError
from vggcli.images.recipe import Recipe
from vggcli.network import labels, zoo
from vggcli.network.architecture import Architecture
from vggcli.web.urls import shown
from vggcli.weights import class_names, description, opening, state_dict, trained
from vggcli.weights.checkpoint import Checkpoint, Tensor, foreign_names, open_checkpoint, read_checkpoint
from vggcli.weights.checkpoint.pickle.refusals import listed
from vggcli.weights.comparison import Comparison, compare
from vggcli.weights.locate import DEMO_FILE, file_in
from vggcli.weights.reading.problem import BrokenChainError
from vggcli.weights.reading.reading import Reading
from vggcli.weights.trained import Trained

if TYPE_CHECKING:
    from vggcli.weights.int8 import Quantization


@dataclass(frozen=True)
class Statistics:
    """Of one tensor's finite values; NaN where it has none."""

    minimum: float
    maximum: float
    mean: float
    std: float
    nan: int
    inf: int


@dataclass(frozen=True)
class Inspection:
    """What a weights file turned out to be.

    Attributes:
        path: path, or the URL as it may be shown.
        format: "zip", "legacy" or "safetensors".
        size: bytes of the file.
        tensors: key to tensor, in the file's order; each has `shape`, `dtype`, `numel` and `nbytes`.
        wrapper: where the tensors lie in the file, e.g. ("state_dict",); empty when the file is the state_dict itself.
        reading: the network, and which tensor is which of it; None when no network can be read.
        problem: why none can be read, a clause without a full stop; empty where one was.
        variant: name of the variant with these convolutions, e.g. "vgg16_bn"; None when there is none.
        labels: the class names that the file carries; None without.
        recipe: how images are brought to the network's input, and who says so; None when it is no VGG.
        notes: what should be known, one sentence each.
        statistics: by key, where they were asked for.
        quantization: what a file of `vgg quantize` says of itself; None for all others.
        trained: what a file of `vgg finetune` says of itself; None for all others.
    """

    path: str
    format: str
    size: int
    tensors: Mapping[str, Tensor]
    wrapper: tuple[str, ...]
    reading: Reading | None
    problem: str
    variant: str | None
    labels: tuple[str, ...] | None
    recipe: Recipe | None
    notes: tuple[str, ...]
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    quantization: Quantization | None = None
    trained: Trained | None = None

    @property
    def architecture(self) -> Architecture | None:
        """The network that keys and shapes describe; None when they describe none."""
        return self.reading.architecture if self.reading else None

    @property
    def classes(self) -> int | None:
        """Width of the last layer; None without one."""
        return self.reading.architecture.num_classes or None if self.reading else None

    @property
    def chain(self) -> str | None:
        """The network in one line, e.g. "3 > 64 M 128 M (relu) > 7x7 > 4096 relu 10"; None when it is no VGG."""
        return description.chain(self.reading.architecture) if self.reading else None

    def compared_with(self, variant: str) -> Comparison | None:
        """The file held against a variant, differences and all; None when its keys are those of no VGG.

        Raises:
            UsageError: no such variant.
        """
        shapes = {key: tensor.shape for key, tensor in self.tensors.items()}
        return compare(shapes, self.reading, zoo.variant(variant).architecture)


def is_url(name: str) -> bool:
    """Whether this names a file on a web server."""
    return name.lower().startswith(("http://", "https://"))


def inspect(path: str | os.PathLike[str], *, stats: bool = False) -> Inspection:
    """Look into a weights file; nothing in it is run, and its numbers are read only for `stats`.

    Args:
        path: a file, a model folder, "demo", or an http(s) URL, of which only the parts that describe the tensors are
            fetched.
        stats: compute the range of every tensor and count NaN and infinite values.

    Raises:
        CheckpointError: the file cannot be read; ForbiddenError: it asks for code, which was not run.
        MismatchError: it holds no named tensors.
        DownloadError: the URL cannot be read.
        UsageError: statistics of a URL.

    Examples:
        >>> import vggcli
        >>> found = vggcli.inspect("demo")
        >>> found.format, found.variant, found.classes, found.tensors["features.0.weight"].shape
        ('safetensors', 'demo', 10, (8, 3, 3, 3))
    """
    name = os.fsdecode(path)
    if is_url(name):
        if stats:
            raise UsageError("cannot check the weights of", shown(name), "they are not here", "Download the file first")
        from vggcli.weights.download.remote import RemoteSource

        with closing(RemoteSource(name)) as source:
            return _inspection(read_checkpoint(source), None, stats=False)
    file = DEMO_FILE if name == zoo.DEMO else file_in(Path(name))
    with open_checkpoint(file) as checkpoint:
        return _inspection(checkpoint, file, stats=stats)


def _inspection(checkpoint: Checkpoint, path: Path | None, *, stats: bool) -> Inspection:
    found = state_dict.find(checkpoint)
    if found is None:
        raise MismatchError("nothing to list in", checkpoint.path, "it holds no named tensors")
    reading, problem, quantization = None, "", None
    notes: tuple[str, ...] = ()
    try:
        _, done, reading, quantization = opening.read(found, checkpoint)
    except BrokenChainError as broken:
        done, problem = (), broken.why
    try:
        own = class_names.in_checkpoint(checkpoint, reading.architecture.num_classes if reading else None)
    except labels.UnusableError as unusable:
        own, notes = None, (f"its class names cannot be used: {unusable}",)
    foreign = foreign_names(checkpoint.root)
    if foreign:
        notes += (f"objects in it are kept as data, and none was made or run: {listed(foreign)}",)
    published = zoo.published(Path(checkpoint.path).name)
    if published is not None and published.refusal:
        notes += (f"predict refuses it: {published.refusal}",)
    notes += done
    variant = zoo.of_architecture(reading.architecture) if reading else None
    recipe = None
    if reading is not None:
        notes += description.notes(reading, variant.name if variant else None, found)
        choice = opening.choose_recipe(opening.origin_of(checkpoint, found, reading, path), reading)
        recipe = choice.recipe
        notes += choice.notes
    return Inspection(
        path=checkpoint.path,
        format=checkpoint.format,
        size=checkpoint.size,
        tensors=found.tensors,
        wrapper=found.wrapper,
        reading=reading,
        problem=problem,
        variant=variant.name if variant else None,
        labels=own,
        recipe=recipe,
        notes=notes,
        statistics=_all_statistics(found.tensors) if stats else {},
        quantization=quantization,
        trained=trained.find(checkpoint.root),
    )


def statistics(tensor: Tensor) -> Statistics:
    """Range, mean and spread of a tensor's finite values, and how many are not.

    Takes memory for a block of the numbers, however many the tensor has: a tensor of a few bytes may repeat them.
    """
    import numpy as np

    count = nan = infinite = 0
    minimum, maximum, total = float("inf"), float("-inf"), 0.0
    # Sums in double precision: half a GB of fp32 would drift.  Squares of the largest doubles overflow all the same.
    with np.errstate(over="ignore", invalid="ignore"):
        for values in tensor.blocks():
            finite = values[np.isfinite(values)]
            here_nan = int(np.isnan(values).sum())
            nan, infinite = nan + here_nan, infinite + values.size - finite.size - here_nan
            if finite.size:
                count += finite.size
                minimum, maximum = min(minimum, float(finite.min())), max(maximum, float(finite.max()))
                total += float(finite.sum(dtype=np.float64))
        if not count:
            none = float("nan")
            return Statistics(none, none, none, none, nan, infinite)
        mean, squares = total / count, 0.0
        for values in tensor.blocks():
            finite = values[np.isfinite(values)]
            squares += float(np.square(np.subtract(finite, mean, dtype=np.float64)).sum())
    return Statistics(minimum, maximum, mean, (squares / count) ** 0.5, nan, infinite)


def _all_statistics(tensors: Mapping[str, Tensor]) -> dict[str, Statistics]:
    """By key; a tensor that stands under many keys is read once."""
    found = {tensor: statistics(tensor) for tensor in dict.fromkeys(tensors.values())}
    return {key: found[tensor] for key, tensor in tensors.items()}
