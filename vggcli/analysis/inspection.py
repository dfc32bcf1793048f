"""What a weights file holds: keys, shapes, types, and which VGG it is; without loading torch or reading the weights."""

from __future__ import annotations

from contextlib import closing
from math import isfinite, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vggcli.cli.notes import note
from vggcli.cli.tables import Listing
from vggcli.errors import ForbiddenError, MismatchError, UsageError
from vggcli.network import labels, zoo
from vggcli.weights import description, key_mapping, model, state_dict, store
from vggcli.weights.checkpoint import Checkpoint, Tensor, open_checkpoint, read_checkpoint
from vggcli.weights.locate import DEMO_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ("key", "shape", "dtype")
STATISTICS = ("min", "max", "mean", "std", "nan", "inf")
_MOST_NAMES = 1000  # of forbidden objects, one line each
_SHOWN = 5  # keys named in a warning


def inspect(name: str, arch: str | None = None, *, verify: bool = False, stats: bool = False) -> tuple[Listing, bool]:
    """Look into a weights file or URL.

    Args:
        name: a path, "demo", or an http(s) URL, of which only the parts that describe the tensors are fetched.
        arch: a variant to hold the file against.
        verify: hash the file and compare with its name and the zoo.
        stats: read the weights for their range and for NaN and infinite values.

    Returns:
        The listing, and whether everything that was checked is in order.

    Raises:
        CheckpointError, DownloadError, WeightsError: the file cannot be read; UsageError: contradictory options.
    """
    if _is_url(name):
        if verify or stats:
            raise UsageError("cannot check the weights of", name, "they are not here", "Download the file first")
        return _inspect_url(name, arch)
    path = DEMO_FILE if name == zoo.DEMO else Path(name)
    digest = _verified(path) if verify else None
    try:
        with closing(open_checkpoint(path)) as checkpoint:
            return _listing(checkpoint, arch, stats=stats, digest=digest)
    except ForbiddenError as error:
        _say_forbidden(error)
        raise


def _say_forbidden(error: ForbiddenError) -> None:
    """The names that the error itself does not quote."""
    rest = [forbidden for forbidden in error.names if forbidden not in str(error)]
    for forbidden in rest[:_MOST_NAMES]:
        note(f"it asks for {forbidden}")
    if len(rest) > _MOST_NAMES:
        note(f"it asks for {len(rest) - _MOST_NAMES} more")


def _is_url(name: str) -> bool:
    return name.lower().startswith(("http://", "https://"))


def _inspect_url(url: str, arch: str | None) -> tuple[Listing, bool]:
    from vggcli.weights.download.remote import RemoteSource

    try:
        with closing(RemoteSource(url)) as source:
            return _listing(read_checkpoint(source), arch, stats=False, digest=None)
    except ForbiddenError as error:
        _say_forbidden(error)
        raise


def _listing(checkpoint: Checkpoint, arch: str | None, *, stats: bool, digest: str | None) -> tuple[Listing, bool]:
    asked = zoo.variant(arch) if arch else None
    found = state_dict.find(checkpoint)
    if found is None:
        raise MismatchError("nothing to list in", checkpoint.path, "it holds no named tensors")
    reading = model.read(found)
    variant = zoo.of_architecture(reading.architecture) if reading else None
    facts = _facts(checkpoint, found, reading, variant)
    if digest:
        facts["sha256"] = digest
    in_order = True
    comparison: dict[str, object] | None = None
    if asked is not None:
        if variant is not None and variant is not asked:
            note(f"it holds {variant.name}, not {asked.name}")
        comparison, in_order = _compared(found, asked)
        facts[f"as {asked.name}"] = "fits" if in_order else "does not fit"
    rows: list[tuple[str | int | float, ...]] = [
        (key, str(list(tensor.shape)), tensor.dtype) for key, tensor in found.tensors.items()
    ]
    entries: list[dict[str, object]] = [
        {"key": key, "shape": list(tensor.shape), "dtype": tensor.dtype} for key, tensor in found.tensors.items()
    ]
    if stats:
        _add_statistics(found.tensors, rows, entries)
    data = {**_data(checkpoint, found, reading, variant), "sha256": digest, "tensors": entries}
    if comparison is not None:
        data["comparison"] = comparison
    columns = COLUMNS + STATISTICS * stats
    return Listing(columns, rows, data, facts=facts), in_order


def _facts(
    checkpoint: Checkpoint,
    found: state_dict.StateDict,
    reading: key_mapping.KeyMapping | None,
    variant: zoo.Variant | None,
) -> dict[str, str]:
    """What is true of the whole file, for people."""
    values = sum(tensor.numel for tensor in found.tensors.values())
    facts = {"file": checkpoint.path, "format": f"{checkpoint.format}, {checkpoint.size:,} bytes"}
    if found.wrapper:
        facts["weights in"] = "/".join(found.wrapper)
    facts["tensors"] = f"{len(found.tensors)}, {values:,} values"
    facts["variant"] = _variant(reading, variant, is_demo=checkpoint.path == str(DEMO_FILE))
    if reading is not None:
        facts["dialect"] = reading.dialect.name
        without = "none (no classifier)" if reading.features_only else "unknown"
        facts["classes"] = without if reading.num_classes is None else str(reading.num_classes)
    for text in _notes(checkpoint, found, reading, variant):
        facts["note"] = f"{facts['note']}; {text}" if "note" in facts else text
    return facts


def _variant(reading: key_mapping.KeyMapping | None, variant: zoo.Variant | None, *, is_demo: bool) -> str:
    if reading is None:
        return "unknown (the keys are those of no VGG layout that vgg knows)"
    if variant is None:
        return f"unknown ({description.differences(reading)})"
    if is_demo:
        return f"{variant.name} ({zoo.DEMO_WHAT})"
    name = "the demo's network, with other weights" if variant.name == zoo.DEMO else variant.name
    if reading.features_only:
        return f"{name}, the convolutions only"
    return name if reading.fits else f"most like {name} ({description.differences(reading)})"


def _notes(
    checkpoint: Checkpoint,
    found: state_dict.StateDict,
    reading: key_mapping.KeyMapping | None,
    variant: zoo.Variant | None,
) -> Iterator[str]:
    published = zoo.published(Path(checkpoint.path).name)
    if published is not None and published.refusal:
        yield f"predict refuses it: {published.refusal}"
    if reading is not None and variant is not None:
        yield from description.notes(reading, variant.name, found)


def _data(
    checkpoint: Checkpoint,
    found: state_dict.StateDict,
    reading: key_mapping.KeyMapping | None,
    variant: zoo.Variant | None,
) -> dict[str, object]:
    names = labels.in_checkpoint(checkpoint.root, checkpoint.metadata)
    counts = {"tensors": len(found.tensors), "values": sum(t.numel for t in found.tensors.values())}
    return {
        "path": checkpoint.path,
        "format": checkpoint.format,
        "bytes": checkpoint.size,
        "wrapper": list(found.wrapper),
        "variant": variant.name if variant else None,
        "dialect": reading.dialect.name if reading else None,
        "classes": reading.num_classes if reading else None,
        "features_only": bool(reading and reading.features_only),
        "fits": bool(reading and reading.fits),
        "labels": list(names) if names else None,
        "notes": list(_notes(checkpoint, found, reading, variant)),
        "totals": {**counts, "bytes": sum(t.nbytes for t in found.tensors.values())},
    }


def _compared(found: state_dict.StateDict, asked: zoo.Variant) -> tuple[dict[str, object], bool]:
    """The file against a variant: every difference as a note, and in the form for programs."""
    reading = key_mapping.read_as(found.shapes, asked.architecture)
    if reading is None:
        note(f"it is no {asked.name}: its keys are those of no VGG layout that vgg knows")
        return {"arch": asked.name, "fits": False}, False
    for kind, keys in (("missing", reading.missing), ("unexpected", reading.unexpected)):
        for key in keys:
            note(f"{kind}: {key}")
    for key, has, wants in reading.misshapen:
        note(f"of another shape: {key} is {list(has)}, {asked.name} has {list(wants)}")
    if reading.features_only:
        note("the classifier is missing")
    misshapen = [{"key": key, "shape": list(has), "expected": list(wants)} for key, has, wants in reading.misshapen]
    comparison: dict[str, object] = {"arch": asked.name, "fits": reading.fits}
    comparison |= {"missing": list(reading.missing), "unexpected": list(reading.unexpected), "misshapen": misshapen}
    return comparison, reading.fits


def _verified(path: Path) -> str:
    """The file's SHA-256, held against the digits in its name and, for a published file, the zoo.

    Raises:
        WeightsError: the file is not what its name says.
    """
    published = zoo.published(path.name)
    prefix = published.sha256_prefix if published else store.sha256_prefix_of(path.name)
    digest = store.verify(path, prefix)
    if published:
        note(f"verified: the SHA-256 is that of the published {published.name}")
    elif prefix:
        note(f"verified: the SHA-256 begins with {prefix}, as the name says")
    else:
        same = next((file for file in zoo.WEIGHTS_FILES.values() if digest.startswith(file.sha256_prefix)), None)
        known = (
            f"it begins as that of the published {same.name}" if same else "the name says nothing to hold it against"
        )
        note(f"the SHA-256 is {digest}; {known}")
    return digest


def _add_statistics(tensors: dict[str, Tensor], rows: list[Any], entries: list[dict[str, object]]) -> None:
    """Range, mean and spread of every tensor, and a warning that names those with NaN or infinite values."""
    not_finite = []
    for number, (key, tensor) in enumerate(tensors.items()):
        numbers = statistics(tensor)
        rows[number] = (*rows[number], *(f"{value:.4g}" for value in numbers[:4]), *numbers[4:])
        # JSON has no NaN: a tensor without finite values has no range.
        values = [value if isfinite(value) else None for value in numbers]
        entries[number].update(zip(STATISTICS, values, strict=True))
        if numbers[4] or numbers[5]:
            not_finite.append(key)
    if not_finite:
        more = f" and {len(not_finite) - _SHOWN} more" if len(not_finite) > _SHOWN else ""
        note(f"warning: NaN or infinite values in {', '.join(not_finite[:_SHOWN])}{more}")


def statistics(tensor: Tensor) -> tuple[float, float, float, float, int, int]:
    """Minimum, maximum, mean and standard deviation of the finite values; numbers of NaN and of infinite values."""
    import numpy as np

    # Not every number of a double fits into float32.
    numbers = tensor.numpy if tensor.dtype == "float64" else tensor.float32
    values = numbers() if prod(tensor.shape) else np.zeros(0, np.float32)
    nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    finite = values[np.isfinite(values)] if nan or infinite else values
    if not finite.size:
        none = float("nan")
        return none, none, none, none, nan, infinite
    # Sums in double precision: half a GB of fp32 would drift.  Squares of the largest doubles overflow all the same.
    with np.errstate(over="ignore"):
        mean, spread = float(finite.mean(dtype=np.float64)), float(finite.std(dtype=np.float64))
    return float(finite.min()), float(finite.max()), mean, spread, nan, infinite
