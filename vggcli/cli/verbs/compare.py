"""`vgg compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from vggcli.cli import completion, options
from vggcli.cli.console import Console
from vggcli.cli.options import OUTPUT, images, network, records
from vggcli.engines import EngineName, PrecisionName
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, DEFAULT_TIMEOUT

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
    context: typer.Context,
    inputs: images.Inputs = None,
    recursive: images.Recursive = False,
    files_from: images.FilesFrom = None,
    null: images.Null = False,
    column: images.Column = None,
    allow_empty: images.AllowEmpty = False,
    recipe: images.Recipe = None,
    size: images.Size = None,
    mean: images.Mean = None,
    std: images.Std = None,
    value_range: images.ValueRange = None,
    bgr: images.Bgr = None,
    resize: images.Resize = None,
    no_exif: images.NoExif = False,
    allow_truncated: images.AllowTruncated = False,
    max_pixels: images.MaxPixels = DEFAULT_MAX_PIXELS,
    max_bytes: images.MaxBytes = DEFAULT_MAX_BYTES,
    fast_decode: images.FastDecode = False,
    timeout: images.Timeout = DEFAULT_TIMEOUT,
    allow_private: images.AllowPrivate = False,
    arch: network.Arch = None,
    weights: network.Weights = None,
    labels: network.Labels = None,
    offline: network.Offline = False,
    mirror: network.Mirror = None,
    device: network.Device = "auto",
    engine: network.Engine = "auto",
    precision: network.Precision = "auto",
    threads: network.Threads = None,
    batch_size: network.BatchSize = None,
    workers: network.Workers = None,
    against_weights: AgainstWeights = None,
    against_precision: AgainstPrecision = "fp32",
    against_engine: AgainstEngine = None,
    activation: network.Activation = None,
    format: options.Listing = options.ListingFormat.auto,
    save: SaveReport = False,
    quiet: records.Quiet = False,
) -> None:
    """Hold two ways of running a network against each other: how often they give images the same label.

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
        inputs=tuple(inputs or ()),
        recursive=recursive,
        files_from=files_from,
        null=null,
        column=column,
        settings=options.settings(context.params),
        against_weights=against_weights,
        against_precision=against_precision,
        against_engine=against_engine,
        allow_empty=allow_empty,
        save=save,
        quiet=quiet,
    )
    with Console() as console, own_process(max_pixels):
        listing, code = run(request, console)
    if listing is not None:
        show(listing, format.value)
    raise typer.Exit(code)
