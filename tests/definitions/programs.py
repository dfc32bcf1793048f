"""VGGs of which the program, and not the numbering of its layers, says where activations and pools are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from definitions.cifar import CIFAR10, cifar10
from definitions.definition import IMAGENET, Definition
from definitions.heads import CROP, PETS, index_of
from definitions.layers import GRID, HIDDEN, LAST, PLAIN, WIDTHS, features, flat, head, row, torchvision_like
from definitions.preprocessing import CIFAR100_MEAN, CIFAR100_STD, crop, squash
from definitions.saving import BARE, safetensors_file, state, torch_file
from networks import STAGES
from torch import Tensor, nn
from torch.nn import functional

CIFAR100 = ("--recipe", "cifar100")


class RepDistiller(nn.Module):
    """Five blocks, each without its last ReLU; at 32 pixels pools behind the first three, and an average at the end."""

    def __init__(self, sizes: Sequence[int], classes: int) -> None:
        super().__init__()
        channels = 3
        for number, (size, width) in enumerate(zip(sizes, WIDTHS, strict=True)):
            layers: list[nn.Module] = []
            for _ in range(size):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            self.add_module(f"block{number}", nn.Sequential(*layers[:-1]))
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        for number in range(5):
            x = functional.relu(self.get_submodule(f"block{number}")(x))
            x = functional.max_pool2d(x, 2) if number < 3 else x
        return self.classifier(x.mean((2, 3)))


class Lists(nn.Module):
    """Convolutions in one list, batch norms in another."""

    def __init__(self) -> None:
        super().__init__()
        widths = [(size, width) for size, width in zip(STAGES["vgg16"], WIDTHS, strict=True)]
        outputs = [width for size, width in widths for _ in range(size)]
        pairs = pairwise([3, *outputs])
        self.convs = nn.ModuleList(nn.Conv2d(one, other, 3, padding=1) for one, other in pairs)
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for width in outputs)
        self.fc = nn.Linear(outputs[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        layers = iter(zip(self.convs, self.bns, strict=True))
        for size in STAGES["vgg16"]:
            for _ in range(size):
                conv, bn = next(layers)
                x = functional.relu(bn(conv(x)))
            x = functional.max_pool2d(x, 2)
        return self.fc(x.flatten(1))


class HiddenLayers(nn.Module):
    """The flower course's own class: linears in a list, a ReLU behind each."""

    def __init__(self, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        self.hidden_layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.output = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden_layers:
            x = functional.relu(layer(x))
        return self.output(x)


def repdistiller(name: str, sizes: Sequence[int]) -> Definition:
    return Definition(
        name=f"repdistiller-{name}",
        source=f"HobbitLong RepDistiller, {name}",
        difference="`block0.N` to `block4.N`: pools behind three of them, and an average over 4x4",
        network=lambda: RepDistiller(sizes, 100),
        see=squash(32, CIFAR100_MEAN, CIFAR100_STD),
        saved='{"epoch", "model", "best_acc"}',
        save=torch_file(lambda n: {"epoch": 240, "model": state(n), "best_acc": 70.4}, f"{name}_best.pth"),
        says=CIFAR100,
    )


def _sorted(network: nn.Module, folder: Path) -> Path:
    return safetensors_file(network, folder / "model.safetensors")


DEFINITIONS = (
    repdistiller("vgg8", (1, 1, 1, 1, 1)),
    repdistiller("vgg13", (2, 2, 2, 2, 2)),
    Definition(
        name="lists-of-layers",
        source="VGGs whose convolutions and batch norms are two ModuleLists",
        difference="`convs.N` and `bns.N`: the same numbers belong together, stages by the paper's table",
        network=Lists,
        see=cifar10,
        saved="safetensors",
        save=_sorted,
        says=CIFAR10,
    ),
    Definition(
        name="hidden-layers",
        source="Udacity's flower course, with the lesson's fc_model.Network",
        difference="`hidden_layers.0`, `hidden_layers.1`: a list, with a ReLU behind each",
        network=lambda: torchvision_like(features(row("vgg16"), PLAIN), HiddenLayers((GRID, HIDDEN, 30), len(PETS))),
        see=crop(),
        saved='{"state_dict", "class_to_idx"}',
        save=torch_file(lambda n: {"state_dict": state(n), "class_to_idx": index_of(PETS)}, "checkpoint.pth"),
        read="names: `class_to_idx`",
        names=PETS,
        says=CROP,
    ),
    Definition(
        name="no-last-pool-at-32",
        source="CIFAR VGGs of four pools",
        difference="a map of 2x2 is flattened, which five pools leave of 64 pixels and four of 32: the size says it",
        network=lambda: flat(features(row("vgg16", last_pool=False)), head((LAST * 4, HIDDEN), "relu", (HIDDEN, 10))),
        see=cifar10,
        saved="bare state_dict",
        save=BARE,
        says=CIFAR10,
    ),
    Definition(
        name="flat-at-448",
        source="fine-grained VGGs for images of 448 pixels",
        difference="a map of 14x14 is flattened, which 224 pixels give without pool5: the size says it",
        network=lambda: flat(features(row("vgg11"), PLAIN), head((LAST * 196, HIDDEN), "relu", (HIDDEN, 5))),
        see=squash(448),
        saved="bare state_dict",
        save=BARE,
        says=(*IMAGENET, "--size", "448"),
    ),
    Definition(
        name="no-last-pool-at-224",
        source="VGGs without pool5",
        difference="a map of 14x14 is flattened: with a fifth pool the images would have 448 pixels",
        network=lambda: flat(
            features(row("vgg11", last_pool=False), PLAIN), head((LAST * 196, HIDDEN), "relu", (HIDDEN, 5))
        ),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
)
