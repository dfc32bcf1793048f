"""Every command of `vgg`: parse, call one function, exit code.  No logic, and nothing heavy at the top."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import signal
import sys
import threading
import traceback
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from vggcli import __version__
from vggcli.cli import completion, options
from vggcli.cli.console import Console, note
from vggcli.errors import StoppedError, UsageError, VggError, WeightsError
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, DEFAULT_TIMEOUT

_NAMES_WIDTH = 26  # cells for an option and its values in help; longer ones have a line of their own
BUG = 70  # EX_SOFTWARE of sysexits.h: an exit code that means nothing else here


def _looks_like_path(word: str) -> bool:
    return os.path.lexists(word) or os.sep in word or os.path.splitext(word)[1] != ""


class Commands(typer.core.TyperGroup):
    """The group of commands, with every error turned into one line and its exit code."""

    def _main_shell_completion(self, *arguments: Any, **options: Any) -> None:
        completion.replace_scripts()
        super()._main_shell_completion(*arguments, **options)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and _looks_like_path(args[0]):
            where, why = shlex.quote(args[0]), "it looks like a file or folder"
            raise UsageError("no such command", where, why, f"Try `vgg predict {shlex.join(args)}`")
        return super().resolve_command(ctx, args)

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


class Command(typer.core.TyperCommand):
    """A command whose help shows its options in groups, in the order in which they are declared."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                groups.setdefault(options.group(parameter), []).append(record)
        # One width for the names of all groups, so that the texts begin in one column.
        width = min(max(len(name) for records in groups.values() for name, _ in records), _NAMES_WIDTH)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in records], col_max=_NAMES_WIDTH)


app = typer.Typer(
    name="vgg",
    cls=Commands,
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

    \b
      vgg predict --weights demo digit.png     no download needed
      vgg predict --arch vgg16_bn photos/      a table on a terminal, tsv in a pipe
      vgg inspect weights.pth                  keys and shapes, without loading torch
    """


@app.command(cls=Command)
def predict(
    context: typer.Context,
    inputs: options.Inputs = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    null: options.Null = False,
    column: options.Column = None,
    allow_empty: options.AllowEmpty = False,
    recipe: options.Recipe = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    value_range: options.ValueRange = None,
    bgr: options.Bgr = None,
    resize: options.Resize = None,
    no_exif: options.NoExif = False,
    allow_truncated: options.AllowTruncated = False,
    max_pixels: options.MaxPixels = DEFAULT_MAX_PIXELS,
    max_bytes: options.MaxBytes = DEFAULT_MAX_BYTES,
    fast_decode: options.FastDecode = False,
    timeout: options.Timeout = DEFAULT_TIMEOUT,
    allow_private: options.AllowPrivate = False,
    arch: options.Arch = None,
    weights: options.Weights = None,
    labels: options.Labels = None,
    offline: options.Offline = False,
    mirror: options.Mirror = None,
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    activation: options.Activation = None,
    top_k: options.TopK = None,
    format: options.Format = "auto",
    output: options.Output = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    fail_fast: options.FailFast = False,
    max_errors: options.MaxErrors = None,
    min_prob: options.MinProb = None,
    sort_into: options.SortInto = None,
    link: options.SortLink = False,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    ray: options.Ray = None,
    block_size: options.BlockSize = None,
    join: options.Join = None,
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
        inputs=tuple(inputs or ()),
        recursive=recursive,
        files_from=files_from,
        null=null,
        column=column,
        settings=options.settings(context.params),
        top_k=top_k,
        format=format,
        output=None if output is None else Path(output),
        resume=resume,
        overwrite=overwrite,
        max_errors=0 if fail_fast else max_errors,
        allow_empty=allow_empty,
        min_prob=min_prob,
        sort_into=sort_into,
        link=link,
        dry_run=dry_run,
        quiet=quiet,
    )
    with Console() as console, own_process(max_pixels):
        if ray is not None or block_size is not None or join is not None:
            from vggcli.commands.shards import predict_in_shards

            code = predict_in_shards(request, output, console, ray=ray, block_size=block_size, join=join)
        else:
            code = run(request, console)
    raise typer.Exit(code)


@app.command(cls=Command)
def quantize(
    context: typer.Context,
    weights: options.Original,
    images: options.Images,
    output: options.Int8File,
    recursive: options.Recursive = False,
    limit: options.Limit = 500,
    recipe: options.Recipe = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    value_range: options.ValueRange = None,
    bgr: options.Bgr = None,
    resize: options.Resize = None,
    no_exif: options.NoExif = False,
    max_pixels: options.MaxPixels = DEFAULT_MAX_PIXELS,
    max_bytes: options.MaxBytes = DEFAULT_MAX_BYTES,
    arch: options.Arch = None,
    labels: options.Labels = None,
    offline: options.Offline = False,
    mirror: options.Mirror = None,
    threads: options.Threads = None,
    workers: options.Workers = None,
    activation: options.Activation = None,
    format: options.Listing = options.ListingFormat.auto,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Write weights in int8: a quarter of the size, and several times as fast on CPUs with VNNI or AMX.

    Three fifths of the images calibrate, a fifth chooses how, and on the last fifth the result is held against fp32.

    \b
      vgg quantize vgg16_bn.pth --images photos/ -o vgg16_bn-int8.safetensors
      vgg predict -w vgg16_bn-int8.safetensors photos/

    Exit codes: 0 written; 1 written, but some images could not be read; others as of predict.
    """
    from vggcli.cli.tables import show
    from vggcli.commands.quantize import Request
    from vggcli.commands.quantize import quantize as run
    from vggcli.images.process import own_process

    settings = replace(options.settings(context.params), device="cpu")
    request = Request(settings, images, output, recursive, limit, overwrite, quiet)
    with Console() as console, own_process(max_pixels):
        listing, code = run(request, console)
    if listing is not None:
        show(listing, format.value)
    raise typer.Exit(code)


@app.command(cls=Command)
def compare(
    context: typer.Context,
    inputs: options.Inputs = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    null: options.Null = False,
    allow_empty: options.AllowEmpty = False,
    recipe: options.Recipe = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    value_range: options.ValueRange = None,
    bgr: options.Bgr = None,
    resize: options.Resize = None,
    no_exif: options.NoExif = False,
    allow_truncated: options.AllowTruncated = False,
    max_pixels: options.MaxPixels = DEFAULT_MAX_PIXELS,
    max_bytes: options.MaxBytes = DEFAULT_MAX_BYTES,
    fast_decode: options.FastDecode = False,
    arch: options.Arch = None,
    weights: options.Weights = None,
    labels: options.Labels = None,
    offline: options.Offline = False,
    mirror: options.Mirror = None,
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    against_weights: options.AgainstWeights = None,
    against_precision: options.AgainstPrecision = "fp32",
    against_engine: options.AgainstEngine = None,
    activation: options.Activation = None,
    format: options.Listing = options.ListingFormat.auto,
    save: options.SaveReport = False,
    quiet: options.Quiet = False,
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


@app.command(cls=Command)
def inspect(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL",
            help="A weights file or model folder, demo, or an http(s) URL.",
            autocompletion=completion.demo_and_files,
        ),
    ],
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            "-a",
            metavar="NAME",
            help="Hold the file against this variant.",
            autocompletion=completion.variants,
        ),
    ] = None,
    format: options.Listing = options.ListingFormat.auto,
    verify: Annotated[bool, typer.Option("--verify", help="Check the SHA-256 against the name and the zoo.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Range of every tensor; NaN and infinite values.")] = False,
) -> None:
    """Print the keys, shapes and types of a weights file, and which VGG it is.

    Torch is not loaded, nothing in the file is run, and of a URL only the parts that describe the tensors are fetched.

    \b
      vgg inspect vgg16_bn-6c64b313.pth
      vgg inspect -f tsv weights.pth | cut -f1
      vgg inspect --arch vgg16 weights.pth && echo fits

    Exit code 3 when the file does not fit --arch.
    """
    from vggcli.cli.tables import show
    from vggcli.commands.inspect import inspect_file

    with Console() as console:
        listing, in_order = inspect_file(file, arch, console, verify=verify, stats=stats)
    show(listing, format.value)
    raise typer.Exit(0 if in_order else WeightsError.exit_code)


@app.command(cls=Command)
def download(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARCH]...",
            help="Variants or weights files.  [default: vgg16_bn]",
            autocompletion=completion.variants,
        ),
    ] = None,
    offline: options.Offline = False,
    mirror: options.Mirror = None,
) -> None:
    """Fetch weights into the cache that torch hub uses, and print their paths.

    \b
      vgg download vgg16_bn vgg19
      vgg download --mirror https://mirror.example/vgg vgg11
    """
    from vggcli.cli.tables import write
    from vggcli.commands.download import download as fetch
    from vggcli.weights.store import FetchOptions

    with Console() as console:
        paths = fetch(names or (), FetchOptions(offline=offline, mirror=mirror, progress=console.transfer))
    for path in paths:
        write(f"{path}\n")


@app.command("list", cls=Command)
def list_(format: options.Listing = options.ListingFormat.auto) -> None:
    """List the variants: size, published accuracy, cached or not."""
    from vggcli.cli.tables import show
    from vggcli.commands.list import list_variants

    show(list_variants(), format.value)


@app.command(cls=Command)
def summary(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ARCH|FILE",
            help="A variant, weights file or model folder.",
            autocompletion=completion.variants_and_files,
        ),
    ],
    num_classes: Annotated[
        int | None, typer.Option("--num-classes", metavar="N", min=1, help="Classes of the last layer.")
    ] = None,
    input_size: Annotated[
        int | None, typer.Option("--input-size", metavar="N", min=1, help="Side of the input in pixels.")
    ] = None,
    format: options.Listing = options.ListingFormat.auto,
) -> None:
    """Print the layer table of a network: shapes, parameters, multiply-adds.

    \b
      vgg summary vgg16
      vgg summary vgg11_bn --num-classes 10 --input-size 32
    """
    from vggcli.cli.tables import show
    from vggcli.commands.summary import summarise

    show(summarise(name, num_classes, input_size), format.value)


def _run() -> None:
    try:
        app()
    except OSError as error:
        # Commands put their own faults into words; the parser, which prints help and version itself, does not.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        note(f"cannot write standard output: {os.strerror(error.errno).lower()}.")
        sys.exit(StoppedError.exit_code)


def main() -> None:
    """The console script."""
    # What torch's modules warn of while they are imported (another NumPy, an old driver) is nothing a user can act on.
    warnings.filterwarnings("ignore", module="torch")
    code = 0
    try:
        _run()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except Exception:  # a bug: its traceback, and no code that means something else
        if sys.stderr is not None:
            traceback.print_exc()
        code = BUG
    if threading.active_count() > 1:
        # Stopped early: a thread may still be inside an engine, and tearing the interpreter down under it hangs or
        # aborts the process.  Results have been handed over already, so only messages are left to flush.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, AttributeError):
                stream.flush()
        os._exit(code)
    sys.exit(code)
