"""All contestants side by side, round after round."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

import processes
from contestants import CEILINGS, OURS, PEERS, Ceiling, Contestant
from figures import Round, slope
from materials import Materials


@dataclass(frozen=True)
class Counts:
    """Photos in the two folders whose difference is the steady state, and how often everything is run."""

    small: int
    large: int
    rounds: int


@dataclass
class Results:
    """What was measured.

    Attributes:
        rounds: by contestant, one entry a round.
        forward: by ceiling, one entry a round: images a second by batch size.
        left_out: why a contestant did not take part.
    """

    rounds: dict[str, list[Round]] = field(default_factory=dict)
    forward: dict[str, list[dict[int, float]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def measure(materials: Materials, counts: Counts, only: Iterable[str]) -> Results:
    """Run everybody in turn, for as many rounds as asked: A B C, A B C, ...

    Before the first round everybody runs once untimed: it fills the page cache, and who cannot run is left out.

    Args:
        materials: what they read.
        counts: how much.
        only: names of those that take part.

    Raises:
        FailedError: a contestant that ran before does not run any more.
    """
    results = Results()
    names = set(only)
    contestants = [entry for entry in (*PEERS, *OURS) if entry.name in names]
    contestants = [entry for entry in contestants if _takes_part(entry, materials, results)]
    ceilings = [entry for entry in CEILINGS if entry.name in names]
    for ceiling in list(ceilings):
        if ceiling.missing():
            results.left_out[ceiling.name] = _not_installed(ceiling)
            ceilings.remove(ceiling)
    materials.warm()
    for number in range(1, counts.rounds + 1):
        for contestant in contestants:
            _say(f"round {number} of {counts.rounds}: {contestant.name}")
            results.rounds.setdefault(contestant.name, []).append(_round(contestant, materials, counts))
        for ceiling in ceilings:
            _say(f"round {number} of {counts.rounds}: {ceiling.name}")
            rows = processes.run(ceiling.argv(materials.weights)).rows
            rates = {int(size): float(rate) for size, rate in (row.split("\t") for row in rows)}
            results.forward.setdefault(ceiling.name, []).append(rates)
    return results


def take_turns(contestants: Iterable[Contestant], materials: Materials, counts: Counts) -> Results:
    """Run these in turn, in the other direction every second round: A B C, C B A, ...; else as `measure`."""
    results = Results()
    taking_part = [entry for entry in contestants if _takes_part(entry, materials, results)]
    materials.warm()
    for number in range(1, counts.rounds + 1):
        for contestant in taking_part[:: 1 if number % 2 else -1]:
            _say(f"round {number} of {counts.rounds}: {contestant.name}")
            results.rounds.setdefault(contestant.name, []).append(_round(contestant, materials, counts))
    return results


def _takes_part(contestant: Contestant, materials: Materials, results: Results) -> bool:
    if contestant.missing():
        results.left_out[contestant.name] = _not_installed(contestant)
        return False
    _say(f"trying {contestant.name}")
    try:
        model = materials.model(contestant.model)
        processes.run(contestant.argv(model, materials.folder(1)))
    except processes.FailedError as error:
        results.left_out[contestant.name] = str(error)
        return False
    return True


def _not_installed(entry: Contestant | Ceiling) -> str:
    return f"{' and '.join(entry.missing())} not installed"


def _round(contestant: Contestant, materials: Materials, counts: Counts) -> Round:
    model = materials.model(contestant.model)
    one, small, large = (
        processes.run(contestant.argv(model, materials.folder(count))) for count in (1, counts.small, counts.large)
    )
    return Round(
        first_answer=one.first_seconds,
        rate=slope(small, large, counts.small, counts.large),
        whole=large.seconds,
        peak_mb=large.peak_mb,
        cpu=large.cpu_seconds,
        answers=contestant.answers(large.rows),
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
