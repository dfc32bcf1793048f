"""The JSON documents that lie beside a weights file, as hubs publish them, when they speak of that file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vggcli.json_reader import MOST_BYTES_WITH_NAMES, read_json, why_unread
from vggcli.network import zoo
from vggcli.network.architecture import Architecture
from vggcli.weights.locate import FOLDER_FILES

CONFIG, PROCESSOR, INDICES = "config.json", "preprocessor_config.json", "class_indices.json"

Document = Mapping[str, Any]


class Neighbours(NamedTuple):
    """What lies beside a weights file.

    Attributes:
        config, processor: config.json and preprocessor_config.json; None without, or when they speak of another file.
        indices: class_indices.json, which may hold anything; None without.
        notes: what was ignored and why, one clause each.
    """

    config: Document | None = None
    processor: Document | None = None
    indices: object = None
    notes: tuple[str, ...] = ()


def paths(path: Path) -> tuple[Path, ...]:
    """What may be read beside a weights file, for its recipe or the names of its classes."""
    return tuple(path.with_name(name) for name in (CONFIG, PROCESSOR, INDICES))


def find(path: Path, classes: int | None, architecture: Architecture) -> Neighbours:
    """The documents beside a weights file that fit it.

    Args:
        path: the weights file.
        classes: width of its last layer; None without one.
        architecture: of its network.
    """
    notes: list[str] = []
    config, processor, indices = (_value(beside, notes) for beside in paths(path))
    config, processor = (value if isinstance(value, Mapping) else None for value in (config, processor))
    why = _misfit(config or {}, path, classes, architecture)
    if not why:
        return Neighbours(config, processor, indices, tuple(notes))
    which = f"{CONFIG} and {PROCESSOR} beside it are" if processor else f"{CONFIG} beside it is"
    return Neighbours(indices=indices, notes=(*notes, f"{which} ignored: {why}"))


def _value(path: Path, notes: list[str]) -> Any:
    """What a JSON file holds; None without one, and with a note where it cannot be read."""
    if not os.path.isfile(path):
        return None
    try:
        return read_json(path, MOST_BYTES_WITH_NAMES)
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} beside it is ignored: {why_unread(error)}")
        return None


def _misfit(config: Document, path: Path, classes: int | None, architecture: Architecture) -> str:
    """Why a config.json is another file's; empty when it may be this one's."""
    known = _classes(config)
    if known is not None and classes is not None and known != classes and (known, classes) != (2, 1):
        return f"it speaks of {known} classes, the file has {classes}"
    network = config.get("architecture")
    if isinstance(network, str):
        return _other_network(network, architecture)
    kinds = [config.get("model_type"), *_listed(config.get("architectures"))]
    names = [kind for kind in kinds if isinstance(kind, str)]
    # Of a folder in that layout the config is certain, and its author may have called the model anything.
    if path.name in FOLDER_FILES or not names or any(re.search("vgg|timm", name, re.IGNORECASE) for name in names):
        return ""
    return f"it is of another network, {names[0][:50]}"


def _other_network(name: str, architecture: Architecture) -> str:
    row = re.search(r"vgg_?(11|13|16|19)(_?bn)?", name.lower())
    if row is None:
        return "" if "vgg" in name.lower() else f"it is of another network, {name[:50]}"
    other = zoo.variant(f"vgg{row[1]}{'_bn' if row[2] else ''}").architecture
    same = [len(stage) for stage in other.stages] == [len(stage) for stage in architecture.stages]
    return "" if same and other.batch_norm == architecture.batch_norm else f"it is of another network, {name[:50]}"


def _classes(config: Document) -> int | None:
    """How many classes a configuration speaks of."""
    inner = config.get("pretrained_cfg")
    for holder in (config, inner if isinstance(inner, Mapping) else {}):
        for key in ("num_classes", "num_labels"):
            if isinstance(holder.get(key), int):
                return int(holder[key])
        for key in ("id2label", "label_names"):
            if isinstance(holder.get(key), Mapping | list) and holder[key]:
                return len(holder[key])
    return None


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []
