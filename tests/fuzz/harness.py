"""What the fuzz targets share: the command line, the seeds on disk, the bounds of each input, and atheris."""

from __future__ import annotations

import argparse
import importlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

_STATUS, _REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


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
        seconds: time until an input that does not end is given up.
        input_mb: what one input may add to the resident memory, at its peak; None for no bound of its own.
        input_seconds: processor time of one input, slowed down by the instrumentation.
    """

    doc: str
    modules: tuple[str, ...]
    packages: tuple[str, ...]
    seeds: Callable[[], Sequence[bytes]]
    words: Sequence[bytes] = ()
    longest: int = 1 << 16
    memory_mb: int = 1500
    seconds: int = 20
    input_mb: int | None = None
    input_seconds: float = 20


class TooExpensive(Exception):  # noqa: N818 - what the fuzzer's report says of an input
    """One input took more memory or time than any may."""


@contextmanager
def bounded(megabytes: int | None, seconds: float) -> Iterator[None]:
    """Watch what a block of code costs.

    The peak of the resident memory is what the kernel counts, whichever library took the memory; beyond eight times the
    bound nothing is given out, so that the machine stays usable.

    Raises:
        TooExpensive: it took more.
    """
    before_mb = _memory("VmRSS") if megabytes else 0
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if megabytes:
        _REFERENCES.write_text("5")  # the peak begins anew (proc(5))
        size = (_memory("VmSize") + 8 * megabytes) << 20
        resource.setrlimit(resource.RLIMIT_AS, (size, limits[1]))
    began = time.process_time()
    try:
        yield
    finally:
        spent = time.process_time() - began
        resource.setrlimit(resource.RLIMIT_AS, limits)
    if spent > seconds:
        raise TooExpensive(f"{spent:.1f} s of processor time; {seconds} are allowed")
    if megabytes:
        peak_mb = _memory("VmHWM") - before_mb
        if peak_mb > megabytes:
            raise TooExpensive(f"{peak_mb} MB of memory at the peak; {megabytes} are allowed")


def _memory(field: str) -> int:
    """A field of /proc/self/status, in MiB."""
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) >> 10


def fuzz(target: Target, start: Callable[[], Callable[[str], None]]) -> None:
    """Run atheris; inputs that crash or cost too much are written to the current folder.

    Args:
        start: called after the instrumented import; gives the function that tries the file of one input.
    """
    options = _options(target)
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed. Install it with: pip install atheris")
    with atheris.instrument_imports(include=list(target.packages)):
        for module in target.modules:
            importlib.import_module(module)
    try_file = start()
    input_mb = target.input_mb if _REFERENCES.exists() else None  # Linux alone tells
    with tempfile.TemporaryDirectory(prefix="fuzz.") as folder:
        scratch = Path(folder)
        path = scratch / "input"

        def try_one(data: bytes) -> None:
            path.write_bytes(data)
            with bounded(input_mb, target.input_seconds):
                try_file(str(path))

        path.touch()
        try_file(str(path))  # what the first input alone costs, such as imports, is no input's fault
        atheris.Setup([sys.argv[0], *_flags(target, options, scratch)], try_one)
        atheris.Fuzz()


def _options(target: Target) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=target.doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=-1, help="inputs to try; default: no limit")
    parser.add_argument("--seconds", type=int, default=0, help="time to spend; default: no limit")
    parser.add_argument(
        "paths", nargs="*", help="a corpus folder to start from and add to, or single inputs to try again"
    )
    return parser.parse_args()


def _flags(target: Target, options: argparse.Namespace, scratch: Path) -> list[str]:
    """What libFuzzer is told; the seeds and words are written for it."""
    (scratch / "seeds").mkdir()
    for number, data in enumerate(target.seeds()):
        (scratch / "seeds" / str(number)).write_bytes(data)
    (scratch / "words").write_text("".join(f'"{word.decode()}"\n' for word in target.words))
    flags = [f"-runs={options.runs}", f"-max_total_time={options.seconds}", f"-max_len={target.longest}"]
    flags += [f"-timeout={target.seconds}", f"-rss_limit_mb={target.memory_mb}", "-print_final_stats=1"]
    flags += [f"-dict={scratch / 'words'}"] * bool(target.words)
    singles = options.paths and all(Path(given).is_file() for given in options.paths)
    return flags + (options.paths if singles else [*options.paths, str(scratch / "seeds")])
