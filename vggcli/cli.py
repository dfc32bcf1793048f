"""Every command of `vgg`: parse, call one function, exit code.  No logic, and nothing heavy at the top."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer
import typer.core

from vggcli import __version__, options
from vggcli.errors import StoppedError, VggError
from vggcli.notes import note


class Commands(typer.core.TyperGroup):
    """The group of commands, with every error turned into one line and its exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except VggError as error:
            note(str(error))
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError as error:
            raise typer.Exit(StoppedError.exit_code) from error  # the reader has what it wanted
        except KeyboardInterrupt as error:
            note("interrupted")
            raise typer.Exit(128 + signal.SIGINT) from error
        except MemoryError as error:
            note("there is not enough memory. Close other programs, or use a smaller --batch-size.")
            raise typer.Exit(StoppedError.exit_code) from error


app = typer.Typer(
    name="vgg",
    cls=Commands,
    help="Classify images with the VGG networks of Simonyan and Zisserman.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vgg {__version__}")
        raise typer.Exit


@app.callback()
def vgg(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Classify images with the VGG networks of Simonyan and Zisserman.

    vgg predict --weights demo digit.png     no download needed
    vgg predict -a vgg16_bn photos/          a table on a terminal, tsv in a pipe
    vgg inspect weights.pth                  keys and shapes, without loading torch
    """


@app.command()
def predict(
    inputs: options.Inputs = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    null: options.Null = False,
    resize: options.Resize = options.ResizeName.squash,
    no_exif: options.NoExif = False,
    allow_truncated: options.AllowTruncated = False,
    max_pixels: options.MaxPixels = 89_478_485,
    fast_decode: options.FastDecode = False,
    arch: options.Arch = None,
    weights: options.Weights = None,
    labels: options.Labels = None,
    offline: options.Offline = False,
    mirror: options.Mirror = None,
    device: options.Device = "auto",
    engine: options.Engine = options.EngineName.auto,
    precision: options.Precision = options.PrecisionName.auto,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    top_k: options.TopK = 5,
    format: options.Format = options.RecordFormat.auto,
    output: options.Output = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    fail_fast: options.FailFast = False,
    max_errors: options.MaxErrors = None,
) -> None:
    """Classify images: one record for every input, in input order.

    vgg predict --weights demo digits/
    vgg predict -k 1 -f jsonl -r photos/ > labels.jsonl
    find . -name '*.jpg' -print0 | vgg predict -0 --files-from - -o labels.csv

    Exit codes: 0 all classified; 1 some inputs failed; 2 wrong usage; 3 unusable weights; 4 stopped early; 5 unusable
    device or engine; 130, 143 interrupted.
    """
    from vggcli.images import Decoding
    from vggcli.predict import Request
    from vggcli.predict import predict as run

    decoding = Decoding(
        crop=resize is options.ResizeName.crop,
        exif=not no_exif,
        allow_truncated=allow_truncated,
        max_pixels=max_pixels,
        fast=fast_decode,
    )
    request = Request(
        inputs=tuple(inputs or ()),
        recursive=recursive,
        files_from=files_from,
        null=null,
        arch=arch,
        weights=weights,
        labels=labels,
        top_k=top_k,
        device=device,
        engine=engine.value,
        precision=precision.value,
        decoding=decoding,
        batch_size=batch_size,
        workers=workers,
        format=format.value,
        output=output,
        resume=resume,
        overwrite=overwrite,
        max_errors=0 if fail_fast else max_errors,
        fetch=_fetch_options(offline, mirror),
    )
    raise typer.Exit(run(request))


def _fetch_options(offline: bool, mirror: str | None) -> Any:
    from vggcli.store import FetchOptions

    return FetchOptions(offline=offline, mirror=mirror)


def main() -> None:
    """The console script."""
    app()
