"""The key layouts that have a name, and in which the keys alone leave something open that their authors' code says.

| layout | features | classifier |
| --- | --- | --- |
| torchvision | `features.N` | `classifier.N` |
| staged | `conv3_64.N` ... `conv3_512b.N`, a Sequential a stage | `fc1`, `bn1`, `fc2`, `bn2`, `fc3`, no pool in front |
| sequential | `conv_layers.N` | `fc_layers.N` |
| RepDistiller | `block0.N` to `block4.N`, pools behind the first three only at 32 pixels | `classifier` on an average |
| timm | `features.N` | `pre_logits.fc1` (7x7 convolution), `pre_logits.fc2`, `head.fc` |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vggcli.weights.reading import keys
from vggcli.weights.reading.modules import Unit


class Layout(NamedTuple):
    """One key layout.

    Attributes:
        name: as shown to the user: one of the four, else the pattern of the keys, e.g. "conv{N}_{N}, fcN".
        flattens: the last map is flattened as it is, so that the network takes images of one size.
        pools: whether a pool ends each stage that the keys name; empty where one ends each.
    """

    name: str
    flattens: bool = False
    pools: tuple[bool, ...] = ()


TORCHVISION, STAGED = Layout("torchvision"), Layout("staged", flattens=True)
REPDISTILLER = Layout("RepDistiller", pools=(True, True, True, False, False))
SEQUENTIAL, TIMM = Layout("sequential"), Layout("timm")


def layout_of(convolutions: Sequence[Unit], linears: Sequence[Unit]) -> Layout:
    """The layout of a network, by the names of its first convolution and its linear layers."""
    first, *heads = _without_common([unit.module.key for unit in (convolutions[0], *linears)])
    if first == "conv3_64.0":
        return STAGED
    stages = dict.fromkeys(unit.module.parent for unit in convolutions)
    if heads == ["classifier"] and [*stages] == [f"block{stage}" for stage in range(5)]:
        return REPDISTILLER
    if first == "conv_layers.0" and all(key.startswith("fc_layers.") for key in heads):
        return SEQUENTIAL
    if first == "features.0" and heads[:2] == ["pre_logits.fc1", "pre_logits.fc2"]:
        return TIMM
    if first == "features.0" and all(key == "classifier" or key.startswith("classifier.") for key in heads):
        return TORCHVISION
    if first == "0" and not heads:
        return TORCHVISION  # vgg.features.state_dict()
    return Layout(", ".join(keys.pattern(key) for key in (first, *heads[:1])))


def _without_common(names: list[str]) -> list[str]:
    """The names without what all of them begin with."""
    split = [name.split(".") for name in names]
    while len(split) > 1 and all(len(parts) > 1 and parts[0] == split[0][0] for parts in split):
        split = [parts[1:] for parts in split]
    return [".".join(parts) for parts in split]
