"""`vgg inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from vggcli.cli import completion, options
from vggcli.cli.console import Console
from vggcli.errors import WeightsError


def command(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL",
            help="A weights file or model folder, demo, or an http(s) URL.",
            autocompletion=completion.demo_and_files,
        ),
    ],
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            "-a",
            metavar="NAME",
            help="Hold the file against this variant.",
            autocompletion=completion.variants,
        ),
    ] = None,
    format: options.Listing = options.ListingFormat.auto,
    verify: Annotated[bool, typer.Option("--verify", help="Check the SHA-256 against the name and the zoo.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Range of every tensor; NaN and infinite values.")] = False,
) -> None:
    """Print which VGG a weights file holds: keys, shapes, types.

    Torch is not loaded, nothing in the file is run, and of a URL only the parts that describe the tensors are fetched.

    \b
      vgg inspect vgg16_bn-6c64b313.pth
      vgg inspect -f tsv weights.pth | cut -f1
      vgg inspect --arch vgg16 weights.pth && echo fits

    Exit code 3 when the file does not fit --arch.
    """
    from vggcli.cli.tables import show
    from vggcli.commands.inspect import inspect_file

    with Console() as console:
        listing, in_order = inspect_file(file, arch, console, verify=verify, stats=stats)
    show(listing, format.value)
    raise typer.Exit(0 if in_order else WeightsError.exit_code)
