"""The options, each declared once: commands that share an option share its name, help and checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vggcli.library.settings import Settings

INPUT, MODEL, NUMBERS, OUTPUT, CLUSTER = GROUPS = ("Inputs", "Model", "Numbers and speed", "Output", "Cluster")


def group(parameter: Any) -> str:
    """The heading under which help and docs show a parameter of a command."""
    if parameter.param_type_name == "argument":
        return "Arguments"
    return parameter.rich_help_panel or "Options"


def settings(given: Mapping[str, Any]) -> Settings:
    """What a network is opened with, from the parameters of a command, which have the names of the options."""
    from vggcli.library.settings import Settings

    named = {field.name: given[field.name] for field in fields(Settings) if field.name in given}
    if named.get("value_range"):
        named["value_range"] = int(named["value_range"])
    return Settings(**named, exif=not given.get("no_exif"))


class ListingFormat(str, Enum):
    """--format of commands that list"""

    auto = "auto"
    table = "table"
    tsv = "tsv"
    json = "json"


Listing = Annotated[
    ListingFormat,
    typer.Option("--format", "-f", help="auto: a table on a terminal, tsv in a pipe.", rich_help_panel=OUTPUT),
]
