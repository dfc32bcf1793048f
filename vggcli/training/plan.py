"""How a training goes: its numbers, each with the default that was measured (docs/finetune.md)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Depth = Literal["last", "fc6", "conv5", "all"]
ClassWeights = Literal["none", "balanced"]
Augment = Literal["flip", "crop", "none"]
Init = Literal["glorot", "kaiming", "normal"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers of one training.

    Attributes:
        epochs: passes over the training images at most; the learning rate falls to nothing over them.
        batch_size: images for each step.
        learning_rate: of AdamW, its highest.
        weight_decay: of AdamW.
        dropout: probability in front of each linear layer but the first; None for what the network has.
        patience: epochs without a better one after which it ends; 0 for never.
        class_weights: "balanced" counts an image the more, the fewer its class has.
        augment: of training images beyond the last layer: "crop" takes a part of half the area or more, stretched by a
            third at most; "flip" mirrors half of those.
        val_fraction: of each class, held out where the person has not split the images.
        seed: of all that is random.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    dropout: float | None = None
    class_weights: ClassWeights = "none"
    augment: Augment = "flip"
    val_fraction: float = 0.2
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """By name, as a file holds it."""
        return asdict(self)

    def with_options(self, options: dict[str, Any]) -> Plan:
        """The same with whatever is not None."""
        return replace(self, **{name: value for name, value in options.items() if value is not None})


LAST_LAYER = Plan(epochs=60, batch_size=64, learning_rate=1e-2, weight_decay=1e-2, patience=15)
DEEPER = Plan(epochs=10, batch_size=32, learning_rate=1e-5, weight_decay=1e-2, patience=4)
FROM_SCRATCH = Plan(epochs=30, batch_size=32, learning_rate=1e-3, weight_decay=1e-2, patience=10)


def seeded(*parts: int) -> int:
    """A seed for one thing, epoch or image, that has nothing to do with those of others."""
    import hashlib

    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
