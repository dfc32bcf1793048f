"""Who takes part: the commands that classify a folder, and the forward passes that bound them, as rows of data."""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
DEMO_FILE = HERE.parent / "vggcli" / "demo" / "digits.safetensors"
VGG = str(Path(sysconfig.get_path("scripts")) / "vgg")


@dataclass(frozen=True)
class Contestant:
    """A command that prints one line for each image of a folder.

    Attributes:
        name: in the tables and for `--only`.
        command: the program and its options; model and folder are appended.
        model: kind of the model that it reads, see `materials.Materials.model`.
        needs: packages without which it cannot run.
        index_column: where a line, split at tabs, holds the index of the class; the path is in column 0.
    """

    name: str
    command: tuple[str, ...]
    model: str = "weights"
    needs: tuple[str, ...] = ()
    index_column: int = 1

    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [package for package in self.needs if find_spec(package) is None]

    def argv(self, model: Path, folder: Path) -> list[str]:
        """The command line for one folder."""
        return [*self.command, str(model), str(folder)]

    def answers(self, rows: tuple[str, ...]) -> dict[str, int]:
        """Class index by file name."""
        split = [row.split("\t") for row in rows]
        return {Path(cells[0]).name: int(cells[self.index_column]) for cells in split}


@dataclass(frozen=True)
class Ceiling:
    """The forward pass of an engine alone, without decoding: nothing that uses this engine can be faster.

    Attributes:
        name: in the tables and for `--only`.
        of: the contestant that runs on this engine.
        engine: "openvino" or "torch".
    """

    name: str
    of: str
    engine: str

    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [] if find_spec(self.engine) else [self.engine]

    def argv(self, weights: Path) -> list[str]:
        """The command line; it prints `batch size<TAB>images a second` lines."""
        return [sys.executable, str(HERE / "forward_only.py"), self.engine, str(weights)]


def _ours(name: str, *options: str, model: str = "weights", needs: tuple[str, ...] = ()) -> Contestant:
    return Contestant(name, (VGG, "predict", "-k", "1", "-f", "tsv", *options, "-w"), model, needs, index_column=2)


def _peer(name: str, script: str, *needs: str, model: str = "weights", options: tuple[str, ...] = ()) -> Contestant:
    return Contestant(name, (sys.executable, str(HERE / "peers" / script), *options), model, needs)


OURS = (
    _ours("vgg"),
    _ours("vgg openvino fp32", "--engine", "openvino", "--precision", "fp32", needs=("openvino",)),
    _ours("vgg torch", "--engine", "torch"),
    _ours("vgg torch fp32", "--engine", "torch", "--precision", "fp32"),
)
PEERS = (
    _peer("plain torchvision", "plain_torchvision.py", "torchvision"),
    _peer("batched torch", "batched_torch.py", "torchvision"),
    _peer("timm", "timm_script.py", "timm"),
    _peer("transformers", "transformers_pipeline.py", "transformers", "timm", model="transformers"),
    _peer("hand-written openvino", "openvino_handwritten.py", "openvino", "torchvision", model="ir"),
)
CEILINGS = (
    Ceiling("forward only openvino", "vgg", "openvino"),
    Ceiling("forward only torch", "vgg torch", "torch"),
)
NAMES = tuple(entry.name for entry in (*OURS, *PEERS, *CEILINGS))

PLAIN = PEERS[0]
HAND_WRITTEN_BATCHES = (8, 16)


def whole_processes(precision: str, has_int8: bool) -> tuple[Contestant, ...]:
    """Who takes part in `whole.report`, the one that everybody is held against first.

    Args:
        precision: of ours and of the hand-written pipelines; "auto" leaves it to each.
        has_int8: there is an int8 file to be run, beside our own bf16 and fp32.
    """
    options = ("--precision", precision)
    hand_written = (
        _peer(
            f"hand-written, batch {batch}",
            "openvino_handwritten.py",
            "openvino",
            "torchvision",
            model="ir",
            options=("--batch", str(batch), *options),
        )
        for batch in HAND_WRITTEN_BATCHES
    )
    int8 = (
        _ours("vgg int8", model="int8"),
        _ours("vgg bf16", "--precision", "bf16"),
        _ours("vgg fp32", "--precision", "fp32"),
    )
    return (_ours("vgg", *options), *hand_written, PLAIN, *(int8 if has_int8 else ()))
