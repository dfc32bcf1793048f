"""A model ready to run: weights found, opened, understood and checked against what was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vggcli.errors import MismatchError, WeightsError
from vggcli.images.recipe import IMAGENET, Recipe
from vggcli.network import labels, zoo
from vggcli.network.layers import Architecture, Shape
from vggcli.weights import dialects, key_mapping, state_dict, store
from vggcli.weights.checkpoint import Checkpoint, Tensor, open_checkpoint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEMO_FILE = Path(__file__).resolve().parent.parent / "demo" / "digits.safetensors"
_LARGEST_SIZE = 1024  # a file of nothing but expanded tensors could ask for any
_SHOWN = 3  # keys quoted in an error; `vgg inspect` lists them all


@dataclass(frozen=True)
class Model:
    """Weights and the network that they belong to.

    Attributes:
        variant: zoo name.
        path: the weights file.
        reading: dialect, architecture and where each tensor is.
        labels: class names in index order.
        recipe: from an RGB image to the input.
        notes: what the user should know about the file, one sentence each.
    """

    variant: str
    path: Path
    reading: key_mapping.KeyMapping
    labels: tuple[str, ...]
    recipe: Recipe
    notes: tuple[str, ...]
    _tensors: Mapping[str, Tensor] = field(repr=False)
    _checkpoint: Checkpoint = field(repr=False)

    @property
    def architecture(self) -> Architecture:
        return self.reading.architecture

    @property
    def name(self) -> str:
        """The weights as shown to people: the file's name, or what the demo is."""
        return f"demo ({zoo.DEMO_WHAT})" if self.path == DEMO_FILE else self.path.name

    def array(self, key: str) -> NDArray[np.float32]:
        """The tensor of a canonical key, float32 in the network's shape; a view of the mapped file where it can be."""
        shape: Shape = self.architecture.tensors()[key]
        array: NDArray[np.float32] = self._tensors[self.reading.sources[key]].float32().reshape(shape)
        return array

    def check_numbers(self) -> None:
        """Refuse weights with NaN or infinite values: an engine may turn them into finite, wrong probabilities.

        Reads every weight once, about 0.1 s for half a GB in the page cache.

        Raises:
            MismatchError: names the tensors.
        """
        import numpy as np

        not_finite = []
        for key, source in self.reading.sources.items():
            array = self.array(key)
            # One pass without a temporary array; only a sum that is not finite is worth a closer look.
            with np.errstate(over="ignore", invalid="ignore"):
                is_finite = np.isfinite(array.sum())
            if not is_finite and not np.isfinite(array).all():
                not_finite.append(source)
        if not_finite:
            more = f" and {len(not_finite) - _SHOWN} more" if len(not_finite) > _SHOWN else ""
            raise MismatchError(
                "cannot classify with",
                str(self.path),
                f"NaN or infinite values in {', '.join(not_finite[:_SHOWN])}{more}",
                "Its training diverged or the file is damaged; `vgg inspect --stats` lists every tensor",
            )

    def forget_pages(self) -> None:
        """Let the memory of the mapped file go, for an engine that has made its own copy of the weights."""
        self._checkpoint.forget_pages()

    def close(self) -> None:
        """Let go of the file; arrays handed out stay valid."""
        self._checkpoint.close()


def locate(weights: str | None, arch: str | None, options: store.FetchOptions) -> Path:
    """The weights file that a command line means, fetched if it must be.

    Args:
        weights: a path, "demo", the name of a published file or of a variant; None for the variant's ImageNet weights.
        arch: the variant asked for; None for what the weights say.

    Raises:
        UsageError: no such variant.
        WeightsError: no such file; DownloadError: it cannot be fetched.
    """
    if weights is None:
        weights = zoo.variant(arch or zoo.DEFAULT_VARIANT).name
    elif os.path.lexists(weights) and weights != zoo.DEMO and not _is_folder_named_as(weights):
        return Path(weights)
    if weights == zoo.DEMO:
        return DEMO_FILE
    row = zoo.VARIANTS.get(weights)
    file = row.weights if row else zoo.published(weights)
    if file is None:
        near = f"Give a file, {zoo.DEMO}, or the name of a variant such as {zoo.DEFAULT_VARIANT}"
        raise WeightsError("cannot read weights", weights, "there is no such file", near)
    if file.refusal:
        raise MismatchError("cannot classify with", file.name, file.refusal, f"Use {file.variant}'s own weights")
    return store.fetch(file.url, file.sha256_prefix, options)


def _is_folder_named_as(variant: str) -> bool:
    """A folder `vgg16`, of results say, is no weights file; then the variant is meant."""
    return variant in zoo.VARIANTS and os.path.isdir(variant)


def open_model(
    path: Path, arch: str | None = None, labels_path: str | None = None, *, what: str = "cannot classify with"
) -> Model:
    """Open a weights file and make sure that it is a whole VGG, and the one asked for.

    Raises:
        CheckpointError: the file cannot be read.
        MismatchError: it is no VGG, another one than `arch`, or lacks tensors.
        UsageError: `arch` is unknown, or the labels do not fit.
    """
    asked = zoo.variant(arch) if arch else None
    file = zoo.published(path.name)
    if file is not None and file.refusal:
        raise MismatchError(
            what, str(path), file.refusal, f"Use {file.variant}'s own weights: vgg download {file.variant}"
        )
    checkpoint = open_checkpoint(path)
    try:
        weights = state_dict.find(checkpoint)
        if weights is None:
            raise MismatchError(what, str(path), "it holds no named tensors", f"See `vgg inspect {path}`")
        variant, reading = _checked(read(weights), asked, path, what)
        own = labels.in_checkpoint(checkpoint.root, checkpoint.metadata)
        names = labels.for_model(reading.architecture.num_classes, labels_path, own)
    except BaseException:
        checkpoint.close()
        raise
    return Model(
        variant.name,
        path,
        reading,
        names,
        _recipe(reading),
        notes(reading, variant.name, weights),
        weights.tensors,
        checkpoint,
    )


def read(weights: state_dict.StateDict) -> key_mapping.KeyMapping | None:
    """What VGG a state_dict is, None when it is none."""
    shapes = {key: tensor.shape for key, tensor in weights.tensors.items()}
    return key_mapping.read(shapes, [row.architecture for row in zoo.VARIANTS.values()])


def _recipe(reading: key_mapping.KeyMapping) -> Recipe:
    architecture = reading.architecture
    return IMAGENET if architecture.adaptive else IMAGENET.with_size(architecture.native_size)


def _checked(
    reading: key_mapping.KeyMapping | None, asked: zoo.Variant | None, path: Path, what: str
) -> tuple[zoo.Variant, key_mapping.KeyMapping]:
    """The variant of a reading that can be run; MismatchError says what stands against it."""
    see = f"`vgg inspect {path}` lists what it holds"
    if reading is None:
        raise MismatchError(what, str(path), "its keys are those of no VGG layout that vgg knows", see)
    found = zoo.of_architecture(reading.architecture)
    size = reading.architecture.native_size
    if not reading.architecture.adaptive and size > _LARGEST_SIZE:
        why = f"its classifier is for images of {size} pixels a side, and vgg takes {_LARGEST_SIZE} at most"
        raise MismatchError(what, str(path), why, see)
    if reading.features_only:
        why = f"it holds the convolutions of {found.name if found else 'a VGG'} and no classifier, so it has no classes"
        next_step = f"Use weights with a classifier, e.g. those of `vgg download {zoo.DEFAULT_VARIANT}`"
        raise MismatchError(what, str(path), why, next_step)
    if asked is not None and found is not None and found is not asked:
        why = f"it holds {found.name}, not {asked.name}"
        raise MismatchError(what, str(path), why, f"Leave --arch out, or say --arch {found.name}")
    if found is None or not reading.fits:
        name = found.name if found else "any VGG of the zoo"
        raise MismatchError(what, str(path), f"it does not fit {name}: {differences(reading)}", see)
    return found, reading


def differences(reading: key_mapping.KeyMapping) -> str:
    """What keeps a file from being the network, in one clause."""
    parts = []
    for count, what in ((reading.missing, "missing"), (reading.unexpected, "unexpected")):
        if count:
            more = f" and {len(count) - _SHOWN} more" if len(count) > _SHOWN else ""
            parts.append(f"{what} {', '.join(count[:_SHOWN])}{more}")
    if reading.misshapen:
        key, has, wants = reading.misshapen[0]
        more = f" and {len(reading.misshapen) - 1} more" if len(reading.misshapen) > 1 else ""
        parts.append(f"{key} is {list(has)} where {list(wants)} belongs{more}")
    widths = [list(stage) for stage in reading.architecture.stages]
    return "; ".join(parts) or f"its stages have the widths {widths}"


def notes(reading: key_mapping.KeyMapping, variant: str, weights: state_dict.StateDict) -> tuple[str, ...]:
    """What a person should know about a file that is otherwise fine."""
    found = []
    if reading.dialect is dialects.STAGED and variant.startswith("vgg11"):
        found.append(
            "the stages are those of VGG-11 (1, 1, 2, 2, 2); a widely copied tutorial calls this network VGG_13, "
            "whose stages are 2, 2, 2, 2, 2"
        )
    if not reading.architecture.adaptive and reading.architecture.native_size != 224:
        size = reading.architecture.native_size
        found.append(f"its classifier takes {size}x{size} images, so images are resized to that")
    if weights.others:
        others = ", ".join("/".join(other) for other in weights.others)
        found.append(
            f"the weights under {'/'.join(weights.wrapper) or 'the top level'} are used; there are also {others}"
        )
    return tuple(found)
