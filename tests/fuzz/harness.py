"""What the fuzz targets share: the command line, the seeds on disk, and atheris."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@dataclass(frozen=True)
class Target:
    """What is fuzzed, and what one input may cost.

    Attributes:
        doc: help text of the command line.
        modules: imported under instrumentation.
        packages: whose code is instrumented.
        seeds: makes small well-formed inputs to start from, after the instrumented import.
        words: byte strings that matter to the format, escaped as libFuzzer's dictionaries want them.
        longest: bytes of an input.
        memory_mb: resident memory, the fuzzer's own needs included.
        seconds: time, slowed down by the instrumentation.
    """

    doc: str
    modules: tuple[str, ...]
    packages: tuple[str, ...]
    seeds: Callable[[], Sequence[bytes]]
    words: Sequence[bytes] = ()
    longest: int = 1 << 16
    memory_mb: int = 1500
    seconds: int = 20


def fuzz(target: Target, start: Callable[[], Callable[[str], None]]) -> None:
    """Run atheris; inputs that crash are written to the current folder.

    Args:
        start: called after the instrumented import; gives the function that tries the file of one input.
    """
    parser = argparse.ArgumentParser(description=target.doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=-1, help="inputs to try; default: no limit")
    parser.add_argument("--seconds", type=int, default=0, help="time to spend; default: no limit")
    parser.add_argument(
        "paths", nargs="*", help="a corpus folder to start from and add to, or single inputs to try again"
    )
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed. Install it with: pip install atheris")
    with atheris.instrument_imports(include=list(target.packages)):
        for module in target.modules:
            importlib.import_module(module)
    try_file = start()
    with tempfile.TemporaryDirectory(prefix="fuzz.") as folder:
        scratch = Path(folder)
        path = scratch / "input"

        def try_one(data: bytes) -> None:
            path.write_bytes(data)
            try_file(str(path))

        (scratch / "seeds").mkdir()
        for number, data in enumerate(target.seeds()):
            (scratch / "seeds" / str(number)).write_bytes(data)
        (scratch / "words").write_text("".join(f'"{word.decode()}"\n' for word in target.words))
        flags = [f"-runs={options.runs}", f"-max_total_time={options.seconds}", f"-max_len={target.longest}"]
        flags += [f"-timeout={target.seconds}", f"-rss_limit_mb={target.memory_mb}", "-print_final_stats=1"]
        flags += [f"-dict={scratch / 'words'}"] * bool(target.words)
        singles = options.paths and all(Path(given).is_file() for given in options.paths)
        folders = options.paths if singles else [*options.paths, str(scratch / "seeds")]
        atheris.Setup([sys.argv[0], *flags, *folders], try_one)
        atheris.Fuzz()
