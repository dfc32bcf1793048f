"""The entry point: `vgg`, and `python -m vggcli`.  Ctrl-C while the program is being imported is no error."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run `vgg`."""
    _fill_descriptors()
    try:
        from vggcli.cli.app import main as run

        run()
    except KeyboardInterrupt:
        if sys.stderr is not None:  # else `print` would take standard output
            print("vgg: interrupted", file=sys.stderr)
        sys.exit(130)


def _fill_descriptors() -> None:
    """Put the null device in the place of closed standard streams (`2>&-`).

    The next file to be opened, the one for results perhaps, would take the place otherwise, and with it whatever a
    library writes to standard error.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is this one


if __name__ == "__main__":
    main()
