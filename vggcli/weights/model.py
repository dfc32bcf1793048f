"""A model ready to run: a weights file opened, understood and checked against what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vggcli.errors import MismatchError
from vggcli.images.recipe import LARGEST_SIZE, Recipe
from vggcli.network import labels, zoo
from vggcli.network.layers import Architecture, Shape
from vggcli.weights import key_mapping, neighbours, recipes, state_dict
from vggcli.weights.checkpoint import Checkpoint, Tensor, open_checkpoint
from vggcli.weights.description import differences, first_few, notes
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.statements import WeightsFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FLOAT32_BYTES = 4
_LARGEST_GROWTH = 8  # of a file's bytes to float32 weights: four for int8, twice where tensors are tied
_ALWAYS_BYTES = 64 << 20


@dataclass(frozen=True)
class Model:
    """Weights and the network that they belong to; several engines and threads may read it at once.

    Attributes:
        variant: zoo name.
        path: the weights file.
        mapping: dialect, architecture and where each tensor is.
        labels: class names in index order; two where a single logit decides between them.
        recipe: from an image to the input, and from logits to probabilities.
        warning: what had to be assumed of the recipe, one sentence that must be said; empty when nothing had.
        notes: what the user should know about the file, one sentence each.
    """

    variant: str
    path: Path
    mapping: key_mapping.KeyMapping
    labels: tuple[str, ...]
    recipe: Recipe
    warning: str
    notes: tuple[str, ...]
    _tensors: Mapping[str, Tensor] = field(repr=False)
    _checkpoint: Checkpoint = field(repr=False)

    @property
    def architecture(self) -> Architecture:
        return self.mapping.architecture

    @property
    def name(self) -> str:
        """The weights as shown to people: the file's name, or "demo"."""
        return zoo.DEMO if self.path == DEMO_FILE else self.path.name

    @property
    def has_independent_labels(self) -> bool:
        """Whether several classes, or none, may be those of an image: a sigmoid each, but not one for two classes."""
        return self.recipe.activation == "sigmoid" and len(self.labels) == self.architecture.num_classes

    def array(self, key: str) -> NDArray[np.float32]:
        """The tensor of a canonical key, float32 in the network's shape; a view of the mapped file where it can be.

        Raises:
            CheckpointError: the model was closed, or the file became shorter.
            MismatchError: the network's weights take many times the bytes of the file.
        """
        self._check_size()
        shape: Shape = self.architecture.tensors()[key]
        array: NDArray[np.float32] = self._tensors[self.mapping.sources[key]].float32().reshape(shape)
        return array

    def _check_size(self) -> None:
        """Refuse a few bytes that stand for gigabytes: an engine would have to lay out every number."""
        size = self._checkpoint.size
        needed = sum(self._tensors[key].numel for key in self.mapping.sources.values()) * _FLOAT32_BYTES
        if needed > _LARGEST_GROWTH * size + _ALWAYS_BYTES:
            why = f"its tensors repeat the same few numbers: {needed:,} bytes of weights in a file of {size:,}"
            raise MismatchError("cannot classify with", str(self.path), why, "Save each tensor with clone()")

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Every tensor of the network that the file has, by canonical key."""
        return {key: self.array(key) for key in self.mapping.sources}

    def check_numbers(self) -> None:
        """Refuse weights with NaN or infinite values: an engine may turn them into finite, wrong probabilities.

        Reads every weight once, about 0.1 s for half a GB in the page cache.

        Raises:
            MismatchError: names the tensors.
        """
        import numpy as np

        not_finite = []
        for key, source in self.mapping.sources.items():
            array = self.array(key)
            # One pass without a temporary array; only a sum that is not finite is worth a closer look.
            with np.errstate(over="ignore", invalid="ignore"):
                is_finite = np.isfinite(array.sum())
            if not is_finite and not np.isfinite(array).all():
                not_finite.append(source)
        if not_finite:
            raise MismatchError(
                "cannot classify with",
                str(self.path),
                f"NaN or infinite values in {first_few(not_finite)}",
                "Its training diverged or the file is damaged; `vgg inspect --stats` lists every tensor",
            )

    def forget_pages(self) -> None:
        """Let the memory of the mapped file go, for an engine that has made its own copy of the weights.

        An engine that reads them in place only has its pages read from the file again.
        """
        self._checkpoint.forget_pages()

    def close(self) -> None:
        """Let go of the file; arrays handed out stay valid, `array` gives no more of them."""
        self._checkpoint.close()


def open_model(
    path: Path,
    arch: str | None = None,
    labels_path: str | None = None,
    recipe: recipes.RecipeOptions | None = None,
    *,
    what: str = "cannot classify with",
) -> Model:
    """Open a weights file and make sure that it is a whole VGG, and the one asked for.

    Raises:
        CheckpointError: the file cannot be read.
        MismatchError: it is no VGG, another one than `arch`, or lacks tensors.
        UsageError: `arch` is unknown, or the labels or the recipe do not fit.
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
        variant, mapping = _checked(read(weights), asked, path, what)
        own = None if labels_path else _own_labels(checkpoint, path, what)
        names = labels.for_model(mapping.architecture.num_classes, labels_path, own)
        choice = choose_recipe(checkpoint, weights, mapping, path, recipe)
    except BaseException:
        checkpoint.close()
        raise
    return Model(
        variant.name,
        path,
        mapping,
        names,
        choice.recipe,
        choice.warning,
        notes(mapping, variant.name, weights) + choice.notes,
        weights.tensors,
        checkpoint,
    )


def _own_labels(checkpoint: Checkpoint, path: Path, what: str) -> tuple[str, ...] | None:
    """The class names that the file carries.

    Raises:
        MismatchError: they are no names of classes.
    """
    try:
        return labels.in_checkpoint(checkpoint.root, checkpoint.metadata)
    except labels.UnusableError as error:
        why = f"its class names cannot be used: {error}"
        raise MismatchError(what, str(path), why, "Give the names with --labels FILE, one a line") from error


def read(weights: state_dict.StateDict) -> key_mapping.KeyMapping | None:
    """What VGG a state_dict is, None when it is none."""
    return key_mapping.read(weights.shapes, [row.architecture for row in zoo.VARIANTS.values()])


def choose_recipe(
    checkpoint: Checkpoint,
    weights: state_dict.StateDict,
    mapping: key_mapping.KeyMapping,
    path: Path | None,
    options: recipes.RecipeOptions | None = None,
) -> recipes.Choice:
    """How images are brought to the network's input.

    Args:
        path: of the file; None when it is not on this machine, and so has no neighbours.

    Raises:
        UsageError: an option cannot be, or does not fit the network.
    """
    architecture = mapping.architecture
    network = recipes.NetworkInput(
        size=224 if architecture.adaptive else architecture.native_size,
        takes_any=architecture.adaptive,
        smallest=1 << len(architecture.stages),
        classes=mapping.num_classes or 0,
    )
    beside = neighbours.Neighbours()
    if path is not None and path != DEMO_FILE:
        beside = neighbours.find(path, mapping.num_classes, architecture)
    file = WeightsFile(path, checkpoint.root, checkpoint.metadata, weights.tensors, beside)
    return recipes.choose(file, network, options)


def _checked(
    mapping: key_mapping.KeyMapping | None, asked: zoo.Variant | None, path: Path, what: str
) -> tuple[zoo.Variant, key_mapping.KeyMapping]:
    """The variant of a mapping that can be run; MismatchError says what stands against it."""
    see = f"`vgg inspect {path}` lists what it holds"
    if mapping is None:
        raise MismatchError(what, str(path), "its keys are those of no VGG layout that vgg knows", see)
    found = zoo.of_architecture(mapping.architecture)
    size = mapping.architecture.native_size
    if not mapping.architecture.adaptive and size > LARGEST_SIZE:
        why = f"its classifier is for images of {size} pixels a side, and vgg takes {LARGEST_SIZE} at most"
        raise MismatchError(what, str(path), why, see)
    if mapping.features_only:
        why = f"it holds the convolutions of {found.name if found else 'a VGG'} and no classifier, so it has no classes"
        next_step = f"Use weights with a classifier, e.g. those of `vgg download {zoo.DEFAULT_VARIANT}`"
        raise MismatchError(what, str(path), why, next_step)
    if asked is not None and found is not None and found is not asked:
        why = f"it holds {found.name}, not {asked.name}"
        raise MismatchError(what, str(path), why, f"Leave --arch out, or say --arch {found.name}")
    if found is None or not mapping.fits:
        name = found.name if found else "any VGG of the zoo"
        raise MismatchError(what, str(path), f"it does not fit {name}: {differences(mapping)}", see)
    return found, mapping
