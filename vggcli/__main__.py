"""The entry point: `vgg`, and `python -m vggcli`.  Ctrl-C while the program is being imported is no error."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `vgg`."""
    try:
        from vggcli.cli import main as run

        run()
    except KeyboardInterrupt:
        print("vgg: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
