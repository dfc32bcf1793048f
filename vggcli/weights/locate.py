"""From what a person calls weights to the file: a path, the demo, a published file's name, or a variant."""

from __future__ import annotations

import os
from pathlib import Path

from vggcli.errors import MismatchError, WeightsError
from vggcli.network import zoo
from vggcli.web.urls import shown
from vggcli.weights import store

FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")  # the weights of a model folder, as hubs lay it out
DEMO_FILE = Path(__file__).resolve().parent.parent / "demo" / "digits.safetensors"


def locate(weights: str | None, arch: str | None, options: store.FetchOptions) -> Path:
    """The weights file that a command line means, fetched if it must be.

    Args:
        weights: a file, a model folder, "demo", the name of a published file or of a variant; None for the variant's
            ImageNet weights.
        arch: the variant asked for; None for what the weights say.

    Raises:
        UsageError: no such variant.
        WeightsError: no such file; DownloadError: it cannot be fetched.
    """
    if weights is None:
        weights = zoo.variant(arch or zoo.DEFAULT_VARIANT).name
    elif os.path.lexists(weights) and weights != zoo.DEMO and not _is_folder_named_as(weights):
        return file_in(Path(weights))
    if weights == zoo.DEMO:
        return DEMO_FILE
    row = zoo.VARIANTS.get(weights)
    file = row.weights if row else zoo.published(weights)
    if file is None:
        near = f"Give a file, {zoo.DEMO}, or the name of a variant such as {zoo.DEFAULT_VARIANT}"
        raise WeightsError("cannot read weights", shown(weights), "there is no such file", near)
    if file.refusal:
        raise MismatchError("cannot classify with", file.name, file.refusal, f"Use {file.variant}'s own weights")
    return store.fetch(file.url, file.sha256_prefix, options)


def is_model_folder(path: Path) -> bool:
    """Whether this is a folder with weights in it, as hubs lay it out."""
    return any((path / name).is_file() for name in FOLDER_FILES)


def file_in(path: Path) -> Path:
    """The weights file of a model folder, e.g. its model.safetensors; a path that is no folder itself.

    Raises:
        WeightsError: a folder without such a file.
    """
    if not path.is_dir():
        return path
    found = next((path / name for name in FOLDER_FILES if (path / name).is_file()), None)
    if found is not None:
        return found
    if any((path / f"{name}.index.json").exists() for name in FOLDER_FILES):
        why, step = "its weights are in several files", "Save them as one file"
    else:
        why, step = f"it is a folder without {' or '.join(FOLDER_FILES)}", "Name the weights file inside it"
    raise WeightsError("cannot read weights", str(path), why, step)


def _is_folder_named_as(variant: str) -> bool:
    """A folder `vgg16`, of results say, is no model; then the variant is meant."""
    return variant in zoo.VARIANTS and os.path.isdir(variant) and not is_model_folder(Path(variant))
