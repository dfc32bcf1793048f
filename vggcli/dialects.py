"""The key layouts in which people publish VGGs, and the one way to the canonical (torchvision) keys.

| dialect | features | classifier |
| --- | --- | --- |
| torchvision | `features.N` | `classifier.N` |
| staged | `conv3_64.N` ... `conv3_512b.N`, a Sequential a stage | `fc1`, `bn1`, `fc2`, `bn2`, `fc3`, no dropout |
| sequential | `conv_layers.N` | `fc_layers.N` |
| timm | `features.N` | `pre_logits.fc1` (7x7 convolution), `pre_logits.fc2`, `head.fc` |

A dialect only renames: stages, batch norm, biases, widths and the number of classes are read off keys and shapes, so
what a file holds counts and not what it is called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import isqrt, prod

from vggcli.layers import Architecture, BatchNorm, Layer, Linear, Shape

STAGE_NAMES = ("conv3_64", "conv3_128", "conv3_256", "conv3_512a", "conv3_512b")
OPTIONAL = ".num_batches_tracked"  # a counter of training; files of 2017 lack it

_WRAPPED = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod)\.")
_OUTER = re.compile(r"^(?:model|net|network|backbone|vgg|encoder|ema|student|teacher)\.")
_NAME = re.compile(r"(?:conv|bn|fc)(\d)(?:-(\d+))?$")


@dataclass(frozen=True, slots=True)
class Dialect:
    """One key layout.

    Attributes:
        name: as shown to the user.
        features: key prefix of the numbered convolutional layers; empty when each stage has its own.
        linears: prefixes of the three linear layers, or None when they are numbered under `classifier`.
        classifier: key prefix of the numbered classifier layers.
        norms: prefixes of the two batch norms of the classifier, where they have names.
    """

    name: str
    features: str
    classifier: str = ""
    linears: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()


TORCHVISION = Dialect("torchvision", "features", classifier="classifier")
STAGED = Dialect("staged", "", linears=("fc1", "fc2", "fc3"), norms=("bn1", "bn2"))
SEQUENTIAL = Dialect("sequential", "conv_layers", classifier="fc_layers")
TIMM = Dialect("timm", "features", linears=("pre_logits.fc1", "pre_logits.fc2", "head.fc"))
DIALECTS = (STAGED, SEQUENTIAL, TIMM, TORCHVISION)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a state_dict turned out to be.

    Attributes:
        dialect: the key layout.
        architecture: the network that the keys and shapes describe; without a classifier, the standard one.
        sources: canonical key to the key in the file, for every tensor that the network needs and the file has.
        missing: keys that the network needs and the file lacks, under the file's own names.
        unexpected: keys of the file that the network has no place for.
        misshapen: key in the file, its shape there, the shape that the network needs.
        features_only: the file holds no classifier.
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


def read(shapes: Mapping[str, Shape], known: Iterable[Architecture]) -> Reading | None:
    """What VGG a state_dict is; None when it is none.

    Args:
        shapes: key to shape, as in the file.
        known: the architectures to fall back on when keys are missing; the one that shares most with the file is taken.
    """
    names = clean(shapes)
    tensors = {name: shapes[key] for name, key in names.items()}
    dialect = next((d for d in DIALECTS if _stage_keys(d, tensors)), None)
    if dialect is None:
        return None
    architecture = _derive(dialect, tensors)
    if architecture is not None:
        return compare(dialect, architecture, names, tensors)
    readings = [compare(dialect, _adapted(row, dialect, tensors), names, tensors) for row in known]
    return max(readings, key=lambda r: len(r.sources) - len(r.misshapen) - len(r.missing))


def read_as(shapes: Mapping[str, Shape], row: Architecture) -> Reading | None:
    """The same, held against the architecture that the user names."""
    names = clean(shapes)
    tensors = {name: shapes[key] for name, key in names.items()}
    dialect = next((d for d in DIALECTS if _stage_keys(d, tensors)), None)
    return compare(dialect, _adapted(row, dialect, tensors), names, tensors) if dialect else None


def clean(keys: Iterable[str]) -> dict[str, str]:
    """Canonical spelling without the prefixes that wrappers add, to the key in the file, in file order.

    `module.` (DataParallel) and `_orig_mod.` (torch.compile) go wherever they stand; an outer `model.` and the like
    only when every key of the network has it.
    """
    names = {_WRAPPED.sub("", key): key for key in keys}
    while names and (first := _OUTER.match(next(iter(names)))):
        if not all(name.startswith(first.group()) for name in names):
            break
        names = {name[first.end() :]: key for name, key in names.items()}
    return names


def compare(
    dialect: Dialect, architecture: Architecture, names: Mapping[str, str], tensors: Mapping[str, Shape]
) -> Reading:
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
    features_only = not _linears(dialect, tensors)
    return Reading(
        dialect, architecture, sources, tuple(missing), tuple(left.values()), tuple(misshapen), features_only
    )


def matrix(shape: Shape) -> Shape:
    """The shape (out, in) of a linear layer's weight, also when it is written as a convolution (out, in, k, k)."""
    return (shape[0], prod(shape[1:])) if len(shape) > 2 else shape


def _stage_keys(dialect: Dialect, tensors: Mapping[str, Shape]) -> list[list[int]]:
    """Positions of the convolutions: a list for each stage of its own, or one list of all."""
    prefixes = (dialect.features,) if dialect.features else STAGE_NAMES
    found = [_numbered(prefix, tensors, dimensions=4) for prefix in prefixes]
    if dialect is TIMM and "pre_logits.fc1.weight" not in tensors and "head.fc.weight" not in tensors:
        return []
    return found if any(found) else []


def _numbered(prefix: str, tensors: Mapping[str, Shape], dimensions: int) -> list[int]:
    pattern = re.compile(re.escape(prefix) + r"\.(\d{1,4})\.weight$")
    matches = ((pattern.match(name), shape) for name, shape in tensors.items())
    return sorted(int(match[1]) for match, shape in matches if match and len(shape) == dimensions)


def _linears(dialect: Dialect, tensors: Mapping[str, Shape]) -> list[str]:
    """Prefixes of the linear layers that the file has, in order."""
    if dialect.linears:
        return [prefix for prefix in dialect.linears if f"{prefix}.weight" in tensors]
    return [f"{dialect.classifier}.{n}" for n in _numbered(dialect.classifier, tensors, dimensions=2)]


def _norms(dialect: Dialect, tensors: Mapping[str, Shape]) -> list[str]:
    """Prefixes of the classifier's batch norms that the file has, in order."""
    prefixes: Iterable[str] = dialect.norms
    if dialect.classifier:
        numbers = _numbered(dialect.classifier, tensors, dimensions=1)
        prefixes = [f"{dialect.classifier}.{n}" for n in numbers]
    return [prefix for prefix in prefixes if f"{prefix}.running_mean" in tensors]


def _derive(dialect: Dialect, tensors: Mapping[str, Shape]) -> Architecture | None:
    """The architecture that keys and shapes spell out; None when they leave a gap."""
    stage_keys = _stage_keys(dialect, tensors)
    first = f"{dialect.features or STAGE_NAMES[0]}.{min(stage_keys[0], default=0)}"
    follower = f"{first.rpartition('.')[0]}.{min(stage_keys[0], default=0) + 1}"
    batch_norm = f"{follower}.running_mean" in tensors
    step = 3 if batch_norm else 2
    if dialect.features:
        stages = _by_gaps(stage_keys[0], step)
        prefixes = [[f"{dialect.features}.{n}" for n in stage] for stage in stages]
    else:
        whole = all(keys == list(range(0, step * len(keys), step)) and keys for keys in stage_keys)
        stages = stage_keys if whole else []
        prefixes = [[f"{STAGE_NAMES[s]}.{n}" for n in stage] for s, stage in enumerate(stages)]
    if not stages:
        return None
    widths = tuple(tuple(tensors[f"{prefix}.weight"][0] for prefix in stage) for stage in prefixes)
    bias = f"{first}.bias" in tensors
    return _adapted(Architecture(widths, batch_norm, conv_bias=bias), dialect, tensors)


def _by_gaps(numbers: list[int], step: int) -> list[list[int]]:
    """Split the positions of convolutions into stages: a pool between two of them widens the gap by one."""
    stages: list[list[int]] = []
    expected = 0
    for number in numbers:
        if not stages or number == expected + 1:
            stages.append([])
        elif number != expected:
            return []
        stages[-1].append(number)
        expected = number + step
    return stages if numbers and numbers[0] == 0 else []


def _adapted(row: Architecture, dialect: Dialect, tensors: Mapping[str, Shape]) -> Architecture:
    """The row with what a file is free to choose: widths and extras of the classifier, biases, number of classes."""
    linears = _linears(dialect, tensors)
    shapes = [matrix(tensors[f"{prefix}.weight"]) for prefix in linears]
    if dialect is STAGED:
        row = replace(row, conv_bias=f"{STAGE_NAMES[0]}.0.bias" in tensors, adaptive=False)
    if len(shapes) != 3 or not all(len(shape) == 2 and shape[0] for shape in shapes):
        return row
    pool = isqrt(max(1, shapes[0][1] // row.stages[-1][-1]))
    norm = bool(_norms(dialect, tensors))
    return replace(
        row,
        classifier_norm=norm,
        dropout=0.5 if _has_dropout(dialect, linears, norm) else None,
        hidden=(shapes[0][0], shapes[1][0]),
        pool=max(1, pool),
        num_classes=shapes[2][0],
    )


def _has_dropout(dialect: Dialect, linears: list[str], norm: bool) -> bool:
    if not dialect.classifier:
        return dialect is TIMM
    first, second = (int(prefix.rpartition(".")[2]) for prefix in linears[:2])
    return second - first == (4 if norm else 3)


def _renamer(dialect: Dialect, architecture: Architecture, tensors: Mapping[str, Shape]) -> Callable[[Layer], str]:
    """From a layer to its key prefix in the dialect."""
    linears, norms = _linears(dialect, tensors), _norms(dialect, tensors)
    if len(linears) != 3:
        linears = list(dialect.linears)
    step = 3 if architecture.batch_norm else 2

    def rename(layer: Layer) -> str:
        match = _NAME.match(layer.name)
        if match is None:
            return layer.key
        number, position = match.groups()
        if isinstance(layer, Linear):
            return linears[int(number) - 6] if linears else layer.key.replace("classifier", dialect.classifier)
        if isinstance(layer, BatchNorm) and not layer.spatial:
            return norms[int(number) - 6] if len(norms) == 2 else layer.key.replace("classifier", dialect.classifier)
        if dialect.features:
            return layer.key.replace("features", dialect.features)
        stage = STAGE_NAMES[int(number) - 1] if int(number) <= len(STAGE_NAMES) else layer.key
        return f"{stage}.{step * (int(position) - 1) + isinstance(layer, BatchNorm)}"

    return rename
