"""The layers that a VGG is made of, each with its key in the state_dict, its name in the paper and its shapes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

Shape = tuple[int, ...]

KERNEL = 3  # the paper's convolutions (section 2.1); its configuration C has some of 1x1 as well
ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "relu6", "tanh", "sigmoid")
BATCH_NORM_EPS = 1e-5  # torch.nn.BatchNorm2d's default, which all published weights were trained with


@dataclass(frozen=True, slots=True)
class Conv2d:
    """Convolution, stride 1, padded so that the map keeps its size: (N, in, H, W) to (N, out, H, W)."""

    key: str
    name: str
    in_channels: int
    out_channels: int
    bias: bool = True
    kernel: int = KERNEL

    def tensors(self) -> dict[str, Shape]:
        tensors: dict[str, Shape] = {
            f"{self.key}.weight": (self.out_channels, self.in_channels, self.kernel, self.kernel)
        }
        if self.bias:
            tensors[f"{self.key}.bias"] = (self.out_channels,)
        return tensors

    def output(self, shape: Shape) -> Shape:
        return (self.out_channels, *shape[1:])

    def macs(self, shape: Shape) -> int:
        return prod(self.output(shape)) * self.in_channels * self.kernel**2


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch norm over channels, of a map (2 spatial dimensions) or of features (0); `affine` ones have a weight."""

    key: str
    name: str
    channels: int
    spatial: bool
    eps: float = BATCH_NORM_EPS
    affine: bool = True

    def tensors(self) -> dict[str, Shape]:
        vectors = ("weight", "bias", "running_mean", "running_var")[0 if self.affine else 2 :]
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
class Activation(Stateless):
    """A function of each value by itself.

    Attributes:
        function: one of `ACTIVATIONS`, named as in `torch.nn.functional`.
        alpha: the slope below zero of "leaky_relu", the scale of "elu".
    """

    function: str = "relu"
    alpha: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool(Stateless):
    """2x2 pooling, stride 2: the greatest of four values, or their average; odd sizes are rounded down."""

    average: bool = False

    def output(self, shape: Shape) -> Shape:
        return (shape[0], shape[1] // 2, shape[2] // 2)


@dataclass(frozen=True, slots=True)
class AdaptiveAvgPool(Stateless):
    """Average pooling to size x size, whatever the input; the identity on the native input size."""

    size: int

    def output(self, shape: Shape) -> Shape:
        return (shape[0], self.size, self.size)


@dataclass(frozen=True, slots=True)
class ConcatPool(Stateless):
    """The greatest value of each channel, then the average of each, as fastai pools: (N, C, H, W) to (N, 2C, 1, 1)."""

    def output(self, shape: Shape) -> Shape:
        return (2 * shape[0], 1, 1)


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
    bias: bool = True

    def tensors(self) -> dict[str, Shape]:
        tensors: dict[str, Shape] = {f"{self.key}.weight": (self.out_features, self.in_features)}
        if self.bias:
            tensors[f"{self.key}.bias"] = (self.out_features,)
        return tensors

    def output(self, shape: Shape) -> Shape:
        return (self.out_features,)

    def macs(self, shape: Shape) -> int:
        return self.in_features * self.out_features


Layer = Conv2d | BatchNorm | Activation | Pool | AdaptiveAvgPool | ConcatPool | Dropout | Linear
