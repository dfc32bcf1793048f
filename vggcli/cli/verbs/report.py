"""`vgg report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vggcli.cli.console import Console
from vggcli.cli.options import INPUT, OUTPUT, images, network, records
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS

Predictions = Annotated[
    Path, typer.Argument(metavar="PREDICTIONS", help="The -o FILE of a vgg predict: jsonl, csv, tsv or parquet.")
]

Page = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE", help="Write the page there, as HTML.", rich_help_panel=OUTPUT),
]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing page.", rich_help_panel=OUTPUT)]
NoThumbnails = Annotated[
    bool, typer.Option("--no-thumbnails", help="Do not read the images again.", rich_help_panel=OUTPUT)
]

Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        metavar="N",
        min=1,
        help="Only the first N records.  [default: all]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]


def command(
    predictions: Predictions,
    output: Page,
    limit: Limit = None,
    no_exif: images.NoExif = False,
    allow_truncated: images.AllowTruncated = False,
    max_pixels: images.MaxPixels = DEFAULT_MAX_PIXELS,
    max_bytes: images.MaxBytes = DEFAULT_MAX_BYTES,
    workers: network.Workers = None,
    overwrite: Overwrite = False,
    no_thumbnails: NoThumbnails = False,
    quiet: records.Quiet = False,
) -> None:
    """Make a page of a finished run.  One HTML file has thumbnails, classes, search, filters, histograms, failures.

    \b
      vgg predict --weights demo digits/ -o labels.jsonl
      vgg report labels.jsonl -o labels.html

    Images are read again where they lie as their paths say, seen from the current folder.  Exit codes: 0; 1 there were
    no predictions; 2 wrong usage, or the file holds none; 4 the page cannot be written; 130, 143 interrupted.
    """
    from vggcli.commands.report import ReportRequest
    from vggcli.commands.report import report as run
    from vggcli.images.decode import Decoding
    from vggcli.images.process import own_process

    request = ReportRequest(
        predictions=predictions,
        output=output,
        overwrite=overwrite,
        no_thumbnails=no_thumbnails,
        limit=limit,
        decoding=Decoding(
            exif=not no_exif, allow_truncated=allow_truncated, max_pixels=max_pixels, max_bytes=max_bytes
        ),
        workers=workers,
        quiet=quiet,
    )
    with Console() as console, own_process(max_pixels):
        code = run(request, console)
    raise typer.Exit(code)
