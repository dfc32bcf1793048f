"""The layer list as a torch module: the reference that every engine is held against.

Same keys, order and shapes as torchvision's VGG; the same logits to the bit on the same weights and, with the same
seed, the same initial weights to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from vggcli.network.architecture import Architecture
from vggcli.network.layers import (
    Activation,
    AdaptiveAvgPool,
    BatchNorm,
    ConcatPool,
    Conv2d,
    Dropout,
    Layer,
    Linear,
    Pool,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class VGG(nn.Module):
    """The network of an architecture.

    Args:
        architecture: the row to build.
        initialise: draw initial weights (Kaiming normal, fan-out, for convolutions; N(0, 0.01) for linear layers;
            zero biases); otherwise torch's defaults stay, which is what loading a checkpoint wants.
    """

    def __init__(self, architecture: Architecture, *, initialise: bool = True) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.avgpool: nn.Module = nn.Identity()
        self.classifier = nn.Sequential()
        for layer in architecture.layers():
            part, _, index = layer.key.partition(".")
            if index:
                self.get_submodule(part).add_module(index, module_of(layer))
            else:
                self.add_module(part, module_of(layer))
        if initialise:
            self.initialise()

    def initialise(self) -> None:
        """Initialise in module order, so that one seed gives one network."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
            else:
                continue
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W), float, normalised, to logits (N, num_classes); without a classifier to flat features."""
        x = self.features(x)  # (N, 512, H/32, W/32)
        x = self.avgpool(x)  # (N, 512, 7, 7)
        x = torch.flatten(x, 1)  # (N, 25088)
        logits: Tensor = self.classifier(x)  # (N, num_classes)
        return logits


def with_weights(architecture: Architecture, arrays: Mapping[str, NDArray[np.float32]]) -> VGG:
    """The network in eval mode with copies of these weights.

    Args:
        arrays: key of the state_dict to array; `num_batches_tracked` may be absent.
    """
    with torch.device("meta"):
        network = VGG(architecture, initialise=False)
    state = {}
    for key, blank in network.state_dict().items():
        values = arrays[key] if key in arrays else np.zeros(tuple(blank.shape), np.float32)
        state[key] = torch.tensor(values, dtype=blank.dtype)
    network.load_state_dict(state, assign=True)
    return network.eval()


def module_of(layer: Layer) -> nn.Module:
    """The torch module of one layer."""
    match layer:
        case Conv2d():
            padding = layer.kernel // 2
            return nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel, padding=padding, bias=layer.bias)
        case BatchNorm():
            kind = nn.BatchNorm2d if layer.spatial else nn.BatchNorm1d
            return kind(layer.channels, eps=layer.eps, affine=layer.affine)
        case Linear():
            return nn.Linear(layer.in_features, layer.out_features, layer.bias)
        case Pool():
            return nn.AvgPool2d(2) if layer.average else nn.MaxPool2d(2)
        case AdaptiveAvgPool():
            return nn.AdaptiveAvgPool2d(layer.size)
        case Dropout():
            return nn.Dropout(layer.p)
        case ConcatPool():
            return _ConcatPool2d()
        case Activation():
            return _activation(layer)
    raise TypeError(f"no module for {layer}")


class _ConcatPool2d(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x.amax((2, 3), keepdim=True), x.mean((2, 3), keepdim=True)), 1)


def _activation(layer: Activation) -> nn.Module:
    if layer.function == "leaky_relu":
        return nn.LeakyReLU(layer.alpha, inplace=True)
    if layer.function == "elu":
        return nn.ELU(layer.alpha, inplace=True)
    kinds: dict[str, nn.Module] = {
        "relu": nn.ReLU(inplace=True),
        "gelu": nn.GELU(),
        "silu": nn.SiLU(inplace=True),
        "relu6": nn.ReLU6(inplace=True),
        "tanh": nn.Tanh(),
        "sigmoid": nn.Sigmoid(),
    }
    return kinds[layer.function]
