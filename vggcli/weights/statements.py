"""Who says something of a weights file's preprocessing: the person, the checkpoint, its neighbours, its identity."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vggcli.errors import UsageError
from vggcli.images.recipe import FIELDS, RECIPES, WITHOUT_SIZE, Recipe, is_number
from vggcli.images.recipe_files import FORM, Stated, activation_in, stated_in
from vggcli.json_reader import MOST_BYTES_WITH_NAMES, parse_json, read_json, why_unread
from vggcli.weights.checkpoint import Tensor
from vggcli.weights.neighbours import CONFIG, PROCESSOR
from vggcli.weights.origin import Origin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MEAN = re.compile(r"(?:.*\.)?(?:_|pixel_|image_|input_)?mean\Z")
_SIZES = ("input_size", "img_size", "image_size", "imgsz", "size")  # of images, among settings
_LARGEST_UNIT = 2.0  # means and deviations beyond it are of values in 0..255


class Statement(NamedTuple):
    """What somebody says of a recipe.

    Attributes:
        source: see `Recipe.source`.
        read: gives the fields that are stated; UsageError where they cannot be.
        where: who it is, for messages.
        yields: the stated size gives way to the one that the network is built for.
    """

    source: str
    read: Callable[[], Stated | None]
    where: str = ""
    yields: bool = False


def statements(origin: Origin, recipe: str | Recipe | None) -> Iterator[Statement]:
    """In the order in which they count."""
    if recipe is not None:
        yield _of_option(recipe)
    for document in _documents(origin):
        yield Statement("file", partial(stated_in, document), "the recipe in the checkpoint")
    yield Statement("file", lambda: _in_buffers(origin.tensors), "what its mean and std say")
    for name, neighbour in ((PROCESSOR, origin.beside.processor), (CONFIG, origin.beside.config)):
        if neighbour is not None:
            yield Statement("config", partial(stated_in, neighbour), f"{name} beside it")
    if origin.identity:
        yield Statement("published", lambda: stated_by(RECIPES[origin.identity]), yields=True)
    yield Statement("assumed", dict)


def _of_option(recipe: str | Recipe) -> Statement:
    if isinstance(recipe, Recipe):
        return Statement("option", lambda: stated_by(recipe) | {"activation": recipe.activation})
    if recipe in RECIPES:
        fields = stated_by(RECIPES[recipe])
        if recipe in WITHOUT_SIZE:
            del fields["size"]
        return Statement("option", lambda: fields, yields=True)
    return Statement("option", lambda: _in_file(recipe))


def _in_file(name: str) -> Stated:
    """A recipe file of the user's."""
    known = f"Known are {', '.join(RECIPES)}, and JSON files"
    if not name.endswith(".json") and not os.path.isfile(name):
        raise UsageError("unknown recipe", name, "no recipe has that name, and no file", known)
    try:
        document = read_json(Path(name), MOST_BYTES_WITH_NAMES)
    except (OSError, ValueError) as error:
        raise UsageError("cannot read", name, why_unread(error)) from error
    try:
        stated = stated_in(document)
    except UsageError as error:
        raise UsageError("cannot use the recipe", name, str(error).rstrip(".")) from error
    if stated is None:
        raise UsageError("cannot use the recipe", name, "it says nothing of preprocessing", f"It holds {FORM}")
    return stated


def _documents(origin: Origin) -> Iterator[object]:
    """What lies in the checkpoint under a recipe's customary names."""
    for holder in (origin.metadata, origin.root, *_inner(origin.root)):
        if not isinstance(holder, Mapping):
            continue
        for key in ("recipe", "pretrained_cfg", "default_cfg"):
            document = _parsed(holder.get(key))
            if isinstance(document, Mapping):
                yield document if key == "recipe" else {"pretrained_cfg": document}
        plain = _plain(holder)
        if plain is not None:
            yield plain


def _plain(holder: Mapping[Any, Any]) -> Stated | None:
    """The mean and std that a program keeps among its settings, a number for each channel, and the size of its images.

    A single number may as well be an accuracy's.
    """
    mean, std = (_channels(holder.get(name)) for name in ("mean", "std"))
    if mean is None or std is None or len(mean) != len(std):
        return None
    stated: Stated = {"mean": mean, "std": std, "value_range": 255 if max(*mean, *std) > _LARGEST_UNIT else 1}
    sizes = (holder.get(name) for name in _SIZES)
    size = next((size[-1] if isinstance(size, list | tuple) and size else size for size in sizes if size), None)
    return stated | {"size": size} if isinstance(size, int) else stated


def _channels(value: object) -> tuple[float, ...] | None:
    """The numbers of one or three channels in a list, a tuple or a tensor; None for anything else."""
    if isinstance(value, Tensor) and value.numel in (1, 3) and value.shape:
        return _shortest(value.float32())
    if isinstance(value, list | tuple) and len(value) in (1, 3) and all(map(is_number, value)):
        return tuple(map(float, value))
    return None


def _inner(root: object) -> list[object]:
    """The dicts in the root, but for those of tensors: settings lie there."""
    if not isinstance(root, Mapping):
        return []
    return [value for value in root.values() if isinstance(value, Mapping)]


def _parsed(value: object) -> object:
    # safetensors metadata holds only strings, so objects travel in it as JSON.
    if isinstance(value, str) and value[:1] == "{":
        try:
            return parse_json(value, MOST_BYTES_WITH_NAMES)
        except ValueError:
            return None
    return value


def _in_buffers(tensors: Mapping[str, Tensor]) -> Stated | None:
    """The mean and deviation that a network subtracts and divides by itself, kept as buffers."""
    for key, tensor in tensors.items():
        prefix = _MEAN.match(key)
        if prefix is None:
            continue
        other = tensors.get(f"{key.removesuffix('mean')}std")
        if other is None or not {tensor.numel, other.numel} <= {1, 3}:
            continue
        mean, std = (_shortest(buffer.float32()) for buffer in (tensor, other))
        value_range = 255 if max(*mean, *std) > _LARGEST_UNIT else 1
        return {"mean": mean, "std": std, "value_range": value_range}
    return None


def _shortest(values: NDArray[np.float32]) -> tuple[float, ...]:
    """The shortest decimals of single-precision numbers: 0.485 and not 0.48500001430511475."""
    return tuple(float(str(value)) for value in values.ravel())


def activation(origin: Origin) -> str | None:
    """What the logits are for, as far as the file or its neighbour say."""
    for holder in (origin.metadata, origin.root, *_inner(origin.root), origin.beside.config):
        said = activation_in(holder)
        if said:
            return said
    return None


def stated_by(recipe: Recipe) -> Stated:
    """Those of a recipe that say how images are prepared."""
    return {name: getattr(recipe, name) for name in FIELDS if name != "activation"}
