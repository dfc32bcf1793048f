"""Layers in the orders in which people put them, for definitions to be short."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from networks import STAGES
from torch import nn

Row = Sequence[int | str]
WIDTHS = (6, 8, 12, 16, 16)  # of the five stages; the paper's last two are equal as well
LAST = WIDTHS[-1]
GRID = LAST * 49  # features of a 7x7 map: 25088 in the paper
HIDDEN = 40  # 4096 in the paper


def row(variant: str | Sequence[int], widths: Sequence[int] = WIDTHS, last_pool: bool = True) -> list[int | str]:
    """Widths, and M for a pool, as most programs write the table of the paper."""
    sizes = STAGES[variant] if isinstance(variant, str) else variant
    layers: list[int | str] = []
    for size, width in zip(sizes, widths, strict=True):
        layers += [width] * size + ["M"]
    return layers if last_pool else layers[:-1]


def features(
    layers: Row,
    order: str = "conv norm relu",
    *,
    bias: bool = True,
    channels: int = 3,
    relu: Callable[[], nn.Module] = lambda: nn.ReLU(inplace=True),
    pool: Callable[[int], nn.Module] = nn.MaxPool2d,
    eps: float = 1e-5,
) -> nn.Sequential:
    """All of them in one row, numbered. `order` is what stands around each convolution."""
    return nn.Sequential(*_blocks(layers, order, bias, channels, relu, pool, eps))


def _blocks(
    layers: Row,
    order: str,
    bias: bool,
    channels: int,
    relu: Callable[[], nn.Module],
    pool: Callable[[int], nn.Module],
    eps: float,
) -> Iterator[nn.Module]:
    for place, width in enumerate(layers):
        if isinstance(width, str):
            yield pool(2)
            continue
        for word in order.split():
            if word == "conv":
                yield nn.Conv2d(channels, width, 3, padding=1, bias=bias)
            elif word == "norm":
                yield nn.BatchNorm2d(width, eps=eps)
            elif word == "relu":
                yield relu()
            elif not isinstance(layers[place + 1], str):  # "drop": none in front of a pool
                yield nn.Dropout(0.4)
        channels = width


PLAIN = "conv relu"


def head(*words: tuple[int, int] | str | nn.Module, bias: bool = True) -> nn.Sequential:
    """Linears as (in, out), and `relu`, `drop`, `norm` as people order them."""
    layers: list[nn.Module] = []
    width = 0
    for word in words:
        if isinstance(word, nn.Module):
            layers.append(word)
        elif isinstance(word, tuple):
            layers.append(nn.Linear(*word, bias=bias))
            width = word[1]
        elif word == "norm":
            layers.append(nn.BatchNorm1d(width))
        else:
            layers.append(nn.ReLU() if word == "relu" else nn.Dropout())
    return nn.Sequential(*layers)


def three(first: int, classes: int, hidden: int = HIDDEN) -> nn.Sequential:
    """torchvision's classifier."""
    return head((first, hidden), "relu", "drop", (hidden, hidden), "relu", "drop", (hidden, classes))


def chain(pairs: Iterable[tuple[str, nn.Module]] = (), **children: nn.Module) -> nn.Sequential:
    """A network that runs its children in order, under these names."""
    return nn.Sequential(OrderedDict([*pairs, *children.items()]))


def torchvision_like(features: nn.Module, classifier: nn.Module) -> nn.Sequential:
    """torchvision's class: features, a pool to 7x7, the classifier."""
    return chain(features=features, avgpool=nn.AdaptiveAvgPool2d(7), flatten=nn.Flatten(), classifier=classifier)


def pooled(features: nn.Module, classifier: nn.Module, **more: nn.Module) -> nn.Sequential:
    """Global average pooling between features and classifier."""
    return chain(features=features, pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=classifier, **more)


def flat(features: nn.Module, classifier: nn.Module) -> nn.Sequential:
    """Nothing between features and classifier, as for images of one size."""
    return chain(features=features, flatten=nn.Flatten(), classifier=classifier)


def named(variant: str, conv: str, norm: str = "", channels: int = 3) -> list[tuple[str, nn.Module]]:
    """Every convolution under a name of its own, `conv{}_{}` of stage and number."""
    layers: list[tuple[str, nn.Module]] = []
    for stage, (size, width) in enumerate(zip(STAGES[variant], WIDTHS, strict=True), 1):
        for number in range(1, size + 1):
            layers.append((conv.format(stage, number), nn.Conv2d(channels, width, 3, padding=1)))
            if norm:
                layers.append((norm.format(stage, number), nn.BatchNorm2d(width)))
            layers.append((f"relu{stage}_{number}", nn.ReLU()))
            channels = width
        layers.append((f"pool{stage}", nn.MaxPool2d(2)))
    return layers


def caffe_head(classes: int) -> list[tuple[str, nn.Module]]:
    """fc6, fc7, fc8."""
    layers: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten()), ("fc6", nn.Linear(GRID, HIDDEN))]
    layers += [("relu6", nn.ReLU()), ("drop6", nn.Dropout()), ("fc7", nn.Linear(HIDDEN, HIDDEN))]
    return [*layers, ("relu7", nn.ReLU()), ("drop7", nn.Dropout()), ("fc8", nn.Linear(HIDDEN, classes))]
