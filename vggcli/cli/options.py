"""The options, each declared once: commands that share an option share its name, help and checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vggcli.cli import completion
from vggcli.engines import EngineName, PrecisionName
from vggcli.output import formats

if TYPE_CHECKING:
    from vggcli.settings import Settings

INPUT, MODEL, NUMBERS, OUTPUT, CLUSTER = GROUPS = ("Inputs", "Model", "Numbers and speed", "Output", "Cluster")
AGAINST = "The other side"  # of a comparison


def group(parameter: Any) -> str:
    """The heading under which help and docs show a parameter of a command."""
    if parameter.param_type_name == "argument":
        return "Arguments"
    return parameter.rich_help_panel or "Options"


def settings(given: Mapping[str, Any]) -> Settings:
    """What a network is opened with, from the parameters of a command, which have the names of the options."""
    from vggcli.settings import Settings

    named = {field.name: given[field.name] for field in fields(Settings) if field.name in given}
    named["value_range"] = int(named["value_range"]) if named["value_range"] else None
    return Settings(**named, exif=not given["no_exif"])


class ListingFormat(str, Enum):
    """--format of commands that list"""

    auto = "auto"
    table = "table"
    tsv = "tsv"
    json = "json"


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUTS]...",
        help="Images, folders, archives, URLs; - is one image on standard input.",
        show_default=False,
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Descend into subfolders.", rich_help_panel=INPUT)]
FilesFrom = Annotated[
    str | None,
    typer.Option("--files-from", metavar="FILE|-", help="Read paths from a file, one per line.", rich_help_panel=INPUT),
]
Null = Annotated[
    bool, typer.Option("--null", "-0", help="Paths in --files-from end with a zero byte.", rich_help_panel=INPUT)
]
Column = Annotated[
    str | None,
    typer.Option(
        "--column",
        metavar="NAME",
        help="--files-from is a parquet or csv file, and its paths are in this column.",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
AllowEmpty = Annotated[
    bool, typer.Option("--allow-empty", help="That there are no images is no failure.", rich_help_panel=INPUT)
]


def _numbers(text: str) -> tuple[float, ...]:
    """Numbers between commas."""
    return tuple(float(number) for number in text.split(","))


Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE.json",
        help="How images are prepared: imagenet, caffe, half, unit, cifar10, cifar100, or a file.  "
        "[default: what the weights say, else imagenet]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="N",
        min=1,
        help="Side of the network's input in pixels.  [default: the recipe's]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
Mean = Annotated[
    Any,
    typer.Option(
        "--mean",
        metavar="A,B,C",
        parser=_numbers,
        help="Subtracted from the channels, as the network sees them.  [default: the recipe's]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
Std = Annotated[
    Any,
    typer.Option(
        "--std",
        metavar="A,B,C",
        parser=_numbers,
        help="What the channels are divided by then.  [default: the recipe's]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
ValueRange = Annotated[
    Literal["1", "255"] | None,
    typer.Option(
        "--value-range",
        help="Whether white is 1 or 255 before that.  [default: the recipe's]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
Bgr = Annotated[
    bool | None,
    typer.Option(
        "--bgr/--rgb",
        help="Which channel the network sees first.  [default: the recipe's]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
Resize = Annotated[
    Literal["squash", "crop", "letterbox"] | None,
    typer.Option(
        "--resize",
        help="squash: the whole image, distorted; crop: shorter side to 8/7 of the size and the centre, as published; "
        "letterbox: the whole image between bars.  [default: the recipe's, else squash]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
Activation = Annotated[
    Literal["softmax", "sigmoid"] | None,
    typer.Option(
        "--activation",
        help="sigmoid: each class is a label of its own.  [default: what the weights say, else softmax]",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
NoExif = Annotated[bool, typer.Option("--no-exif", help="Ignore the EXIF orientation.", rich_help_panel=INPUT)]
AllowTruncated = Annotated[
    bool,
    typer.Option("--allow-truncated", help="Classify what there is of images that end early.", rich_help_panel=INPUT),
]
MaxPixels = Annotated[
    int, typer.Option("--max-pixels", metavar="N", min=1, help="Refuse larger images.", rich_help_panel=INPUT)
]
MaxBytes = Annotated[
    int, typer.Option("--max-bytes", metavar="N", min=1, help="Refuse larger image files.", rich_help_panel=INPUT)
]
FastDecode = Annotated[
    bool,
    typer.Option(
        "--fast-decode",
        help="Let large JPEGs decode at reduced scale; probabilities change.",
        rich_help_panel=INPUT,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="Time for one object behind an address, all tries together.",
        rich_help_panel=INPUT,
    ),
]
AllowPrivate = Annotated[
    bool,
    typer.Option(
        "--allow-private", help="Let http(s) images lead into this machine and its network.", rich_help_panel=INPUT
    ),
]

Arch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        "-a",
        metavar="NAME",
        help="The variant, e.g. vgg16_bn.  [default: what the weights say, else vgg16_bn]",
        autocompletion=completion.variants,
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        "-w",
        metavar="FILE|demo",
        help="A .pth, .pt, .bin or .safetensors file, a model folder, or demo, which knows digits.  "
        "[default: the variant's ImageNet weights, downloaded once]",
        autocompletion=completion.demo_and_files,
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Class names: one per line, a JSON list, or a JSON object of names and numbers.  "
        "[default: the checkpoint's own, its neighbour's, or ImageNet's for 1000 classes]",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Open no network connection.", rich_help_panel=MODEL)]
Mirror = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        metavar="URL",
        envvar="VGG_MIRROR",
        help="Fetch weights from there instead of the official server.",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]

Device = Annotated[
    str,
    typer.Option(
        "--device",
        "-d",
        metavar="auto|cpu|cuda[:N]|mps",
        help="Where to compute.",
        autocompletion=completion.devices,
        rich_help_panel=NUMBERS,
    ),
]
Engine = Annotated[EngineName, typer.Option("--engine", help="What computes.", rich_help_panel=NUMBERS)]
Precision = Annotated[
    PrecisionName,
    typer.Option(
        "--precision",
        help="auto: the device's fast type, int8 for files of vgg quantize; fp32: the reference.",
        rich_help_panel=NUMBERS,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="CPU cores that compute.  [default: all that this process may use]",
        rich_help_panel=NUMBERS,
        show_default=False,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        "-b",
        metavar="N",
        min=1,
        help="Images per batch.  [default: measured, 8 on a CPU, 128 on a GPU]",
        rich_help_panel=NUMBERS,
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-j",
        metavar="N",
        min=1,
        max=256,
        help="Decoding threads.  [default: one per core, 2 to 16]",
        rich_help_panel=NUMBERS,
        show_default=False,
    ),
]

TopK = Annotated[
    int | None,
    typer.Option(
        "--top-k",
        "-k",
        metavar="N",
        min=1,
        help="Classes per image; more than there are means all.  [default: 5, or all with sigmoid]",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
Format = Annotated[
    Literal["auto", formats.Format],
    typer.Option(
        "--format",
        "-f",
        help="auto: a table on a terminal, tsv in a pipe, by the ending of -o.",
        rich_help_panel=OUTPUT,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|DIR",
        help="Write the records there; with --ray a folder or a bucket's URL, for shards.",
        autocompletion=completion.files,  # text, since a path would lose a slash of a URL
        rich_help_panel=OUTPUT,
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with an interrupted -o FILE; retry what failed.", rich_help_panel=OUTPUT),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing -o FILE.", rich_help_panel=OUTPUT)]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.", rich_help_panel=OUTPUT)]
MaxErrors = Annotated[
    int | None,
    typer.Option(
        "--max-errors",
        metavar="N",
        min=0,
        help="Stop when more than N inputs have failed.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]

MinProb = Annotated[
    float | None,
    typer.Option(
        "--min-prob",
        metavar="P",
        min=0,
        max=1,
        help="Leave out classes below this probability.  [default: 0, or 0.5 with sigmoid]",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
SortInto = Annotated[
    Path | None,
    typer.Option(
        "--sort-into",
        metavar="DIR",
        help="Put each image into DIR/<best class>/ as well.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
SortLink = Annotated[
    bool,
    typer.Option(
        "--link/--copy", help="Sort symbolic links into DIR instead of copies (--copy).", rich_help_panel=OUTPUT
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what --sort-into would do.", rich_help_panel=OUTPUT)]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing but results and failures.", rich_help_panel=OUTPUT)
]

AgainstWeights = Annotated[
    str | None,
    typer.Option(
        "--against-weights",
        metavar="FILE|demo",
        help="Weights of the other side.  [default: the same]",
        autocompletion=completion.demo_and_files,
        rich_help_panel=AGAINST,
        show_default=False,
    ),
]
AgainstPrecision = Annotated[
    PrecisionName,
    typer.Option("--against-precision", help="What the other side computes in.", rich_help_panel=AGAINST),
]
AgainstEngine = Annotated[
    EngineName | None,
    typer.Option(
        "--against-engine",
        help="What computes the other side.  [default: the same]",
        rich_help_panel=AGAINST,
        show_default=False,
    ),
]

SaveReport = Annotated[
    bool,
    typer.Option(
        "--save",
        help="Leave a report beside the weights: where it finds bf16 harmless, --precision auto takes bf16 for them.",
        rich_help_panel=OUTPUT,
    ),
]

Original = Annotated[
    str,
    typer.Argument(
        metavar="WEIGHTS",
        help="A weights file, model folder, variant, or demo.",
        autocompletion=completion.variants_and_files,
        show_default=False,
    ),
]
Images = Annotated[
    str,
    typer.Option(
        "--images",
        metavar="DIR|LIST",
        help="A folder, or a file with one path per line: images such as the network will see.",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Images taken of them.", rich_help_panel=INPUT)]
Int8File = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE.safetensors",
        help="Write the weights there.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="auto|local|HOST:PORT",
        help="Classify on a Ray cluster, or on this machine by Ray, and write shards into -o DIR.",
        rich_help_panel=CLUSTER,
        show_default=False,
    ),
]
BlockSize = Annotated[
    int | None,
    typer.Option(
        "--block-size",
        metavar="N",
        min=1,
        help="Inputs per shard.  [default: 2000]",
        rich_help_panel=CLUSTER,
        show_default=False,
    ),
]
Join = Annotated[
    str | None,
    typer.Option(
        "--join",
        metavar="DIR",
        autocompletion=completion.files,
        help="Classify nothing: make one file, -o FILE, of the shards in a folder.",
        rich_help_panel=CLUSTER,
        show_default=False,
    ),
]

Listing = Annotated[ListingFormat, typer.Option("--format", "-f", help="auto: a table on a terminal, tsv in a pipe.")]
