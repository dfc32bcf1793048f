"""`python -m vggcli` is the same program as `vgg`."""

from vggcli.cli import main

if __name__ == "__main__":
    main()
