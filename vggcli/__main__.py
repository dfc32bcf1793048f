"""The entry point: `vgg`, and `python -m vggcli`.  Ctrl-C while the program is being imported is no error."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run `vgg`."""
    _fill_descriptors()
    try:
        from vggcli.cli import main as run

        run()
    except KeyboardInterrupt:
        print("vgg: interrupted", file=sys.stderr)
        sys.exit(130)


def _fill_descriptors() -> None:
    """Keep closed standard streams (`2>&-`) closed to us: the next file opened would take their places, results say.

    A library that writes an error message to descriptor 2 would write it there.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is this one


if __name__ == "__main__":
    main()
