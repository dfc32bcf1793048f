"""Opening a weights file: read, understood, and checked against what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vggcli.errors import MismatchError
from vggcli.network import labels, zoo
from vggcli.network.architecture import Architecture
from vggcli.weights import class_names, neighbours, parametrized, recipes, state_dict
from vggcli.weights.checkpoint import Checkpoint, open_checkpoint
from vggcli.weights.checkpoint.problems import cut
from vggcli.weights.description import notes
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.model import Model
from vggcli.weights.origin import Origin
from vggcli.weights.reading import reading as reader
from vggcli.weights.reading.problem import BrokenChainError
from vggcli.weights.reading.reading import Reading

if TYPE_CHECKING:
    from vggcli.weights.int8 import Quantization
    from vggcli.weights.model import AnyWeights

_PAPER_HIDDEN = 4096  # features of fc6 and fc7


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
            tensors, done, found, quantization = read(weights, checkpoint)
        except BrokenChainError as problem:
            see = f"`vgg inspect {path}` lists what it holds"
            raise MismatchError(what, str(path), problem.why, problem.next_step or see) from None
        if quantization is not None:
            from vggcli.weights import int8_file

            int8_file.check(checkpoint, weights.tensors)
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
        quantization,
    )


def read(
    weights: state_dict.StateDict, checkpoint: Checkpoint
) -> tuple[Mapping[str, AnyWeights], tuple[str, ...], Reading, Quantization | None]:
    """What network a state_dict is: its tensors, what was done to them in words, the reading, and how it is in int8.

    Args:
        weights: the state_dict.
        checkpoint: around it; programs that prune keep the list of widths and pools in it, `vgg quantize` all layers.

    Raises:
        BrokenChainError: it is none.
        CheckpointError: it is a damaged file of `vgg quantize`.
    """
    if state_dict.INT8 in checkpoint.metadata:
        from vggcli.weights import int8_file

        found, reading, quantization = int8_file.read(checkpoint, weights.tensors)
        return found, quantization.notes, reading, quantization
    root = checkpoint.root
    if weights.rivals:
        places = " and ".join("/".join(map(cut, rival)) for rival in weights.rivals[:2])
        more = f" and {len(weights.rivals) - 2} more" if len(weights.rivals) > 2 else ""
        why = f"it holds {len(weights.rivals)} networks, {places}{more}, and nothing says which one is meant"
        raise BrokenChainError(why, "Save the one that is meant in a file of its own")
    tensors, done = parametrized.resolved(weights.tensors)
    rows = root.get("cfg") if isinstance(root, Mapping) else None
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    return tensors, done, reader.read(shapes, rows, weights.hints), None


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
