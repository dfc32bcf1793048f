"""Draw the README's picture of a terminal: what the program prints on one, as an SVG.

python -m tools.draw_terminal
"""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "predict.svg"
SHOWN = "vgg predict --weights demo vggcli/demo/digits README.md"
COLUMNS = 92


def output_on_a_terminal(command: str, columns: int) -> str:
    """What a command of the shell prints, standard error included, on a terminal of that width, colours and all."""
    printed, terminal = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"COLUMNS": str(columns), "TERM": "xterm-256color"}
    process = subprocess.Popen(command, shell=True, cwd=ROOT, env=environment, stdout=terminal, stderr=terminal)
    os.close(terminal)
    output = b""
    with open(printed, "rb", buffering=0) as stream, contextlib.suppress(OSError):  # how a terminal ends on Linux
        while chunk := stream.read(65536):
            output += chunk
    process.wait()
    return output.decode().replace("\r\n", "\n")


def drawn(command: str, output: str, columns: int) -> str:
    """An SVG of a terminal with a command and its output.

    Args:
        output: text with the escape sequences of colours.
    """
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console
    from rich.text import Text

    # Without the font that it would fetch from a server: any monospaced one does.
    frame = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    frame = frame.replace("Fira Code, monospace", "Menlo, Consolas, DejaVu Sans Mono, monospace")

    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "green"), (command, "bold")))
    console.print(Text.from_ansi(output))
    return console.export_svg(title="vgg", code_format=frame, unique_id="vgg")


def main() -> None:
    """Write the picture."""
    program = f"{sys.executable} -m vggcli"
    output = output_on_a_terminal(SHOWN.replace("vgg", program, 1), COLUMNS)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(drawn(SHOWN, output.rstrip("\n"), COLUMNS), "utf-8")


if __name__ == "__main__":
    main()
