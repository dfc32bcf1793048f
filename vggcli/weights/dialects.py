"""The key layouts in which people publish VGGs, and the architecture that keys and shapes spell out in each.

| dialect | features | classifier |
| --- | --- | --- |
| torchvision | `features.N` | `classifier.N` |
| staged | `conv3_64.N` ... `conv3_512b.N`, a Sequential a stage | `fc1`, `bn1`, `fc2`, `bn2`, `fc3`, no dropout |
| sequential | `conv_layers.N` | `fc_layers.N` |
| timm | `features.N` | `pre_logits.fc1` (7x7 convolution), `pre_logits.fc2`, `head.fc` |

Stages, batch norm, biases, widths and the number of classes are read off keys and shapes, so what a file holds counts
and not what it is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isqrt, prod

from vggcli.network.layers import Architecture, Shape

STAGE_NAMES = ("conv3_64", "conv3_128", "conv3_256", "conv3_512a", "conv3_512b")
_ADAPTIVE_POOL = 7  # side of the map that the adaptive pool of all these networks gives
_NUMBER = r"(0|[1-9][0-9]{0,3})"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One key layout.

    Attributes:
        name: as shown to the user.
        features: key prefix of the numbered convolutional layers; empty when each stage has its own.
        classifier: key prefix of the numbered classifier layers; empty when they have names.
        linears: prefixes of the three linear layers, where they have names.
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


def dialect_of(tensors: Mapping[str, Shape]) -> Dialect | None:
    """The layout that has convolutions where these keys have them; None when none has."""
    return next((dialect for dialect in DIALECTS if _convolutions(dialect, tensors)), None)


def matrix(shape: Shape) -> Shape:
    """The shape (out, in) of a linear layer's weight, also when it is written as a convolution (out, in, k, k)."""
    return (shape[0], prod(shape[1:])) if len(shape) > 2 else shape


def linears(dialect: Dialect, tensors: Mapping[str, Shape]) -> list[str]:
    """Prefixes of the linear layers of which the file has the weight or at least the bias, in order."""
    prefixes: Iterable[str] = dialect.linears
    if dialect.classifier:
        norms = _numbered(dialect.classifier, "weight", tensors, dimensions=1)
        found = {n for end in ("weight", "bias") for n in _numbered(dialect.classifier, end, tensors)}
        prefixes = [f"{dialect.classifier}.{n}" for n in sorted(found.difference(norms))]
    return [prefix for prefix in prefixes if f"{prefix}.weight" in tensors or f"{prefix}.bias" in tensors]


def norms(dialect: Dialect, tensors: Mapping[str, Shape]) -> list[str]:
    """Prefixes of the classifier's batch norms that the file has, in order."""
    prefixes: Iterable[str] = dialect.norms
    if dialect.classifier:
        numbers = _numbered(dialect.classifier, "weight", tensors, dimensions=1)
        prefixes = [f"{dialect.classifier}.{n}" for n in numbers]
    return [prefix for prefix in prefixes if f"{prefix}.running_mean" in tensors]


def derive(dialect: Dialect, tensors: Mapping[str, Shape]) -> Architecture | None:
    """The architecture that keys and shapes spell out; None when they leave a gap."""
    numbers = _convolutions(dialect, tensors)
    first = f"{dialect.features or STAGE_NAMES[0]}.{min(numbers[0], default=0)}"
    follower = f"{first.rpartition('.')[0]}.{min(numbers[0], default=0) + 1}"
    batch_norm = f"{follower}.running_mean" in tensors
    step = 3 if batch_norm else 2
    if dialect.features:
        stages = _by_gaps(numbers[0], step)
        prefixes = [[f"{dialect.features}.{n}" for n in stage] for stage in stages]
    else:
        whole = all(stage == list(range(0, step * len(stage), step)) and stage for stage in numbers)
        stages = numbers if whole else []
        prefixes = [[f"{STAGE_NAMES[s]}.{n}" for n in stage] for s, stage in enumerate(stages)]
    if not stages:
        return None
    widths = tuple(tuple(tensors[f"{prefix}.weight"][0] for prefix in stage) for stage in prefixes)
    return adapted(Architecture(widths, batch_norm), dialect, tensors)


def adapted(row: Architecture, dialect: Dialect, tensors: Mapping[str, Shape]) -> Architecture:
    """The row with what a file is free to choose: widths and extras of the classifier, biases, number of classes."""
    found, norm = linears(dialect, tensors), bool(norms(dialect, tensors))
    prefixes = (dialect.features,) if dialect.features else STAGE_NAMES
    bias = any(f"{prefix}.{n}.bias" in tensors for prefix in prefixes for n in _convolutions_of(prefix, tensors))
    row = replace(row, conv_bias=bias, classifier_norm=norm, adaptive=dialect is not STAGED)
    if dialect.linears:
        row = replace(row, dropout=0.5 if dialect is TIMM else None)
    widths = [next(iter(tensors.get(f"{p}.weight") or tensors.get(f"{p}.bias") or ()), 0) for p in found]
    if len(found) != 3 or not all(widths):
        return row
    if dialect.classifier:
        distance = int(found[1].rpartition(".")[2]) - int(found[0].rpartition(".")[2])
        row = replace(row, dropout=0.5 if distance == (4 if norm else 3) else None)
    first, last_width = matrix(tensors.get(f"{found[0]}.weight", ())), row.stages[-1][-1]
    if len(first) == 2 and last_width:
        pool = max(1, isqrt(first[1] // last_width))
        # Only networks for other image sizes see another map, and those have no adaptive pool.
        row = replace(row, pool=pool, adaptive=row.adaptive and pool == _ADAPTIVE_POOL)
    return replace(row, hidden=(widths[0], widths[1]), num_classes=widths[2])


def _convolutions(dialect: Dialect, tensors: Mapping[str, Shape]) -> list[list[int]]:
    """Positions of the convolutions: a list for each stage of its own, or one list of all; empty for another layout."""
    prefixes = (dialect.features,) if dialect.features else STAGE_NAMES
    found = [_convolutions_of(prefix, tensors) for prefix in prefixes]
    if dialect is TIMM and not linears(TIMM, tensors):
        return []
    return found if any(found) else []


def _convolutions_of(prefix: str, tensors: Mapping[str, Shape]) -> list[int]:
    return _numbered(prefix, "weight", tensors, dimensions=4)


def _numbered(prefix: str, end: str, tensors: Mapping[str, Shape], dimensions: int | None = None) -> list[int]:
    """The numbers N of the keys `prefix.N.end`, ascending; only tensors of so many dimensions, if said."""
    pattern = re.compile(rf"{re.escape(prefix)}\.{_NUMBER}\.{end}\Z")
    matches = ((pattern.match(name), shape) for name, shape in tensors.items())
    return sorted(int(match[1]) for match, shape in matches if match and dimensions in (None, len(shape)))


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
