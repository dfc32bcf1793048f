"""Weights of another type or form, tensors beside the chain, other input channels, keys with somebody's prefixes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from definitions.cifar import CIFAR10, cifar10
from definitions.definition import IMAGENET, Definition
from definitions.heads import PETS
from definitions.layers import GRID, LAST, PLAIN, WIDTHS, chain, features, flat, head, row, three, torchvision_like
from definitions.preprocessing import CIFAR10_MEAN, CIFAR10_STD, IMAGENET_MEAN, IMAGENET_STD, grey, squash, unit
from definitions.saving import BARE, State, moved, prefixed, state, torch_file
from networks import STAGES
from torch import Tensor, nn


class Normalize(nn.Module):
    """Mean and deviation as buffers, so that the network takes values in 0..1."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(shape))
        self.register_buffer("std", torch.tensor(std).view(shape))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean.view(1, -1, 1, 1)) / self.std.view(1, -1, 1, 1)


def vgg16(classes: int = 6) -> nn.Module:
    return torchvision_like(features(row("vgg16")), three(GRID, classes))


def d2l() -> nn.Module:
    """Dive into Deep Learning: a Sequential a stage, all in one Sequential, one channel."""
    blocks: list[nn.Module] = []
    channels = 1
    for size, width in zip(STAGES["vgg11"], WIDTHS, strict=True):
        layers: list[nn.Module] = []
        for _ in range(size):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2, 2)))
    return nn.Sequential(*blocks, nn.Flatten(), *three(GRID, 10))


def rounded(dtype: torch.dtype) -> Callable[[nn.Module], None]:
    """Weights that have been through a narrower type."""

    def finish(network: nn.Module) -> None:
        network.to(dtype).float()

    return finish


def turn_channels_last(network: nn.Module) -> None:
    """Strides as GPUs like them; the numbers stay."""
    network.to(memory_format=torch.channels_last)


def cast(network: nn.Module, dtype: torch.dtype) -> State:
    """The state_dict in another type; counters stay whole numbers."""
    return {key: t.to(dtype) if t.is_floating_point() else t for key, t in state(network).items()}


def prune_some(network: nn.Module) -> None:
    """The smallest weights of every layer become zero."""
    for key, tensor in network.state_dict().items():
        if key.endswith(".weight") and tensor.ndim > 1:
            tensor.mul_(tensor.abs() > tensor.abs().flatten().kthvalue(max(1, tensor.numel() // 16)).values)


def masks(network: nn.Module) -> State:
    """As torch.nn.utils.prune keeps it: what a weight would be without its mask, and the mask."""
    result: State = {}
    for key, tensor in state(network).items():
        if key.endswith(".weight") and tensor.ndim > 1:
            kept = tensor != 0
            result[f"{key}_orig"] = torch.where(kept, tensor, tensor.std())
            result[f"{key}_mask"] = kept.float()
        else:
            result[key] = tensor
    return result


def directions(network: nn.Module, length: str, direction: str) -> State:
    """Every weight of a convolution or linear as length and direction, by output."""
    result: State = {}
    for key, tensor in state(network).items():
        if key.endswith(".weight") and tensor.ndim > 1:
            stem = key.removesuffix("weight")
            lengths = tensor.flatten(1).norm(dim=1).view(-1, *[1] * (tensor.ndim - 1))
            result[stem + length] = lengths
            result[stem + direction] = tensor * torch.linspace(0.5, 2, len(tensor)).view_as(lengths)
        else:
            result[key] = tensor
    return result


def without_counters(network: nn.Module) -> State:
    """Frozen batch norms and old files have no num_batches_tracked."""
    return {key: tensor for key, tensor in state(network).items() if not key.endswith("num_batches_tracked")}


DEFINITIONS = (
    Definition(
        name="grey-28-padded-to-32",
        source="MNIST VGGs at 32 pixels",
        difference="one input channel, 32 pixels, MNIST's mean and deviation",
        network=lambda: flat(features(row("vgg11"), channels=1), head((LAST, 32), "relu", "drop", (32, 10))),
        see=grey(32, 0.1307, 0.3081),
        saved="bare state_dict",
        save=torch_file(state, "mnist_vgg.pt"),
        says=("--mean", "0.1307", "--std", "0.3081", "--size", "32"),
        grey_picture=True,
    ),
    Definition(
        name="d2l",
        source="Dive into Deep Learning's VGG-11 on Fashion-MNIST",
        difference="one input channel, 224 pixels, values in 0..1; keys of numbers, a Sequential a stage",
        network=d2l,
        see=grey(224),
        saved="bare state_dict",
        save=torch_file(state, "vgg.params"),
        says=("--recipe", "unit"),
    ),
    Definition(
        name="float16",
        source="model.half() before saving",
        difference="half-precision weights",
        network=vgg16,
        see=squash(),
        finish=rounded(torch.float16),
        saved="bare state_dict",
        save=torch_file(lambda n: cast(n, torch.float16)),
        says=IMAGENET,
    ),
    Definition(
        name="bfloat16",
        source="training in bfloat16",
        difference="bfloat16 weights",
        network=vgg16,
        see=squash(),
        finish=rounded(torch.bfloat16),
        saved="bare state_dict, legacy format",
        save=torch_file(lambda n: cast(n, torch.bfloat16), legacy=True),
        says=IMAGENET,
    ),
    Definition(
        name="float64",
        source="training in double precision",
        difference="float64 weights",
        network=lambda: torchvision_like(features(row("vgg11"), PLAIN), three(GRID, 6)),
        see=squash(),
        saved="bare state_dict",
        save=torch_file(lambda n: cast(n, torch.float64)),
        says=IMAGENET,
    ),
    Definition(
        name="channels-last",
        source="model.to(memory_format=torch.channels_last)",
        difference="strides of another order",
        network=vgg16,
        see=squash(),
        finish=turn_channels_last,
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
    Definition(
        name="no-counters",
        source="frozen and old batch norms",
        difference="no `num_batches_tracked`",
        network=vgg16,
        see=squash(),
        saved='{"state_dict"}, legacy format',
        save=torch_file(lambda n: {"state_dict": without_counters(n)}, legacy=True),
        says=IMAGENET,
    ),
    Definition(
        name="pruning-masks",
        source="torch.nn.utils.prune without prune.remove",
        difference="`weight_orig` and `weight_mask` for `weight`",
        network=vgg16,
        see=squash(),
        finish=prune_some,
        saved="bare state_dict",
        save=torch_file(masks),
        read="the masks are applied",
        says=IMAGENET,
    ),
    Definition(
        name="weight-norm",
        source="torch.nn.utils.weight_norm",
        difference="`weight_g` and `weight_v` for `weight`",
        network=lambda: torchvision_like(features(row("vgg16"), PLAIN), three(GRID, 6)),
        see=squash(),
        saved="bare state_dict",
        save=torch_file(lambda n: directions(n, "weight_g", "weight_v")),
        read="length times direction",
        says=IMAGENET,
    ),
    Definition(
        name="weight-norm-parametrized",
        source="torch.nn.utils.parametrizations.weight_norm",
        difference="`parametrizations.weight.original0` and `original1` for `weight`",
        network=lambda: torchvision_like(features(row("vgg16"), PLAIN), three(GRID, 6)),
        see=squash(),
        saved="bare state_dict",
        save=torch_file(
            lambda n: directions(n, "parametrizations.weight.original0", "parametrizations.weight.original1")
        ),
        read="length times direction",
        says=IMAGENET,
    ),
    Definition(
        name="normalize-buffers",
        source="networks that normalise for themselves",
        difference="`normalize.mean` and `normalize.std` beside the layers",
        network=lambda: chain(
            normalize=Normalize((0.5, 0.45, 0.4), (0.25, 0.26, 0.27), (1, 3, 1, 1)),
            features=features(row("vgg16")),
            flatten=nn.Flatten(),
            classifier=three(GRID, 6),
        ),
        see=unit(224),
        saved='{"state_dict", "classes"}',
        save=torch_file(lambda n: {"state_dict": state(n), "classes": [*PETS, "Tabby"]}),
        read="names: `classes`; recipe: `normalize.mean`, `normalize.std`",
        names=(*PETS, "Tabby"),
    ),
    Definition(
        name="normalize-first",
        source="adversarial robustness: Sequential(Normalize, network)",
        difference="`0.mean` and `0.std`, the network under `1.`",
        network=lambda: nn.Sequential(Normalize(IMAGENET_MEAN, IMAGENET_STD, (3,)), vgg16()),
        see=unit(224),
        saved="bare state_dict",
        save=BARE,
        read="recipe: `0.mean`, `0.std`",
    ),
    Definition(
        name="normalize-at-32",
        source="adversarial robustness on CIFAR-10",
        difference="`normalize.mean` and `normalize.std`; the size is open",
        network=lambda: chain(
            normalize=Normalize(CIFAR10_MEAN, CIFAR10_STD, (3, 1, 1)),
            features=features(row("vgg16")),
            flatten=nn.Flatten(),
            classifier=nn.Linear(LAST, 10),
        ),
        see=unit(32),
        saved='{"model_state_dict", "epoch"}',
        save=torch_file(lambda n: {"model_state_dict": state(n), "epoch": 200}),
        read="recipe: `normalize.mean`, `normalize.std`",
        says=("--size", "32"),
    ),
    Definition(
        name="pretrained-cfg-inside",
        source="programs that keep timm's pretrained_cfg with the weights",
        difference="`pretrained_cfg` in the checkpoint",
        network=vgg16,
        see=squash(224, (0.48, 0.45, 0.41), (0.27, 0.26, 0.28)),
        saved='{"state_dict", "pretrained_cfg"}',
        save=torch_file(
            lambda n: {
                "state_dict": state(n),
                "pretrained_cfg": {
                    "input_size": (3, 224, 224),
                    "interpolation": "bilinear",
                    "mean": (0.48, 0.45, 0.41),
                    "std": (0.27, 0.26, 0.28),
                    "crop_pct": 1.0,
                    "crop_mode": "squash",
                    "num_classes": 6,
                },
            }
        ),
        read="recipe: `pretrained_cfg`",
    ),
    Definition(
        name="loss-and-metrics",
        source="modules that own their loss and metrics",
        difference="`criterion.weight` and `confmat` beside the layers",
        network=vgg16,
        see=squash(),
        saved="bare state_dict",
        save=torch_file(
            lambda n: state(n) | {"criterion.weight": torch.ones(6), "confmat": torch.zeros(6, 6, dtype=torch.long)}
        ),
        says=IMAGENET,
    ),
    Definition(
        name="compiled",
        source="torch.compile inside DataParallel",
        difference="`module._orig_mod.` before every key",
        network=vgg16,
        see=squash(),
        saved="bare state_dict",
        save=torch_file(lambda n: prefixed("module._orig_mod.", n)),
        says=IMAGENET,
    ),
    Definition(
        name="average-beside",
        source="programs that keep their own moving average",
        difference="`ema` beside `model`: the model is meant",
        network=lambda: flat(features(row("vgg16")), nn.Linear(LAST, 10)),
        see=cifar10,
        saved='{"model", "ema", "step"}',
        save=torch_file(lambda n: {"model": state(n), "ema": moved(state(n)), "step": 40000}),
        says=CIFAR10,
    ),
    Definition(
        name="thousand-classes",
        source="networks of 1000 classes that are nobody's ImageNet",
        difference="1000 classes without names: ImageNet's only with a note",
        network=lambda: torchvision_like(features(row("vgg11"), PLAIN), three(GRID, 1000)),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
)
