"""One process, measured from outside: time to its first row, wall time, CPU time, peak memory."""

from __future__ import annotations

import math
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

# Every contestant computes on the CPU, without a network, and says nothing about either.
ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}


class FailedError(Exception):
    """A process ended with an error; the message is the last line that it wrote to stderr."""


@dataclass(frozen=True)
class Run:
    """One process from start to end.

    Attributes:
        first_seconds: from the start of the process to the first row; NaN when there is none.
        seconds: from the start of the process to its end.
        cpu_seconds: user and system time of the process and of the children that it waited for.
        peak_mb: largest resident set in MB (10^6 bytes) of the process or of any one of its children, not their sum.
        rows: the lines with tabs that it wrote to stdout.
    """

    first_seconds: float
    seconds: float
    cpu_seconds: float
    peak_mb: float
    rows: tuple[str, ...]


def run(command: Sequence[str], environment: Mapping[str, str] = ENVIRONMENT) -> Run:
    """Run a command to its end.

    The kernel counts the memory of the starting process as the new one's peak until that loads its own program, so
    this process has to stay small: nothing heavy is imported in it, and no smaller peak than its own can be seen.

    Raises:
        FailedError: it ended with an exit code other than 0, or could not be started.
    """
    with tempfile.TemporaryFile() as errors:
        began = perf_counter()
        try:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **environment}
            )
        except OSError as error:
            raise FailedError(f"{command[0]}: {error.strerror}") from error
        assert process.stdout is not None
        rows: list[str] = []
        first_seconds = math.nan
        with process.stdout as stdout:
            for line in stdout:
                if b"\t" in line:  # anything else is some library's notice
                    first_seconds = perf_counter() - began if not rows else first_seconds
                    rows.append(line.decode(errors="replace").rstrip("\n"))
        _, status, usage = os.wait4(process.pid, 0)
        seconds = perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise FailedError(_reason(errors.read(), process.returncode))
    return Run(
        first_seconds,
        seconds,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024 / 1e6,
        tuple(rows),
    )


def _reason(errors: bytes, code: int) -> str:
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {code}"
