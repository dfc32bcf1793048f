"""The group of commands: each verb is a module, imported when it is asked for."""

from __future__ import annotations

import importlib
import os
import shlex
import signal
from collections.abc import Iterator, MutableMapping
from typing import Any

import typer
import typer.core

from vggcli.cli import completion, options
from vggcli.cli.console import note
from vggcli.cli.options.shared import one_by_one
from vggcli.errors import StoppedError, UsageError, VggError

# In the order of the help.
VERBS = (
    *("predict", "report", "explain", "evaluate", "embed", "search", "finetune"),
    *("compare", "quantize", "inspect", "download", "list", "summary"),
)
_NAMES_WIDTH = 26  # cells for an option and its values in help; longer ones have a line of their own


class Verbs(MutableMapping[str, Any]):
    """The commands by name.  To make one costs milliseconds of every start, so each is made when it is looked up."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in VERBS:
            raise KeyError(name)
        if name not in self._made:
            module = importlib.import_module(f"vggcli.cli.verbs.{name}")
            single = typer.Typer(add_completion=False, rich_markup_mode=None)
            single.command(name, cls=Command)(one_by_one(module.command))
            self._made[name] = typer.main.get_command(single)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)

    def __contains__(self, name: object) -> bool:
        return name in VERBS


def _looks_like_path(word: str) -> bool:
    return os.path.lexists(word) or os.sep in word or os.path.splitext(word)[1] != ""


class Commands(typer.core.TyperGroup):
    """The group of commands, with every error turned into one line and its exit code."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = Verbs()

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def _main_shell_completion(self, *arguments: Any, **options: Any) -> None:
        completion.replace_scripts()
        super()._main_shell_completion(*arguments, **options)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and _looks_like_path(args[0]):
            where, why = shlex.quote(args[0]), "it looks like a file or folder"
            raise UsageError("no such command", where, why, f"Try `vgg predict {shlex.join(args)}`")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except VggError as error:
            note(str(error))
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError as error:
            raise typer.Exit(StoppedError.exit_code) from error  # the reader has what it wanted
        except KeyboardInterrupt as error:
            note("interrupted")
            raise typer.Exit(128 + signal.SIGINT) from error
        except MemoryError as error:
            note("there is not enough memory. Close other programs, or use a smaller --batch-size.")
            raise typer.Exit(StoppedError.exit_code) from error


class Command(typer.core.TyperCommand):
    """A command whose help shows its options in groups, in the order in which they are declared."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                groups.setdefault(options.group(parameter), []).append(record)
        # One width for the names of all groups, so that the texts begin in one column.
        width = min(max(len(name) for records in groups.values() for name, _ in records), _NAMES_WIDTH)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in records], col_max=_NAMES_WIDTH)
