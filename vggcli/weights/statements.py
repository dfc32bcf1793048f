"""Who says something of a weights file's preprocessing: the person, the checkpoint, its neighbours, its identity."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vggcli.errors import UsageError
from vggcli.images.recipe import FIELDS, RECIPES, WITHOUT_SIZE, Recipe, is_number
from vggcli.images.recipe_files import FORM, Stated, activation_in, read_json, stated_in
from vggcli.network import zoo
from vggcli.weights import store
from vggcli.weights.checkpoint import Tensor
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.neighbours import CONFIG, PROCESSOR, Neighbours

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Conversions of the authors' Caffe networks, by the beginning of their SHA-256, which is in their published names too.
CAFFE_SHA256 = {"00b39a1b": "vgg16", "d01eb7cb": "vgg19"}
_MEAN = re.compile(r"(?:.*\.)?(?:_|pixel_|image_|input_)?mean\Z")
_SIZES = ("input_size", "img_size", "image_size", "imgsz", "size")  # of images, among settings
_LARGEST_UNIT = 2.0  # means and deviations beyond it are of values in 0..255


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Where a recipe may stand.

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


@dataclass(frozen=True, slots=True)
class Statement:
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


def statements(file: WeightsFile, recipe: str | Recipe | None) -> Iterator[Statement]:
    """In the order in which they count."""
    if recipe is not None:
        yield _of_option(recipe)
    for document in _documents(file):
        yield Statement("file", partial(stated_in, document), "the recipe in the checkpoint")
    yield Statement("file", lambda: _in_buffers(file.tensors), "what its mean and std say")
    for name, neighbour in ((PROCESSOR, file.beside.processor), (CONFIG, file.beside.config)):
        if neighbour is not None:
            yield Statement("config", partial(stated_in, neighbour), f"{name} beside it")
    identity = _identity(file.path)
    if identity:
        yield Statement("published", lambda: stated_by(RECIPES[identity]), yields=True)
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
    if not name.endswith(".json") and not Path(name).is_file():
        raise UsageError("unknown recipe", name, "no recipe has that name, and no file", known)
    document = read_json(Path(name))
    try:
        stated = stated_in(document)
    except UsageError as error:
        raise UsageError("cannot use the recipe", name, str(error).rstrip(".")) from error
    if stated is None:
        raise UsageError("cannot use the recipe", name, "it says nothing of preprocessing", f"It holds {FORM}")
    return stated


def _documents(file: WeightsFile) -> Iterator[object]:
    """What lies in the checkpoint under a recipe's customary names."""
    for holder in (file.metadata, file.root, *_inner(file.root)):
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
            return json.loads(value)
        except (ValueError, RecursionError):
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


def _identity(path: Path | None) -> str:
    """The recipe of a file that somebody has published: "imagenet", "caffe", or "" for a file that is nobody's.

    What lies in the cache under a published name was verified when it got that name; elsewhere name and size tell, as
    hashing half a GB takes up to a second.  A file of a published size or of Caffe's under another name is hashed.
    """
    if path is None:
        return ""
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


def activation(file: WeightsFile) -> str | None:
    """What the logits are for, as far as the file or its neighbour say."""
    for holder in (file.metadata, file.root, *_inner(file.root), file.beside.config):
        said = activation_in(holder)
        if said:
            return said
    return None


def stated_by(recipe: Recipe) -> Stated:
    """Those of a recipe that say how images are prepared."""
    return {name: getattr(recipe, name) for name in FIELDS if name != "activation"}
