"""Fuzz the image loader with bounds: no file may take more memory or time than a whole photo of its limits would.

    python tests/fuzz/bounded_images.py --minutes 20
    python tests/fuzz/bounded_images.py --minutes 1 --seed 7 --keep crashes/
    python tests/fuzz/bounded_images.py crashes/slow-12.bin      (one file again)

Needs nothing but the package.  A child decodes one file after another; this process watches how long it takes for each
and how far its resident memory went, and starts another when it had to be ended.  The files are small images of many
formats, mutated; headers that claim large sizes are favoured.  Not part of the normal test suite.
"""

from __future__ import annotations

import argparse
import random
import resource
import select
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

MAX_PIXELS = 1 << 24
SECONDS = 30.0  # for one file under both settings; decoders in Python take about 1 s per megapixel
MEMORY_MB = 600  # above what the child takes before its first file: 16 megapixels at 20 bytes, twice
ADDRESS_SPACE_MB = 4096  # where the system says no, should a single allocation be beyond all bounds


def seeds() -> list[bytes]:
    """The pictures of `fuzz_images`, larger flat ones, which are small files, and some progressive ones."""
    import io

    from fuzz_images import seeds as small
    from PIL import Image

    made = small()
    flat = Image.new("L", (3000, 3000))
    wanted = [
        ("PNG", flat.convert("I;16"), {}),
        ("PNG", flat.convert("RGBA"), {}),
        ("TIFF", flat.convert("F"), {"compression": "tiff_adobe_deflate"}),
        ("TIFF", flat.convert("I"), {"compression": "tiff_lzw"}),
        ("TIFF", flat.convert("RGB"), {"compression": "jpeg"}),
        ("JPEG", flat.convert("RGB"), {"progressive": True}),
        ("JPEG", flat.convert("CMYK"), {}),
        ("JPEG2000", flat, {}),
        ("GIF", flat, {}),
        ("WEBP", flat.convert("RGB"), {}),
    ]
    for format, picture, options in wanted:
        file = io.BytesIO()
        picture.save(file, format, **options)
        made.append(file.getvalue())
    return [data for data in made if len(data) < 1 << 20]


def mutated(data: bytes, dice: random.Random) -> bytes:
    """The data with bytes, lengths and pieces changed."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        if len(changed) < 8:
            break
        at = dice.randrange(min(96, len(changed) - 4)) if dice.random() < 0.6 else dice.randrange(len(changed) - 4)
        kind = dice.randrange(6)
        if kind == 0:
            changed[at] = dice.choice((0, 1, 127, 128, 255, dice.randrange(256)))
        elif kind == 1:
            struct.pack_into(dice.choice(("<H", ">H")), changed, at, dice.choice((0, 1, 4000, 65535)))
        elif kind == 2:
            struct.pack_into(
                dice.choice(("<I", ">I")), changed, at, dice.choice((0, 1, 4000, 1 << 24, 2**31, 2**32 - 1))
            )
        elif kind == 3:
            del changed[at : at + dice.randrange(1, 64)]
        elif kind == 4:
            piece = changed[at : at + dice.randrange(1, 400)]
            changed[at:at] = piece * dice.choice((1, 2, 300))
        else:
            del changed[max(8, dice.randrange(len(changed))) :]
    return bytes(changed[: 1 << 20])


class Child:
    """The process that decodes; `decode` gives a word for what became of a file."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def decode(self, path: Path, seconds: float) -> tuple[str, int]:
        """The outcome and the megabytes that it took: "slow" and "died" stand beside what the child says."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], seconds)
            line = process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = [process.stdout], ""
        if line:
            outcome, megabytes = line.rsplit(" ", 1)
            return outcome, int(megabytes)
        process.kill()
        process.wait()
        self._start()
        return ("died" if ready else "slow"), 0

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def serve() -> None:
    """The child: a path a line in, an outcome and the peak of its memory out."""
    from fuzz_images import start
    from PIL import Image

    Image.init()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_MB << 20,) * 2)
    load = start(MAX_PIXELS)
    base = resident("VmRSS")
    for line in sys.stdin:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        try:
            load(line.rstrip("\n"))
            outcome = "ok"
        except Exception as error:
            outcome = f"wrong {type(error).__name__}"
        print(outcome, max(0, resident("VmHWM") - base), flush=True)


def resident(field: str) -> int:
    """Of this process, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) >> 10


def files(seed: int, deadline: float) -> Iterator[bytes]:
    dice, starts = random.Random(seed), seeds()
    yield from starts
    while time.monotonic() < deadline:
        yield mutated(dice.choice(starts), dice)


def watch(inputs: Iterator[bytes], keep: Path, report: Callable[[str], None]) -> int:
    """Decode all; the number of files that broke a bound, each of which is kept."""
    child, outcomes, slowest, largest = Child([sys.executable, __file__, "--serve"]), Counter[str](), 0.0, 0
    broken = 0
    with tempfile.TemporaryDirectory(prefix="fuzz.") as folder:
        path = Path(folder, "input")
        for number, data in enumerate(inputs):
            path.write_bytes(data)
            begun = time.monotonic()
            outcome, megabytes = child.decode(path, SECONDS)
            taken = time.monotonic() - begun
            slowest, largest = max(slowest, taken), max(largest, megabytes)
            if outcome == "ok" and megabytes > MEMORY_MB:
                outcome = "large"
            outcomes[outcome] += 1
            if outcome != "ok":
                broken += 1
                keep.mkdir(exist_ok=True)
                kept = keep / f"{outcome.replace(' ', '-')}-{number}.bin"
                kept.write_bytes(data)
                report(f"{kept}: {outcome}, {taken:.1f} s, {megabytes} MB")
    child.close()
    report(f"{sum(outcomes.values())} files: {dict(outcomes)}; slowest {slowest:.1f} s, largest {largest} MB")
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="time to spend (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations")
    parser.add_argument("--keep", type=Path, default=Path("crashes"), help="folder for the files that broke a bound")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", type=Path, help="single files to try again")
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    again = (path.read_bytes() for path in options.paths)
    inputs = again if options.paths else files(options.seed, time.monotonic() + 60 * options.minutes)
    return 1 if watch(iter(inputs), options.keep, print) else 0


if __name__ == "__main__":
    sys.exit(main())
