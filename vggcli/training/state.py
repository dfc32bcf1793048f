"""How far a training is: its epochs, the best of them, and all that going on takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch came to.

    Attributes:
        number: from 1.
        loss: cross-entropy on the training images while they trained, weighted as asked; NaN when it diverged.
        val_loss, val_accuracy: on the held-out images; None without any.
    """

    number: int
    loss: float
    val_loss: float | None = None
    val_accuracy: float | None = None

    @property
    def score(self) -> tuple[float, float, int]:
        """By which epochs are compared: accuracy, then loss; without held-out images the last is the best."""
        if self.val_loss is None or self.val_accuracy is None:
            return 0.0, 0.0, self.number
        return self.val_accuracy, -self.val_loss, -self.number

    def __str__(self) -> str:
        if self.val_loss is None or self.val_accuracy is None:
            return f"loss {self.loss:.4f}"
        return f"loss {self.loss:.4f}, held out {self.val_loss:.4f} and {self.val_accuracy:.1%} right"


@dataclass
class State:
    """All that going on takes.

    Attributes:
        epochs: those that are over.
        best: the best of them; None before the first.
        weights: the module's, of those that train, after the last epoch.
        best_weights: the same of the best epoch; None where that is the last.
        predicted: class of each held-out image by the best.
        optimizer, scaler: their state_dicts.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    best_weights: dict[str, Tensor] | None = None
    predicted: list[int] = field(default_factory=list)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """As plain dicts, for a file that loads without code."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {"epochs": [asdict(epoch) for epoch in self.epochs], "best": self.best and asdict(self.best)}

    @classmethod
    def of_plain(cls, values: dict[str, Any]) -> State:
        """What `to_plain` gave.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        epochs = [Epoch(**entry) for entry in values["epochs"]]
        best = Epoch(**values["best"])
        numbers = [number for epoch in epochs for number in (epoch.loss, epoch.val_loss, epoch.val_accuracy)]
        if not all(isinstance(number, float | None) for number in numbers) or best not in epochs:
            raise ValueError("no numbers of epochs")
        if [epoch.number for epoch in epochs] != list(range(1, len(epochs) + 1)):
            raise ValueError("epochs are missing")
        return cls(**(values | {"epochs": epochs, "best": best}))
