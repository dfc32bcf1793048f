"""Where the pools are: keys never say it, but their numbers leave gaps for them; else the paper's table does."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from vggcli.network import zoo
from vggcli.weights.reading import keys
from vggcli.weights.reading.modules import Unit
from vggcli.weights.reading.problem import BrokenChainError

# Number of convolutions to those of each stage.
TABLE = {sum(map(len, stages)): tuple(map(len, stages)) for stages in zoo.CONFIGURATIONS.values()}
Name = tuple[keys.Token, ...]
_MOST_STAGES = 5  # of the paper's; more wide gaps than these are those of something else, such as dropouts
_MOST_BETWEEN = 3  # layers without tensors between two stages, beyond those within one


def sizes(units: Sequence[Unit]) -> tuple[int, ...]:
    """Convolutions in each stage.

    Raises:
        BrokenChainError: numbers and names leave it open, or leave room for layers that a VGG does not have.
    """
    if len(units) == 1:
        return (1,)
    groups, steps = _groups(units)
    if len(set(groups)) == 1:
        return _by_gaps(units, steps)
    changes = [one != other for one, other in pairwise(groups)]
    within = [step for step, change in zip(steps, changes, strict=True) if step is not None and not change]
    least = min(within, default=0)
    return _counted([change or (step or 0) > least for step, change in zip(steps, changes, strict=True)])


def is_by_table(units: Sequence[Unit]) -> bool:
    """Whether neither names nor gaps in numbers show the stages."""
    groups, steps = _groups(units)
    return len(set(groups)) == 1 and len(set(steps)) == 1


def _groups(units: Sequence[Unit]) -> tuple[list[Name], list[int | None]]:
    """For each convolution what names its stage, and from each to the next how far the number in the stage goes.

    Where one number alone tells them apart, all are in one group.
    """
    names: list[Name] = [unit.module.parts for unit in units]
    columns = _varying(names)
    if len(columns) == 1 and not all(isinstance(name[columns[0]], int) for name in names):
        names = _in_two_digits([keys.tokens(str(name[columns[0]])) for name in names])
        columns = _varying(names)
    groups: list[Name] = [name[: columns[0] + 1] for name in names]
    place = columns[-1]
    if len(columns) == 1 or len(set(groups)) == len(names):
        groups, place = [()] * len(names), columns[0]
    return groups, [_step(one[place : place + 1], other[place : place + 1]) for one, other in pairwise(names)]


def _in_two_digits(names: list[Name]) -> list[Name]:
    """Stage and number apart where names have both in one, as conv11, conv12, conv21; else as they are."""
    found = [name[-1] for name in names]
    numbers = [number for number in found if isinstance(number, int)]
    if len(numbers) < len(names) or len(names) < 2 or numbers[0] != 11:
        return names
    if any(other not in (one + 1, 10 * (one // 10 + 1) + 1) for one, other in pairwise(numbers)) or numbers[-1] < 21:
        return names
    return [(*name[:-1], *divmod(number, 10)) for name, number in zip(names, numbers, strict=True)]


def _varying(names: list[Name]) -> list[int]:
    """The places at which names differ."""
    return [place for place in range(max(map(len, names))) if len({name[place : place + 1] for name in names}) > 1]


def _step(one: Name, other: Name) -> int | None:
    if not (one and other):
        return None
    first, second = (keys.numbers(str(name[0])) for name in (one, other))
    return second[-1] - first[-1] if first and second else None


def _by_gaps(units: Sequence[Unit], steps: list[int | None]) -> tuple[int, ...]:
    """A pool between two convolutions widens the gap between their numbers."""
    table = TABLE.get(len(units))
    if table is not None and _doubles_within(units, table):
        table = None
    if None in steps:
        if table is None:
            raise _open(units)
        return table
    found = [step for step in steps if step is not None]
    least, values = min(found), sorted(set(found))
    if values[-1] - least > _MOST_BETWEEN:
        place = found.index(values[-1])
        first, second = units[place].module.key, units[place + 1].module.key
        raise BrokenChainError(f"between {first} and {second} is room for more layers than a VGG has there")
    if len(values) == 1:
        if table is not None:
            return table
        alone = 2 + (units[0].norm is not None)  # convolution, batch norm, ReLU
        if units[0].module.is_numbered and least > alone and len(units) <= _MOST_STAGES:
            return (1,) * len(units)
        raise _open(units)
    candidates = [_counted([step > bound for step in found]) for bound in values[:-1]]
    if table in candidates and table is not None:
        return table
    if len(candidates) > 1:
        raise _open(units)
    return candidates[0]


def _doubles_within(units: Sequence[Unit], counts: Sequence[int]) -> bool:
    """Whether a layer within a stage has twice the channels of the one before it: then these are not the stages."""
    widths = [unit.module.outputs for unit in units]
    ends = set(accumulate(counts))
    return any(other == 2 * one for place, (one, other) in enumerate(pairwise(widths), 1) if place not in ends)


def _counted(ends: Sequence[bool]) -> tuple[int, ...]:
    counts = [1]
    for is_end in ends:
        if is_end:
            counts.append(1)
        else:
            counts[-1] += 1
    return tuple(counts)


def _open(units: Sequence[Unit]) -> BrokenChainError:
    first, last = units[0].module.key, units[-1].module.key
    return BrokenChainError(
        f"the {len(units)} convolutions from {first} to {last} leave open where the pools are",
        "Save the whole module with torch.save(model), which says it",
    )
