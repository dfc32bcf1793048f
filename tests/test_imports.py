"""What each command loads, and that the modules of the package depend on each other in one direction."""

from __future__ import annotations

import ast
import functools
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import vggcli
from vggcli.cli.group import VERBS

PACKAGE = Path(vggcli.__file__).parent
HEAVY = """torch torchvision openvino pyarrow httpx fsspec rich PIL numpy safetensors sklearn matplotlib ray
    jinja2""".split()
# Modules about torch itself, imported only by functions that need it.
ABOUT_TORCH = ("vggcli.network.module",)
# The rooms, each below those that it may import from; a dot is the package's root.
ROOMS = """errors,records,text,files,json_reader web network images weights engines run output analysis
    classifier,library . training scale commands cli __main__""".split()
LOADED = """
import json, os, sys
from vggcli.cli.app import app
heavy, *commands = map(json.loads, sys.argv[1:])
for command in commands:
    try:
        app(command, prog_name="vgg")
    except SystemExit as leaving:
        assert not leaving.code, command
print(json.dumps([name for name in heavy if name in sys.modules]), file=sys.stderr, flush=True)
os._exit(0)
"""


def loaded_by(*commands: list[str]) -> set[str]:
    """The heavy packages in `sys.modules` after commands that succeed, one after the other in one process."""
    program = [sys.executable, "-c", LOADED, json.dumps(HEAVY), *map(json.dumps, commands)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_most_commands_load_nothing_heavy(narrow_file: Path) -> None:
    file = str(narrow_file)
    commands = [["--help"], ["--version"], ["predict", "--help"], ["list"], ["summary", "vgg16"], ["summary", "demo"]]
    commands += [["inspect", "demo"], ["inspect", file], ["inspect", file, "-f", "json", "--arch", "demo", "--verify"]]

    assert loaded_by(*commands) == set()


@pytest.mark.parametrize(
    ("arguments", "needs"),
    [
        (["list", "-f", "table"], {"rich"}),
        (["inspect", "FILE", "--stats"], {"numpy"}),
        (["predict", "--weights", "FILE", "--engine", "openvino", "-f", "tsv", "IMAGE"], {"numpy", "PIL", "openvino"}),
        (["explain", "--weights", "FILE", "--engine", "openvino", "-o", "DIR", "IMAGE"], {"numpy", "PIL", "openvino"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_loads_what_it_needs_and_no_more(
    arguments: list[str], needs: set[str], narrow_file: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image.png"
    Image.new("RGB", (20, 20)).save(image)
    files = {"FILE": str(narrow_file), "IMAGE": str(image), "DIR": str(tmp_path / "maps")}

    assert loaded_by([files.get(argument, argument) for argument in arguments]) == needs


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


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(path: Path, known: set[str], *, types: bool = False) -> set[str]:
    """Modules of the package that a module imports, wherever in it.

    Args:
        path: of the module.
        known: all modules.
        types: also what only type checkers see.
    """
    found = set()
    todo: list[ast.AST] = [parsed(path)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            todo += [*node.orelse, *(node.body if types else ())]
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides its room"
            if (node.module or "").partition(".")[0] != "vggcli":
                continue
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` is the module; `from module import name` is the module named.
            found |= (inner & known) or ({str(node.module)} if inner != {"vggcli.__version__"} else set())
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
        todo += ast.iter_child_nodes(node)
    return found


def test_imports_have_no_circle() -> None:
    """Not even one that an import inside a function would hide."""
    paths = dict(modules())
    graph = {name: imported(path, set(paths)) - {name} for name, path in paths.items()}
    graph["vggcli.cli.group"] |= {f"vggcli.cli.verbs.{verb}" for verb in VERBS}  # which it imports by name
    assert graph["vggcli.cli.group"] <= set(paths)
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError

    assert order.index("vggcli.errors") < order.index("vggcli.weights.model") < order.index("vggcli.cli.app")
    assert order[-1] == "vggcli.__main__"


def room(module: str) -> int:
    """The number of a module's room, counted from the one that imports nothing."""
    name = module.split(".")[1] if "." in module else "."
    found = [number for number, names in enumerate(ROOMS) if name in names.split(",")]
    assert found, f"{module} is in none of the rooms"
    return found[0]


def test_a_room_imports_only_from_rooms_above_it() -> None:
    """Also for types.  The version alone may be taken from the package's root, which every module has loaded anyway."""
    paths = {name: path for name, path in modules() if name != "vggcli.demo"}  # it holds files, no code
    wrong = [
        f"{name} imports {other}"
        for name, path in paths.items()
        for other in sorted(imported(path, set(paths), types=True))
        if room(other) > room(name)
    ]

    assert not wrong, "\n".join(wrong)


def test_the_demo_is_files_and_no_code() -> None:
    package = ast.parse((PACKAGE / "demo" / "__init__.py").read_text("utf-8"))

    assert [path.name for path in (PACKAGE / "demo").glob("*.py")] == ["__init__.py"]
    assert [type(node) for node in package.body] == [ast.Expr]
