"""VGGs for small images: CIFAR's 32 pixels, 44 of faces, 64 of Tiny ImageNet."""

from __future__ import annotations

from collections.abc import Sequence

from definitions.definition import Definition
from definitions.layers import HIDDEN, LAST, PLAIN, WIDTHS, chain, features, flat, head, named, pooled, row, three
from definitions.preprocessing import CIFAR10_MEAN, CIFAR10_STD, CIFAR100_MEAN, CIFAR100_STD, half, squash, unit
from definitions.saving import BARE, momentum, prefixed, renamed, state, torch_file
from networks import STAGES
from torch import nn

CIFAR10 = ("--recipe", "cifar10")
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
cifar10 = squash(32, CIFAR10_MEAN, CIFAR10_STD)


def numbers(values: Sequence[float]) -> str:
    """As an option takes them."""
    return ",".join(str(value) for value in values)


def statistics(mean: Sequence[float], std: Sequence[float], size: int) -> tuple[str, ...]:
    """The options of a mean and a deviation of somebody's own."""
    return ("--mean", numbers(mean), "--std", numbers(std), "--size", str(size))


WEIAICUNZAI = (
    (0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
    (0.2673342858792401, 0.2564384629170883, 0.27615047132568404),
)
HYSTS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
PRUNED = (7, 5, "M", 11, 9, "M", 13, 6, 15, "M", 20, 17, 10, "M", 12, 19, 14, "M")
SLIMMED = (6, 8, "M", 10, 9, "M", 14, 12, 13, 11, "M", 18, 21, 16, 20, "M", 15, 17, 19, 22)


def _stage(stage: int) -> list[tuple[str, nn.Module]]:
    """One stage of VGG16 with names inside it."""
    layers: list[tuple[str, nn.Module]] = []
    channels = WIDTHS[stage - 2] if stage > 1 else 3
    for index in range(STAGES["vgg16"][stage - 1]):
        layers.append((f"conv{index}", nn.Conv2d(channels, WIDTHS[stage - 1], 3, padding=1)))
        layers += [(f"bn{index}", nn.BatchNorm2d(WIDTHS[stage - 1])), (f"relu{index}", nn.ReLU())]
        channels = WIDTHS[stage - 1]
    return [*layers, ("pool", nn.MaxPool2d(2))]


def kuangliu() -> nn.Module:
    """Its `features` end with an average pool of one pixel."""
    return flat(nn.Sequential(*features(row("vgg16")), nn.AvgPool2d(1, 1)), nn.Linear(LAST, 10))


def dropout_first(classes: int) -> nn.Sequential:
    return head("drop", (LAST, LAST), "relu", "drop", (LAST, LAST), "relu", (LAST, classes))


DEFINITIONS = (
    Definition(
        name="kuangliu",
        source="kuangliu pytorch-cifar",
        difference="32 pixels, one linear layer, CIFAR-10's statistics",
        network=kuangliu,
        see=cifar10,
        saved='{"net": DataParallel\'s keys, "acc", "epoch"}',
        save=torch_file(lambda n: {"net": prefixed("module.", n), "acc": 93.92, "epoch": 187}, "ckpt.pth"),
        says=CIFAR10,
    ),
    Definition(
        name="weiaicunzai",
        source="weiaicunzai pytorch-cifar100",
        difference="32 pixels, three linears on 512 features, CIFAR-100's statistics with all digits",
        network=lambda: flat(features(row("vgg16")), three(LAST, 100)),
        see=squash(32, *WEIAICUNZAI),
        saved="bare state_dict",
        save=torch_file(state, "vgg16-200-regular.pth"),
        says=statistics(*WEIAICUNZAI, 32),
    ),
    Definition(
        name="chengyangfu-plain",
        source="chengyangfu pytorch-vgg-cifar10, without batch norm",
        difference="32 pixels, dropout before each linear, ImageNet's statistics",
        network=lambda: flat(features(row("vgg11"), PLAIN), dropout_first(10)),
        see=squash(32),
        saved='{"epoch", "state_dict", "best_prec1"}, `features.module.N`',
        save=torch_file(
            lambda n: {
                "epoch": 300,
                "state_dict": renamed(n, ("features.", "features.module.")),
                "best_prec1": 92.1,
            },
            "checkpoint_299.tar",
        ),
        says=("--recipe", "imagenet", "--size", "32"),
    ),
    Definition(
        name="chengyangfu-norm",
        source="chengyangfu pytorch-vgg-cifar10, with batch norm",
        difference="32 pixels, dropout before each linear, ImageNet's statistics",
        network=lambda: flat(features(row("vgg19")), dropout_first(10)),
        see=squash(32),
        saved='{"epoch", "state_dict", "best_prec1"}, `features.module.N`',
        save=torch_file(
            lambda n: {"epoch": 300, "state_dict": renamed(n, ("features.", "features.module.")), "best_prec1": 93.4}
        ),
        says=("--recipe", "imagenet", "--size", "32"),
    ),
    Definition(
        name="chenyaofo-10",
        source="chenyaofo pytorch-cifar-models, CIFAR-10",
        difference="32 pixels, 512 features, three linears",
        network=lambda: flat(features(row("vgg13")), three(LAST, 10, LAST)),
        see=cifar10,
        saved="bare state_dict",
        save=torch_file(state, "cifar10_vgg13_bn.pt"),
        says=CIFAR10,
    ),
    Definition(
        name="chenyaofo-100",
        source="chenyaofo pytorch-cifar-models, CIFAR-100",
        difference="32 pixels, 512 features, three linears, CIFAR-100's statistics",
        network=lambda: flat(features(row("vgg16")), three(LAST, 100, LAST)),
        see=squash(32, CIFAR100_MEAN, CIFAR100_STD),
        saved="bare state_dict",
        save=torch_file(state, "cifar100_vgg16_bn.pt"),
        says=("--recipe", "cifar100"),
    ),
    Definition(
        name="bearpaw",
        source="bearpaw pytorch-classification",
        difference="32 pixels, one linear layer",
        network=lambda: flat(features(row("vgg19")), nn.Linear(LAST, 10)),
        see=cifar10,
        saved='{"epoch", "state_dict": DataParallel\'s keys, "acc", "best_acc", "optimizer"}',
        save=torch_file(
            lambda n: {
                "epoch": 164,
                "state_dict": prefixed("module.", n),
                "acc": 93.5,
                "best_acc": 93.6,
                "optimizer": momentum(n),
            },
            "model_best.pth.tar",
        ),
        says=CIFAR10,
    ),
    Definition(
        name="hysts",
        source="hysts pytorch_image_classification",
        difference="`stage1.conv0`, `stage1.bn0`: names within stages",
        network=lambda: chain(
            [(f"stage{s}", chain(_stage(s))) for s in range(1, 6)],
            flatten=nn.Flatten(),
            fc=nn.Linear(LAST, 10),
        ),
        see=squash(32, *HYSTS),
        saved='{"config", "epoch", "accuracy", "model", "optimizer", "scheduler"}',
        save=torch_file(
            lambda n: {
                "config": {"model": {"type": "cifar", "name": "vgg"}, "dataset": {"name": "CIFAR10", "n_classes": 10}},
                "epoch": 160,
                "accuracy": 0.94,
                "model": state(n),
                "optimizer": momentum(n),
                "scheduler": {"last_epoch": 62400},
            },
            "checkpoint_00160.pth",
        ),
        says=statistics(*HYSTS, 32),
    ),
    Definition(
        name="wujie-faces",
        source="WuJie1010 Facial-Expression-Recognition.Pytorch",
        difference="44 pixels, values in 0..1, 7 expressions",
        network=lambda: flat(nn.Sequential(*features(row("vgg19")), nn.AvgPool2d(1, 1)), nn.Linear(LAST, 7)),
        see=unit(44),
        saved='{"net", "best_PrivateTest_acc", ...}',
        save=torch_file(
            lambda n: {"net": state(n), "best_PrivateTest_acc": 73.1, "best_PrivateTest_acc_epoch": 190},
            "PrivateTest_model.t7",
        ),
        says=("--recipe", "unit", "--size", "44"),
    ),
    Definition(
        name="pruned",
        source="filters removed from kuangliu's VGG16",
        difference="another width in every layer",
        network=lambda: flat(features(PRUNED), nn.Linear(14, 10)),
        see=cifar10,
        saved='{"cfg": widths, "state_dict"}',
        save=torch_file(lambda n: {"cfg": list(PRUNED), "state_dict": state(n)}, "pruned.pth.tar"),
        says=CIFAR10,
    ),
    Definition(
        name="slimmed",
        source="network-slimming (Eric-mingjie)",
        difference="another width in every layer, no bias, four pools and then an average over 2x2",
        network=lambda: chain(
            feature=features(SLIMMED, bias=False),
            pool=nn.AvgPool2d(2),
            flatten=nn.Flatten(),
            classifier=nn.Linear(22, 10),
        ),
        see=cifar10,
        saved='{"cfg": widths and pools, "state_dict"}',
        save=torch_file(lambda n: {"cfg": list(SLIMMED), "state_dict": state(n)}, "pruned.pth.tar"),
        read="that no pool ends the features: `cfg`",
        says=CIFAR10,
    ),
    Definition(
        name="norm-between-linears",
        source="CIFAR heads of Linear, BatchNorm1d, Linear",
        difference="linears so near in number that no ReLU lies between",
        network=lambda: flat(features(row("vgg16")), head((LAST, 32), "norm", (32, 10))),
        see=cifar10,
        saved="bare state_dict",
        save=BARE,
        says=CIFAR10,
    ),
    Definition(
        name="linear-linear",
        source="heads of two linears in a row",
        difference="`classifier.0` and `classifier.1`: no ReLU fits between",
        network=lambda: flat(features(row("vgg11")), head((LAST, 32), (32, 10))),
        see=half(32),
        saved="bare state_dict",
        save=BARE,
        says=("--recipe", "half", "--size", "32"),
    ),
    Definition(
        name="gap-1-at-32",
        source="global average pooling and one linear",
        difference="`fc` after AdaptiveAvgPool2d(1), 32 pixels",
        network=lambda: chain(
            features=features(row("vgg13")), pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(LAST, 10)
        ),
        see=half(32),
        saved='{"model_state_dict", "optimizer_state_dict", "epoch", "loss", "classes"}',
        save=torch_file(
            lambda n: {
                "epoch": 12,
                "model_state_dict": state(n),
                "optimizer_state_dict": momentum(n),
                "loss": 0.31,
                "classes": CIFAR10_NAMES,
            },
            "checkpoint.pt",
        ),
        read="names: `classes`",
        names=CIFAR10_NAMES,
        says=("--recipe", "half", "--size", "32"),
    ),
    Definition(
        name="gap-2-at-32",
        source="global average pooling and two linears",
        difference="two linears, 32 pixels",
        network=lambda: pooled(features(row("vgg16")), head((LAST, 32), "relu", "drop", (32, 10))),
        see=cifar10,
        saved="bare state_dict",
        save=BARE,
        says=CIFAR10,
    ),
    Definition(
        name="gap-3-at-64",
        source="global average pooling and three linears, Tiny ImageNet",
        difference="64 pixels: the map of 2x2 is averaged, as the first linear has no room for it",
        network=lambda: pooled(features(row("vgg16")), three(LAST, 20)),
        see=squash(64),
        saved="bare state_dict",
        save=BARE,
        says=("--recipe", "imagenet", "--size", "64"),
    ),
    Definition(
        name="flat-at-64",
        source="Tiny ImageNet VGGs",
        difference="64 pixels: the map of 2x2 is flattened into the first linear",
        network=lambda: flat(features(row("vgg16")), three(LAST * 4, 20)),
        see=half(64),
        saved="bare state_dict",
        save=BARE,
        says=("--recipe", "half", "--size", "64"),
    ),
    Definition(
        name="four-linears",
        source="hand-written CIFAR VGGs",
        difference="`fc1` to `fc4`, no dropout",
        network=lambda: chain(
            named("vgg11", "conv{0}_{1}"),
            flatten=nn.Flatten(),
            fc1=nn.Linear(LAST, 40),
            relu1=nn.ReLU(),
            fc2=nn.Linear(40, 36),
            relu2=nn.ReLU(),
            fc3=nn.Linear(36, 32),
            relu3=nn.ReLU(),
            fc4=nn.Linear(32, 10),
        ),
        see=half(32),
        saved="bare state_dict",
        save=torch_file(state, "cifar_net.pth"),
        says=("--recipe", "half", "--size", "32"),
    ),
    Definition(
        name="seventeen-convolutions",
        source="home-made depths",
        difference="stages of 2, 3, 4, 4, 4",
        network=lambda: flat(features(row((2, 3, 4, 4, 4))), nn.Linear(LAST, 10)),
        see=cifar10,
        saved="bare state_dict",
        save=BARE,
        says=CIFAR10,
    ),
    Definition(
        name="norm-after-relu",
        source="ports of geifmany's cifar-vgg, without its dropout",
        difference="batch norm after the ReLU: their numbers say so",
        network=lambda: flat(features(row("vgg16"), "conv relu norm"), head((LAST, 32), "relu", "norm", (32, 10))),
        see=half(32),
        saved="bare state_dict",
        save=BARE,
        says=("--recipe", "half", "--size", "32"),
    ),
    Definition(
        name="dropout-among-convolutions",
        source="ports of geifmany's cifar-vgg",
        difference="dropout where there is no pool, so that numbers have no wider gaps: stages by the paper's table",
        network=lambda: flat(
            features(row("vgg16"), "conv relu norm drop"), head("drop", (LAST, 32), "relu", "norm", "drop", (32, 10))
        ),
        see=half(32),
        saved="bare state_dict",
        save=BARE,
        says=("--recipe", "half", "--size", "32"),
    ),
    Definition(
        name="no-biases",
        source="CIFAR VGGs of sparsity research",
        difference="neither convolutions nor linears have biases",
        network=lambda: flat(
            features(row("vgg16"), bias=False), head((LAST, HIDDEN), "relu", (HIDDEN, 10), bias=False)
        ),
        see=cifar10,
        saved="bare state_dict",
        save=BARE,
        says=CIFAR10,
    ),
)
