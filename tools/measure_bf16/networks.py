"""The networks that are measured: VGGs without batch norm of several depths, widths and input sizes, really trained."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.measure_bf16.pictures import VIEWS_PER_EPOCH, Pictures
from tools.train_demo.train import normalised, reproducible
from vggcli.images.recipe import Recipe
from vggcli.network.architecture import vgg
from vggcli.network.module import VGG
from vggcli.network.zoo import CONFIGURATIONS

BATCH_SIZE = 32
PLAIN_SHARE = 0.1  # of the epochs, the first: a deep network finds no beginning in varied pictures
LARGEST_GRADIENT = 1.0
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True, slots=True)
class Network:
    """A row: which network, on what, how long.

    Attributes:
        depth: 11, 13, 16 or 19, the configuration of the paper.
        divisor: what its widths, and the 4096 of its classifier, are divided by; the classifier's by 8 at least.
        pictures: what it learns, see `pictures.load`.
        size: side of its input in pixels.
        dropout: in the classifier, as in the paper; None without.
        seed: of its weights and of what is drawn.
        epochs: passes.
        rate: the highest learning rate.
        batch_norm: behind each convolution: a control, since `--precision auto` takes bf16 for such networks.
    """

    depth: int
    divisor: int
    pictures: str
    size: int = 32
    dropout: float | None = 0.5
    seed: int = 0
    epochs: int = 30
    rate: float = 1e-3
    batch_norm: bool = False

    @property
    def name(self) -> str:
        norm, without = "_bn" * self.batch_norm, "-without-dropout" * (self.dropout is None)
        return f"vgg{self.depth}{norm}-{self.divisor}th-{self.pictures}-{self.size}{without}-seed{self.seed}"


DEPTHS = {11: "A", 13: "B", 16: "D", 19: "E"}
ROWS = [
    *(Network(depth, 8, "digits") for depth in DEPTHS),
    Network(11, 8, "digits", seed=1),
    *(Network(depth, 8, "digits", dropout=None, epochs=12) for depth in (11, 19)),
    Network(11, 2, "digits", epochs=8),
    Network(16, 4, "digits", size=64, epochs=8),
    Network(16, 8, "mnist", epochs=5),
    Network(19, 4, "cells", epochs=12),
    Network(16, 4, "photos", epochs=25),
    # Controls: for these `--precision auto` takes bf16 anyway.
    *(Network(depth, 8, "digits", epochs=12, batch_norm=True) for depth in (11, 19)),
    Network(19, 4, "cells", epochs=12, batch_norm=True),
]


def train(row: Network, pictures: Pictures) -> VGG:
    """The network of a row, trained; in eval mode."""
    widths = tuple(
        tuple(width // row.divisor for width in stage)
        for stage in CONFIGURATIONS["ABDE"["11131619".index(str(row.depth)) // 2]]
    )
    hidden = (4096 // max(row.divisor, 8),) * 2
    architecture = vgg(widths, dropout=row.dropout, hidden=hidden, num_classes=len(pictures.labels))
    with reproducible(row.seed):
        network = VGG(architecture)
        for module in network.classifier:
            if isinstance(module, nn.Linear):  # weights of N(0, 0.01) let the signal of so few units vanish
                nn.init.kaiming_normal_(module.weight)
        return _trained(network.to(memory_format=torch.channels_last), row, pictures)


def _trained(network: VGG, row: Network, pictures: Pictures) -> VGG:
    chosen = torch.arange(len(pictures.training)).repeat(VIEWS_PER_EPOCH[pictures.name])
    steps = row.epochs * math.ceil(len(chosen) / BATCH_SIZE)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, row.rate, total_steps=steps, pct_start=0.2)
    for epoch in range(row.epochs):
        variety = 0.0 if epoch < PLAIN_SHARE * row.epochs else 1.0
        total = 0.0
        for batch in torch.split(chosen[torch.randperm(len(chosen))], BATCH_SIZE):
            views = normalised(pictures.views(pictures.training[batch], row.size, variety))
            loss = functional.cross_entropy(network(views), pictures.training_classes[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"{row.name} epoch {epoch + 1}: loss {total / len(chosen):.4f}", file=sys.stderr, flush=True)
    return network.eval()


def save(network: VGG, row: Network, labels: tuple[str, ...], path: Path) -> None:
    """Write the weights with all that `vgg` needs to know of them."""
    from safetensors.torch import save_file

    recipe = {
        name: value for name, value in asdict(Recipe(size=row.size)).items() if name != "source" and value is not None
    }
    tensors: dict[str, Tensor] = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    save_file(tensors, path, {"labels": json.dumps(labels), "recipe": json.dumps(recipe)})
