"""`vgg explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vggcli.cli import completion
from vggcli.cli.console import Console
from vggcli.cli.options import OUTPUT, records
from vggcli.cli.options.shared import Classifying, NamedImages

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
    named: NamedImages,
    opening: Classifying,
    top_k: TopK = None,
    classes: Classes = None,
    method: Method = "grad-cam",
    layer: Layer = None,
    format: Format = "auto",
    output: Output = Path("explained"),
    overwrite: Overwrite = False,
    raw: Raw = False,
    fail_fast: records.FailFast = False,
    max_errors: records.MaxErrors = None,
    quiet: records.Quiet = False,
) -> None:
    """Show where in each image the network finds its class.  A heat map lies over each photograph.

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
        inputs=tuple(named.inputs or ()),
        recursive=named.recursive,
        files_from=named.files_from,
        null=named.null,
        column=named.column,
        settings=opening.settings,
        top_k=top_k,
        classes=tuple(classes or ()),
        layer=layer,
        method=method,
        format=format,
        output=output,
        overwrite=overwrite,
        raw=raw,
        max_errors=0 if fail_fast else max_errors,
        allow_empty=named.allow_empty,
        quiet=quiet,
    )
    with Console() as console, own_process(opening.max_pixels):
        code = run(request, console)
    raise typer.Exit(code)
