"""What is to be trained, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vggcli import __version__
from vggcli.images.recipe import Recipe
from vggcli.library.settings import Settings
from vggcli.network import zoo
from vggcli.network.architecture import Architecture
from vggcli.training import export
from vggcli.training.plan import Depth, Init, Plan
from vggcli.training.split import Split
from vggcli.training.survey import Surveyed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vggcli.training.fit import Fitted

    Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Start:
    """Where the network starts from scratch.

    Attributes:
        variant: of the zoo.
        width: see `network.narrow`.
        init: see `network.from_scratch`.
    """

    variant: str = zoo.DEFAULT_VARIANT
    width: float = 1.0
    init: Init = "glorot"


@dataclass(frozen=True)
class Task:
    """What is to be trained.

    Attributes:
        source: the data set as the person named it.
        settings: of the classifier whose weights it starts from; and device, precision, threads.
        depth: the part that moves.
        plan: numbers of the training that counts.
        start: None for the weights of the settings.
        cache: folder of features.
        checkpoint: see `checkpoint.path_of`.
        resume: go on from it.
    """

    source: str
    settings: Settings
    depth: Depth
    plan: Plan
    cache: Path
    checkpoint: Path
    start: Start | None = None
    resume: bool = False


@dataclass
class Finetuned:
    """What came of it.

    Attributes:
        architecture, arrays: the network and its weights, float32, by canonical key.
        origin: what the weights were at first, plain values by name.
        precision: what the held-out images were computed in.
        fitted: how it went; None before it has.
    """

    surveyed: Surveyed
    split: Split
    recipe: Recipe
    architecture: Architecture
    arrays: Arrays
    origin: dict[str, Any]
    precision: str
    fitted: Fitted | None = None

    @property
    def diverged(self) -> bool:
        """Whether the loss ended it; an epoch before that was kept."""
        return self.fitted is not None and self.fitted.diverged

    def content(self, task: Task) -> dict[str, Any]:
        """What goes into the file."""
        assert self.fitted is not None
        plan, metrics = task.plan, export.measured(self.fitted.state, self.split, self.surveyed.classes)
        numbers = plan.to_json()
        if task.depth == "last":
            del numbers["augment"]  # features are of images as they are
        return export.content(
            self.architecture,
            self.arrays,
            self.surveyed.classes,
            self.recipe,
            settings={"vgg": __version__, **self.origin, "unfreeze": task.depth, **numbers},
            split=export.described_split(self.split, task.source, plan.seed, plan.val_fraction),
            metrics=metrics | {"precision": self.precision},
            data={
                "source": Path(task.source).name,
                "images": len(self.surveyed.images),
                "unreadable": len(self.surveyed.failures),
            },
        )
