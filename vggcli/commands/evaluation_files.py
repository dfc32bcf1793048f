"""The files that `vgg evaluate` leaves: a page, the confusion as csv, a temperature."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vggcli import __version__, files
from vggcli.analysis.evaluation import Evaluation
from vggcli.commands.console import Console
from vggcli.commands.evaluation_request import EvaluateRequest
from vggcli.commands.listing import Listing
from vggcli.errors import InputError, OutputError, UsageError
from vggcli.images.access import Access
from vggcli.images.recipe import IMAGENET
from vggcli.library.settings import Settings
from vggcli.network.class_index import ClassIndex
from vggcli.output.sidecar import sidecar_path
from vggcli.output.sources import check_output_is_no_source
from vggcli.output.stream import in_plain_words, is_regular
from vggcli.text import escape, guard_formula

if TYPE_CHECKING:
    from vggcli.analysis.temperature import Logits
    from vggcli.classifier import Classifier
    from vggcli.records import Provenance

_MOST_PREVIEWS = 100  # of mistakes in a page, 3 kB each
_PREVIEW_SIZE = (144, 96)  # pixels
_FEW = 100  # images, of which a temperature says little


def check(request: EvaluateRequest) -> None:
    """Refuse, before anything is computed, what could not be written at the end.

    Raises:
        UsageError, OutputError: why.
    """
    settings = request.settings
    if request.calibrate is not None and request.predictions is not None:
        why = "a temperature is fitted on logits, and the predictions hold only probabilities"
        raise UsageError("--calibrate and --predictions", "", why, "Leave --predictions out")
    if request.calibrate is not None and settings.calibration is not None:
        why = "a temperature is fitted on logits as they are"
        raise UsageError("--calibrate and --calibration", "", why, "Leave --calibration out")
    outputs = [path for _, path in _named(request)]
    if len(set(outputs)) < len(outputs):
        raise UsageError("cannot write", str(outputs[0]), "several files were given that name", "Name each differently")
    beside = None if request.predictions is None else sidecar_path(Path(request.predictions))
    read = (settings.weights, settings.labels, settings.calibration, request.predictions, beside, request.source)
    for option, path in _named(request):
        if not is_regular(path):
            raise OutputError("cannot write", str(path), f"--{option} needs a regular file", "Name another")
        if path.exists() and not request.overwrite:
            raise UsageError("will not overwrite", str(path), "the file exists", "Add --overwrite")
        check_output_is_no_source(path, (request.source,), read)
        with in_plain_words(path, resumable=False):
            files.check_replaceable(path)
    if request.html is not None:
        from vggcli.output import evaluation_page

        evaluation_page.check()


def _named(request: EvaluateRequest) -> Iterator[tuple[str, Path]]:
    for option in ("html", "confusion", "calibrate"):
        path = getattr(request, option)
        if path is not None:
            yield option, path


def write(request: EvaluateRequest, found: Evaluation, classes: ClassIndex, result: Listing, console: Console) -> None:
    """Write the page, with small pictures of the mistakes, and the confusion.

    Raises:
        OutputError: no room, an input/output error.
    """
    if request.confusion is not None:
        _put(request.confusion, confusion_csv(found, classes).encode("utf-8", "surrogateescape"))
    if request.html is not None:
        from vggcli.output import evaluation_page

        previews = [_preview(image.path, request.settings) for image in found.mistakes[:_MOST_PREVIEWS]]
        _put(request.html, evaluation_page.render(result.data, result.facts, previews).encode())
    for _, path in _named(request):
        if path != request.calibrate and not request.quiet:
            console.note(f"wrote {path}")


def confusion_csv(found: Evaluation, classes: ClassIndex) -> str:
    """A row for each true class that occurs and a column for each predicted one, with their labels at the heads."""
    headings = [escape(guard_formula(name)) for name in classes.headings([f.index for f in found.classes])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true", *headings])
    writer.writerows([name, *row] for name, row in zip(headings, found.confusion.tolist(), strict=True))
    return text.getvalue()


def calibrate(
    request: EvaluateRequest, classifier: Classifier, logits: Logits, provenance: Provenance, console: Console
) -> dict[str, Any] | None:
    """Fit a temperature and write it; None, and a word why, where there is no best one.

    Raises:
        OutputError: no room, an input/output error.
    """
    from vggcli.analysis.temperature import UnfitError
    from vggcli.weights import temperature_file

    path = request.calibrate
    assert path is not None
    try:
        fitted = logits.fit(request.seed)
    except UnfitError as error:
        console.note(f"cannot calibrate on {request.source}: {error}; {path} is not written")
        return None
    measured = {
        "images": fitted.images,
        "ece_before": fitted.ece_before,
        "ece_after": fitted.ece_after,
        "nll_before": fitted.loss_before,
        "nll_after": fitted.loss_after,
        "seed": fitted.seed,
    }
    ran = {"variant": provenance.variant, "engine": provenance.engine, "precision": provenance.precision}
    about = {**measured, **ran, "vgg": __version__}
    with in_plain_words(path, resumable=False):
        temperature_file.save(path, fitted.temperature, classifier.model.path, classifier.preparation, about)
    if fitted.images < _FEW:
        console.note(f"the temperature rests on {fitted.images} images; take some hundreds")
    console.note(f"wrote {path}: vgg predict --calibration {path} uses it")
    return {"temperature": fitted.temperature, **measured}


def _preview(path: str, settings: Settings) -> bytes:
    """A small JPEG of an image; empty where there is none to be had any more."""
    from PIL import Image

    from vggcli.images.decode import Decoding, ImageLoader
    from vggcli.images.discover import expand_path
    from vggcli.images.item import Skipped

    s = settings
    decoding = Decoding(IMAGENET, s.exif, s.allow_truncated, s.max_pixels, s.max_bytes, fast=True)
    try:
        (item,) = expand_path(path, False, Skipped(), Access(s.max_bytes, s.timeout, s.allow_private))
        picture = ImageLoader(decoding, keep_picture=True).load(item).picture
    except (InputError, UsageError, ValueError):
        return b""
    if picture is None:
        return b""
    small, file = Image.fromarray(picture), io.BytesIO()
    small.thumbnail(_PREVIEW_SIZE)
    small.save(file, "JPEG", quality=80)
    return file.getvalue()


def _put(path: Path, data: bytes) -> None:
    with in_plain_words(path, resumable=False):
        files.replace_file(path, lambda file: file.write(data))
