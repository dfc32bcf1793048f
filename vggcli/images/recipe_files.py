"""What JSON files say about preprocessing: our own recipes, timm's configuration, Hugging Face's image processors.

Each reader gives the fields of a `Recipe` that a file states, and leaves out those that it does not.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from math import floor, isclose
from pathlib import Path
from typing import Any, TypeGuard

from vggcli.errors import UsageError
from vggcli.images.recipe import FIELDS, LARGEST_SIZE, is_number
from vggcli.json_reader import parse_json
from vggcli.text import brief

Stated = dict[str, Any]

_LARGEST_FILE = 16 << 20  # bytes; the names of 20,000 classes take 1 MiB
_RESAMPLE = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by Pillow's numbers
_CONVNEXT_SQUASHED = 384  # pixels from which its processor takes the whole picture
FORM = f"the fields of a recipe ({', '.join(FIELDS)}), timm's pretrained_cfg, or Hugging Face's image_mean and size"


def read_json(path: Path) -> object:
    """A small JSON document.

    Raises:
        UsageError: it cannot be read, is too large or no JSON.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise _unreadable(path, (error.strerror or str(error)).lower()) from error
    except ValueError as error:  # no name of a file
        raise _unreadable(path, str(error)) from error
    if len(data) > _LARGEST_FILE:
        raise _unreadable(path, f"it has more than {_LARGEST_FILE >> 20} MiB")
    try:
        return parse_json(data, _LARGEST_FILE)
    except ValueError as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError("cannot read", str(path), why)


def stated_in(document: object) -> Stated | None:
    """What a document says of preprocessing, in whichever of the three forms; None when it says nothing.

    Raises:
        UsageError: it says something that no recipe can be.
    """
    if not isinstance(document, Mapping):
        return None
    cfg = document.get("pretrained_cfg", document.get("default_cfg"))
    if isinstance(cfg, Mapping):
        return _of_timm(cfg)
    if "input_size" in document or ("crop_pct" in document and "mean" in document):
        return _of_timm(document)
    if {"image_mean", "do_normalize", "do_rescale", "do_resize"} & document.keys():
        return _of_processor(document)
    return _of_ours(document) if set(FIELDS) & document.keys() else None


def activation_in(document: object) -> str | None:
    """What a Hugging Face configuration says the logits are for."""
    if not isinstance(document, Mapping):
        return None
    kinds = {"multi_label_classification": "sigmoid", "single_label_classification": "softmax"}
    problem = document.get("problem_type")
    return kinds.get(problem) if isinstance(problem, str) else None


def numbers(value: object) -> object:
    """A list of numbers as a recipe has it; anything else as it is."""
    if isinstance(value, list | tuple):
        return tuple(float(v) if is_number(v) else v for v in value)
    if is_number(value):
        return (value,)
    return value


def _of_ours(document: Mapping[str, Any]) -> Stated:
    for name in document:
        if name not in FIELDS:
            shown = brief(name)
            near = difflib.get_close_matches(shown, FIELDS, n=1)
            raise UsageError("unknown field", shown, f"a recipe has {', '.join(near or FIELDS)}")
    stated = dict(document)
    stated |= {name: numbers(stated[name]) for name in ("mean", "std") if name in stated}
    if isinstance(stated.get("fill"), list):
        stated["fill"] = tuple(stated["fill"])
    return stated


def _of_timm(cfg: Mapping[str, Any]) -> Stated | None:
    """`pretrained_cfg`, read as timm's own transforms for evaluation do, with their defaults."""
    if "mean" not in cfg and "input_size" not in cfg:
        return None
    stated: Stated = {name: numbers(cfg[name]) for name in ("mean", "std") if name in cfg}
    size = cfg.get("input_size")
    if size is None:
        return stated
    if not isinstance(size, list | tuple) or len(size) != 3 or size[1] != size[2] or not _is_length(size[1]):
        raise _unusable("input_size", size)
    stated["size"] = size[1]
    share, mode = cfg.get("crop_pct", 0.875), cfg.get("crop_mode", "center")
    if not isinstance(share, int | float) or not 0.1 <= share <= 4:
        raise _unusable("crop_pct", share)
    resize = {"center": "crop", "squash": "squash", "border": "letterbox"}.get(brief(mode))
    if resize is None:
        raise _unusable("crop_mode", mode)
    side = floor(size[1] / share)
    stated |= {"resize": resize, "resize_to": side, "interpolation": cfg.get("interpolation", "bicubic")}
    return stated


def _of_processor(document: Mapping[str, Any]) -> Stated:
    """preprocessor_config.json."""
    stated: Stated = _normalisation(document)
    if document.get("do_flip_channel_order") is True:
        stated["channel_order"] = "bgr"
    resample = document.get("resample", document.get("interpolation", 2))
    if isinstance(resample, int) and 0 <= resample < len(_RESAMPLE):
        stated["interpolation"] = _RESAMPLE[resample]
    elif isinstance(resample, str):
        stated["interpolation"] = resample
    else:
        raise _unusable("resample", resample)
    if "size" in document:
        stated |= _geometry(document)
    return stated


def _normalisation(document: Mapping[str, Any]) -> Stated:
    factor = document.get("rescale_factor", 1 / 255) if document.get("do_rescale", True) else 1
    if not isinstance(factor, int | float) or not 0 < factor <= 1 or document.get("rescale_offset"):
        raise _unusable("rescale_factor", factor)
    if not document.get("do_normalize", True):
        mean, std = numbers([0, 0, 0]), numbers([1, 1, 1])
    else:
        mean, std = numbers(document.get("image_mean")), numbers(document.get("image_std"))
    if not isinstance(mean, tuple) or not isinstance(std, tuple):
        return {}
    if isclose(factor, 1 / 255, rel_tol=1e-4):
        return {"mean": mean, "std": std}
    # x * factor, normalised, is x normalised by as much larger a mean and deviation.
    return {"mean": _divided(mean, factor), "std": _divided(std, factor), "value_range": 255}


def _divided(values: tuple[Any, ...], factor: float) -> tuple[Any, ...]:
    return tuple(value / factor if isinstance(value, float) else value for value in values)


def _geometry(document: Mapping[str, Any]) -> Stated:
    size, crop_size = document["size"], document.get("crop_size")
    takes_centre = bool(document.get("do_center_crop", crop_size is not None))
    if not document.get("do_resize", True):
        raise _unusable("do_resize", False)
    square = _square(size) if not isinstance(size, int) or not takes_centre else None
    shorter = size if isinstance(size, int) else size.get("shortest_edge") if isinstance(size, Mapping) else None
    if "crop_pct" in document and _is_length(shorter):  # ConvNext's processor
        share = document["crop_pct"]
        if not isinstance(share, int | float) or not 0.1 <= share <= 1:
            raise _unusable("crop_pct", share)
        if shorter >= _CONVNEXT_SQUASHED:
            return {"size": shorter, "resize": "squash"}
        return {"size": shorter, "resize": "crop", "resize_to": int(shorter / share)}
    if square is not None and not takes_centre:
        return {"size": square, "resize": "squash"}
    centre = _square(crop_size) if takes_centre else None
    if centre is None:
        raise _unusable("size", size)
    if square is not None:
        return {"size": centre, "resize": "squash", "resize_to": square}
    if not _is_length(shorter):
        raise _unusable("size", size)
    return {"size": centre, "resize": "crop", "resize_to": shorter}


def _square(size: object) -> int | None:
    if isinstance(size, Mapping):
        size = size.get("height") if size.get("height") == size.get("width") else None
    return size if _is_length(size) else None


def _is_length(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4 * LARGEST_SIZE


def _unusable(name: str, value: object) -> UsageError:
    return UsageError(f"cannot use {name}", brief(value), "no recipe can be so")
