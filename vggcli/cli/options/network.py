"""Which network, and where and how it computes."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from vggcli.cli import completion
from vggcli.cli.options import MODEL, NUMBERS, OUTPUT
from vggcli.engines import EngineName, PrecisionName

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

Calibration = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="FILE.json",
        help="Probabilities at the temperature that vgg evaluate --calibrate found for these weights.",
        autocompletion=completion.files,
        rich_help_panel=OUTPUT,
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
