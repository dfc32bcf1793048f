"""What the shell offers after TAB: names that the program knows, and files where a file will do.

Typer brings the machinery.  Its scripts are replaced for bash and zsh: in zsh its first TAB only defines the function,
and neither shell would offer both names and files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

# An answer may end with this line: the shell adds the files.
_FILES = "<files>"
_DEVICES = ("auto", "cpu", "cuda", "mps")

_BASH = """\
%(complete_func)s() {
    local answer line
    mapfile -t answer < <(IFS=$'\\n'; COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
        %(autocomplete_var)s=complete_bash "$1")
    COMPREPLY=()
    for line in "${answer[@]}"; do
        if [[ $line == '<files>' ]]; then
            compopt -o filenames 2>/dev/null
            mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
        elif [[ -n $line ]]; then
            COMPREPLY+=("$line")
        fi
    done
}

complete -o default -F %(complete_func)s %(prog_name)s
"""

# As a file in $fpath (`--install-completion`) its body is what the first TAB calls; sourced, it only registers.
_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
  eval "$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" %(autocomplete_var)s=complete_zsh %(prog_name)s)"
}

if [[ "${funcstack[1]}" == "_%(prog_name)s" ]]; then
  %(complete_func)s "$@"
else
  compdef %(complete_func)s %(prog_name)s
fi
"""


def variants(incomplete: str) -> list[str]:
    """The variants whose names begin so."""
    from vggcli.network.zoo import VARIANTS

    return _beginning(VARIANTS, incomplete)


def variants_and_files(incomplete: str) -> list[str | tuple[str, str]]:
    """The same, and files."""
    return [*variants(incomplete), *files(incomplete)]


def demo_and_files(incomplete: str) -> list[str | tuple[str, str]]:
    """The weights in the package, and files."""
    from vggcli.network.zoo import DEMO

    return [*_beginning([DEMO], incomplete), *files(incomplete)]


def files(incomplete: str) -> list[tuple[str, str]]:
    """What stands for files, for the shells whose scripts understand it; others offer them where there is no name."""
    is_understood = os.environ.get("_VGG_COMPLETE", "").endswith(("_bash", "_zsh"))
    return [(incomplete, _FILES)] if is_understood else []


def devices(incomplete: str) -> list[str]:
    """Devices; `cuda:1` is left to the person, since a colon begins a word of its own in bash."""
    return _beginning(_DEVICES, incomplete)


def replace_scripts() -> None:
    """Put these scripts and answers in the place of Typer's."""
    from typer import _completion_classes as classes
    from typer import _completion_shared as shared

    for shell, script, kind, answer in (
        ("bash", _BASH, classes.BashComplete, _answer_bash),
        ("zsh", _ZSH, classes.ZshComplete, _answer_zsh),
    ):
        shared._completion_scripts[shell] = script
        kind.source_template = script
        kind.complete = answer  # type: ignore[method-assign, assignment]


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _answers(shell: Any) -> tuple[list[str], bool]:
    """The names for a shell's question, as it wants them, and whether it should offer files too."""
    items = shell.get_completions(*shell.get_completion_args())
    names = [shell.format_completion(item) for item in items if item.help != _FILES]
    return names, len(names) < len(items)


def _answer_bash(shell: Any) -> str:
    names, with_files = _answers(shell)
    return "\n".join([*names, *[_FILES] * with_files])


def _answer_zsh(shell: Any) -> str:
    names, with_files = _answers(shell)
    listed = "\n".join(names)
    if not names:
        return "_files"
    return f"_alternative 'names: :(({listed}))' 'files: :_files'" if with_files else f"_arguments '*: :(({listed}))'"
