"""One VGG network as somebody publishes it: its layers, what its users feed it, and how they save it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

Seen = Callable[[Image.Image], Tensor]
Saver = Callable[[nn.Module, Path], Path]
IMAGENET = ("--recipe", "imagenet")
SIGMOID = ("--activation", "sigmoid")


def unchanged(_: nn.Module) -> None:
    """What most people do to a trained network before saving it."""


@dataclass(frozen=True)
class Definition:
    """A row of the catalogue.

    Attributes:
        name: of the test and of the row in the docs.
        source: who writes it so.
        difference: what sets it apart from torchvision's VGG at 224 pixels.
        network: its layers, weights not yet meaningful.
        see: from a PIL image to the tensor (C, H, W) that its users give the network.
        saved: in words, how its users save it.
        save: does so in a folder, and returns the file or folder to give to `--weights`.
        read: in words, what the file says beside keys and shapes.
        says: the options that nothing in the file can stand for.
        names: class names in index order, where the file or its neighbour carries them.
        activation: from what the network gives to probabilities: "softmax", "sigmoid" or "done" when it ends with one.
        finish: what is done to the trained network before it is saved, e.g. rounding to half precision.
        grey_picture: whether the picture to classify is grey itself.
        rest: said to the command in any case; nothing of preprocessing.
    """

    name: str
    source: str
    difference: str
    network: Callable[[], nn.Module]
    see: Seen
    saved: str
    save: Saver
    read: str = ""
    says: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    activation: str = "softmax"
    finish: Callable[[nn.Module], None] = unchanged
    grey_picture: bool = False
    rest: tuple[str, ...] = ()

    @property
    def states(self) -> bool:
        """Whether file or folder states all of its recipe, so that no option is needed and nothing is assumed."""
        return not self.says

    @property
    def warns(self) -> bool:
        """Whether without options a line on stderr must say what was assumed or guessed."""
        return not self.states

    def probabilities(self, network: nn.Module, image: Image.Image) -> list[float]:
        """By class index, computed by the network's own forward on what its own users give it."""
        with torch.inference_mode():
            output = network(self.see(image)[None])[0].double()
        if self.activation == "sigmoid":
            output = torch.sigmoid(output)
            if len(output) == 1 and self.names is not None and len(self.names) == 2:
                output = torch.stack((1 - output[0], output[0]))
        elif self.activation == "softmax":
            output = torch.softmax(output, 0)
        values: list[float] = output.tolist()
        return values

    def labels(self, classes: int) -> Sequence[str]:
        """What the command must call the classes: their names, or plain numbers."""
        return self.names or [f"class {index}" for index in range(classes)]
