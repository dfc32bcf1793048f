"""A model ready to run: a weights file opened, understood and checked against what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vggcli.errors import MismatchError
from vggcli.images.recipe import Recipe
from vggcli.network import labels, zoo
from vggcli.network.architecture import Architecture
from vggcli.network.layers import Shape
from vggcli.weights import class_names, neighbours, parametrized, recipes, state_dict
from vggcli.weights.checkpoint import Checkpoint, open_checkpoint
from vggcli.weights.checkpoint.problems import cut
from vggcli.weights.description import first_few, notes
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.origin import Origin
from vggcli.weights.parametrized import AnyTensor
from vggcli.weights.reading import reading as reader
from vggcli.weights.reading.problem import BrokenChainError
from vggcli.weights.reading.reading import Reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vggcli.weights.agreement_report import AgreementReport

_FLOAT32_BYTES = 4
_LARGEST_GROWTH = 8  # of a file's bytes to float32 weights: four for int8, twice where tensors are tied
_ALWAYS_BYTES = 64 << 20
_PAPER_HIDDEN = 4096  # features of fc6 and fc7


@dataclass(frozen=True)
class Model:
    """Weights and the network that they belong to; several engines and threads may read it at once.

    Attributes:
        variant: zoo name, or what the network has where the zoo has none such, e.g. "VGG of 17+1 layers".
        path: the weights file.
        reading: layout, architecture, where each tensor is, and the size of its images.
        labels: class names in index order; two where a single logit decides between them.
        recipe: from an image to the input, and from logits to probabilities.
        warning: what had to be assumed of the recipe, one sentence that must be said; empty when nothing had.
        notes: what the user should know about the file, one sentence each.
        has_names: somebody names the classes.
    """

    variant: str
    path: Path
    reading: Reading
    labels: tuple[str, ...]
    recipe: Recipe
    warning: str
    notes: tuple[str, ...]
    has_names: bool
    _tensors: Mapping[str, AnyTensor] = field(repr=False)
    _checkpoint: Checkpoint = field(repr=False)

    @property
    def architecture(self) -> Architecture:
        return self.reading.architecture

    @property
    def name(self) -> str:
        """The weights as shown to people: the file's name, or "demo"."""
        return zoo.DEMO if self.path == DEMO_FILE else self.path.name

    @property
    def has_independent_labels(self) -> bool:
        """Whether several classes, or none, may be those of an image: a sigmoid each, but not one for two classes."""
        return self.recipe.activation == "sigmoid" and len(self.labels) == self.architecture.num_classes

    @cached_property
    def bf16_report(self) -> AgreementReport | None:
        """What a report beside the file says of it in bf16; None without one.  Looked for at the first question."""
        from vggcli.weights import agreement_report

        return agreement_report.find(self.path, "bf16")

    def array(self, key: str) -> NDArray[np.float32]:
        """The tensor of a canonical key, float32 in the network's shape; a view of the mapped file where it can be.

        Raises:
            CheckpointError: the model was closed, or the file became shorter.
            MismatchError: the network's weights take many times the bytes of the file.
        """
        self._check_size()
        shape: Shape = self.architecture.tensors()[key]
        array: NDArray[np.float32] = self._tensors[self.reading.sources[key]].float32().reshape(shape)
        return array

    def _check_size(self) -> None:
        """Refuse a few bytes that stand for gigabytes: an engine would have to lay out every number."""
        size = self._checkpoint.size
        needed = sum(self._tensors[key].numel for key in self.reading.sources.values()) * _FLOAT32_BYTES
        if needed > _LARGEST_GROWTH * size + _ALWAYS_BYTES:
            why = f"its tensors repeat the same few numbers: {needed:,} bytes of weights in a file of {size:,}"
            raise MismatchError("cannot classify with", str(self.path), why, "Save each tensor with clone()")

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Every tensor of the network that the file has, by canonical key."""
        return {key: self.array(key) for key in self.reading.sources}

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
    needs_classifier: bool = True,
) -> Model:
    """Open a weights file and make sure that it is a whole VGG, and the one asked for.

    Args:
        path: the file.
        arch: the variant that it must be.
        labels_path: a file of class names.
        what: for errors, what is being done with it.
        needs_classifier: refuse a file of features only.

    Raises:
        CheckpointError: the file cannot be read.
        MismatchError: it is no VGG, or another one than `arch`.
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
        try:
            tensors, done, found = read(weights, checkpoint.root)
        except BrokenChainError as problem:
            see = f"`vgg inspect {path}` lists what it holds"
            raise MismatchError(what, str(path), problem.why, problem.next_step or see) from None
        found = found.for_size(recipe.pixels if recipe is not None else None)
        _check_variant(found, asked, path, what)
        origin = origin_of(checkpoint, weights, found, path)
        try:
            named = class_names.choose(origin, found.architecture.num_classes, labels_path)
        except labels.UnusableError as error:
            why = f"its class names cannot be used: {error}"
            raise MismatchError(what, str(path), why, "Give the names with --labels FILE, one a line") from error
        if needs_classifier:
            check_classifies(found, path, what, has_names=not named.are_numbers)
        choice = choose_recipe(origin, found, recipe)
    except BaseException:
        checkpoint.close()
        raise
    row = zoo.of_architecture(found.architecture)
    return Model(
        row.name if row else describe(found.architecture),
        path,
        found,
        named.names,
        choice.recipe,
        choice.warning,
        (*notes(found, row.name if row else None, weights), *done, *named.notes, *choice.notes),
        not named.are_numbers,
        tensors,
        checkpoint,
    )


def read(weights: state_dict.StateDict, root: object = None) -> tuple[dict[str, AnyTensor], tuple[str, ...], Reading]:
    """What network a state_dict is: its tensors, what was computed of them in words, and the reading.

    Args:
        weights: the state_dict.
        root: what the checkpoint holds; programs that prune keep the list of widths and pools in it.

    Raises:
        BrokenChainError: it is none.
    """
    if weights.rivals:
        places = " and ".join("/".join(map(cut, rival)) for rival in weights.rivals[:2])
        more = f" and {len(weights.rivals) - 2} more" if len(weights.rivals) > 2 else ""
        why = f"it holds {len(weights.rivals)} networks, {places}{more}, and nothing says which one is meant"
        raise BrokenChainError(why, "Save the one that is meant in a file of its own")
    tensors, done = parametrized.resolved(weights.tensors)
    rows = root.get("cfg") if isinstance(root, Mapping) else None
    return tensors, done, reader.read({key: tensor.shape for key, tensor in tensors.items()}, rows, weights.hints)


def describe(architecture: Architecture) -> str:
    """A network that the zoo has no name for, in words."""
    linears = f"+{len(architecture.linears)} layers" if architecture.linears else " convolutions"
    return f"VGG of {len(architecture.convolutions)}{linears}"


def origin_of(checkpoint: Checkpoint, weights: state_dict.StateDict, found: Reading, path: Path | None) -> Origin:
    """Where the recipe and the names of a file may stand.

    Args:
        path: of the file; None when it is not on this machine, and so has no neighbours.
    """
    beside = neighbours.Neighbours()
    if path is not None and path != DEMO_FILE:
        beside = neighbours.find(path, found.architecture.num_classes or None, found.architecture)
    return Origin(path, checkpoint.root, checkpoint.metadata, weights.tensors, beside)


def choose_recipe(origin: Origin, found: Reading, options: recipes.RecipeOptions | None = None) -> recipes.Choice:
    """How images are brought to the network's input.

    Raises:
        UsageError: an option cannot be, or does not fit the network.
    """
    architecture = found.architecture
    network = recipes.NetworkInput(
        size=found.size.pixels,
        channels=architecture.in_channels,
        takes_any=architecture.adaptive,
        smallest=architecture.smallest_size,
        classes=architecture.num_classes,
        guess=found.size.guess,
        ending=found.ending,
    )
    return recipes.choose(origin, network, options)


def check_classifies(found: Reading, path: Path, what: str = "cannot classify with", *, has_names: bool = True) -> None:
    """Refuse what gives features and no classes, with a MismatchError.

    That is a file without a classifier, and one whose classifier has lost its last layer: what is left gives as many
    numbers as it takes, or the 4096 of the paper, and nothing names them.
    """
    if found.features_only:
        why = f"it holds the convolutions of {_name(found)} and no classifier, so it has no classes"
        next_step = f"Use weights with a classifier, e.g. those of `vgg download {zoo.DEFAULT_VARIANT}`"
        raise MismatchError(what, str(path), why, next_step)
    linears = found.architecture.linears
    last = linears[-1]
    is_square = len(linears) > 1 and last.in_features == last.out_features
    if not has_names and (is_square or last.out_features == _PAPER_HIDDEN):
        key = found.sources[f"{last.key}.weight"].removesuffix(".weight")
        why = f"its last layer, {key}, gives {last.out_features:,} features and no classes: the layer behind it is gone"
        raise MismatchError(what, str(path), why, "If they are classes, name them with --labels FILE")


def _check_variant(found: Reading, asked: zoo.Variant | None, path: Path, what: str) -> None:
    """Refuse a network that is not the one asked for with a MismatchError."""
    row = zoo.of_architecture(found.architecture)
    if asked is not None and row is not asked:
        why = f"it holds {_name(found)}, not {asked.name}"
        say = f"Leave --arch out, or say --arch {row.name}" if row else "Leave --arch out"
        raise MismatchError(what, str(path), why, say)


def _name(found: Reading) -> str:
    row = zoo.of_architecture(found.architecture)
    return row.name if row else f"a {describe(found.architecture)}"
