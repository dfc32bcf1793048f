"""`vgg search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vggcli.cli import completion, options
from vggcli.cli.console import Console
from vggcli.cli.options import INPUT, MODEL, OUTPUT, images, network, records
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, DEFAULT_TIMEOUT

Features = Annotated[
    str,
    typer.Argument(
        metavar="FEATURES",
        help="Vectors of vgg embed, .npy or .safetensors.",
        autocompletion=completion.files,
        show_default=False,
    ),
]

Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        "-w",
        metavar="FILE|demo",
        help="The weights that made FEATURES, where they lie elsewhere now.  [default: those it names]",
        autocompletion=completion.demo_and_files,
        show_default=False,
        rich_help_panel=MODEL,
    ),
]

QueryImages = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[QUERY]...", help="Images to search for; folders, archives and URLs as well.", show_default=False
    ),
]

QueryFile = Annotated[
    str | None,
    typer.Option(
        "--queries",
        metavar="FILE",
        help="Search for each row of this file of vectors, which may be FEATURES itself.",
        autocompletion=completion.files,
        rich_help_panel=INPUT,
        show_default=False,
    ),
]

Rows = Annotated[
    list[int] | None,
    typer.Option(
        "--row",
        metavar="N",
        min=0,
        help="Search for a row of FEATURES, from 0 on; may be given again.",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]

MostSimilar = Annotated[
    int, typer.Option("--top-k", "-k", metavar="N", min=1, help="Images per query.", rich_help_panel=OUTPUT)
]

IncludeSelf = Annotated[
    bool, typer.Option("--include-self", help="A query may be found by itself.", rich_help_panel=OUTPUT)
]

Duplicates = Annotated[
    bool,
    typer.Option(
        "--duplicates", help="Find no queries but groups of images that are nearly the same.", rich_help_panel=OUTPUT
    ),
]

MinSimilarity = Annotated[
    float | None,
    typer.Option(
        "--min-similarity",
        metavar="S",
        min=-1,
        max=1,
        help="Leave out what is less similar.  [default: nothing, or 0.95 with --duplicates]",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]

Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the rows there.",
        autocompletion=completion.files,
        rich_help_panel=OUTPUT,
    ),
]


def command(
    context: typer.Context,
    features: Features,
    inputs: QueryImages = None,
    recursive: images.Recursive = False,
    files_from: images.FilesFrom = None,
    null: images.Null = False,
    queries: QueryFile = None,
    row: Rows = None,
    max_pixels: images.MaxPixels = DEFAULT_MAX_PIXELS,
    max_bytes: images.MaxBytes = DEFAULT_MAX_BYTES,
    timeout: images.Timeout = DEFAULT_TIMEOUT,
    allow_private: images.AllowPrivate = False,
    weights: Weights = None,
    offline: network.Offline = False,
    mirror: network.Mirror = None,
    device: network.Device = "auto",
    engine: network.Engine = "auto",
    precision: network.Precision = "auto",
    threads: network.Threads = None,
    batch_size: network.BatchSize = None,
    workers: network.Workers = None,
    top_k: MostSimilar = 10,
    min_similarity: MinSimilarity = None,
    include_self: IncludeSelf = False,
    duplicates: Duplicates = False,
    format: records.Format = "auto",
    output: Output = None,
    overwrite: records.Overwrite = False,
    quiet: records.Quiet = False,
) -> None:
    """Find the images most like others, or nearly the same.  The images are those of a file that vgg embed wrote.

    \b
      vgg search photos.npy cat.jpg
      vgg search photos.npy --queries others.npy -k 1 -o nearest.csv
      vgg search photos.npy --duplicates --min-similarity 0.98

    Query images are prepared and computed as those of the file were, with its network.  Exit codes: 0 all queries were
    searched for; 1 some failed, or there were none; the others as for predict.
    """
    from vggcli.commands.queries import SearchRequest
    from vggcli.commands.search import search as run
    from vggcli.images.process import own_process

    request = SearchRequest(
        features=Path(features),
        inputs=tuple(inputs or ()),
        recursive=recursive,
        files_from=files_from,
        null=null,
        queries=None if queries is None else Path(queries),
        rows=tuple(row or ()),
        k=top_k,
        include_self=include_self,
        duplicates=duplicates,
        min_similarity=min_similarity,
        settings=options.settings(context.params),
        format=format,
        output=None if output is None else Path(output),
        overwrite=overwrite,
        quiet=quiet,
    )
    with Console() as console, own_process(max_pixels):
        code = run(request, console)
    raise typer.Exit(code)
