"""What the pages and docstrings show is what happens: examples run, commands print what stands below them.

- Docstrings of any module with `>>>` in it run as doctests.
- The ```python blocks of a page run top to bottom in one process.  What they print stands below the prompts (`>>>`) or,
  in blocks without prompts, in comments.
- In ```console blocks, lines after `$ ` are commands and the others what they print: lines that begin with `vgg: ` on
  standard error, where further ones may come, all the others on standard output, where `...` stands for any lines.
  Commands run that need no weights but the demo's.

They run in a folder that has the demo's images where the repository has them.  Decimals may differ by 0.002, as they
do between processors that multiply bf16 and those that do not.  `<!-- not run: WHY -->` before a block exempts it.
"""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
WITH_PYTHON, WITH_COMMANDS = (
    [path for path in PAGES if f"```{language}\n" in path.read_text("utf-8")] for language in ("python", "console")
)
WITH_EXAMPLES = [path for path in sorted((ROOT / "vggcli").rglob("*.py")) if ">>> " in path.read_text("utf-8")]
DECIMAL = re.compile(r"\d+\.\d+(?:e-?\d+)?")
TOLERANCE = 2e-3
# Differs from run to run, or from machine to machine, and is no result.
PASSING = re.compile(r"\d+\.\d s\b|\d+\.\d images/s|(?<=\bin )(?:fp32|bf16|fp16|\d+ KB)\b")
WEIGHTS = re.compile(r".*\.(?:pth|pt|bin|safetensors)|https?:.*")
PATIENCE = 60  # seconds until a command that should have ended fails the test


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def alike(expected: str, got: str) -> bool:
    """Equal but for decimals, which may differ a little, and for what passes."""
    expected, got = PASSING.sub("", expected).rstrip(), PASSING.sub("", got).rstrip()
    numbers = zip(DECIMAL.findall(expected), DECIMAL.findall(got), strict=False)
    return DECIMAL.sub("0.", expected) == DECIMAL.sub("0.", got) and all(
        abs(float(one) - float(other)) <= TOLERANCE for one, other in numbers
    )


def all_alike(expected: list[str], got: list[str]) -> bool:
    """Line by line; `...` stands for any number of lines."""
    if "..." not in expected:
        return len(expected) == len(got) and all(map(alike, expected, got))
    before = expected.index("...")
    return (
        len(got) >= before
        and all(map(alike, expected[:before], got))
        and any(all_alike(expected[before + 1 :], got[start:]) for start in range(before, len(got) + 1))
    )


class Checker(doctest.OutputChecker):
    """Doctest's own rules, and `alike`."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, got, optionflags) or alike(want, got)


def run_examples(test: doctest.DocTest) -> str:
    """What doctest has to say against it."""
    said: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(Checker(), verbose=False, optionflags=flags).run(test, out=said.append)
    return "".join(said)


def blocks(page: str, language: str) -> Iterator[str]:
    """The fenced blocks of a language that are not exempt."""
    before, opening, lines = "", "", []
    for line in page.splitlines(keepends=True):
        if opening and line.rstrip() == "```":
            if opening == f"```{language}" and not before.startswith("<!-- not run: "):
                yield "".join(lines)
            before, opening, lines = "", "", []
        elif opening:
            lines.append(line)
        elif line.startswith("```"):
            opening = line.rstrip()
        elif line.strip():
            before = line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: with the demo's images and the front page, and with nothing else of the repository."""
    shutil.copytree(ROOT / "vggcli" / "demo" / "digits", tmp_path / "vggcli" / "demo" / "digits")
    shutil.copy(ROOT / "README.md", tmp_path)
    program = tmp_path / "bin" / "vgg"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m vggcli "$@"\n')
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


# The rules themselves


@pytest.mark.parametrize(
    ("expected", "got", "is_alike"),
    [
        ("one.png\t1\t0.990817\t", "one.png\t1\t0.990595\t", True),
        ("one.png\t1\t0.990817\t", "one.png\t1\t0.970595\t", False),
        ("one.png\t1\t0.990817\t", "two.png\t1\t0.990817\t", False),
        ("0.5 and 0.5", "0.5", False),
        ("10 ok", "11 ok", False),
        ("vgg: 10 ok, 0.4 s, 25.0 images/s", "vgg: 10 ok, 12.9 s, 0.8 images/s", True),
        ("on cpu in bf16", "on cpu in fp32", True),
    ],
)
def test_lines_are_alike_when_only_the_last_digits_differ(expected: str, got: str, is_alike: bool) -> None:
    assert alike(expected, got) is is_alike


@pytest.mark.parametrize(
    ("expected", "is_alike"),
    [
        *(("a b c", True), ("a ...", True), ("... c", True), ("a ... c", True), ("...", True), ("a ... b ... c", True)),
        *(("a b", False), ("... b", False), ("b ...", False), ("a b c d", False), ("a b c ... c", False)),
    ],
)
def test_an_ellipsis_stands_for_lines(expected: str, is_alike: bool) -> None:
    assert all_alike(expected.split(), ["a", "b", "c"]) is is_alike


def test_blocks_are_found_and_may_be_exempt() -> None:
    python = "```python\n{}\n```\n"
    page = "x\n```sh\nno\n```\n\n{}\n<!-- not run: large -->\n{}y\n{}".format(*map(python.format, ("a\nb", "c", "d")))

    assert list(blocks(page, "python")) == ["a\nb\n", "d\n"]


# Docstrings and Python


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=name)
@pytest.mark.usefixtures("folder")
def test_the_examples_in_docstrings_are_true(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    found = [test for test in doctest.DocTestFinder().find(module) if test.examples]

    assert found  # doctest sees what the file shows
    assert not "".join(map(run_examples, found))


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, folder: Path) -> None:
    shown = list(blocks(page.read_text("utf-8"), "python"))
    with_prompts = "".join(block for block in shown if block.startswith(">>> "))
    if with_prompts:
        example = doctest.DocTestParser().get_doctest(with_prompts, {"__name__": "__main__"}, page.name, page.name, 0)
        assert not run_examples(example)
    script = folder / "page.py"
    script.write_text("\n".join(block for block in shown if not block.startswith(">>> ")))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    comments = iter(re.findall(r"# (.*)$", script.read_text(), re.MULTILINE))

    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert any(alike(comment, line) for comment in comments), line


# Commands


def commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of the console blocks, in one line, with the lines below it."""
    for block in blocks(page, "console"):
        for text in re.split(r"^\$ ", block.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
            command, *lines = text.splitlines()
            yield command, lines


def words(command: str) -> list[str]:
    """The words of a command line and what stands between its commands."""
    return list(shlex.shlex(command, posix=True, punctuation_chars=True))


def needs_only_the_demo(command: str) -> bool:
    """Whether every `vgg` in it can run here."""
    found = words(command)
    without_weights = {"summary", "list", "--help", "-h", "--version", "-V"}
    return (
        "vgg" in found
        and not any(WEIGHTS.fullmatch(word) for word in found)
        and ("demo" in found or not without_weights.isdisjoint(found))
    )


def test_commands_are_found_and_chosen() -> None:
    page = "```console\n$ vgg list \\\n  -f tsv | head -1\na\nb\n$ vgg predict -w x.pth demo\n```\n"

    assert list(commands(page)) == [("vgg list   -f tsv | head -1", ["a", "b"]), ("vgg predict -w x.pth demo", [])]
    assert [needs_only_the_demo(command) for command, _ in commands(page)] == [True, False]
    assert not needs_only_the_demo("vgg predict photo.jpg")
    assert not needs_only_the_demo("vgg-other demo")


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
@pytest.mark.usefixtures("folder")
def test_the_commands_of_a_page_print_what_it_shows(page: Path) -> None:
    wrong = []
    for command, lines in commands(page.read_text("utf-8")):
        command = re.sub(r"^pip install [^&|;]*&& ", "", command)
        if not needs_only_the_demo(command):
            continue
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=PATIENCE, check=False)
        out, err = done.stdout.splitlines(), done.stderr.splitlines()
        is_right = all_alike([line for line in lines if not line.startswith("vgg: ")], out) and all(
            any(alike(line, said) for said in err) for line in lines if line.startswith("vgg: ")
        )
        if not is_right:
            wrong.append("\n".join([f"$ {command}", *lines, "-- but it prints:", *out, *err]))

    assert not wrong, "\n\n".join(wrong)
