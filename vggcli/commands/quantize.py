"""Weights in int8: calibrated and measured on images, and written whole or not at all."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vggcli import files
from vggcli.classifier import Classifier
from vggcli.commands.console import Console
from vggcli.commands.listing import Listing
from vggcli.commands.named import NamedImages, say_nothing, say_skipped
from vggcli.commands.quantizing import WHAT, InterruptedError, Quantized, Quantizing
from vggcli.engines import choice
from vggcli.errors import MismatchError, OutputError, UsageError
from vggcli.images import discover
from vggcli.library.settings import Settings
from vggcli.network import zoo
from vggcli.output.sources import check_output_is_no_source
from vggcli.output.stream import cannot_write, check_file
from vggcli.weights import int8_file, neighbours
from vggcli.weights.model import Model
from vggcli.weights.opening import check_classifies

_FEW = 100  # with fewer the report's interval is wide
_ENDING = ".safetensors"
COLUMNS = (
    *("images for", "criterion", "images", "equal labels", "at least", "at most"),
    *("mean change", "largest change", "top-5 overlap"),
)


@dataclass(frozen=True)
class Request:
    """What `vgg quantize` was asked to do.

    Attributes:
        settings: of the classifier; what computes is always OpenVINO.
        images: a folder, an image, or a list of paths, one a line.
        output: the file to write.
        limit: of the images taken.
    """

    settings: Settings
    images: str
    output: Path
    recursive: bool
    limit: int
    overwrite: bool
    quiet: bool


def quantize(request: Request, console: Console) -> tuple[Listing | None, int]:
    """Write a file with weights in int8.

    Returns:
        The report, None when it was interrupted; and the exit code: 0 all images were read, 1 some could not be, 130 or
        143 interrupted.

    Raises:
        UsageError: it was asked for something that cannot be.
        WeightsError: the weights cannot be used, or there are too few images.
        DeviceError: OpenVINO is not here.
        OutputError: the file cannot be written; nothing is left of it.
    """
    named = _named(request)
    _check(request, named)
    with Classifier(request.settings, progress=None if request.quiet else console.transfer) as classifier:
        model = classifier.model
        check_output_is_no_source(request.output, named.inputs, (model.path, *neighbours.paths(model.path)))
        for text in classifier.notes:
            if not (request.quiet and model.name == zoo.DEMO):
                console.note(text)
        _check_model(model)
        taken = _taken(request, console, named)
        quantizing = Quantizing(classifier, console, request.images)
        try:
            with console.progress(not request.quiet, (2 * len(taken),)) as progress:
                found = quantizing.run(taken, progress)
        except InterruptedError:
            quantizing.say_interrupted()
            return None, quantizing.interruption.exit_code
        _write(request, found)
        _say_result(request, console, found, model)
    failures = quantizing.failures
    if failures:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(failures.items()))
        console.note(f"{failures.total()} of {len(taken)} images could not be read ({kinds})")
    return _listing(request.output, found), 1 if failures else 0


def _named(request: Request) -> NamedImages:
    """The folder or image, or the list of paths, that `--images` names."""
    is_list = os.path.isfile(request.images) and not discover.is_image_like(request.images)
    inputs, files_from = ((), request.images) if is_list else ((request.images,), None)
    return NamedImages(inputs, request.recursive, files_from)


def _check(request: Request, named: NamedImages) -> None:
    """Refuse what cannot be before weights are fetched and opened."""
    output, settings = request.output, request.settings
    named.check_named()
    choice.check("openvino", "cpu")
    if output.suffix != _ENDING:
        raise UsageError("cannot write", str(output), f"the name of such a file ends in {_ENDING}")
    if os.path.lexists(output) and not request.overwrite:
        raise UsageError("will not overwrite", str(output), "the file exists", "Add --overwrite to replace it")
    check_file(output, replace=True)
    check_output_is_no_source(output, named.inputs, (settings.weights, settings.labels, named.files_from))
    named.come_to_nothing()


def _check_model(model: Model) -> None:
    """Refuse weights of which nothing can be made."""
    check_classifies(model.reading, model.path, WHAT, has_names=model.has_names)
    if model.quantization is not None:
        raise MismatchError(WHAT, str(model.path), "its weights are in int8 already", "Start from the original")
    model.check_numbers()


def _taken(request: Request, console: Console, named: NamedImages) -> list[discover.Input]:
    """At most so many of the images as the limit says, in their order; which of them, the hashes of their paths say."""
    count, skipped = 0, discover.Skipped()

    def numbered() -> Iterator[tuple[bytes, int, discover.Input]]:
        nonlocal count
        for item in named.find(skipped):
            count += 1
            yield hashlib.sha256(os.fsencode(item.name)).digest(), count, item

    chosen = heapq.nsmallest(request.limit, numbered())
    say = say_nothing if request.quiet else console.note
    say_skipped(skipped, console.note, say)
    if count > len(chosen):
        say(f"{len(chosen)} of {count:,} images are taken; --limit takes another number")
    return [item for _, _, item in sorted(chosen, key=lambda entry: entry[1])]


def _write(request: Request, found: Quantized) -> None:
    model, output = found.model, request.output
    assert model.quantization is not None
    labels = model.labels if model.has_names else None
    layers = model.quantization.layers
    data = int8_file.content(model.architecture, model.recipe, labels, layers, model.array, found.report)
    put = files.replace_file if request.overwrite else files.create_file
    try:
        files.remove_stale(output.parent)
        put(output, lambda file: file.write(data))
    except FileExistsError as error:
        raise OutputError("will not overwrite", str(output), "the file was made meanwhile") from error
    except OSError as error:
        raise cannot_write(output, error, resumable=False) from error


def _say_result(request: Request, console: Console, found: Quantized, original: Model) -> None:
    """What it came to, and what of that should give pause."""
    held_out, images = found.held_out, found.report["images"]
    if held_out.equal_labels < held_out.images:
        differ = held_out.images - held_out.equal_labels
        console.note(f"int8 gives {differ} of {held_out.images} held-out images another label than fp32")
    if request.quiet:
        return
    count = images["calibrate"] + images["choose"] + images["report"]
    if count < _FEW:
        console.note(f"{count} images are few: with {_FEW} or more, ranges and report are surer")
    size, before = (path.stat().st_size / 1e6 for path in (request.output, original.path))
    console.note(f"{request.output}: {size:.1f} MB instead of {before:.1f}")


def _listing(output: Path, found: Quantized) -> Listing:
    report = found.report
    best, images, source = report["criterion"], report["images"], report["made_from"]
    rows = [
        (
            use,
            criterion,
            agreement.images,
            agreement.equal_labels,
            *(round(share, 4) for share in agreement.interval),
            *(round(value, 6) for value in (agreement.mean_change, agreement.largest_change, agreement.top5_overlap)),
        )
        for use, criterion, agreement in (
            *(("choice", name, agreement) for name, agreement in found.choice.items()),
            ("report", best, found.held_out),
        )
    ]
    facts = {
        "file": str(output),
        "made from": f"{source['name']}, sha256 {source['sha256']}",
        "calibrated": f"on {images['calibrate']} images, by {best}",
    }
    return Listing(COLUMNS, rows, {"path": str(output), **report}, facts=facts)
