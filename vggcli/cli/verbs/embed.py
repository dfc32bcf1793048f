"""`vgg embed`."""

from __future__ import annotations

from pathlib import Path

import typer

from vggcli.cli.console import Console
from vggcli.cli.options import records, vectors
from vggcli.cli.options.shared import NamedImages, Opening


def command(
    named: NamedImages,
    opening: Opening,
    layer: vectors.Layer = "fc7",
    pool: vectors.Pool = "none",
    normalize: vectors.Normalize = False,
    dtype: vectors.Dtype = "fp32",
    output: vectors.Output = None,
    resume: records.Resume = False,
    overwrite: records.Overwrite = False,
    fail_fast: records.FailFast = False,
    max_errors: records.MaxErrors = None,
    quiet: records.Quiet = False,
) -> None:
    """Write what a layer gives for each image, as rows of one array.  Search, cluster or train on them.

    \b
      vgg embed photos/ -o photos.npy
      vgg embed -r photos/ --layer pool5 --pool avg --dtype fp16 -o small.npy

    Beside photos.npy, (N, D), stand the paths, photos.npy.paths.jsonl, and the settings, photos.npy.vgg.json.  A failed
    input is a row of NaN.  Exit codes: as for predict.
    """
    from vggcli.commands.embed import EmbedRequest
    from vggcli.commands.embed import embed as run
    from vggcli.images.process import own_process

    request = EmbedRequest(
        inputs=tuple(named.inputs or ()),
        recursive=named.recursive,
        files_from=named.files_from,
        null=named.null,
        column=named.column,
        settings=opening.settings,
        output=None if output is None else Path(output),
        resume=resume,
        overwrite=overwrite,
        max_errors=0 if fail_fast else max_errors,
        allow_empty=named.allow_empty,
        quiet=quiet,
        layer=layer,
        pool=pool,
        normalize=normalize,
        dtype=dtype,
    )
    with Console() as console, own_process(opening.max_pixels):
        code = run(request, console)
    raise typer.Exit(code)
