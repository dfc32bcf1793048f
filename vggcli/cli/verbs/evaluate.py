"""`vgg evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vggcli.cli import completion, options
from vggcli.cli.console import Console
from vggcli.cli.options import INPUT, OUTPUT, records
from vggcli.cli.options.shared import Classifying

Source = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER|TABLE",
        help="A folder for each class, or csv, tsv or jsonl of path and label.",
        autocompletion=completion.files,
        show_default=False,
    ),
]

Predictions = Annotated[
    str | None,
    typer.Option(
        "--predictions",
        metavar="FILE",
        help="Take what vgg predict wrote there instead of running the network.",
        autocompletion=completion.files,
        rich_help_panel=INPUT,
        show_default=False,
    ),
]

Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a page with plots, in one file.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]

Confusion = Annotated[
    Path | None,
    typer.Option(
        "--confusion",
        metavar="FILE.csv",
        help="Write how often each class is taken for each.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]

Calibrate = Annotated[
    Path | None,
    typer.Option(
        "--calibrate",
        metavar="OUT.json",
        help="Fit a temperature that makes the network as sure as it is right, for --calibration.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]

Seed = Annotated[
    int,
    typer.Option("--seed", metavar="N", min=0, help="Of the halves that judge --calibrate.", rich_help_panel=OUTPUT),
]

Mistakes = Annotated[
    int,
    typer.Option("--mistakes", metavar="N", min=1, help="How many are named.", rich_help_panel=OUTPUT),
]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.", rich_help_panel=OUTPUT)]


def command(
    source: Source,
    opening: Classifying,
    predictions: Predictions = None,
    format: options.Listing = options.ListingFormat.auto,
    html: Html = None,
    confusion: Confusion = None,
    calibrate: Calibrate = None,
    seed: Seed = 0,
    mistakes: Mistakes = 20,
    overwrite: Overwrite = False,
    quiet: records.Quiet = False,
) -> None:
    """Measure how right a network is on images of known classes.

    \b
      vgg evaluate val/ --weights mine.pth
      vgg evaluate truth.csv --html evaluation.html --confusion confusion.csv
      vgg evaluate val/ --predictions results.jsonl -f json
      vgg evaluate val/ --calibrate temperature.json

    Exit codes: 0 however right it is; 1 some inputs failed, or have a copy under another class, there were none, or no
    temperature is best; the others as for predict.
    """
    from vggcli.cli.tables import show
    from vggcli.commands.evaluate import evaluate as run
    from vggcli.commands.evaluation_request import EvaluateRequest
    from vggcli.images.process import own_process

    request = EvaluateRequest(
        source=source,
        settings=opening.settings,
        predictions=predictions,
        html=html,
        confusion=confusion,
        calibrate=calibrate,
        seed=seed,
        mistakes=mistakes,
        overwrite=overwrite,
        quiet=quiet,
    )
    with Console() as console, own_process(opening.max_pixels):
        listing, code = run(request, console)
    if listing is not None:
        show(listing, format.value)
    raise typer.Exit(code)
