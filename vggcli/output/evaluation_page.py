"""What `vgg evaluate` found as one page that needs nothing else: no network, no script.

Labels and paths come from strangers.  The template escapes them, the page's policy lets nothing be loaded or run, and
the plots hold numbers alone.
"""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vggcli.errors import UsageError
from vggcli.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PACKAGES = ("jinja2", "matplotlib")
_MOST_CLASSES = 40  # that a confusion is readable with
_INK = "#808080"  # readable on white and on black
_BAR = "#4c86c6"


def check() -> None:
    """Find out whether what a page needs is installed.

    Raises:
        UsageError: a package is missing.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        why = f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not installed"
        raise UsageError("cannot write a page", "", why, f"Run `pip install {' '.join(missing)}`")


def render(data: Mapping[str, Any], facts: Mapping[str, str], previews: Sequence[bytes] = ()) -> str:
    """The page as HTML.

    Args:
        data: the JSON form of an evaluation.
        facts: name and text of what is true of the whole.
        previews: small JPEGs of the first mistakes, empty where there is none.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vggcli.output", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"printable": _shown, "percent": _percent}
    page = environment.get_template("evaluation.html")
    return page.render(
        data=data,
        facts=facts,
        plot=_plot(data["reliability"]) if data["images"] else "",
        previews=[_address("image/jpeg", preview) if preview else "" for preview in previews],
        folders=sorted(data["slices"], key=lambda found: -1.0 if found["top1"] is None else found["top1"]),
        confusion=_most_confused(data["per_class"], data["confusion"]),
        all_classes=len(data["per_class"]),
    )


def _shown(value: object) -> str:
    return printable(str(value))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _most_confused(classes: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the classes that are mistaken most often, in index order; those of all classes, where they are few.

    Each has its index, label, and cells of count and share of the row's images.
    """
    counts = {(pair["true_index"], pair["predicted_index"]): pair["images"] for pair in pairs}
    shown = [found["index"] for found in classes]
    if len(shown) > _MOST_CLASSES:
        wrong: Counter[int] = Counter()
        for (true, predicted), count in counts.items():
            if true != predicted:
                wrong.update({true: count, predicted: count})
        shown = sorted(index for index, _ in wrong.most_common(_MOST_CLASSES))
    of = {found["index"]: found for found in classes}
    return [
        {
            "index": true,
            "label": of[true]["label"],
            "cells": [
                {
                    "count": count,
                    "share": round(count / of[true]["support"], 3) if count else 0,
                    "is_right": true == said,
                }
                for said in shown
                for count in [counts.get((true, said), 0)]
            ],
        }
        for true in shown
    ]


def _plot(bins: Sequence[Mapping[str, Any]]) -> str:
    """Confidence against accuracy, and how many images have which confidence, as the address of an image."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.6))
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.14, top=0.92, wspace=0.2)
    FigureCanvasSVG(figure)
    reliability, histogram = figure.subplots(1, 2)
    lows, width = [found["low"] for found in bins], bins[0]["high"] - bins[0]["low"]
    accuracies = [found["accuracy"] or 0.0 for found in bins]
    reliability.bar(lows, accuracies, width, align="edge", color=_BAR, edgecolor=_INK, linewidth=0.5)
    reliability.plot([0, 1], [0, 1], "--", color=_INK, linewidth=1)
    known = [found for found in bins if found["images"]]
    sure, right = [found["confidence"] for found in known], [found["accuracy"] for found in known]
    reliability.plot(sure, right, ".", color="#d0662f")
    _finish(reliability, "accuracy", "Confidence and accuracy", 1.0)
    counts = [found["images"] for found in bins]
    histogram.bar(lows, counts, width, align="edge", color=_BAR, edgecolor=_INK, linewidth=0.5)
    _finish(histogram, "images", "How sure", math.ceil(max(counts) * 1.05))
    file = io.BytesIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _address("image/svg+xml", file.getvalue())


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _finish(axes: Axes, what: str, title: str, most: float) -> None:
    axes.set(xlim=(0, 1), ylim=(0, most))
    axes.set_xlabel("probability of the best class", color=_INK)
    axes.set_ylabel(what, color=_INK)
    axes.set_title(title, color=_INK, fontsize="medium")
    axes.tick_params(colors=_INK)
    for spine in axes.spines.values():
        spine.set_color(_INK)
