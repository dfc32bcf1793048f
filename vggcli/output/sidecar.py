"""The settings of a run, kept beside its output, and which of them must be the same to go on with it."""

from __future__ import annotations

import json
import logging
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

from vggcli import files
from vggcli.errors import UsageError
from vggcli.json_reader import read_json, shown
from vggcli.output.stream import in_plain_words

_log = logging.getLogger("vggcli")

_MOST_DIFFERENCES = 16  # in one message; a run has about as many settings
_FIRST_KIND = "predictions"  # the records of a sidecar that names no kind


class RunSettings(Protocol):
    """The settings of a run: a frozen dataclass whose values JSON can hold.

    Every field changes the numbers of the records and must be the same in a resumed run, except for those with the
    metadata `vggcli.records.INFORMATION`, which are kept for people.  A field that a later version adds has a default,
    which is what earlier versions did, so that their runs can still be gone on with.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def describe(self) -> str:
        """What ran, in one line for people: a table's footer."""


def sidecar_path(output: Path) -> Path:
    """The file beside an output that holds the settings of its run."""
    return output.with_name(output.name + ".vgg.json")


def write_sidecar(output: Path, format: str, kind: str, settings: RunSettings) -> None:
    """Keep what a run begins with.

    Args:
        kind: of the records (`RowCodec.kind`).

    Raises:
        OutputError: no room, an input/output error.
    """
    data = (json.dumps(kept_settings(format, kind, settings), indent=2) + "\n").encode()
    path = sidecar_path(output)
    with in_plain_words(path):
        files.replace_file(path, lambda file: file.write(data))


def kept_settings(format: str, kind: str, settings: RunSettings) -> dict[str, Any]:
    """The settings of a run as an object for JSON: what is as it always was is left out."""
    entries = _entries(format, kind, settings)
    if kind == _FIRST_KIND:
        del entries["records"]
    for name, default in _defaults(settings).items():  # what earlier versions wrote stays as it is
        if entries[name] == default:
            del entries[name]
    return entries


def compare_sidecar(output: Path, format: str, kind: str, settings: RunSettings) -> None:
    """Refuse to mix numbers; information may differ, and the sidecar keeps that of the run's beginning.

    Raises:
        UsageError: the sidecar cannot be read, or numbers were made in another way: all differences are named.
    """
    path = sidecar_path(output)
    try:
        old = read_json(path)
        if not isinstance(old, dict):
            raise ValueError("it is not an object")
    except (OSError, ValueError) as error:
        why = f"its settings are not readable in {path.name}"
        if isinstance(error, ValueError):
            why += f": {error}"
        raise UsageError("cannot resume", str(output), why, "Start anew with --overwrite") from error
    compare_settings(old, str(output), format, kind, settings)


def compare_settings(old: dict[str, Any], output: str, format: str, kind: str, settings: RunSettings) -> None:
    """The same for settings that `kept_settings` gave.

    Raises:
        UsageError: as `compare_sidecar`.
    """
    old = {"records": _FIRST_KIND, **_defaults(settings), **old}
    new = json.loads(json.dumps(_entries(format, kind, settings)))
    information = {field.name for field in fields(settings) if field.metadata.get("information")}
    differences = {
        name: f"its {name[:40]} is {shown(old.get(name))}, this run's is {shown(new.get(name))}"
        for name in {**new, **old}
        if old.get(name) != new.get(name)
    }
    numbers = [text for name, text in differences.items() if name not in information]
    if numbers:
        step = "Repeat its options, or start anew with --overwrite"
        if len(numbers) > _MOST_DIFFERENCES:
            numbers[_MOST_DIFFERENCES:] = [f"and {len(numbers) - _MOST_DIFFERENCES} more"]
        raise UsageError("cannot resume", output, "; ".join(numbers), step)
    if differences:
        _log.info("%s goes on, although %s", output, "; ".join(differences.values()))


def _defaults(settings: RunSettings) -> dict[str, Any]:
    return {field.name: field.default for field in fields(settings) if field.default is not MISSING}


def _entries(format: str, kind: str, settings: RunSettings) -> dict[str, Any]:
    return {"format": format, "records": kind, **asdict(settings)}
