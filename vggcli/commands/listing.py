"""Lists of facts (tensors, layers, variants), as commands that list give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Cell = str | int | float
FORMATS = ("table", "tsv", "json")


@dataclass(frozen=True)
class Listing:
    """What a listing command found.

    Attributes:
        columns: headings of the table.
        rows: one tuple of cells per line, in order.
        plain: the same rows as tsv prints them, where they differ from the table's.
        facts: name and value of what is true of the whole; above the table, on no tsv line.
        totals: a last row of the table.
        data: the JSON form.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    data: Mapping[str, object]
    plain: Sequence[tuple[Cell, ...]] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    totals: tuple[Cell, ...] | None = None
