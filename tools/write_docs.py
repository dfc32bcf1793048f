"""Write the tables of the docs that the program knows: commands, options, keywords, exit codes, kinds of failure.

    python -m tools.write_docs

A page says where: between `<!-- table: NAME -->` and `<!-- end of table -->`.  A test holds the pages against this.
"""

from __future__ import annotations

import inspect
import re
import signal
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer

import vggcli
from vggcli import errors
from vggcli.cli.app import BUG, app
from vggcli.images.failures import KINDS
from vggcli.images.recipe import RECIPES, WITHOUT_SIZE

ROOT = Path(__file__).parent.parent
COMMAND = "python -m tools.write_docs"

_BLOCK = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_DEFAULT_IN_HELP = re.compile(r"\s*\[default: (.+)\]$")


def pages() -> list[Path]:
    """The pages for people: what is linked from the README, and the README."""
    named = [ROOT / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md")]
    return [*named, *sorted((ROOT / "docs").glob("*.md"))]


def with_tables(text: str, known: dict[str, str]) -> str:
    """A page with its tables as the program has them now.

    Raises:
        KeyError: it asks for a table that does not exist.
    """
    return _BLOCK.sub(lambda block: f"{block[1]}\n{known[block[2]]}\n{block[3]}", text)


def tables_of(text: str) -> list[str]:
    """The names of the tables that a page asks for."""
    return [block[2] for block in _BLOCK.finditer(text)]


def tables() -> dict[str, str]:
    """Every table by its name, as Markdown."""
    group: Any = typer.main.get_command(app)
    commands: dict[str, Any] = dict(group.commands)
    known = {f"options of {name}": _options(command.params) for name, command in commands.items()}
    return known | {
        "commands": _table("command", "what it does", rows=map(_command, commands.values())),
        "keywords of load": _table("keyword", "meaning", "default", rows=_keywords()),
        "exit codes": _table("exit code", "meaning", "error in Python", rows=_exit_codes()),
        "named recipes": _table("name", "size", "mean", "std", "white", "channels", rows=_recipes()),
        "kinds of failure": _table("kind", "what it is", rows=((f"`{kind}`", text) for kind, text in KINDS.items())),
    }


def _recipes() -> Iterator[tuple[str, ...]]:
    for name, recipe in RECIPES.items():
        mean, std = (", ".join(f"{number:g}" for number in numbers) for numbers in (recipe.mean, recipe.std))
        size = "" if name in WITHOUT_SIZE else str(recipe.size)
        yield f"`{name}`", size, mean, std, str(recipe.value_range), recipe.channel_order.upper()


def _table(*headings: str, rows: Iterator[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _command(command: Any) -> tuple[str, ...]:
    arguments = [_argument(param) for param in command.params if param.param_type_name == "argument"]
    return f"`{' '.join(['vgg', command.name, *arguments])}`", command.help.split("\n\n")[0].strip()


def _argument(param: Any) -> str:
    if param.required or param.metavar.startswith("["):
        return str(param.metavar)
    return f"[{param.metavar}]..." if param.nargs == -1 else f"[{param.metavar}]"


def _options(params: list[Any]) -> str:
    """A table of each group of options, as `--help` shows them."""
    groups: dict[str, list[Any]] = {}
    for param in params:
        groups.setdefault(param.rich_help_panel or "", []).append(param)
    tables = {group: _table("option", "meaning", "default", rows=map(_option, groups[group])) for group in groups}
    return "\n".join(f"**{group}**\n\n{table}" if group else table for group, table in tables.items())


def _option(param: Any) -> tuple[str, ...]:
    meaning, default = param.help or "", _shown(param.default)
    if found := _DEFAULT_IN_HELP.search(meaning):
        meaning, default = meaning[: found.start()], found[1]
    if param.envvar:
        meaning += f" The environment's `{param.envvar}` does the same."
    if param.param_type_name == "argument":
        return f"`{_argument(param)}`", meaning, default
    value = "" if param.is_flag else " " + (param.metavar or "|".join(param.type.choices))
    *first, last = sorted(param.opts, key=len)
    return ", ".join([*(f"`{name}`" for name in first), f"`{last}{value}`"]), meaning, default


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default.value if isinstance(default, Enum) else "" if default is None else default)


def _keywords() -> Iterator[tuple[str, ...]]:
    """The keywords of `vggcli.load`, their meaning from its docstring."""
    described = (inspect.getdoc(vggcli.load) or "").partition("Args:\n")[2].partition("\n\n")[0]
    meanings = dict(re.findall(r"^(\w+): (.+(?:\n .+)*)", textwrap.dedent(described), re.MULTILINE))
    for name, parameter in inspect.signature(vggcli.load).parameters.items():
        yield f"`{name}`", " ".join(meanings[name].split()), f"`{parameter.default!r}`"


def _exit_codes() -> Iterator[tuple[str, ...]]:
    yield "0", "All inputs were classified; the command did what it was asked for.", ""
    yield "1", "Finished, but some inputs failed: each has its row and a line on standard error.", "`InputError`"
    for error in errors.VggError.__subclasses__():
        if error is not errors.InputError:
            yield str(error.exit_code), (error.__doc__ or "").split("\n\n")[0], _public(error)
    yield str(BUG), "A bug in `vgg`: the traceback on standard error belongs into a report.", ""
    yield f"{128 + signal.SIGINT}, {128 + signal.SIGTERM}", "Interrupted by Ctrl-C, or by SIGTERM.", ""


def _public(error: type[errors.VggError]) -> str:
    """The error and those below it that a program can catch by name."""
    family = [error]
    for member in family:
        family.extend(member.__subclasses__())
    return ", ".join(f"`{member.__name__}`" for member in family if member.__name__ in vggcli.__all__)


def main() -> None:
    """Bring every page up to date."""
    known = tables()
    for page in pages():
        text = page.read_text("utf-8")
        page.write_text(with_tables(text, known), "utf-8")


if __name__ == "__main__":
    main()
