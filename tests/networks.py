"""Networks as people write them, each in its own key layout, with random weights and batch-norm statistics.

Written from their descriptions and without any of vgg's own code, so that they can speak against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

STAGES = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)
NARROW = (8, 16, 32, 64, 64)  # the demo's: a forward pass takes milliseconds


def numbered(sizes: Sequence[int], widths: Sequence[int], batch_norm: bool, bias: bool = True) -> nn.Sequential:
    """The convolutions and pools in one row."""
    layers: list[nn.Module] = []
    channels = 3
    for size, width in zip(sizes, widths, strict=True):
        for _ in range(size):
            layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=bias))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def three_linears(features: int, hidden: int, classes: int) -> nn.Sequential:
    """The classifier in one row, with dropout."""
    first = [nn.Linear(features, hidden), nn.ReLU(inplace=True), nn.Dropout(0.5)]
    second = [nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(0.5)]
    return nn.Sequential(*first, *second, nn.Linear(hidden, classes))


class Torchvision(nn.Module):
    """torchvision's layout: `features.N`, `classifier.N`."""

    def __init__(
        self,
        sizes: Sequence[int] = STAGES["vgg11"],
        widths: Sequence[int] = WIDTHS,
        *,
        hidden: int = 64,
        classes: int = 10,
        batch_norm: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.features = numbered(sizes, widths, batch_norm, bias)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = three_linears(widths[-1] * 49, hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Sequential(nn.Module):
    """The hand-written layout with `conv_layers.N` and `fc_layers.N`."""

    def __init__(
        self,
        sizes: Sequence[int] = STAGES["vgg11"],
        widths: Sequence[int] = WIDTHS,
        *,
        hidden: int = 64,
        classes: int = 2,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.conv_layers = numbered(sizes, widths, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.fc_layers = three_linears(widths[-1] * 49, hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc_layers(self.avgpool(self.conv_layers(x)).flatten(1))


class Staged(nn.Module):
    """The hand-written layout with a Sequential a stage, batch norm in the classifier and softmax at its end."""

    def __init__(
        self,
        sizes: Sequence[int] = STAGES["vgg11"],
        widths: Sequence[int] = WIDTHS,
        *,
        hidden: int = 64,
        classes: int = 10,
        pool: int = 7,
    ) -> None:
        super().__init__()
        self.conv3_64 = self._stage(3, widths[0], sizes[0])
        self.conv3_128 = self._stage(widths[0], widths[1], sizes[1])
        self.conv3_256 = self._stage(widths[1], widths[2], sizes[2])
        self.conv3_512a = self._stage(widths[2], widths[3], sizes[3])
        self.conv3_512b = self._stage(widths[3], widths[4], sizes[4])
        self.fc1 = nn.Linear(widths[-1] * pool * pool, hidden)
        self.bn1 = nn.BatchNorm1d(hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.bn2 = nn.BatchNorm1d(hidden)
        self.fc3 = nn.Linear(hidden, classes)
        self.max_pool = nn.MaxPool2d(2, 2)

    @staticmethod
    def _stage(channels: int, width: int, size: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for number in range(size):
            layers.append(nn.Conv2d(channels if number == 0 else width, width, 3, padding=1, bias=False))
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        return nn.Sequential(*layers)

    def logits(self, x: Tensor) -> Tensor:
        for stage in (self.conv3_64, self.conv3_128, self.conv3_256, self.conv3_512a, self.conv3_512b):
            x = self.max_pool(stage(x))
        x = torch.relu(self.bn1(self.fc1(x.flatten(1))))
        x = torch.relu(self.bn2(self.fc2(x)))
        return self.fc3(x)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.logits(x), dim=1)


class Timm(nn.Module):
    """timm's layout: the first two linear layers are convolutions.  Names and shapes as in timm 1.0."""

    def __init__(
        self,
        sizes: Sequence[int] = STAGES["vgg11"],
        widths: Sequence[int] = WIDTHS,
        *,
        hidden: int = 64,
        classes: int = 10,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.features = numbered(sizes, widths, batch_norm)
        self.pre_logits = nn.Sequential()
        self.pre_logits.add_module("fc1", nn.Conv2d(widths[-1], hidden, 7))
        self.pre_logits.add_module("act1", nn.ReLU())
        self.pre_logits.add_module("fc2", nn.Conv2d(hidden, hidden, 1))
        self.pre_logits.add_module("act2", nn.ReLU())
        self.head = nn.Sequential()
        self.head.add_module("global_pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1)))
        self.head.add_module("fc", nn.Linear(hidden, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pre_logits(self.features(x)))


class Cifar(nn.Module):
    """A network for 32x32 images: torchvision's names without its adaptive pool, dropout in front of the linears."""

    def __init__(self, widths: Sequence[int] = WIDTHS, *, pool: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.features = numbered(STAGES["vgg11"], widths, batch_norm=True)
        first = [nn.Dropout(), nn.Linear(widths[-1] * pool * pool, 32), nn.ReLU()]
        self.classifier = nn.Sequential(*first, nn.Dropout(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in eval mode with weights under which every layer, bias and statistic shows in the logits."""
    random = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, generator=random)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1, generator=random)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.2, generator=random)
            for vector in (module.bias, module.running_mean):
                nn.init.normal_(vector, 0, 0.1, generator=random)
            nn.init.uniform_(module.running_var, 0.8, 1.2, generator=random)
            module.num_batches_tracked.fill_(3)
    return network.eval()


def images(count: int, size: int) -> NDArray[np.uint8]:
    """Different images (N, size, size, 3), as engines take them."""
    return np.random.default_rng(size).integers(0, 256, (count, size, size, 3), np.uint8)


def normalised(pixels: NDArray[np.uint8]) -> Tensor:
    """The same images (N, 3, size, size) as networks take them: ImageNet's mean and deviation."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Key to shape of a network's state_dict."""
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def shapes_of(kind: type[nn.Module], *arguments: Any, **options: Any) -> dict[str, tuple[int, ...]]:
    """The same of a network that takes no memory."""
    with torch.device("meta"):
        return shapes(kind(*arguments, **options))


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Every key with a prefix."""
    return {prefix + key: tensor for key, tensor in state.items()}


def logits_of(network: nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network itself says, before any softmax."""
    forward = network.logits if isinstance(network, Staged) else network
    with torch.inference_mode():
        result: NDArray[np.float32] = forward(normalised(pixels)).numpy()
    return result


def hollow(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A state_dict of full size that takes a few kilobytes on disk: every tensor repeats one number."""
    return {key: torch.full((), 0.5).expand(shape) for key, shape in shapes.items()}
