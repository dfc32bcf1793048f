"""`vgg embed`."""

from __future__ import annotations

from pathlib import Path

import typer

from vggcli.cli import options
from vggcli.cli.console import Console
from vggcli.cli.options import images, network, records, vectors
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, DEFAULT_TIMEOUT


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
    offline: network.Offline = False,
    mirror: network.Mirror = None,
    device: network.Device = "auto",
    engine: network.Engine = "auto",
    precision: network.Precision = "auto",
    threads: network.Threads = None,
    batch_size: network.BatchSize = None,
    workers: network.Workers = None,
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
    """Write what a layer gives for each image: the rows of one array, to search, cluster or train on.

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
        inputs=tuple(inputs or ()),
        recursive=recursive,
        files_from=files_from,
        null=null,
        column=column,
        settings=options.settings(context.params),
        output=None if output is None else Path(output),
        resume=resume,
        overwrite=overwrite,
        max_errors=0 if fail_fast else max_errors,
        allow_empty=allow_empty,
        quiet=quiet,
        layer=layer,
        pool=pool,
        normalize=normalize,
        dtype=dtype,
    )
    with Console() as console, own_process(max_pixels):
        code = run(request, console)
    raise typer.Exit(code)
