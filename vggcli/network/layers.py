"""A VGG as a flat list of typed layers: the one description that every other part walks.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
table 1; batch norm after each convolution as torchvision publishes it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

from vggcli.errors import UsageError

Shape = tuple[int, ...]

KERNEL = 3  # every convolution of the paper is 3x3, stride 1, padding 1 (section 2.1)
BATCH_NORM_EPS = 1e-5  # torch.nn.BatchNorm2d's default, which all published weights were trained with


@dataclass(frozen=True, slots=True)
class Conv2d:
    """3x3 convolution, stride 1, padding 1: (N, in, H, W) to (N, out, H, W)."""

    key: str
    name: str
    in_channels: int
    out_channels: int
    bias: bool

    def tensors(self) -> dict[str, Shape]:
        tensors: dict[str, Shape] = {f"{self.key}.weight": (self.out_channels, self.in_channels, KERNEL, KERNEL)}
        if self.bias:
            tensors[f"{self.key}.bias"] = (self.out_channels,)
        return tensors

    def output(self, shape: Shape) -> Shape:
        return (self.out_channels, *shape[1:])

    def macs(self, shape: Shape) -> int:
        return prod(self.output(shape)) * self.in_channels * KERNEL * KERNEL


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch norm over channels, after a convolution (2 spatial dimensions) or a linear layer (0)."""

    key: str
    name: str
    channels: int
    spatial: bool

    def tensors(self) -> dict[str, Shape]:
        vectors = ("weight", "bias", "running_mean", "running_var")
        return {f"{self.key}.{v}": (self.channels,) for v in vectors} | {f"{self.key}.num_batches_tracked": ()}

    def output(self, shape: Shape) -> Shape:
        return shape

    def macs(self, shape: Shape) -> int:
        return 0  # folded into the layer before it; the published figures count none either


@dataclass(frozen=True, slots=True)
class Stateless:
    """A layer without tensors that keeps the shape unless it says otherwise."""

    key: str
    name: str

    def tensors(self) -> dict[str, Shape]:
        return {}

    def output(self, shape: Shape) -> Shape:
        return shape

    def macs(self, shape: Shape) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class ReLU(Stateless):
    """max(x, 0)."""


@dataclass(frozen=True, slots=True)
class MaxPool(Stateless):
    """2x2 max pooling, stride 2; odd sizes are rounded down."""

    def output(self, shape: Shape) -> Shape:
        return (shape[0], shape[1] // 2, shape[2] // 2)


@dataclass(frozen=True, slots=True)
class AdaptiveAvgPool(Stateless):
    """Average pooling to size x size, whatever the input; the identity on the native input size."""

    size: int

    def output(self, shape: Shape) -> Shape:
        return (shape[0], self.size, self.size)


@dataclass(frozen=True, slots=True)
class Dropout(Stateless):
    """Dropout with probability `p`; the identity when classifying."""

    p: float


@dataclass(frozen=True, slots=True)
class Linear:
    """Fully connected layer; flattens what it is given: (N, in) to (N, out)."""

    key: str
    name: str
    in_features: int
    out_features: int

    def tensors(self) -> dict[str, Shape]:
        return {
            f"{self.key}.weight": (self.out_features, self.in_features),
            f"{self.key}.bias": (self.out_features,),
        }

    def output(self, shape: Shape) -> Shape:
        return (self.out_features,)

    def macs(self, shape: Shape) -> int:
        return self.in_features * self.out_features


Layer = Conv2d | BatchNorm | ReLU | MaxPool | AdaptiveAvgPool | Dropout | Linear


@dataclass(frozen=True, slots=True)
class Architecture:
    """One VGG: a row of numbers.

    Attributes:
        stages: output channels of each convolution, stage by stage; a max pool ends each stage.
        batch_norm: batch norm after each convolution.
        conv_bias: the convolutions have a bias.
        classifier_norm: batch norm (1d) after the first two linear layers.
        dropout: dropout probability after the first two linear layers; None when the network has none.
        hidden: widths of the first two linear layers.
        pool: side of the feature map that the classifier sees (7 for 224x224 inputs).
        num_classes: width of the last linear layer.
        adaptive: an adaptive average pool brings every feature map to `pool` x `pool`; without it the network only
            takes inputs of `native_size`.
    """

    stages: tuple[tuple[int, ...], ...]
    batch_norm: bool = False
    conv_bias: bool = True
    classifier_norm: bool = False
    dropout: float | None = 0.5
    hidden: tuple[int, int] = (4096, 4096)
    pool: int = 7
    num_classes: int = 1000
    adaptive: bool = True

    @property
    def native_size(self) -> int:
        """Side in pixels of the input whose feature map is exactly `pool` x `pool`."""
        return self.pool << len(self.stages)

    def with_classes(self, num_classes: int) -> Architecture:
        return replace(self, num_classes=num_classes)

    def layers(self) -> tuple[Layer, ...]:
        """The network from image to logits, with torchvision's state_dict key prefixes and the paper's names."""
        pool = (AdaptiveAvgPool("avgpool", "avgpool", self.pool),) if self.adaptive else ()
        return (*self._features(), *pool, *self._classifier())

    def _features(self) -> Iterator[Layer]:
        index, channels = 0, 3
        for stage, widths in enumerate(self.stages, 1):
            for number, width in enumerate(widths, 1):
                name = f"{stage}-{number}"
                yield Conv2d(f"features.{index}", f"conv{name}", channels, width, self.conv_bias)
                if self.batch_norm:
                    index += 1
                    yield BatchNorm(f"features.{index}", f"bn{name}", width, spatial=True)
                yield ReLU(f"features.{index + 1}", f"relu{name}")
                index, channels = index + 2, width
            yield MaxPool(f"features.{index}", f"pool{stage}")
            index += 1

    def _classifier(self) -> Iterator[Layer]:
        index, features = 0, self.stages[-1][-1] * self.pool**2
        for number, width in enumerate(self.hidden, 6):
            yield Linear(f"classifier.{index}", f"fc{number}", features, width)
            if self.classifier_norm:
                index += 1
                yield BatchNorm(f"classifier.{index}", f"bn{number}", width, spatial=False)
            yield ReLU(f"classifier.{index + 1}", f"relu{number}")
            if self.dropout is not None:
                index += 1
                yield Dropout(f"classifier.{index + 1}", f"drop{number}", self.dropout)
            index, features = index + 2, width
        yield Linear(f"classifier.{index}", "fc8", features, self.num_classes)

    def layer(self, name: str) -> Layer:
        """The layer of that name, e.g. "conv3-3", "bn3-3", "relu3-3", "pool5", "avgpool", "fc7" or "drop7".

        "relu3_3" is another spelling of "relu3-3".

        Raises:
            UsageError: the network has no such layer; the nearest names are told.
            TypeError: not a str.
        """
        if not isinstance(name, str):
            raise TypeError(f'a layer\'s name is a str such as "fc7", not {type(name).__name__}')
        layers = {layer.name: layer for layer in self.layers()}
        found = layers.get(name.replace("_", "-"))
        if found is None:
            near = difflib.get_close_matches(name.lower().replace("_", "-"), layers, n=3, cutoff=0.5) or list(layers)
            raise UsageError(
                "unknown layer", name, "the network has none of that name", f"The nearest names are {', '.join(near)}"
            )
        return found

    def activation_bytes(self, input_size: int) -> int:
        """Memory in bytes for one image on its way: the largest input and output of one layer together, float32."""
        shapes: list[Shape] = [(3, input_size, input_size)]
        for layer in self.layers():
            shapes.append(layer.output(shapes[-1]))
        return 4 * max(prod(before) + prod(after) for before, after in pairwise(shapes))

    def tensors(self) -> dict[str, Shape]:
        """Key and shape of every tensor of the state_dict, in its order."""
        return {key: shape for layer in self.layers() for key, shape in layer.tensors().items()}

    def parameters(self) -> int:
        """Number of trainable parameters (batch-norm statistics are buffers, not parameters)."""
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        return sum(prod(shape) for key, shape in self.tensors().items() if not key.endswith(buffers))
