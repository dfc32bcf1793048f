"""The tables of a comparison: what was measured, the forward passes alone, and our ratios to everybody else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from comparison import Counts, Results
from contestants import CEILINGS, OURS, PEERS
from figures import Round, agreement, ratios, spread, table

Series = dict[str, list[float]]  # one figure of each contestant, one entry a round


def report(results: Results, counts: Counts) -> str:
    """Everything that there is to say about the results, as Markdown."""
    parts = [_measured(results.rounds, counts), _forward(results.forward)]
    rates, others = _series(results, lambda entry: entry.rate)
    parts += _ratio_table("Steady state: times as many images a second as", rates, others | _best_forward(results))
    sooner = _series(results, lambda entry: entry.first_answer)
    parts += _ratio_table("First answer: times sooner than", *sooner, inverted=True)
    whole = _series(results, lambda entry: entry.whole)
    parts += _ratio_table(f"Whole process, {counts.large} photos: its seconds over those of", *whole)
    parts += [f"Left out: {name}: {why}" for name, why in results.left_out.items()]
    return "\n\n".join(part for part in parts if part)


def _measured(rounds: Mapping[str, Sequence[Round]], counts: Counts) -> str:
    if not rounds:
        return ""
    reference = next(iter(rounds))
    header = ["", "first answer, s", "images/s", f"{counts.large} photos, s", "CPU, s", "peak, MB", "same labels, %"]
    rows = []
    for name, entries in rounds.items():
        columns = (
            [entry.first_answer for entry in entries],
            [entry.rate for entry in entries],
            [entry.whole for entry in entries],
            [entry.cpu for entry in entries],
            [entry.peak_mb for entry in entries],
            [agreement(entry.answers, rounds[reference][0].answers) for entry in entries],
        )
        rows.append([name, *(str(spread(column)) for column in columns)])
    rounds_run = "One round." if counts.rounds == 1 else f"Medians of {counts.rounds} rounds (smallest..largest)."
    note = f"{rounds_run} Same labels: as {reference}."
    return f"{table(header, rows)}\n\n{note}"


def _forward(forward: Mapping[str, Sequence[Mapping[int, float]]]) -> str:
    if not forward:
        return ""
    sizes = list(next(iter(forward.values()))[0])
    rows = [
        [name, *(str(spread([rates[size] for rates in entries])) for size in sizes)]
        for name, entries in forward.items()
    ]
    return table(["images/s by batch size", *map(str, sizes)], rows)


def _series(results: Results, figure: Callable[[Round], float]) -> tuple[Series, Series]:
    """One figure of ours and of the peers."""
    ours, peers = (
        {row.name: [figure(entry) for entry in results.rounds[row.name]] for row in rows if row.name in results.rounds}
        for rows in (OURS, PEERS)
    )
    return ours, peers


def _best_forward(results: Results) -> Series:
    """Images a second of each engine alone, at its best batch size."""
    return {name: [max(rates.values()) for rates in entries] for name, entries in results.forward.items()}


def _ratio_table(title: str, ours: Series, others: Series, *, inverted: bool = False) -> list[str]:
    """Ratios of our figures to the others', a row for each other; the other way round when inverted."""
    if not ours or not others:
        return []
    engine_of = {ceiling.name: ceiling.of for ceiling in CEILINGS}
    rows = []
    for other, theirs in others.items():
        row = [other]
        for name, values in ours.items():
            comparable = engine_of.get(other, name) == name  # an engine is the ceiling of one contestant only
            pair = (theirs, values) if inverted else (values, theirs)
            row.append(str(ratios(*pair)) if comparable else "")
        rows.append(row)
    return [title, table(["", *ours], rows)]
