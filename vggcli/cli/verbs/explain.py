"""`vgg explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vggcli.cli import completion, options
from vggcli.cli.console import Console
from vggcli.cli.options import OUTPUT, images, network, records
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, DEFAULT_TIMEOUT

EXPLANATION = "Explanation"

TopK = Annotated[
    int | None,
    typer.Option(
        "--top-k",
        "-k",
        metavar="N",
        min=1,
        help="Explain the N most probable classes of each image.  [default: 1]",
        rich_help_panel=EXPLANATION,
        show_default=False,
    ),
]

Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        metavar="NAME|INDEX",
        help="Explain this class instead of the most probable; may be given several times.",
        rich_help_panel=EXPLANATION,
        show_default=False,
    ),
]

Method = Annotated[
    Literal["grad-cam", "grad-cam++", "gradient"],
    typer.Option(
        "--method",
        help="What makes the map; all but grad-cam at the last convolution takes torch.",
        rich_help_panel=EXPLANATION,
    ),
]

Layer = Annotated[
    str | None,
    typer.Option(
        "--layer",
        metavar="NAME",
        help="Whose maps are weighed, e.g. conv4-3: what its ReLU gives.  [default: the last convolution]",
        rich_help_panel=EXPLANATION,
        show_default=False,
    ),
]

Format = Annotated[
    Literal["auto", "tsv", "csv", "jsonl"],
    typer.Option("--format", "-f", help="Of the rows on standard output; auto is tsv.", rich_help_panel=OUTPUT),
]

Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Write the pictures there.",
        autocompletion=completion.files,
        rich_help_panel=OUTPUT,
    ),
]

Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace pictures of the same name in DIR; without it a new one is NAME~2.png.",
        rich_help_panel=OUTPUT,
    ),
]

Raw = Annotated[
    bool, typer.Option("--raw", help="Write each map as computed as well, as .npy.", rich_help_panel=OUTPUT)
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
    top_k: TopK = None,
    classes: Classes = None,
    method: Method = "grad-cam",
    layer: Layer = None,
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
    activation: network.Activation = None,
    format: Format = "auto",
    output: Output = Path("explained"),
    overwrite: Overwrite = False,
    raw: Raw = False,
    fail_fast: records.FailFast = False,
    max_errors: records.MaxErrors = None,
    quiet: records.Quiet = False,
) -> None:
    """Show where in each image the network finds its class: a heat map over the photograph.

    \b
      vgg explain --weights demo digits/seven.png
      vgg explain -r photos/ -o maps --class Samoyed --class 'Arctic fox'
      vgg explain photo.jpg --layer conv3-3 --method grad-cam++ --raw

    Each picture is DIR/<path of the image>.<index of the class>.png, and a row on standard output.  Exit codes: 0 all
    explained; 1 some inputs failed, or there were none; the others as for predict.
    """
    from vggcli.commands.explain import ExplainRequest
    from vggcli.commands.explain import explain as run
    from vggcli.images.process import own_process

    request = ExplainRequest(
        inputs=tuple(inputs or ()),
        recursive=recursive,
        files_from=files_from,
        null=null,
        column=column,
        settings=options.settings(context.params),
        top_k=top_k,
        classes=tuple(classes or ()),
        layer=layer,
        method=method,
        format=format,
        output=output,
        overwrite=overwrite,
        raw=raw,
        max_errors=0 if fail_fast else max_errors,
        allow_empty=allow_empty,
        quiet=quiet,
    )
    with Console() as console, own_process(max_pixels):
        code = run(request, console)
    raise typer.Exit(code)
