"""`vgg predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vggcli.cli import completion
from vggcli.cli.console import Console
from vggcli.cli.options import CLUSTER, OUTPUT, records
from vggcli.cli.options.shared import NamedImages, Opening

SortInto = Annotated[
    Path | None,
    typer.Option(
        "--sort-into",
        metavar="DIR",
        help="Put each image into DIR/<best class>/ as well.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]

SortLink = Annotated[
    bool,
    typer.Option(
        "--link/--copy", help="Sort symbolic links into DIR instead of copies (--copy).", rich_help_panel=OUTPUT
    ),
]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what --sort-into would do.", rich_help_panel=OUTPUT)]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing but results and failures.", rich_help_panel=OUTPUT)
]

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="auto|local|HOST:PORT",
        help="Classify on a Ray cluster, or on this machine by Ray, and write shards into -o DIR.",
        rich_help_panel=CLUSTER,
        show_default=False,
    ),
]

BlockSize = Annotated[
    int | None,
    typer.Option(
        "--block-size",
        metavar="N",
        min=1,
        help="Inputs per shard.  [default: 2000]",
        rich_help_panel=CLUSTER,
        show_default=False,
    ),
]

Join = Annotated[
    str | None,
    typer.Option(
        "--join",
        metavar="DIR",
        autocompletion=completion.files,
        help="Classify nothing: make one file, -o FILE, of the shards in a folder.",
        rich_help_panel=CLUSTER,
        show_default=False,
    ),
]


def command(
    named: NamedImages,
    opening: Opening,
    top_k: records.TopK = None,
    format: records.Format = "auto",
    output: records.Output = None,
    resume: records.Resume = False,
    overwrite: records.Overwrite = False,
    fail_fast: records.FailFast = False,
    max_errors: records.MaxErrors = None,
    min_prob: records.MinProb = None,
    sort_into: SortInto = None,
    link: SortLink = False,
    dry_run: DryRun = False,
    quiet: records.Quiet = False,
    ray: Ray = None,
    block_size: BlockSize = None,
    join: Join = None,
) -> None:
    """Classify images: one record for every input, in input order.

    \b
      vgg predict --weights demo digits/
      vgg predict -k 1 -f jsonl -r photos/ > labels.jsonl
      find . -name '*.jpg' -print0 | vgg predict -0 --files-from - -o labels.csv

    Exit codes: 0 all classified; 1 some inputs failed, or there were none; 2 wrong usage; 3 unusable weights; 4 stopped
    early; 5 unusable device or engine; 70 a bug in vgg; 130, 143 interrupted.
    """
    from vggcli.commands.predict import predict as run
    from vggcli.commands.request import Request
    from vggcli.images.process import own_process

    request = Request(
        inputs=tuple(named.inputs or ()),
        recursive=named.recursive,
        files_from=named.files_from,
        null=named.null,
        column=named.column,
        settings=opening.settings,
        top_k=top_k,
        format=format,
        output=None if output is None else Path(output),
        resume=resume,
        overwrite=overwrite,
        max_errors=0 if fail_fast else max_errors,
        allow_empty=named.allow_empty,
        min_prob=min_prob,
        sort_into=sort_into,
        link=link,
        dry_run=dry_run,
        quiet=quiet,
    )
    with Console() as console, own_process(opening.max_pixels):
        if ray is not None or block_size is not None or join is not None:
            from vggcli.commands.shards import predict_in_shards

            code = predict_in_shards(request, output, console, ray=ray, block_size=block_size, join=join)
        else:
            code = run(request, console)
    raise typer.Exit(code)
