"""Listings as a table for people, tab-separated lines or JSON for programs."""

from __future__ import annotations

import io
import json
import sys

from vggcli.commands.listing import Cell, Listing
from vggcli.errors import OutputError
from vggcli.text import escape, printable


def show(listing: Listing, format: str) -> None:
    """Print a listing on standard output.

    Args:
        format: "table", "tsv", "json", or "auto" for a table on a terminal and tsv elsewhere.

    Raises:
        BrokenPipeError: nobody reads any more; OutputError: standard output is closed or full.
    """
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    if format == "auto":
        format = "table" if on_terminal else "tsv"
    if format == "table":
        write(_table(listing, on_terminal))
    elif format == "tsv":
        rows = listing.rows if listing.plain is None else listing.plain
        write("".join("\t".join(escape(str(cell)) for cell in row) + "\n" for row in rows))
    else:
        write(json.dumps(listing.data, indent=2, allow_nan=False) + "\n")


def write(text: str) -> None:
    """Print on standard output as UTF-8, whatever the locale; what `os.fsdecode` made of other bytes is those bytes.

    Raises:
        BrokenPipeError: nobody reads any more; OutputError: standard output is closed or full.
    """
    from vggcli.output.stream import open_stdout

    try:
        open_stdout().write(text.encode("utf-8", "surrogateescape"))
    except OutputError as error:
        # Its advice names -o and --resume, which commands that list do not have.
        raise OutputError(error.what, error.where, error.why) from error


def _table(listing: Listing, on_terminal: bool) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vggcli.output.table import table_width

    # Into a text first, so that a full disk or a closed pipe is met in one place, `write`.
    text, width = io.StringIO(), table_width(on_terminal)
    console = Console(file=text, force_terminal=on_terminal, highlight=False, markup=False, emoji=False, width=width)
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=listing.totals is not None)
    numeric = [all(isinstance(row[i], int | float) for row in listing.rows) for i in range(len(listing.columns))]
    footers = [_cell(cell) for cell in listing.totals] if listing.totals else [""] * len(listing.columns)
    for name, is_number, footer in zip(listing.columns, numeric, footers, strict=True):
        justify = "right" if is_number else "left"
        # Half a number is another number: on a narrow terminal the texts fold.
        table.add_column(name, footer=footer, justify=justify, overflow="fold", no_wrap=is_number)  # type: ignore[arg-type]
    for row in listing.rows:
        table.add_row(*[Text(_cell(cell)) for cell in row])
    for name, value in listing.facts.items():
        console.print(Text.assemble((f"{name:<12}", "bold"), printable(value)), soft_wrap=True)
    if listing.columns:
        console.print(table)
    # Rich pads every line to the width of the table, which a terminal does not show and a diff does.
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _cell(value: Cell) -> str:
    return f"{value:,}" if isinstance(value, int) else printable(str(value))
