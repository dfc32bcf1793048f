"""Whole modules written with torch.save(model): they say what keys never do."""

from __future__ import annotations

import torch
from definitions.cifar import CIFAR10, cifar10
from definitions.definition import IMAGENET, Definition
from definitions.heads import PETS, index_of
from definitions.layers import GRID, HIDDEN, LAST, PLAIN, features, head, row, three
from definitions.preprocessing import squash
from definitions.saving import adam_object, whole
from torch import Tensor, nn


class VGG(nn.Module):
    """A class of somebody's own, in a program that no reader has."""

    __module__ = "models.vgg"

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = x.view(x.size(0), -1)
        return self.classifier(x)


class PooledVGG(nn.Module):
    """Another, which averages the last map; its children are not in the order of their use."""

    __module__ = "models.vgg"

    def __init__(self, features: nn.Module, fc: nn.Module) -> None:
        super().__init__()
        self.fc = fc
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.backbone = features

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.pool(self.backbone(x)), 1))


def leaky() -> nn.Module:
    return VGG(features(row("vgg16"), relu=lambda: nn.LeakyReLU(0.2)), three(GRID, 5))


def gelu() -> nn.Module:
    """Also in the head."""
    classifier = nn.Sequential(nn.Linear(GRID, HIDDEN), nn.GELU(), nn.Dropout(), nn.Linear(HIDDEN, 5))
    return VGG(features(row("vgg13"), relu=nn.GELU), classifier)


class Torchvision(nn.Module):
    """Saved as torchvision's own class, which takes seconds to import and 400 MB to make."""

    __module__ = "torchvision.models.vgg"
    __qualname__ = "VGG"

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


Torchvision.__name__ = "VGG"


def torchvision_class() -> nn.Module:
    """Fine-tuned as everybody does."""
    return Torchvision(features(row("vgg11"), PLAIN), three(GRID, 5))


DEFINITIONS = (
    Definition(
        name="whole-leaky",
        source="torch.save(model), a class of one's own",
        difference="LeakyReLU(0.2)",
        network=leaky,
        see=squash(),
        saved="whole module",
        save=whole(lambda n: n, VGG),
        read="activation: the module",
        says=IMAGENET,
    ),
    Definition(
        name="whole-gelu",
        source="torch.save(model), a class of one's own",
        difference="GELU in features and head",
        network=gelu,
        see=squash(),
        saved="whole module, legacy format",
        save=whole(lambda n: n, VGG, legacy=True),
        read="activation: the module",
        says=IMAGENET,
    ),
    Definition(
        name="whole-average-pools",
        source="torch.save(model), a class of one's own",
        difference="average pools between the stages, 32 pixels",
        network=lambda: VGG(features(row("vgg16"), pool=nn.AvgPool2d), nn.Linear(LAST, 10)),
        see=cifar10,
        saved='{"net": whole module, "acc", "epoch"}',
        save=whole(lambda n: {"net": n, "acc": 93.0, "epoch": 12}, VGG),
        read="pools: the module",
        says=CIFAR10,
    ),
    Definition(
        name="whole-epsilon",
        source="torch.save(model), a port from Keras",
        difference="batch norms with an epsilon of 0.05",
        network=lambda: VGG(
            features(row("vgg11"), eps=0.05), head((GRID, HIDDEN), "relu", nn.BatchNorm1d(HIDDEN, 0.05), (HIDDEN, 4))
        ),
        see=squash(),
        saved="whole module",
        save=whole(lambda n: n, VGG),
        read="epsilon: the module",
        says=IMAGENET,
    ),
    Definition(
        name="whole-pooled",
        source="torch.save(model), a class of one's own",
        difference="global average pooling by the module; children out of order",
        network=lambda: PooledVGG(features(row("vgg16")), head((LAST, 32), "relu", "drop", (32, 5))),
        see=squash(),
        saved="whole module",
        save=whole(lambda n: n, PooledVGG),
        read="pool: the module",
        says=IMAGENET,
    ),
    Definition(
        name="whole-torchvision",
        source="torch.save(model), torchvision's class",
        difference="a module",
        network=torchvision_class,
        see=squash(),
        saved="whole module",
        save=whole(lambda n: n, Torchvision),
        says=IMAGENET,
    ),
    Definition(
        name="whole-torchvision-legacy",
        source="torch.save(model), torchvision's class, old torch",
        difference="a module inside DataParallel",
        network=torchvision_class,
        see=squash(),
        saved="whole module in DataParallel, legacy format",
        save=whole(lambda n: nn.DataParallel(n), Torchvision, legacy=True),
        says=IMAGENET,
    ),
    Definition(
        name="udacity-whole",
        source="Udacity's flower course, with the model as a module",
        difference="a module under `model`, an optimizer as an object",
        network=torchvision_class,
        see=squash(),
        saved='{"model": whole module, "optimizer": object, "class_to_idx"}',
        save=whole(
            lambda n: {
                "model": n,
                "optimizer": adam_object(n),
                "class_to_idx": index_of(PETS),
            },
            Torchvision,
            name="checkpoint.pth",
        ),
        read="names: `class_to_idx`",
        names=PETS,
        says=IMAGENET,
    ),
)
