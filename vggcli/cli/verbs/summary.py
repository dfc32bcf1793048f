"""`vgg summary`."""

from __future__ import annotations

from typing import Annotated

import typer

from vggcli.cli import completion, options


def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ARCH|FILE",
            help="A variant, weights file or model folder.",
            autocompletion=completion.variants_and_files,
        ),
    ],
    num_classes: Annotated[
        int | None, typer.Option("--num-classes", metavar="N", min=1, help="Classes of the last layer.")
    ] = None,
    input_size: Annotated[
        int | None, typer.Option("--input-size", metavar="N", min=1, help="Side of the input in pixels.")
    ] = None,
    format: options.Listing = options.ListingFormat.auto,
) -> None:
    """Print a network's layers: shapes, parameters, multiply-adds.

    \b
      vgg summary vgg16
      vgg summary vgg11_bn --num-classes 10 --input-size 32
    """
    from vggcli.cli.tables import show
    from vggcli.commands.summary import summarise

    show(summarise(name, num_classes, input_size), format.value)
