"""What each command loads, and that the modules of the package depend on each other in one direction."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import vggcli

PACKAGE = Path(vggcli.__file__).parent
HEAVY = "torch torchvision openvino pyarrow httpx rich PIL numpy safetensors sklearn matplotlib".split()
# Modules about torch itself, imported only by functions that need it.
ABOUT_TORCH = ("vggcli.network.module", "vggcli.demo.")
LOADED = """
import sys
from vggcli.cli.app import app
try:
    app(sys.argv[2:], prog_name="vgg")
except SystemExit as leaving:
    code = leaving.code
loaded = [name for name in sys.argv[1].split(",") if name in sys.modules]
print(code or 0, *loaded, file=sys.stderr)
sys.stderr.flush()
import os
os._exit(0)
"""


def loaded_by(*arguments: str | Path) -> set[str]:
    """The heavy packages in `sys.modules` after a command that succeeds."""
    command = [sys.executable, "-c", LOADED, ",".join(HEAVY), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, *loaded = done.stderr.splitlines()[-1].split()
    assert code == "0", done.stderr
    return set(loaded)


@pytest.mark.parametrize(
    ("arguments", "needs"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["predict", "--help"], set()),
        (["list"], set()),
        (["list", "-f", "table"], {"rich"}),
        (["summary", "vgg16"], set()),
        (["summary", "demo"], set()),
        (["inspect", "demo"], set()),
        (["inspect", "FILE"], set()),
        (["inspect", "FILE", "-f", "json", "--arch", "demo", "--verify"], set()),
        (["inspect", "FILE", "--stats"], {"numpy"}),
        (["predict", "--weights", "FILE", "--engine", "openvino", "-f", "tsv", "IMAGE"], {"numpy", "PIL", "openvino"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_loads_what_it_needs_and_no_more(
    arguments: list[str], needs: set[str], narrow_file: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image.png"
    Image.new("RGB", (20, 20)).save(image)
    files = {"FILE": narrow_file, "IMAGE": image}

    assert loaded_by(*(files.get(argument, argument) for argument in arguments)) == needs


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_no_module_loads_torch_or_its_like_at_its_top() -> None:
    names = [name for name, _ in modules() if not name.startswith(ABOUT_TORCH) and name != "vggcli.__main__"]
    heavy = [name for name in HEAVY if name not in ("numpy", "PIL")]  # which every prediction needs
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
    code += f"print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert len(names) > 40
    assert done.stdout.split() == []


def imported(path: Path, known: set[str]) -> set[str]:
    """Modules of the package that a module imports, wherever in it, less what only type checkers see."""
    found = set()
    todo: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            todo += node.orelse
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vggcli"):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` is the module; `from module import name` is the module named.
            found |= (inner & known) or {str(node.module)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
        todo += ast.iter_child_nodes(node)
    return found


def test_imports_go_one_way() -> None:
    """No circle, not even one that an import inside a function would hide."""
    paths = dict(modules())
    graph = {name: imported(path, set(paths)) - {name} for name, path in paths.items()}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError

    assert order.index("vggcli.errors") < order.index("vggcli.weights.model") < order.index("vggcli.cli.app")
    assert order[-1] == "vggcli.__main__"
