"""The file that knows everything about itself: weights, class names, recipe, and how it came to be."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vggcli.analysis.agreement import wilson
from vggcli.images.recipe import Recipe
from vggcli.network.architecture import Architecture
from vggcli.training.split import Labelled, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vggcli.training.state import State

_MOST_PATHS = 10_000  # that are kept of a split; of larger ones the digest and the numbers
_COUNTER = "num_batches_tracked"


def content(
    architecture: Architecture,
    arrays: Mapping[str, NDArray[np.generic]],
    classes: Sequence[str],
    recipe: Recipe,
    *,
    settings: Mapping[str, Any],
    split: Mapping[str, Any],
    metrics: Mapping[str, Any],
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """What `torch.save` writes: tensors with torchvision's keys, and plain dicts, lists, texts and numbers."""
    import torch

    state = {}
    for key, shape in architecture.tensors().items():
        dtype = torch.int64 if key.endswith(_COUNTER) else torch.float32
        array = arrays.get(key)
        # Views of the weights file cannot be written to, which torch does not take; everything else is not copied.
        as_tensor = torch.as_tensor if array is not None and array.flags.writeable else torch.tensor
        state[key] = torch.zeros(shape, dtype=dtype) if array is None else as_tensor(array, dtype=dtype)
    return {
        "state_dict": state,
        "class_names": list(classes),
        "recipe": recipe.to_json(),
        "settings": dict(settings),
        "split": dict(split),
        "metrics": dict(metrics),
        "data": dict(data),
    }


def described_split(split: Split, source: str, seed: int, fraction: float) -> dict[str, Any]:
    """The two parts: paths as they lie in the folder, of at most 10,000 images, and a digest of any number."""
    found: dict[str, Any] = {
        "seed": seed,
        "val_fraction": fraction,
        "images": {"train": len(split.train), "val": len(split.val)},
        "digest": split.digest(),
    }
    if len(split.train) + len(split.val) <= _MOST_PATHS:
        found |= {"train": _paths(split.train, source), "val": _paths(split.val, source)}
    return found


def _paths(images: Sequence[Labelled], source: str) -> list[str]:
    """Relative to a folder, as given in a csv; what is no UTF-8 is escaped, as no checkpoint may hold it."""
    paths = (os.path.relpath(image.path, source) if os.path.isdir(source) else image.path for image in images)
    return [os.fsencode(path).decode("utf-8", "backslashreplace") for path in paths]


def measured(state: State, split: Split, classes: Sequence[str]) -> dict[str, Any]:
    """What the best epoch came to on the held-out images, with Wilson's intervals of 95 %."""
    best = state.best
    pairs = list(zip(split.val, state.predicted, strict=True)) if state.predicted else []
    right = [image.label for image, found in pairs if image.label == found]
    by_class = []
    for number, name in enumerate(classes):
        held_out = sum(image.label == number for image in split.val)
        count = right.count(number)
        trained = sum(image.label == number for image in split.train)
        entry = {"name": name, "train": trained, "held_out": held_out, "right": count}
        by_class.append(entry | {"interval": list(wilson(count, held_out))})
    return {
        "held_out": len(pairs),
        "right": len(right),
        "accuracy": len(right) / len(pairs) if pairs else None,
        "interval": list(wilson(len(right), len(pairs))),
        "loss": best.val_loss if best else None,
        "train_loss": best.loss if best else None,
        "epoch": best.number if best else 0,
        "epochs": len(state.epochs),
        "by_class": by_class,
    }
