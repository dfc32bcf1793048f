"""Blocks, shards and waves without a cluster: what an actor does, done in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sink_examples import SETTINGS

from vggcli.images.item import Input
from vggcli.output.predictions import PredictionCodec
from vggcli.records import Failure, Prediction, Record
from vggcli.scale.blocks import Spooler, read_block
from vggcli.scale.notes import Note
from vggcli.scale.shards import ShardWriter
from vggcli.scale.storage import Folder, Storage

PATHS = [
    "a.jpg",
    "=b\t\n.jpg",
    "broken.jpg",
    "é\udcff.jpg",
    "a.jpg",
    "flaky,1.jpg",
    "c.jpg",
    "d.jpg",
    "flaky,2.jpg",
    "e.jpg",
]
CODEC = PredictionCodec(SETTINGS.top_k)
FORMATS = ("tsv", "csv", "jsonl", "parquet")


def classify(items: Iterable[Input], mended: bool = True) -> Iterator[Record]:
    """Stands in for a network: what it says depends on the path alone, and on whether flaky files are mended."""
    for item in items:
        path = item.path or ""
        if "broken" in path or ("flaky" in path and not mended):
            yield Record(path, failure=Failure("unreadable", f"sad, {path}"))
        else:
            yield Record(path, (Prediction(1, 3, "cat", len(path) / 100), Prediction(2, 7, "dog, wet", 1e-4)))


def spooled(storage: Storage, paths: Iterable[str] = PATHS, size: int = 3) -> Spooler:
    """The blocks of these inputs, kept."""
    spooler = Spooler(storage, (Input(path) for path in paths), size)
    spooler.start()
    spooler.wait(1 << 30)
    if spooler.error is not None:
        raise spooler.error
    return spooler


def done(
    storage: Storage, numbers: Iterable[int], format: str = "jsonl", run: str = "1", *, mended: bool = True
) -> list[Note]:
    """These blocks, done by one actor."""
    writer = ShardWriter(storage, format, CODEC, run, retries=True)
    return [
        writer.write(number, read_block(storage, number), lambda items: classify(items, mended)) for number in numbers
    ]


def wave(folder: Path, **options: bool) -> Callable[[Sequence[int]], Iterator[Note]]:
    """What Ray does with blocks."""
    return lambda numbers: iter(done(Folder(str(folder)), numbers, **options))
