"""From measurements to the figures that are printed: slopes, spreads, ratios, tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from processes import Run


@dataclass(frozen=True)
class Round:
    """One contestant in one round.

    Attributes:
        first_answer: seconds from the start of the process to the first line, for a folder of one photo.
        rate: images a second in steady state, see `slope`; NaN when the runs were too short to tell.
        whole: seconds of the whole process on the large folder.
        peak_mb: peak memory on the large folder, in MB.
        cpu: CPU seconds on the large folder.
        answers: most probable class of each photo of the large folder, by file name.
    """

    first_answer: float
    rate: float
    whole: float
    peak_mb: float
    cpu: float
    answers: Mapping[str, int]


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of several measurements."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high or math.isnan(self.median):
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)}..{number(self.high)})"


def slope(small: Run, large: Run, small_count: int, large_count: int) -> float:
    """Images a second in steady state: further images over further seconds, so that start-up cancels out."""
    seconds = large.seconds - small.seconds
    return (large_count - small_count) / seconds if seconds > 0 else math.nan


def spread(values: Sequence[float]) -> Spread:
    """Of the measurements that there are; NaN ones are left out."""
    known = [value for value in values if not math.isnan(value)] or [math.nan]
    return Spread(median(known), min(known), max(known))


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Spread of the ratios within each round: what slows a machine for a while slows both sides of one ratio."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def agreement(answers: Mapping[str, int], reference: Mapping[str, int]) -> float:
    """Percent of the reference's photos that were given the reference's class."""
    same = sum(answers.get(name) == index for name, index in reference.items())
    return 100 * same / len(reference)


def number(value: float) -> str:
    """Three digits or so; a dash for what is not known."""
    if math.isnan(value):
        return "-"
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its columns aligned, readable in a terminal too."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
