"""A VGG as a flat list of typed layers: the one description that every other part walks.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
table 1; batch norm after each convolution as torchvision publishes it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isqrt, prod

from vggcli.errors import UsageError
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
    Shape,
)

Stages = tuple[tuple[int, ...], ...]

_BEFORE_THE_FIRST = 5  # the paper counts its linear layers from 6, behind five stages


@dataclass(frozen=True, slots=True)
class Architecture:
    """One VGG.

    Attributes:
        sequence: its layers from image to logits; `numbered` and `vgg` give them their keys and names.
    """

    sequence: tuple[Layer, ...]

    def layers(self) -> tuple[Layer, ...]:
        """The network from image to logits, with torchvision's state_dict key prefixes and the paper's names."""
        return self.sequence

    @property
    def convolutions(self) -> tuple[Conv2d, ...]:
        """The convolutions in order."""
        return tuple(layer for layer in self.sequence if isinstance(layer, Conv2d))

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The fully connected layers in order; none where the file held features only."""
        return tuple(layer for layer in self.sequence if isinstance(layer, Linear))

    @property
    def stages(self) -> Stages:
        """Output channels of each convolution, stage by stage; a pool ends each stage, but perhaps the last."""
        stages: list[list[int]] = [[]]
        for layer in self.sequence:
            if isinstance(layer, Conv2d):
                stages[-1].append(layer.out_channels)
            elif isinstance(layer, Pool):
                stages.append([])
        return tuple(tuple(stage) for stage in stages if stage)

    @property
    def in_channels(self) -> int:
        """Channels of the image: 3 for colour, 1 for grey."""
        return self.convolutions[0].in_channels

    @property
    def batch_norm(self) -> bool:
        """Whether batch norm follows the convolutions."""
        return any(isinstance(layer, BatchNorm) and layer.spatial for layer in self.sequence)

    @property
    def adaptive(self) -> bool:
        """Whether images of any size will do: a pool brings their maps to one size, or nothing flattens them."""
        return not self.linears or any(isinstance(layer, AdaptiveAvgPool | ConcatPool) for layer in self.sequence)

    @property
    def pool(self) -> int:
        """Side of the feature map that the classifier sees (7 for 224x224 inputs)."""
        size = next((layer.size for layer in self.sequence if isinstance(layer, AdaptiveAvgPool)), 0)
        if size or not self.linears:
            return size or 1
        return max(1, isqrt(self.linears[0].in_features // self.convolutions[-1].out_channels))

    @property
    def smallest_size(self) -> int:
        """Side in pixels of the smallest input that leaves anything behind all pools."""
        return 1 << sum(isinstance(layer, Pool) for layer in self.sequence)

    @property
    def native_size(self) -> int:
        """Side in pixels of the input whose feature map is exactly `pool` x `pool`."""
        return self.pool * self.smallest_size

    @property
    def num_classes(self) -> int:
        """Width of the last linear layer; 0 without one."""
        return self.linears[-1].out_features if self.linears else 0

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the linear layers before the last."""
        return tuple(linear.out_features for linear in self.linears[:-1])

    def with_classes(self, num_classes: int) -> Architecture:
        """The same with another number of classes."""
        last = self.linears[-1]
        return Architecture(
            tuple(replace(last, out_features=num_classes) if layer is last else layer for layer in self.sequence)
        )

    def layer(self, name: str) -> Layer:
        """The layer of that name, e.g. "conv3-3", "bn3-3", "relu3-3", "pool5", "avgpool", "fc7" or "drop7".

        "relu3_3" is another spelling of "relu3-3".

        Raises:
            UsageError: the network has no such layer; the nearest names are told.
            TypeError: not a str.
        """
        if not isinstance(name, str):
            raise TypeError(f'a layer\'s name is a str such as "fc7", not {type(name).__name__}')
        layers = {layer.name: layer for layer in self.sequence}
        found = layers.get(name.replace("_", "-"))
        if found is None:
            near = difflib.get_close_matches(name.lower().replace("_", "-"), layers, n=3, cutoff=0.5) or list(layers)
            raise UsageError(
                "unknown layer", name, "the network has none of that name", f"The nearest names are {', '.join(near)}"
            )
        return found

    def output_shape(self, name: str, input_size: int) -> Shape:
        """Shape of what a layer gives for one input of this side: (channels, height, width) or (features,).

        Raises:
            UsageError: as `layer`.
        """
        wanted = self.layer(name)
        shape: Shape = (self.in_channels, input_size, input_size)
        for layer in self.sequence:
            shape = layer.output(shape)
            if layer == wanted:
                break
        return shape

    def activation_bytes(self, input_size: int) -> int:
        """Memory in bytes for one image on its way: the largest input and output of one layer together, float32."""
        shapes: list[Shape] = [(self.in_channels, input_size, input_size)]
        for layer in self.sequence:
            shapes.append(layer.output(shapes[-1]))
        return 4 * max(prod(before) + prod(after) for before, after in pairwise(shapes))

    def tensors(self) -> dict[str, Shape]:
        """Key and shape of every tensor of the state_dict, in its order."""
        return {key: shape for layer in self.sequence for key, shape in layer.tensors().items()}

    def parameters(self) -> int:
        """Number of trainable parameters (batch-norm statistics are buffers, not parameters)."""
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        return sum(prod(shape) for key, shape in self.tensors().items() if not key.endswith(buffers))


def vgg(
    stages: Stages,
    *,
    batch_norm: bool = False,
    conv_bias: bool = True,
    classifier_norm: bool = False,
    dropout: float | None = 0.5,
    hidden: tuple[int, ...] = (4096, 4096),
    pool: int = 7,
    num_classes: int = 1000,
    adaptive: bool = True,
) -> Architecture:
    """The network of the paper: a row of numbers.

    Args:
        stages: output channels of each convolution, stage by stage; a max pool ends each stage.
        batch_norm: batch norm after each convolution.
        conv_bias: the convolutions have a bias.
        classifier_norm: batch norm (1d) after every linear layer but the last.
        dropout: dropout probability after the same; None when the network has none.
        hidden: widths of the linear layers before the last.
        pool: side of the feature map that the classifier sees (7 for 224x224 inputs).
        num_classes: width of the last linear layer.
        adaptive: an adaptive average pool brings every feature map to `pool` x `pool`; without it the network only
            takes inputs of `native_size`.
    """

    def layers() -> Iterator[Layer]:
        channels = 3
        for widths in stages:
            for width in widths:
                yield Conv2d("", "", channels, width, conv_bias)
                if batch_norm:
                    yield BatchNorm("", "", width, spatial=True)
                yield Activation("", "")
                channels = width
            yield Pool("", "")
        if adaptive:
            yield AdaptiveAvgPool("", "", pool)
        features = channels * pool**2
        for width in hidden:
            yield Linear("", "", features, width)
            if classifier_norm:
                yield BatchNorm("", "", width, spatial=False)
            yield Activation("", "")
            if dropout is not None:
                yield Dropout("", "", dropout)
            features = width
        yield Linear("", "", features, num_classes)

    return numbered(layers())


def numbered(layers: Iterable[Layer]) -> Architecture:
    """The layers with torchvision's keys, which count every layer of features and classifier, and the paper's names."""
    found: list[Layer] = []
    part, index, stage, number, linear = "features", 0, 1, 0, _BEFORE_THE_FIRST
    for layer in layers:
        if part == "features" and _begins_classifier(layer):
            part, index = "classifier", 0
        if isinstance(layer, AdaptiveAvgPool | ConcatPool):
            found.append(replace(layer, key="avgpool", name="avgpool"))
            continue
        number += isinstance(layer, Conv2d)
        linear += isinstance(layer, Linear)
        place = str(linear) if part == "classifier" else f"{stage}-{number}"
        if isinstance(layer, Pool):
            place, stage, number = str(stage), stage + 1, 0
        found.append(replace(layer, key=f"{part}.{index}", name=_WORDS[type(layer)] + place))
        index += 1
    return Architecture(tuple(found))


def _begins_classifier(layer: Layer) -> bool:
    is_flat = isinstance(layer, BatchNorm) and not layer.spatial
    return is_flat or isinstance(layer, AdaptiveAvgPool | ConcatPool | Linear)


_WORDS: dict[type[Layer], str] = {
    Conv2d: "conv",
    Linear: "fc",
    BatchNorm: "bn",
    Activation: "relu",
    Dropout: "drop",
    Pool: "pool",
}
