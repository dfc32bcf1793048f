"""`vgg list`."""

from __future__ import annotations

from vggcli.cli import options


def command(format: options.Listing = options.ListingFormat.auto) -> None:
    """List the variants: size, published accuracy, cached or not."""
    from vggcli.cli.tables import show
    from vggcli.commands.list import list_variants

    show(list_variants(), format.value)
