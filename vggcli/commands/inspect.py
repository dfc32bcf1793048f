"""Keys, shapes and types of a weights file, and which VGG it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from math import isfinite
from pathlib import Path
from typing import Any

from vggcli.analysis.inspection import Inspection, Statistics, inspect, is_url
from vggcli.commands.console import Console
from vggcli.commands.listing import Listing
from vggcli.errors import ForbiddenError, UsageError
from vggcli.network import zoo
from vggcli.web.urls import shown
from vggcli.weights import store
from vggcli.weights.checkpoint.problems import cut
from vggcli.weights.comparison import Comparison
from vggcli.weights.description import first_few
from vggcli.weights.locate import DEMO_FILE, file_in
from vggcli.weights.opening import describe

COLUMNS = ("key", "shape", "dtype")
STATISTICS = ("min", "max", "mean", "std", "nan", "inf")
_MOST_NAMES = 1000  # of forbidden objects, one per line
_SHOWN = 5  # keys named in a warning


def inspect_file(
    name: str, arch: str | None, console: Console, *, verify: bool = False, stats: bool = False
) -> tuple[Listing, bool]:
    """Look into a weights file or URL.

    Args:
        name: a path, "demo", or an http(s) URL.
        arch: a variant to hold the file against.
        verify: hash the file and compare with its name and the zoo.
        stats: read the weights for their range and for NaN and infinite values.

    Returns:
        The listing, and whether everything that was checked is in order.

    Raises:
        CheckpointError, DownloadError, WeightsError: the file cannot be read; UsageError: contradictory options.
    """
    if is_url(name) and (verify or stats):
        raise UsageError("cannot check the weights of", shown(name), "they are not here", "Download the file first")
    digest = _verified(DEMO_FILE if name == zoo.DEMO else file_in(Path(name)), console) if verify else None
    asked = zoo.variant(arch) if arch else None
    try:
        found = inspect(name, stats=stats)
    except ForbiddenError as error:
        _say_forbidden(error, console)
        raise
    comparison = found.compared_with(asked.name) if asked else None
    in_order = asked is None or (comparison is not None and comparison.fits)
    facts, data = _facts(found), _data(found, digest)
    if digest:
        facts["sha256"] = digest
    if asked is not None:
        _say_comparison(found, asked.name, comparison, console)
        facts[f"as {asked.name}"] = "fits" if in_order else "does not fit"
        data["comparison"] = _comparison_data(asked.name, comparison)
    _warn_of_numbers(found.statistics, console)
    return Listing(COLUMNS + STATISTICS * stats, _rows(found), data, facts=facts), in_order


def _say_forbidden(error: ForbiddenError, console: Console) -> None:
    """The names that the error itself does not quote."""
    rest = [forbidden for forbidden in error.names if forbidden not in str(error)]
    for forbidden in rest[:_MOST_NAMES]:
        console.note(f"it asks for {forbidden}")
    if len(rest) > _MOST_NAMES:
        console.note(f"it asks for {len(rest) - _MOST_NAMES} more")


def _verified(path: Path, console: Console) -> str:
    """The file's SHA-256, held against the digits in its name and, for a published file, the zoo.

    Raises:
        WeightsError: the file is not what its name says.
    """
    published = zoo.published(path.name)
    prefix = published.sha256_prefix if published else store.sha256_prefix_of(path.name)
    digest = store.verify(path, prefix)
    if published:
        console.note(f"verified: the SHA-256 is that of the published {published.name}")
    elif prefix:
        console.note(f"verified: the SHA-256 begins with {prefix}, as the name says")
    else:
        same = next((file for file in zoo.WEIGHTS_FILES.values() if digest.startswith(file.sha256_prefix)), None)
        known = (
            f"it begins as that of the published {same.name}" if same else "the name says nothing to hold it against"
        )
        console.note(f"the SHA-256 is {digest}; {known}")
    return digest


def _facts(found: Inspection) -> dict[str, str]:
    """What is true of the whole file, for people."""
    values = sum(tensor.numel for tensor in found.tensors.values())
    facts = {"file": found.path, "format": f"{found.format}, {found.size:,} bytes"}
    if found.wrapper:
        facts["weights in"] = "/".join(map(cut, found.wrapper))
    facts["tensors"] = f"{len(found.tensors)}, {values:,} values"
    facts["variant"] = _variant(found)
    if found.reading is not None and found.chain is not None:
        facts["dialect"] = found.reading.layout.name
        facts["network"] = found.chain
        facts["classes"] = "none (no classifier)" if found.classes is None else str(found.classes)
    if found.recipe is not None:
        facts["recipe"] = found.recipe.for_people()
    if found.trained is not None:
        facts |= {"names": first_few(found.labels or ()), **found.trained.facts()}
    if found.quantization is not None:
        facts["int8"] = found.quantization.for_people()
    if found.notes:
        facts["note"] = "; ".join(found.notes)
    return facts


def _variant(found: Inspection) -> str:
    if found.reading is None:
        return f"unknown ({found.problem})"
    if found.variant is None:
        only = ", the convolutions only" if found.reading.features_only else ""
        return f"none of the zoo's ({describe(found.reading.architecture)}){only}"
    if found.path == str(DEMO_FILE):
        return f"{found.variant} ({zoo.DEMO_WHAT})"
    name = "the demo's network, with other weights" if found.variant == zoo.DEMO else found.variant
    return f"{name}, the convolutions only" if found.reading.features_only else name


def _data(found: Inspection, digest: str | None) -> dict[str, object]:
    """The same for programs."""
    tensors, reading = found.tensors.values(), found.reading
    return {
        "path": found.path,
        "format": found.format,
        "bytes": found.size,
        "wrapper": list(found.wrapper),
        "variant": found.variant,
        "dialect": reading.layout.name if reading else None,
        "network": found.chain,
        "classes": found.classes,
        "features_only": bool(reading and reading.features_only),
        "fits": bool(reading and not reading.features_only),
        "labels": list(found.labels) if found.labels else None,
        "recipe": found.recipe and found.recipe.to_json() | {"source": found.recipe.source},
        **({} if found.quantization is None else {"int8": found.quantization.to_json()}),
        **({} if found.trained is None else {"trained": dict(found.trained.parts)}),
        "notes": list(found.notes),
        "totals": {
            "tensors": len(tensors),
            "values": sum(tensor.numel for tensor in tensors),
            "bytes": sum(tensor.nbytes for tensor in tensors),
        },
        "sha256": digest,
        "tensors": list(_entries(found)),
    }


def _entries(found: Inspection) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = []
    for key, tensor in found.tensors.items():
        entry: dict[str, object] = {"key": key, "shape": list(tensor.shape), "dtype": tensor.dtype}
        if key in found.statistics:
            # JSON has no NaN: a tensor without finite values has no range.
            values = [value if isfinite(value) else None for value in astuple(found.statistics[key])]
            entry.update(zip(STATISTICS, values, strict=True))
        entries.append(entry)
    return entries


def _rows(found: Inspection) -> list[tuple[str | int | float, ...]]:
    rows: list[tuple[str | int | float, ...]] = []
    for key, tensor in found.tensors.items():
        row: tuple[Any, ...] = (key, str(list(tensor.shape)), tensor.dtype)
        if key in found.statistics:
            *numbers, nan, infinite = astuple(found.statistics[key])
            row += (*(f"{value:.4g}" for value in numbers), nan, infinite)
        rows.append(row)
    return rows


def _say_comparison(found: Inspection, asked: str, comparison: Comparison | None, console: Console) -> None:
    """Every difference, one per line."""
    if found.variant is not None and found.variant != asked:
        console.note(f"it holds {found.variant}, not {asked}")
    if comparison is None:
        why = found.problem or "its keys are not those of torchvision's VGG"
        console.note(f"it is no {asked}: {why}")
        return
    for kind, keys in (("missing", comparison.missing), ("unexpected", comparison.unexpected)):
        for key in keys:
            console.note(f"{kind}: {cut(key)}")
    for key, has, wants in comparison.misshapen:
        console.note(f"of another shape: {cut(key)} is {list(has)}, {asked} has {list(wants)}")
    if comparison.features_only:
        console.note("the classifier is missing")


def _comparison_data(asked: str, comparison: Comparison | None) -> dict[str, object]:
    if comparison is None:
        return {"arch": asked, "fits": False}
    misshapen = [{"key": key, "shape": list(has), "expected": list(wants)} for key, has, wants in comparison.misshapen]
    return {
        "arch": asked,
        "fits": comparison.fits,
        "missing": list(comparison.missing),
        "unexpected": list(comparison.unexpected),
        "misshapen": misshapen,
    }


def _warn_of_numbers(statistics: Mapping[str, Statistics], console: Console) -> None:
    """Name the tensors with NaN or infinite values."""
    not_finite = [key for key, numbers in statistics.items() if numbers.nan or numbers.inf]
    if not_finite:
        more = f" and {len(not_finite) - _SHOWN} more" if len(not_finite) > _SHOWN else ""
        console.note(f"warning: NaN or infinite values in {', '.join(map(cut, not_finite[:_SHOWN]))}{more}")
