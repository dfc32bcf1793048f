"""The program `vgg`, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import traceback
import warnings
from typing import Annotated

import typer

from vggcli import __version__
from vggcli.cli.console import note
from vggcli.cli.group import Commands
from vggcli.errors import StoppedError

BUG = 70  # EX_SOFTWARE of sysexits.h: an exit code that means nothing else here


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
      vgg predict --weights demo digit.png  no download needed
      vgg predict --arch vgg16_bn photos/   a table on a terminal, tsv in a pipe
      vgg inspect weights.pth               keys and shapes, without loading torch
    """


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
