"""`vgg download`."""

from __future__ import annotations

from typing import Annotated

import typer

from vggcli.cli import completion
from vggcli.cli.console import Console
from vggcli.cli.options import network


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARCH]...",
            help="Variants or weights files.  [default: vgg16_bn]",
            autocompletion=completion.variants,
        ),
    ] = None,
    offline: network.Offline = False,
    mirror: network.Mirror = None,
) -> None:
    """Fetch weights into torch hub's cache, and print their paths.

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
