"""What the numbers of layers leave room for and vgg does not compute: said, as it may change the answer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from vggcli.network.architecture import Architecture
from vggcli.weights.reading.modules import Unit
from vggcli.weights.reading.places import gap


def remarks(convolutions: Sequence[Unit], linears: Sequence[Unit], architecture: Architecture) -> tuple[str, ...]:
    """One sentence for the features and one for the classifier, where there is something to say.

    Args:
        convolutions, linears: in order.
        architecture: as it was read.
    """
    found = []
    ends = {*accumulate(map(len, architecture.stages))}
    for place, (one, other) in enumerate(pairwise(convolutions), 1):
        between = gap(one.module.parts, other.module.parts)
        if between is None or between.is_open or one.module.parent != other.module.parent:
            continue
        has_norm = one.norm is not None and one.norm.parent == one.module.parent
        if between.free > 1 + has_norm + (place in ends):  # an activation, a batch norm, a pool
            found.append(
                f"between {one.module.key} and {other.module.key} is room for a layer without weights, which is left "
                "out: a dropout changes nothing, a local response or instance norm would"
            )
            break
    for one, other in pairwise(linears):
        end = other.front or other.module
        between = gap(one.module.parts, end.parts)
        if between is not None and not between.free and not one.norm and not is_list(one):
            found.append(f"the numbers of {one.module.key} and {end.key} leave no room for a ReLU, so there is none")
            break
    return tuple(found)


def is_list(unit: Unit) -> bool:
    """Whether a layer lies in a list by its name, whose activations are in the program and not among its items."""
    container = unit.module.parent.rpartition(".")[2]
    return container.startswith("hidden") or container in ("layers", "linears", "fcs", "fc_layers", "linear_layers")
