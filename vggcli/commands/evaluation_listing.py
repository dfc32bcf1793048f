"""What `vgg evaluate` found, as a listing for people and programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vggcli.analysis.agreement import wilson
from vggcli.analysis.evaluation import Evaluation, Outcome
from vggcli.commands.listing import Cell, Listing
from vggcli.images.recipe import IMAGENET, Recipe
from vggcli.network.class_index import ClassIndex
from vggcli.network.zoo import Variant

_COLUMNS = ("most confident mistakes", "true", "predicted", "probability")
_MOST_SHOWN = 5  # slices, and classes, that the table names
_AS_PUBLISHED = replace(IMAGENET, resize="crop")


@dataclass(frozen=True)
class About:
    """What stands beside the figures.

    Attributes:
        source: the folder or table.
        ran: what computed, by field name, and `ran_text` in one line.
        unlabelled: predictions of images that the source does not name.
        published: the row of the zoo whose weights ran, and the recipe of this run.
        calibration: what `--calibrate` found.
    """

    source: str
    ran: Mapping[str, Any] = field(default_factory=dict)
    ran_text: str = ""
    unlabelled: int = 0
    published: Variant | None = None
    recipe: Recipe | None = None
    calibration: Mapping[str, Any] | None = None


def to_json(found: Evaluation, classes: ClassIndex, about: About) -> dict[str, Any]:
    """All of it; shares are in [0, 1], and what no image tells is null."""
    return {
        "images": found.images,
        "failed": found.failed,
        "top1": found.top1,
        "top5": found.top5,
        "top1_interval": _listed(found.top1_interval),
        "ece": found.ece,
        "per_class": [
            {"index": f.index, "label": classes.names[f.index], **_wordnet_id(classes, f.index)}
            | {name: getattr(f, name) for name in ("precision", "recall", "f1", "support", "predicted")}
            for f in found.classes
        ],
        "confusion": _confusion(found, classes),
        "mistakes": [_mistake(image, classes) for image in found.mistakes],
        "top5_interval": _listed(found.top5_interval),
        "best": found.best,
        "macro": _macro(found),
        "nll": found.loss,
        "brier": found.brier,
        "reliability": [{name: _finite(value) for name, value in b._asdict().items()} for b in found.bins],
        "slices": [
            {"folder": folder, "images": s.images, "failed": s.failed}
            | {"top1": s.right / s.images if s.images else None}
            | {"top1_interval": _listed(wilson(s.right, s.images)) if s.images else None}
            for folder, s in found.slices.items()
        ],
        "failures": dict(found.failures),
        "unlabelled": about.unlabelled,
        "published": _published(about),
        "calibration": about.calibration,
        "source": about.source,
        "run": dict(about.ran),
    }


def listing(found: Evaluation, classes: ClassIndex, about: About) -> Listing:
    """The figures and the mistakes for people, line by line for programs, and all of it as JSON."""
    data = to_json(found, classes, about)
    rows: list[tuple[Cell, ...]] = [
        (m["path"], m["true"], m["predicted"], f"{m['probability']:.6f}") for m in data["mistakes"]
    ]
    return Listing(_COLUMNS if rows else (), rows, data, plain=_plain(data), facts=_facts(found, classes, about, data))


def _facts(found: Evaluation, classes: ClassIndex, about: About, data: Mapping[str, Any]) -> dict[str, str]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.failures.items()))
    facts = {"images": f"{found.images:,}" + (f", and {found.failed:,} failed ({kinds})" if kinds else "")}
    if about.ran_text:
        facts["ran"] = about.ran_text
    if not found.images:
        return facts
    facts["top 1"] = _percent(found.top1, found.top1_interval)
    unknown = "not known: the predictions have fewer classes than that per image"
    facts[f"top {found.best}"] = unknown if found.top5 is None else _percent(found.top5, found.top5_interval)
    if (published := data["published"]) is not None:
        facts["published"] = published["says"]
    macro = data["macro"]
    facts["mean class"] = f"precision {macro['precision']:.4f}, recall {macro['recall']:.4f}, F1 {macro['f1']:.4f}"
    facts["ece"] = f"{found.ece:.4f} over {len(found.bins)} bins of confidence"
    if found.loss is not None:
        facts["loss"] = f"{found.loss:.4f} nats, Brier score {found.brier:.4f}"
    hardest = sorted((f for f in found.classes if f.support and f.f1 < 1), key=lambda f: f.f1)[:_MOST_SHOWN]
    if hardest:
        named = zip(classes.headings([f.index for f in hardest]), hardest, strict=True)
        facts["lowest F1"] = ", ".join(f"{name} {f.f1:.2f}" for name, f in named)
    if len(found.slices) > 1:
        worst = sorted(data["slices"], key=lambda s: 2.0 if s["top1"] is None else s["top1"])
        shown = ", ".join(f"{s['folder']} {_of_slice(s)}" for s in worst[:_MOST_SHOWN])
        rest = len(worst) - _MOST_SHOWN
        facts["folders"] = shown + (f" and {rest} that are better" if rest > 0 else "")
    if about.calibration is not None:
        c = about.calibration
        facts["temperature"] = (
            f"{c['temperature']:.4f}: ece {c['ece_before']:.4f} to {c['ece_after']:.4f}, loss {c['nll_before']:.4f} to"
            f" {c['nll_after']:.4f}, each half at the temperature of the other (seed {c['seed']})"
        )
    return facts


def _plain(data: Mapping[str, Any]) -> list[tuple[Cell, ...]]:
    low, high = data["top1_interval"] or (None, None)
    named = {name: data[name] for name in ("images", "failed", "top1", "top5")}
    named |= {"top1_low": low, "top1_high": high, **{name: data[name] for name in ("ece", "nll", "brier")}}
    rows: list[tuple[Cell, ...]] = [(name, _cell(value)) for name, value in named.items()]
    rows += [("failure", kind, count) for kind, count in data["failures"].items()]
    for f in data["per_class"]:
        rows.append(
            ("class", f["index"], f["label"], *map(_cell, (f["precision"], f["recall"], f["f1"])), f["support"])
        )
    rows += [("folder", s["folder"], s["images"], s["failed"], _cell(s["top1"])) for s in data["slices"]]
    rows += [("mistake", m["path"], m["true"], m["predicted"], _cell(m["probability"])) for m in data["mistakes"]]
    return rows


def _confusion(found: Evaluation, classes: ClassIndex) -> list[dict[str, Any]]:
    """Every pair of a true and a predicted class that occurs, the right ones among them: of 1000 classes few do."""
    return [
        {
            "true": classes.names[(true := found.classes[row].index)],
            "predicted": classes.names[(predicted := found.classes[column].index)],
            "images": int(found.confusion[row, column]),
            "true_index": true,
            "predicted_index": predicted,
        }
        for row, column in zip(*found.confusion.nonzero(), strict=True)
    ]


def _mistake(image: Outcome, classes: ClassIndex) -> dict[str, Any]:
    return {
        "path": image.path,
        "true": classes.names[image.true],
        "predicted": classes.names[image.predicted],
        "probability": image.probability,
        "true_index": image.true,
        "predicted_index": image.predicted,
        "true_rank": image.rank,
    }


def _macro(found: Evaluation) -> dict[str, float] | None:
    """The plain means over the classes that occur, as scikit-learn's `average="macro"`."""
    if not found.classes:
        return None
    names = ("precision", "recall", "f1")
    return {name: math.fsum(getattr(f, name) for f in found.classes) / len(found.classes) for name in names}


def _published(about: About) -> dict[str, Any] | None:
    """The zoo's figures, and whether images were prepared here as they were there."""
    row, recipe = about.published, about.recipe
    if row is None or recipe is None:
        return None
    is_same, usual = recipe == _AS_PUBLISHED, _AS_PUBLISHED.describe()
    how = "as in this run" if is_same else f"this run's {recipe.describe()} is not the preprocessing behind it"
    says = f"{row.top1:.2f}% top 1, {row.top5:.2f}% top 5 on ImageNet-1K's validation images with {usual}; {how}"
    shares = {"top1": round(row.top1 / 100, 5), "top5": round(row.top5 / 100, 5)}
    return {**shares, "preprocessing": usual, "same_preprocessing": is_same, "says": says}


def _wordnet_id(classes: ClassIndex, index: int) -> dict[str, str]:
    return {"wordnet_id": classes.wordnet_ids[index]} if classes.wordnet_ids else {}


def _percent(share: float | None, interval: tuple[float, float] | None) -> str:
    if share is None or interval is None:
        return ""
    return f"{share:.2%} ({interval[0]:.2%} to {interval[1]:.2%} with 95 % confidence)"


def _of_slice(found: Mapping[str, Any]) -> str:
    share = "none classified" if found["top1"] is None else f"{found['top1']:.2%} of {found['images']}"
    return f"{share}, {found['failed']} failed" if found["failed"] else share


def _listed(interval: Sequence[float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cell(value: float | None) -> Cell:
    return "" if value is None else value if isinstance(value, int) else f"{value:.6f}"
