"""What VGG a state_dict is, in whichever key layout: the one way to the canonical (torchvision) keys.

A dialect (`vggcli.weights.dialects`) only renames; a `KeyMapping` says which tensor of the file is which of the
network, and what is missing, unexpected or of another shape.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from vggcli.network.layers import Architecture, BatchNorm, Layer, Linear, Shape
from vggcli.weights import dialects
from vggcli.weights.dialects import Dialect, matrix

OPTIONAL = ".num_batches_tracked"  # a counter of training; files of 2017 lack it

_WRAPPED = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod)\.")
_OUTER = re.compile(r"(?:(?:model|net|network|backbone|vgg|encoder|ema|student|teacher)\.)+")
_BARE = re.compile(r"[0-9]+\.")
_MOST_TENSORS = 4096  # many times what any VGG has; telling what a file is goes over all of them again and again
_NAME = re.compile(r"(?:conv|bn|fc)(\d+)(?:-(\d+))?")  # of every layer with tensors


@dataclass(frozen=True, slots=True)
class KeyMapping:
    """What a state_dict turned out to be.

    Attributes:
        dialect: the key layout.
        architecture: the network that the keys and shapes describe; without a classifier, the standard one.
        sources: canonical key to the key in the file, for every tensor that the network needs and the file has.
        missing: keys that the network needs and the file lacks, under the file's own names.
        unexpected: keys of the file that the network has no place for.
        misshapen: key in the file, its shape there, the shape that the network needs.
        features_only: the file holds convolutions and nothing else.
    """

    dialect: Dialect
    architecture: Architecture
    sources: dict[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[tuple[str, Shape, Shape], ...]
    features_only: bool

    @property
    def fits(self) -> bool:
        """Whether the file is exactly this network."""
        return not (self.missing or self.unexpected or self.misshapen or self.features_only)

    @property
    def num_classes(self) -> int | None:
        """Width of the file's last linear layer; None when it has none that fits."""
        key = self.sources.get(f"{self.architecture.layers()[-1].key}.weight")
        usable = key is not None and key not in (misshapen for misshapen, _, _ in self.misshapen)
        return self.architecture.num_classes if usable else None


def read(shapes: Mapping[str, Shape], known: Iterable[Architecture]) -> KeyMapping | None:
    """What VGG a state_dict is; None when it is none.

    Args:
        shapes: key to shape, as in the file.
        known: the architectures to fall back on when keys are missing; the one that shares most with the file is taken.
    """
    names, tensors = _cleaned(shapes)
    dialect = dialects.dialect_of(tensors)
    if dialect is None:
        return None
    rows = [dialects.adapted(row, dialect, tensors) for row in known]
    derived = dialects.derive(dialect, tensors)
    if derived is not None:
        mapping = compare(dialect, derived, names, tensors)
        usual = any((row.stages, row.batch_norm) == (derived.stages, derived.batch_norm) for row in rows)
        if mapping.fits or usual:
            return mapping
        rows.insert(0, derived)
    # What is neither whole nor a known network is more likely a known one that has lost a layer.
    return max((compare(dialect, row, names, tensors) for row in rows), key=_likeness)


def read_as(shapes: Mapping[str, Shape], row: Architecture) -> KeyMapping | None:
    """The same, held against the architecture that the user names."""
    names, tensors = _cleaned(shapes)
    dialect = dialects.dialect_of(tensors)
    return compare(dialect, dialects.adapted(row, dialect, tensors), names, tensors) if dialect else None


def _cleaned(shapes: Mapping[str, Shape]) -> tuple[dict[str, str], dict[str, Shape]]:
    names = clean(shapes) if len(shapes) <= _MOST_TENSORS else {}
    return names, {name: shapes[key] for name, key in names.items()}


def _likeness(mapping: KeyMapping) -> int:
    return len(mapping.sources) - len(mapping.missing) - len(mapping.unexpected) - len(mapping.misshapen)


def clean(keys: Iterable[str]) -> dict[str, str]:
    """Canonical spelling without the prefixes that wrappers add, to the key in the file, in file order.

    `module.` (DataParallel) and `_orig_mod.` (torch.compile) go wherever they stand; an outer `model.` and the like
    when more than half of the keys have it: what a loss or a second network left beside them stays as it is.
    """
    plain = {key: key for key in keys}
    if plain and all(_BARE.match(key) for key in plain):
        return {f"features.{key}": key for key in plain}  # vgg.features.state_dict()
    names = {_WRAPPED.sub("", key): key for key in plain}
    if len(names) < len(plain):
        return plain  # the prefix tells two networks apart
    outers = Counter(match.group() for name in names if (match := _OUTER.match(name)))
    outer, count = next(iter(outers.most_common(1)), ("", 0))
    if 2 * count <= len(names):
        return names
    bare = {name.removeprefix(outer): key for name, key in names.items()}
    return bare if len(bare) == len(names) else names


def compare(
    dialect: Dialect, architecture: Architecture, names: Mapping[str, str], tensors: Mapping[str, Shape]
) -> KeyMapping:
    """Hold a file against an architecture in a dialect.

    Args:
        names: cleaned key to key in the file.
        tensors: cleaned key to shape.
    """
    rename = _renamer(dialect, architecture, tensors)
    sources: dict[str, str] = {}
    missing: list[str] = []
    misshapen: list[tuple[str, Shape, Shape]] = []
    left = dict(names)
    for layer in architecture.layers():
        for key, shape in layer.tensors().items():
            name = key.replace(layer.key, rename(layer), 1)
            if name not in tensors:
                missing += [name] * (not name.endswith(OPTIONAL))
                continue
            sources[key] = left.pop(name)
            if (matrix(tensors[name]) if len(shape) == 2 else tensors[name]) != shape:
                misshapen.append((names[name], tensors[name], shape))
    features_only = not dialects.linears(dialect, tensors) and not left
    return KeyMapping(
        dialect, architecture, sources, tuple(missing), tuple(left.values()), tuple(misshapen), features_only
    )


def _renamer(dialect: Dialect, architecture: Architecture, tensors: Mapping[str, Shape]) -> Callable[[Layer], str]:
    """From a layer to its key prefix in the dialect."""
    linears, norms = dialects.linears(dialect, tensors), dialects.norms(dialect, tensors)
    linears = linears if len(linears) == 3 else list(dialect.linears)
    norms = norms if len(norms) == 2 else list(dialect.norms)
    step = 3 if architecture.batch_norm else 2

    def rename(layer: Layer) -> str:
        match = _NAME.fullmatch(layer.name)
        assert match is not None
        number, position = match.groups()
        if isinstance(layer, Linear):
            return linears[int(number) - 6] if linears else layer.key.replace("classifier", dialect.classifier)
        if isinstance(layer, BatchNorm) and not layer.spatial:
            return norms[int(number) - 6] if norms else layer.key.replace("classifier", dialect.classifier)
        if dialect.features:
            return layer.key.replace("features", dialect.features)
        stage = dialects.STAGE_NAMES[int(number) - 1] if int(number) <= len(dialects.STAGE_NAMES) else layer.key
        return f"{stage}.{step * (int(position) - 1) + isinstance(layer, BatchNorm)}"

    return rename
