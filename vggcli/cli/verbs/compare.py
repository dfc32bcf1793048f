"""`vgg compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from vggcli.cli import completion, options
from vggcli.cli.console import Console
from vggcli.cli.options import OUTPUT, records
from vggcli.cli.options.shared import Classifying, NamedImages
from vggcli.engines import EngineName, PrecisionName

AGAINST = "The other side"

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


def command(
    named: NamedImages,
    opening: Classifying,
    against_weights: AgainstWeights = None,
    against_precision: AgainstPrecision = "fp32",
    against_engine: AgainstEngine = None,
    format: options.Listing = options.ListingFormat.auto,
    save: SaveReport = False,
    quiet: records.Quiet = False,
) -> None:
    """Hold two ways of running a network against each other.  What counts is how often they give images the same label.

    \b
      vgg compare photos/ --weights mine.pth --precision bf16
      vgg compare photos/ --weights new.pth --against-weights old.pth -f json

    The images need no labels.  Exit codes: 0 whether or not labels differ; 1 some inputs failed, or there were none;
    the others as for predict.
    """
    from vggcli.cli.tables import show
    from vggcli.commands.compare import CompareRequest
    from vggcli.commands.compare import compare as run
    from vggcli.images.process import own_process

    request = CompareRequest(
        inputs=tuple(named.inputs or ()),
        recursive=named.recursive,
        files_from=named.files_from,
        null=named.null,
        column=named.column,
        settings=opening.settings,
        against_weights=against_weights,
        against_precision=against_precision,
        against_engine=against_engine,
        allow_empty=named.allow_empty,
        save=save,
        quiet=quiet,
    )
    with Console() as console, own_process(opening.max_pixels):
        listing, code = run(request, console)
    if listing is not None:
        show(listing, format.value)
    raise typer.Exit(code)
