"""The command line itself: help, completion, exit codes, and what becomes of outputs that go nowhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import Vgg

from vggcli import __version__, errors
from vggcli.cli import app, options
from vggcli.commands import list as list_command
from vggcli.network.zoo import VARIANTS

COMMANDS = tuple(
    "predict report explain evaluate embed search finetune compare quantize inspect download list summary".split()
)
OPTIONS = {
    "predict": """-a --arch -w --weights --labels -k --top-k -d --device --engine --precision --resize --no-exif
        --allow-truncated --max-pixels --max-bytes --fast-decode -b --batch-size -j --workers -r --recursive
        --files-from -0 --null -f --format -o --output --resume --overwrite --fail-fast --max-errors --offline
        --mirror --report --show --calibration""",
    "report": "-o --output --overwrite --limit --no-thumbnails --max-pixels --max-bytes --no-exif -j --workers -q",
    "explain": """-w --weights --labels -k --top-k --class --layer --method --raw -o --output --overwrite
        -f --format -r --recursive --files-from --recipe --fail-fast --max-errors -q --quiet""",
    "evaluate": """--predictions -f --format --html --confusion --calibrate --calibration --seed --mistakes --overwrite
        -w --weights --labels --recipe --resize --threads -q --quiet""",
    "embed": """-w --weights --layer --pool --normalize --dtype -r --recursive --files-from -0 --null --recipe
        -o --output --resume --overwrite --fail-fast --max-errors --allow-empty -q --quiet""",
    "search": """-w --weights -r --recursive --files-from --queries --row -k --top-k --include-self --duplicates
        --min-similarity -f --format -o --output --overwrite""",
    "finetune": "-o --output --unfreeze --from-scratch --width --epochs --lr --seed --features --resume --overwrite -q",
    "quantize": "--images -r --recursive --limit -o --output --overwrite --recipe --threads -f --format -q --quiet",
    "compare": """-w --weights --precision --engine --against-weights --against-precision --against-engine --save
        -f --format -r --recursive --files-from -0 --null --recipe --allow-empty""",
    "inspect": "-a --arch -f --format --verify --stats",
    "download": "--offline --mirror",
    "list": "-f --format",
    "summary": "--num-classes --input-size -f --format",
}
CHOICES = {
    "predict": ["auto|cpu|cuda[:N]|mps", "auto|torch|openvino", "auto|fp32|bf16|fp16|int8", "squash|crop", "FILE|demo"],
    "inspect": ["auto|table|tsv|json", "FILE|URL"],
    "summary": ["ARCH|FILE"],
}


def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    """`vgg` in a process of its own, standard error kept."""
    command = [sys.executable, "-m", "vggcli", *map(str, arguments)]
    return subprocess.run(command, stderr=subprocess.PIPE, check=False, **options)  # type: ignore[call-overload, no-any-return]


# Help


def test_the_version(vgg: Vgg) -> None:
    for option in ("--version", "-V"):
        output = vgg(option)
        assert (output.code, output.out, output.err) == (0, f"vgg {__version__}\n", "")


def test_help_lists_every_command_with_an_example(vgg: Vgg) -> None:
    output = vgg("--help")

    assert (output.code, output.err) == (0, "")
    assert re.findall(r"^  (\w+)  +\S", output.out.partition("Commands:")[2], re.MULTILINE) == list(COMMANDS)
    assert "vgg predict --weights demo" in output.out
    narrow = vgg("--help", env={"COLUMNS": "80"}).out
    assert "..." not in narrow.partition("Commands:")[2]  # whole sentences
    assert max(map(len, narrow.splitlines())) <= 80
    assert vgg("-h").out == output.out


def test_nothing_to_do_is_wrong_usage_answered_with_the_help(vgg: Vgg) -> None:
    output = vgg()

    assert output.code == 2
    assert output.out + output.err == vgg("--help").out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_names_every_option_and_gives_an_example(command: str, vgg: Vgg) -> None:
    output = vgg(command, "--help")
    named = set(re.findall(r"(?<![\w-])--?[a-z0-9][a-z0-9-]*", output.out))

    assert (output.code, output.err) == (0, "")
    assert set(OPTIONS[command].split()) <= named
    for choice in CHOICES.get(command, []):
        assert choice in output.out
    if command != "list":
        assert f"\n    vgg {command} " in output.out
    assert vgg(command, "-h").out == output.out


def test_help_of_predict_lists_the_exit_codes(vgg: Vgg) -> None:
    text = " ".join(vgg("predict", "-h").out.split())

    assert (
        "Exit codes: 0 all classified; 1 some inputs failed, or there were none; 2 wrong usage; 3 unusable weights;"
        in text
    )
    assert "4 stopped early; 5 unusable device or engine; 70 a bug in vgg; 130, 143 interrupted." in text


def test_help_of_search_promises_no_other_weights_than_those_of_the_vectors(vgg: Vgg) -> None:
    assert "ImageNet" not in vgg("search", "--help").out


def test_help_of_predict_has_its_options_in_groups(vgg: Vgg) -> None:
    command: Any = typer.main.get_command(app.app)
    parameters = {parameter.name: parameter for parameter in command.commands["predict"].params}
    groups = {name: options.group(parameter) for name, parameter in parameters.items()}
    text = vgg("predict", "--help").out
    headings = re.findall(r"^(\w.*):$", text, re.MULTILINE)

    # --help itself, which every command has, is added later.
    assert {name for name, group in groups.items() if group not in options.GROUPS} == {"inputs"}
    assert headings == ["Arguments", *options.GROUPS, "Options"]
    for heading, part in zip(headings, re.split(r"^\w.*:$", text, flags=re.MULTILINE)[1:], strict=True):
        for name, parameter in parameters.items():
            assert (f"{parameter.opts[0]}" in re.findall(r"^  (?:-\w, )?(\S+)", part, re.MULTILINE)) == (
                groups[name] == heading and name != "inputs"
            ), name


def test_the_texts_of_all_groups_begin_in_one_column(vgg: Vgg) -> None:
    lines = vgg("predict", "--help").out.partition("Inputs:")[2].splitlines()
    begins = {len(line) - len(line[28:].lstrip()) for line in lines if line[:28].strip() and line[26:28] == "  "}
    assert len(begins) == 1


def test_usage_says_that_there_may_be_many_inputs(vgg: Vgg) -> None:
    assert vgg("predict", "--help").out.splitlines()[0] == "Usage: vgg predict [OPTIONS] [INPUTS]..."
    assert vgg("download", "--help").out.splitlines()[0] == "Usage: vgg download [OPTIONS] [ARCH]..."


def test_help_is_readable_in_80_columns(vgg: Vgg) -> None:
    for command in COMMANDS:
        lines = vgg(command, "-h", env={"COLUMNS": "80"}).out.splitlines()
        assert max(len(line) for line in lines) <= 80


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'."),
        (["predict", "--frobnicate"], "No such option"),
        (["inspect"], "Missing argument 'FILE|URL'."),
        (["summary"], "Missing argument 'ARCH|FILE'."),
        (["inspect", "a", "b"], "Got unexpected extra argument"),
        (["list", "-f", "xml"], "Invalid value for '--format'"),
        (["predict", "x.png", "--engine", "tpu"], "Invalid value for '--engine'"),
        (["predict", "x.png", "--workers", "0"], "Invalid value for '--workers'"),
        (["predict", "x.png", "--batch-size", "0"], "Invalid value for '--batch-size'"),
        (["predict", "x.png", "--top-k", "0"], "Invalid value for '--top-k'"),
    ],
)
def test_wrong_usage_ends_with_exit_code_2_and_no_output(arguments: list[str], message: str, vgg: Vgg) -> None:
    output = vgg(*arguments)

    assert (output.code, output.out) == (2, "")
    assert message in output.err
    assert "Traceback" not in output.err


# Errors to exit codes


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (errors.UsageError("cannot", "x", "why", "Do this"), 2, "cannot x: why. Do this."),
        (errors.CheckpointError("cannot", "x", "why"), 3, "cannot x: why."),
        (errors.ForbiddenError("cannot", "x", "why", "Do this"), 3, "cannot x: why. Do this."),
        (errors.MismatchError("cannot", "x", "why"), 3, "cannot x: why."),
        (errors.DownloadError("cannot", "x", "why"), 3, "cannot x: why."),
        (errors.StoppedError("cannot", "x", "why"), 4, "cannot x: why."),
        (errors.OutputError("cannot"), 4, "cannot."),
        (errors.DeviceError("cannot", "x", "why"), 5, "cannot x: why."),
        (errors.InputError("empty", "x", "why"), 1, "cannot classify x: why."),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            MemoryError(),
            4,
            "there is not enough memory. Close other programs, or use a smaller --batch-size.",
        ),
    ],
)
def test_every_error_is_one_line_and_its_exit_code(
    error: BaseException, code: int, message: str, vgg: Vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(list_command, "list_variants", fail)
    output = vgg("list")

    assert (output.code, output.out, output.err) == (code, "", f"vgg: {message}\n")


def test_no_class_of_errors_is_without_a_code() -> None:
    def below(kind: type[errors.VggError]) -> list[type[errors.VggError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    assert {kind.exit_code for kind in below(errors.VggError)} == {1, 2, 3, 4, 5}


def test_control_characters_in_a_message_never_reach_the_terminal(vgg: Vgg) -> None:
    output = vgg("inspect", "no\x1b[31m\n\tsuch\x07")

    assert output.code == 3
    assert output.err == (
        "vgg: cannot read weights no\\x1b[31m\\n\\tsuch\\x07: there is no such file. Check the path.\n"
    )


# Outputs that go nowhere


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        *((["inspect", "FILE"], form) for form in ("tsv", "table", "json")),
        (["list"], "tsv"),
        (["summary", "vgg16"], "table"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_reader_that_leaves_is_no_fault(arguments: list[str], form: str, narrow_file: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "wb") as pipe:
        done = run(*(str(narrow_file) if a == "FILE" else a for a in arguments), "-f", form, stdout=pipe)

    assert (done.returncode, done.stderr) == (4, b"")


def test_the_first_line_can_be_had(narrow_file: Path) -> None:
    command = '"$0" -m vggcli inspect "$1" | head -1'
    done = subprocess.run(["sh", "-c", command, sys.executable, narrow_file], capture_output=True, check=True)

    assert done.stdout == b"features.0.weight\t[8, 3, 3, 3]\tfloat32\n"
    assert done.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments",
    [["list"], ["list", "-f", "table"], ["download", "demo"], ["--help"], ["--version"], ["predict", "--help"]],
)
def test_a_full_disk_is_explained(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = run(*arguments, stdout=full)

    assert (done.returncode, done.stderr) == (4, b"vgg: cannot write standard output: no space left on device.\n")


def test_results_stay_results_when_standard_error_is_closed(tmp_path: Path) -> None:
    command = '"$0" -m vggcli predict --weights demo -k 1 -f jsonl -o "$1" /no/such.png 2>&-'
    out = tmp_path / "out.jsonl"
    done = subprocess.run(["sh", "-c", command, sys.executable, out], stdout=subprocess.PIPE, check=False)
    on_stdout = subprocess.run(
        ["sh", "-c", command.replace('-o "$1"', ""), sys.executable], stdout=subprocess.PIPE, check=False
    )

    assert (done.returncode, done.stdout, on_stdout.returncode) == (1, b"", 1)
    assert out.read_bytes() == on_stdout.stdout
    assert [json.loads(line)["status"] for line in on_stdout.stdout.splitlines()] == ["error"]


def test_a_bug_is_a_traceback_and_the_exit_code_of_nothing_else() -> None:
    code = "import vggcli.cli.app as c; c.app = lambda: 1 / 0; c.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert done.returncode == 70
    assert done.stderr.endswith(b"ZeroDivisionError: division by zero\n")


def test_a_closed_output_is_explained() -> None:
    command = '"$0" -m vggcli list >&-'
    done = subprocess.run(["sh", "-c", command, sys.executable], stderr=subprocess.PIPE, check=False)

    assert (done.returncode, done.stderr) == (4, b"vgg: cannot write standard output: it is closed.\n")


def test_output_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    """And a path that is no UTF-8 comes out as the bytes it is, so that a program finds the file."""
    home = os.fsencode(tmp_path) + b"/caf\xe9"
    environment = {
        **os.environb,
        b"TORCH_HOME": home,
        b"LC_ALL": b"C",
        b"PYTHONUTF8": b"0",
        b"PYTHONCOERCECLOCALE": b"0",
    }
    folder = home + b"/hub/checkpoints"
    os.makedirs(folder)
    with open(folder + b"/vgg11-8a719046.pth", "wb") as file:
        file.write(b"weights")
    done = run("download", "vgg11", stdout=subprocess.PIPE, env=environment)

    assert (done.returncode, done.stdout) == (0, folder + b"/vgg11-8a719046.pth\n")


# Completion


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("vgg ", list(COMMANDS)),
        ("vgg pre", ["predict"]),
        ("vgg predict --arch vgg1", [name for name in VARIANTS if name.startswith("vgg1")]),
        ("vgg predict -a vgg19", ["vgg19", "vgg19_bn"]),
        ("vgg inspect w.pth --arch vgg16_", ["vgg16_bn"]),
        ("vgg download vgg11", ["vgg11", "vgg11_bn"]),
        ("vgg summary d", ["demo", "<files>"]),
        ("vgg predict --eng", ["--engine"]),
        ("vgg predict --engine o", ["openvino"]),
        ("vgg list -f j", ["json"]),
        ("vgg predict --device c", ["cpu", "cuda"]),
        ("vgg predict -d ", ["auto", "cpu", "cuda", "mps"]),
        ("vgg predict --weights d", ["demo", "<files>"]),
        ("vgg predict -w we", ["<files>"]),
        ("vgg summary vgg16_", ["vgg16_bn", "<files>"]),
        ("vgg inspect d", ["demo", "<files>"]),
        ("vgg predict photos/", []),  # nothing but files, which the shell knows itself
    ],
)
def test_the_shell_completes(words: str, expected: list[str], vgg: Vgg) -> None:
    asked = {"_VGG_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}

    assert vgg(env=asked).out.split() == expected


@pytest.fixture
def completed(tmp_path: Path) -> Path:
    """A folder with files to complete, and a `vgg` in `bin`."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "vgg"
    code = "import sys; sys.argv[0] = 'vgg'; from vggcli.__main__ import main; main()"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
    program.chmod(0o755)
    for name in ("weights.pth", "we have.pth", "we*.pth", "photos/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("vgg pre", ["predict"]),
        ("vgg predict --weights ", ["bin", "demo", "photos", "we have.pth", "we*.pth", "weights.pth"]),
        ("vgg predict -w we", ["we have.pth", "we*.pth", "weights.pth"]),
        ("vgg predict --device m", ["mps"]),
        ("vgg predict ph", []),
    ],
)
def test_bash_completes(words: str, expected: list[str], completed: Path) -> None:
    script = """
        eval "$(_VGG_COMPLETE=source_bash vgg)"
        IFS=' ' read -ra COMP_WORDS <<< "$1"; [[ $1 == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _vgg_completion vgg
        ((${#COMPREPLY[@]})) && printf '%s\\n' "${COMPREPLY[@]}"; complete -p vgg"""
    environment = os.environ | {
        "PATH": f"{completed / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = ["bash", "--norc", "-c", script, "bash", words]
    done = subprocess.run(command, cwd=completed, env=environment, capture_output=True, text=True, check=True)
    *found, registered = done.stdout.splitlines()

    assert sorted(found) == expected
    assert registered == "complete -o default -F _vgg_completion vgg"  # files, where there is nothing else


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("vgg pre", '_arguments \'*: :(("predict":'),
        ("vgg predict --weights ", "_alternative 'names: :((\"demo\"))' 'files: :_files'"),
        ("vgg predict --weights we", "_files"),
        ("vgg predict ph", "_files"),
    ],
)
def test_zsh_is_told_what_to_offer(words: str, expected: str, vgg: Vgg) -> None:
    assert vgg(env={"_VGG_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": words}).out.startswith(expected)


def test_the_first_tab_of_zsh_completes(vgg: Vgg, completed: Path) -> None:
    """zsh calls the body of `_vgg` from its path: it has to answer, not only to define the function that will."""
    script = vgg(env={"_VGG_COMPLETE": "source_zsh"}).out
    lines = script.splitlines()

    assert lines[0] == "#compdef vgg"
    assert lines[-6:-1] == [
        'if [[ "${funcstack[1]}" == "_vgg" ]]; then',
        '  _vgg_completion "$@"',
        "else",
        "  compdef _vgg_completion vgg",
        "fi",
    ]
    if zsh := shutil.which("zsh"):
        (completed / "_vgg").write_text(script)
        program = (
            'words=(vgg pre); CURRENT=2; _arguments() { print -r -- "$@"; }; fpath=(. $fpath); autoload _vgg; _vgg'
        )
        environment = os.environ | {"PATH": f"{completed / 'bin'}:{os.environ['PATH']}"}
        command = [zsh, "-fc", program]
        done = subprocess.run(command, cwd=completed, env=environment, capture_output=True, text=True, check=False)
        assert "predict" in done.stdout, done.stderr


def test_fish_offers_files_where_there_is_no_name(vgg: Vgg) -> None:
    asked = {"_VGG_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "is-args"}

    assert vgg(env=asked | {"_TYPER_COMPLETE_ARGS": "vgg predict -w d"}).code == 0  # names, and no files
    assert vgg(env=asked | {"_TYPER_COMPLETE_ARGS": "vgg predict -w we"}).code == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str, vgg: Vgg) -> None:
    output = vgg(env={"_VGG_COMPLETE": f"source_{shell}"})

    assert output.code == 0
    assert f"_VGG_COMPLETE=complete_{shell}" in output.out


# The program


def test_the_module_and_the_function_are_the_same_program(vgg: Vgg) -> None:
    done = run("--version", stdout=subprocess.PIPE)

    assert (done.returncode, done.stdout, done.stderr) == (0, vgg("--version").bytes, b"")


def test_the_console_script_calls_main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["vgg", "--version"])
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # threads of other tests are no reason to end at once
    with pytest.raises(SystemExit) as leaving:
        app.main()

    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"vgg {__version__}\n"


@pytest.mark.parametrize("name", ["my photos", "photos/", "cat.jpg", "~/cat"])
def test_a_path_in_the_place_of_a_command_is_pointed_to_predict(
    name: str, tmp_path: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my photos").mkdir()
    quoted = shlex.quote(name)

    output = vgg(name, "-k", "1")

    assert (output.code, output.out) == (2, "")
    words = f"vgg: no such command {quoted}: it looks like a file or folder. Try `vgg predict {quoted} -k 1`.\n"
    assert output.err == words


def test_a_mistyped_command_is_none(vgg: Vgg) -> None:
    output = vgg("predictt")

    assert output.code == 2
    assert "No such command 'predictt'. Did you mean 'predict'?" in output.err
