"""Which vector an image becomes."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from vggcli.cli import completion
from vggcli.cli.options import OUTPUT

Layer = Annotated[
    str,
    typer.Option(
        "--layer",
        metavar="NAME",
        help="Whose output: fc7, fc6 before the ReLU, relu7 after it, pool5, conv3-3, relu3_3; "
        "vgg summary lists them all.",
        rich_help_panel=OUTPUT,
    ),
]

Pool = Annotated[
    Literal["avg", "max", "none"],
    typer.Option(
        "--pool",
        help="Of a layer of maps, one value a channel, or every position (channels x height x width).",
        rich_help_panel=OUTPUT,
    ),
]

Normalize = Annotated[
    bool, typer.Option("--normalize", help="Divide each vector by its length.", rich_help_panel=OUTPUT)
]

Dtype = Annotated[
    Literal["fp16", "fp32"], typer.Option("--dtype", help="Numbers as they are stored.", rich_help_panel=OUTPUT)
]

Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the vectors there: .npy, .safetensors or .parquet.",
        autocompletion=completion.files,
        rich_help_panel=OUTPUT,
    ),
]
