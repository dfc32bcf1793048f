"""Measures vgg beside other ways to classify a folder of photos with vgg16_bn; see README.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import machine
import memory
import startup
import whole
from comparison import Counts, measure
from contestants import NAMES
from materials import gather
from processes import FailedError
from report import report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit code."""
    options = _parser().parse_args(arguments)
    only = options.only or NAMES
    try:
        large = options.whole or options.large
        materials = gather(options.work, options.photos, options.weights, large)
        print(f"{machine.describe()}\n", flush=True)
        rounds = options.rounds or (whole.ROUNDS if options.whole else 5)
        counts = Counts(options.small, large, rounds)
        if options.memory:
            print(memory.report(materials, rounds, only))
        elif options.start_up:
            print(startup.report(materials, rounds))
        elif options.whole:
            print(whole.report(replace(materials, int8=options.int8), counts, options.precision))
        else:
            print(report(measure(materials, counts, only), counts))
    except FailedError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, metavar="DIR", help="photos to use; generated ones by default")
    parser.add_argument(
        "--weights", metavar="FILE|demo", help="a vgg16_bn checkpoint with torchvision's keys; a random one by default"
    )
    parser.add_argument("--small", type=_positive, default=40, metavar="N", help="photos in the small folder")
    parser.add_argument("--large", type=_positive, default=200, metavar="N", help="photos in the large folder")
    parser.add_argument(
        "--rounds", type=_positive, metavar="N", help=f"how often everything is run [5; {whole.ROUNDS} with --whole]"
    )
    parser.add_argument(
        "--only", type=_names, metavar="NAMES", help=f"who takes part, separated by commas: {', '.join(NAMES)}"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "vgg-benchmarks",
        metavar="DIR",
        help="where weights, models and links are kept between runs (about 2.5 GB) [%(default)s]",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--memory", action="store_true", help=f"only vgg's peak memory for {memory.FEW} and {memory.MANY} photos"
    )
    what.add_argument(
        "--whole",
        type=_positive,
        metavar="N",
        help="only whole processes over N photos, every round shown: vgg, the hand-written pipeline at its batches, "
        "the plain script, and --int8 beside our own bf16 and fp32",
    )
    what.add_argument("--start-up", action="store_true", help="only the start-up of vgg --help and vgg inspect")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="with --whole: of vgg and of the hand-written pipeline [auto, which leaves it to each]",
    )
    parser.add_argument("--int8", type=Path, metavar="FILE", help="with --whole: what vgg quantize made of the weights")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return value


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(NAMES)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
