"""Whole processes over N photos: vgg against the hand-written pipeline at its best batch, and int8 against our own.

Everybody takes turns, forwards and backwards, and every round is printed: what is claimed is a median of pairs that ran
side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from comparison import Counts, take_turns
from contestants import HAND_WRITTEN_BATCHES, PLAIN, whole_processes
from figures import Round, agreement, number, ratios, spread, table
from materials import Materials

Rounds = Mapping[str, Sequence[Round]]
ROUNDS = 7
HAND_WRITTEN = tuple(f"hand-written, batch {batch}" for batch in HAND_WRITTEN_BATCHES)


@dataclass(frozen=True)
class Goal:
    """One figure of ours over the same of another.

    Attributes:
        what: the figure, for people.
        above, below: of whom.
        figure: it.
        bound: what the ratio shall reach.
        at_most: the bound is the largest ratio that will do, not the smallest.
    """

    what: str
    above: str
    below: str
    figure: Callable[[Round], float]
    bound: float
    at_most: bool = False

    def line(self, rounds: Rounds) -> list[str]:
        """A row of the table: the ratios of all rounds, and whether their median is good enough."""
        above, below = ([self.figure(entry) for entry in rounds[name]] for name in (self.above, self.below))
        found = ratios(above, below)
        is_reached = found.median <= self.bound if self.at_most else found.median >= self.bound
        bound = f"{'at most' if self.at_most else 'at least'} {self.bound}"
        pairs = " ".join(f"{a / b:.2f}" for a, b in zip(above, below, strict=True))
        verdict = "reached" if is_reached else "missed"
        return [f"{self.what}, {self.above} / {self.below}", f"{found.median:.3f}", bound, verdict, pairs]


def goals(rounds: Rounds) -> list[Goal]:
    """What can be told from those who took part."""
    found = []
    hand_written = [name for name in HAND_WRITTEN if name in rounds]
    if hand_written:
        # Its best batch by each figure, which is the harder of the two.
        quickest = min(hand_written, key=lambda name: median(entry.whole for entry in rounds[name]))
        fastest = max(hand_written, key=lambda name: spread([entry.rate for entry in rounds[name]]).median)
        found.append(Goal("seconds", "vgg", quickest, _whole, 1.02, at_most=True))
        found.append(Goal("images/s", "vgg", fastest, _rate, 1.0))
    found += [
        Goal("images/s", "vgg", PLAIN.name, _rate, 10),
        Goal("seconds", "vgg bf16", "vgg int8", _whole, 1.35),
        Goal("seconds", "vgg fp32", "vgg int8", _whole, 2.8),
        Goal("images/s", "vgg int8", "vgg bf16", _rate, 1.35),
        Goal("images/s", "vgg int8", "vgg fp32", _rate, 2.8),
        Goal("peak memory", "vgg int8", "vgg bf16", _peak, 0.6, at_most=True),
    ]
    return [goal for goal in found if {goal.above, goal.below} <= rounds.keys()]


def report(materials: Materials, counts: Counts, precision: str) -> str:
    """Every round, the medians, and the goals.

    Raises:
        FailedError: somebody that ran before does not run any more.
    """
    results = take_turns(whole_processes(precision, materials.int8 is not None), materials, counts)
    left_out = [f"Left out: {name}: {why}" for name, why in results.left_out.items()]
    return "\n\n".join([*shown(results.rounds, counts), *left_out])


def shown(rounds: Rounds, counts: Counts) -> list[str]:
    """The tables."""
    if not rounds:
        return []
    reference = next(iter(rounds.values()))[0].answers
    columns = ["", *(f"round {index}" for index in range(1, counts.rounds + 1)), "median"]
    parts = []
    for title, figure in (
        (f"Whole process, {counts.large} photos, seconds", _whole),
        (f"Steady state ({counts.large} against {counts.small} photos), images/s", _rate),
        ("CPU seconds", _cpu),
        ("Peak memory, MB", _peak),
        ("Same labels as the first, %", lambda entry: agreement(entry.answers, reference)),
    ):
        values = {name: [figure(entry) for entry in entries] for name, entries in rounds.items()}
        rows = [[name, *map(number, found), number(spread(found).median)] for name, found in values.items()]
        parts += [title, table([title.split(",")[0], *columns[1:]], rows)]
    lines = [goal.line(rounds) for goal in goals(rounds)]
    if lines:
        parts += ["Goals", table(["ratio of", "median", "bound", "", "all pairs"], lines)]
    return parts


def _whole(entry: Round) -> float:
    return entry.whole


def _rate(entry: Round) -> float:
    return entry.rate


def _cpu(entry: Round) -> float:
    return entry.cpu


def _peak(entry: Round) -> float:
    return entry.peak_mb
