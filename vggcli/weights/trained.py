"""What a file of `vgg finetune` says of how it came to be; read as a stranger's, as anybody can write such words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from vggcli.text import brief

PARTS = ("settings", "split", "metrics", "data")
_MOST_VALUES = 100_000  # of all that is shown; paths of 10,000 images and figures of 1,000 classes are fewer
_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Trained:
    """Plain values by the names of `PARTS`, as JSON holds them."""

    parts: Mapping[str, Mapping[str, Any]]

    def facts(self) -> dict[str, str]:
        """In words for people; what is not as it should be is left out."""
        settings, split, metrics = (self.parts[name] for name in ("settings", "split", "metrics"))
        given = (f"{name} {brief(value, 40)}" for name, value in settings.items() if value is not None)
        found = {"settings": ", ".join(given)}
        counts = split.get("images")
        if isinstance(counts, dict):
            found["images"] = ", ".join(f"{brief(count, 20)} {brief(part, 20)}" for part, count in counts.items())
        right, held_out = (metrics.get(name) for name in ("right", "held_out"))
        bounds = metrics.get("interval")
        low, high = bounds if isinstance(bounds, list) and len(bounds) == 2 else (None, None)
        are_shares = isinstance(low, float) and isinstance(high, float)
        if isinstance(right, int) and isinstance(held_out, int) and held_out > 0 and are_shares:
            share = f"{right:,} of {held_out:,} ({right / held_out:.1%})"
            found["held out"] = f"{share} right; {low:.1%} to {high:.1%} with 95 % confidence"
        return found


def find(root: object) -> Trained | None:
    """What the root of a checkpoint says; None of a file that is not of `vgg finetune`."""
    if not isinstance(root, Mapping) or not all(isinstance(root.get(name), Mapping) for name in PARTS):
        return None
    budget = [_MOST_VALUES]
    parts = {name: _plain(root[name], budget, _DEPTH) for name in PARTS}
    return Trained(parts) if "vgg" in parts["settings"] else None


def _plain(value: object, budget: list[int], depth: int) -> Any:
    """The value without tensors, objects and numbers that JSON has not, and without end."""
    budget[0] -= 1
    if budget[0] < 0 or depth < 0:
        return None
    if isinstance(value, Mapping):
        items = ((key, entry) for key, entry in value.items() if isinstance(key, str))
        return {key: _plain(entry, budget, depth - 1) for key, entry in items if budget[0] > 0}
    if isinstance(value, list | tuple):
        return [_plain(entry, budget, depth - 1) for entry in value if budget[0] > 0]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if isinstance(value, str | int | bool) else None
