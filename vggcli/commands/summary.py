"""The layer table of a variant or of the network in a weights file."""

from __future__ import annotations

from pathlib import Path

from vggcli.analysis.layer_table import rows
from vggcli.commands.listing import Listing
from vggcli.errors import UsageError
from vggcli.images.recipe import IMAGENET
from vggcli.network import zoo
from vggcli.network.architecture import Architecture
from vggcli.weights.locate import DEMO_FILE, file_in, is_model_folder
from vggcli.weights.opening import open_model

COLUMNS = ("layer", "type", "output shape", "kernel", "parameters", "multiply-adds")


def summarise(name: str, num_classes: int | None = None, input_size: int | None = None) -> Listing:
    """The layer table of a variant or of the network in a weights file.

    Args:
        name: a path or a variant; a file of that name wins.
        num_classes: of the last layer; None for what the variant or the file has.
        input_size: side of the input in pixels; None for 224, or what the file's network takes.

    Raises:
        UsageError, CheckpointError, MismatchError: no such variant, or no usable file.
    """
    architecture, variant, facts, own_size = _find(name)
    if num_classes is not None:
        architecture = architecture.with_classes(num_classes)
    native = IMAGENET.size if own_size is None else own_size
    size = input_size or native
    if size != native and not architecture.adaptive:
        why = f"without an adaptive pool its classifier takes {native}x{native} only"
        raise UsageError("cannot take an input of", f"{size}x{size}", why, "Leave --input-size out")
    table = rows(architecture, size)
    parameters, macs = sum(row.parameters for row in table), sum(row.macs for row in table)
    facts = {
        "network": variant,
        **facts,
        "input": f"{architecture.in_channels}x{size}x{size}",
        "classes": str(architecture.num_classes),
    }
    facts["total"] = f"{parameters:,} parameters, {macs / 1e9:.2f} G multiply-adds"
    layers = [
        {
            "name": row.name,
            "type": row.kind,
            "output_shape": list(row.output),
            "kernel": row.kernel,
            "parameters": row.parameters,
            "multiply_adds": row.macs,
        }
        for row in table
    ]
    totals = {"parameters": parameters, "multiply_adds": macs}
    lines = [(row.name, row.kind, str(list(row.output)), row.kernel, row.parameters, row.macs) for row in table]
    data = {"network": variant, "input_size": size, "classes": architecture.num_classes, "layers": layers} | totals
    total: tuple[str | int, ...] = ("total", "", "", "", parameters, macs)
    return Listing(COLUMNS, lines, data, plain=[*lines, total], facts=facts, totals=total)


def _find(name: str) -> tuple[Architecture, str, dict[str, str], int | None]:
    path = DEMO_FILE if name == zoo.DEMO else Path(name)
    # A folder may well be called vgg16; what has a folder or an ending in its name is no variant.
    is_file = path.is_file() or is_model_folder(path)
    if name != zoo.DEMO and not is_file and path.name == name and not path.suffix:
        row = zoo.variant(name)
        return row.architecture, row.name, {}, None
    model = open_model(file_in(path), what="cannot summarise", needs_classifier=False)
    try:
        facts = {"weights": model.name, "dialect": model.reading.layout.name, "recipe": model.recipe.for_people()}
        return model.architecture, model.variant, facts, model.recipe.size
    finally:
        model.close()
