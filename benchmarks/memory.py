"""Peak memory of `vgg predict` on a small and on a large folder: it must not grow with the number of images."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import processes
from contestants import OURS
from figures import spread, table
from materials import Materials

FEW, MANY = 200, 5000


def report(materials: Materials, rounds: int, only: Iterable[str], few: int = FEW, many: int = MANY) -> str:
    """A table of peak MB for both folders, and what the larger one adds.

    Raises:
        FailedError: a run failed.
    """
    names = set(only)
    rows = []
    for contestant in OURS:
        if contestant.name not in names or contestant.missing():
            continue
        peaks: dict[int, list[float]] = {few: [], many: []}
        for _ in range(rounds):
            for count, values in peaks.items():
                print(f"{contestant.name}, {count} photos", file=sys.stderr, flush=True)
                command = contestant.argv(materials.model(contestant.model), materials.folder(count))
                values.append(processes.run(command).peak_mb)
        growth = spread([100 * (larger / smaller - 1) for smaller, larger in zip(peaks[few], peaks[many], strict=True)])
        rows.append([contestant.name, str(spread(peaks[few])), str(spread(peaks[many])), str(growth)])
    return table(["", f"{few} photos, MB", f"{many} photos, MB", "growth, %"], rows)
