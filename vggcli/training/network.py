"""The network that is trained: where it starts, and which of its parts move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vggcli.errors import UsageError
from vggcli.network import zoo
from vggcli.network.architecture import Architecture, vgg
from vggcli.network.layers import Dropout, Linear
from vggcli.training.plan import Depth, Init

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from vggcli.network.module import VGG

_PAPER_STD = 0.1  # "zero mean and 10^-2 variance" (section 3.1)
_POOLED = 32  # what the five pools divide the side of an image by
_FIRST = {"fc6": "fc6", "conv5": "conv5-1"}  # the first layer that moves


def narrow(variant: str, width: float, size: int, num_classes: int) -> Architecture:
    """A variant at a fraction of its width, for images of `size` pixels.

    Args:
        width: of every layer; 1 for the published widths.
        size: smaller images leave less behind the pools: 1x1 of 32 pixels, 7x7 of 224.

    Raises:
        UsageError: the images are too small, or no such variant.
    """
    row = zoo.variant(variant)
    full = row.architecture
    if size < _POOLED:
        raise UsageError("cannot use size", str(size), f"the pools leave nothing of less than {_POOLED} pixels")

    def scaled(channels: int) -> int:
        return max(1, round(channels * width))

    return vgg(
        tuple(tuple(map(scaled, stage)) for stage in full.stages),
        batch_norm=full.batch_norm,
        hidden=tuple(map(scaled, full.hidden)),
        pool=min(full.pool, size // _POOLED),
        num_classes=num_classes,
    )


def from_scratch(architecture: Architecture, init: Init, seed: int) -> VGG:
    """The network with drawn weights and zero biases; one seed gives one network.

    Args:
        init: "glorot" as the paper recommends ("it is possible to initialise the weights without pre-training by using
            the random initialisation procedure of Glorot & Bengio"); "normal" for the N(0, 10^-2 variance) that it drew
            first; "kaiming" for torchvision's.
    """
    import torch
    from torch import nn

    from vggcli.network.module import VGG

    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        network = VGG(architecture, initialise=init == "kaiming")
        for module in network.modules():
            if init == "kaiming" or not isinstance(module, nn.Conv2d | nn.Linear):
                continue
            if init == "glorot":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.normal_(module.weight, 0, _PAPER_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def freeze(network: VGG, architecture: Architecture, depth: Depth) -> list[nn.Module]:
    """Keep what lies before the part that moves as it is; gives the modules of it.

    Raises:
        UsageError: the network has no such part.
    """
    if depth == "all":
        return []
    first = architecture.layers().index(architecture.layer(_FIRST[depth]))
    frozen = [network.get_submodule(layer.key) for layer in architecture.layers()[:first]]
    for module in frozen:
        module.requires_grad_(False)
    return frozen


def set_dropout(network: VGG, probability: float | None) -> None:
    """Another probability in front of the linear layers; None leaves it."""
    from torch import nn

    for module in network.modules():
        if probability is not None and isinstance(module, nn.Dropout):
            module.p = probability


def last_dropout(architecture: Architecture) -> float:
    """The probability in front of the last linear layer; 0 without a dropout there."""
    layers = architecture.layers()
    place = max(number for number, layer in enumerate(layers) if isinstance(layer, Linear))
    before = layers[place - 1]
    return before.p if isinstance(before, Dropout) else 0.0


def with_head(
    arrays: Mapping[str, NDArray[np.float32]],
    architecture: Architecture,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> tuple[Architecture, dict[str, NDArray[np.float32]]]:
    """The network and its weights with another last layer."""
    last = architecture.linears[-1]
    changed = architecture.with_classes(len(weight))
    return changed, dict(arrays) | {f"{last.key}.weight": weight, **({f"{last.key}.bias": bias} if last.bias else {})}
