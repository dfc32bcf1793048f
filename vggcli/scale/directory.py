"""The folder of a run: taken, gone on with or begun anew; its settings, and at the end its manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from vggcli.errors import UsageError
from vggcli.json_reader import MOST_BYTES, parse_json
from vggcli.output.sidecar import compare_settings, kept_settings
from vggcli.records import Provenance
from vggcli.scale.attempts import FOLDER as ATTEMPTS
from vggcli.scale.blocks import FOLDER as BLOCKS
from vggcli.scale.notes import Shards
from vggcli.scale.storage import Storage, has, read, write_bytes

SETTINGS, MANIFEST = "run.json", "manifest.json"
_KIND = "predictions"
_OURS = re.compile(r"part-\d{8,}\.(note|jsonl|csv|tsv|parquet)|seen-[0-9a-f]{16}|running\.json|\.vgg-.*")
_LISTS = re.compile(r"(\d{8,}(-\d)?|end)\.jsonl?")


@dataclass(frozen=True, slots=True)
class ClusterSettings(Provenance):
    """What makes the shards of a run what they are: the numbers, and which inputs stand in which shard.

    Attributes:
        inputs, recursive, files_from, null, column: as on the command line.
        block_size: inputs per shard.
    """

    inputs: tuple[str, ...] = ()
    recursive: bool = False
    files_from: str | None = None
    null: bool = False
    column: str | None = None
    block_size: int = 0


def check(storage: Storage, *, resume: bool, overwrite: bool) -> None:
    """Refuse early a folder that cannot be this run's.

    Raises:
        UsageError: there is a run in it and neither was asked for, or it holds other things.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite", "", "they contradict each other", "Choose one")
    if has(storage, SETTINGS):
        if not (resume or overwrite):
            step = "Add --resume to go on with it or --overwrite"
            raise UsageError("will not overwrite", storage.where, "there is a run in it", step)
        return
    other = next((name for name, _ in storage.sizes() if not _OURS.fullmatch(name)), None)
    if other is not None:
        why = f"it holds other files, e.g. {other}"
        raise UsageError("will not write into", storage.where, why, "Name an empty folder with -o")


def begin(storage: Storage, format: str, settings: ClusterSettings, *, resume: bool) -> bool:
    """Take the folder for this run; whether an earlier run is gone on with.

    Raises:
        UsageError: that run had other settings: all differences are named.
        OutputError: it cannot be written.
    """
    old = read_settings(storage)
    if old is not None and resume:
        compare_settings(old, storage.where, format, _KIND, settings)
        storage.remove(MANIFEST)  # what it says is true no more
        return True
    for name in list(_names(storage)):
        storage.remove(name)
    data = json.dumps(kept_settings(format, _KIND, settings), indent=2) + "\n"
    write_bytes(storage, SETTINGS, data.encode())
    return False


def read_settings(storage: Storage) -> dict[str, Any] | None:
    """The settings of the run in a folder; None where there is none.

    Raises:
        UsageError: they cannot be read.
    """
    try:
        settings = parse_json(read(storage, SETTINGS, MOST_BYTES + 1))
        if not isinstance(settings, dict):
            raise ValueError("it is not an object")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = f"its settings are not readable in {SETTINGS}: {error}"
        raise UsageError("cannot resume", storage.where, why, "Start anew with --overwrite") from error
    return settings


def _names(storage: Storage) -> Iterator[str]:
    """What an earlier run has left: its settings first, so that half of it is never taken for a run."""
    yield from (SETTINGS, MANIFEST)
    for folder in (BLOCKS, ATTEMPTS):
        yield from (f"{folder}/{name}" for name, _ in storage.sizes(folder) if _LISTS.fullmatch(name))
    yield from (name for name, _ in storage.sizes() if name.startswith(("part-", "seen-")))


def write_manifest(storage: Storage, shards: Shards) -> None:
    """Say what a finished run has made; its lines are as many as its shards.

    Every shard has a row for each of its inputs, or it would not be there, so the two numbers are one.
    """
    storage.tidy()
    settings = read_settings(storage)
    totals = {"inputs": shards.rows, "rows": shards.rows, "failures": dict(sorted(shards.failures.items()))}
    head = json.dumps({**totals, "settings": settings}, indent=1)

    def write(file: BinaryIO) -> None:
        file.write(head.removesuffix("\n}").encode() + b',\n "shards": [')
        for number, shard in enumerate(shards.described()):
            file.write((",\n" if number else "\n").encode() + b"  " + json.dumps(shard).encode())
        file.write(b"\n ]\n}\n")

    storage.write(MANIFEST, write)
