"""Every definition, and the table of them for the docs.

PYTHONPATH=.:tests python -m definitions.catalogue
"""

from __future__ import annotations

from definitions import arranged, changed, cifar, faces, folders, frameworks, heads, programs, whole

ROOMS = (cifar, heads, programs, faces, frameworks, folders, arranged, changed, whole)
DEFINITIONS = {definition.name: definition for room in ROOMS for definition in room.DEFINITIONS}
assert len(DEFINITIONS) == sum(len(room.DEFINITIONS) for room in ROOMS)

_HEADER = ("definition", "what sets it apart", "how it is saved", "what the file says beside its layers", "what to say")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def table() -> str:
    """A markdown table with a row for each definition."""
    rows = [_HEADER, ("---",) * len(_HEADER)]
    for definition in DEFINITIONS.values():
        said = f"`{' '.join(definition.says)}`" if definition.says else "nothing"
        rows.append((definition.source, definition.difference, definition.saved, definition.read or "-", said))
    return "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in rows)


if __name__ == "__main__":
    print(table(), end="")
