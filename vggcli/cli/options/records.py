"""What is written of each image, and where."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from vggcli.cli import completion
from vggcli.cli.options import OUTPUT
from vggcli.output import formats

TopK = Annotated[
    int | None,
    typer.Option(
        "--top-k",
        "-k",
        metavar="N",
        min=1,
        help="Classes per image; more than there are means all.  [default: 5, or all with sigmoid]",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]

Format = Annotated[
    Literal["auto", formats.Format],
    typer.Option(
        "--format",
        "-f",
        help="auto: a table on a terminal, tsv in a pipe, by the ending of -o.",
        rich_help_panel=OUTPUT,
    ),
]

Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|DIR",
        help="Write the records there; with --ray a folder or a bucket's URL, for shards.",
        autocompletion=completion.files,  # text, since a path would lose a slash of a URL
        rich_help_panel=OUTPUT,
    ),
]

Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with an interrupted -o FILE; retry what failed.", rich_help_panel=OUTPUT),
]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing -o FILE.", rich_help_panel=OUTPUT)]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.", rich_help_panel=OUTPUT)]
MaxErrors = Annotated[
    int | None,
    typer.Option(
        "--max-errors",
        metavar="N",
        min=0,
        help="Stop when more than N inputs have failed.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]

MinProb = Annotated[
    float | None,
    typer.Option(
        "--min-prob",
        metavar="P",
        min=0,
        max=1,
        help="Leave out classes below this probability.  [default: 0, or 0.5 with sigmoid]",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]

Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing but results and failures.", rich_help_panel=OUTPUT)
]
