"""JSON from files that anybody may have written: bounded in size and depth, and refused in one short sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

MOST_BYTES = 1 << 20  # of a file that holds settings
MOST_BYTES_WITH_NAMES = 4 << 20  # of one that holds names of classes too: 20,000 names of 200
MOST_LEVELS = 64  # of lists and objects within each other; what this tool writes has four
_SHOWN_CHARACTERS = 80


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def read_json(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """The value of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: as `parse_json`.
    """
    with path.open("rb") as file:
        return parse_json(file.read(most_bytes + 1), most_bytes)


def parse_json(data: bytes | str, most_bytes: int = MOST_BYTES) -> Any:
    """The value of a JSON text.

    Args:
        data: UTF-8, or text.
        most_bytes: of `data`, or characters.

    Raises:
        ValueError: it is no JSON (NaN and infinities are none), too long or nested too deeply; its message is a clause
            without a full stop.
    """
    if len(data) > most_bytes:
        raise ValueError(f"it is longer than {most_bytes} bytes")
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg.lower()} in line {error.lineno}") from error
    except RecursionError:
        raise ValueError(f"it is nested more than {MOST_LEVELS} levels deep") from None
    if text.count("[") + text.count("{") > MOST_LEVELS:
        _check_levels(value)
    return value


def _check_levels(value: Any) -> None:
    """Refuse what Python could parse, but not compare or print, in every stack that it may be in by then."""
    containers = [value]
    for _ in range(MOST_LEVELS):
        inner = [item.values() if isinstance(item, dict) else item for item in containers]
        containers = [item for items in inner for item in items if isinstance(item, dict | list)]
    if containers:
        raise ValueError(f"it is nested more than {MOST_LEVELS} levels deep")


def why_unread(error: OSError | ValueError) -> str:
    """What `read_json` raised, as a clause for people."""
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def shown(value: object) -> str:
    """A value in a message: as Python writes it, long ones cut."""
    # Cut before it is written as well: the escapes of a long text are four times as long.
    text = repr(value[: 2 * _SHOWN_CHARACTERS] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}... (cut)"
