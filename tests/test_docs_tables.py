"""The pages for people agree with the program and with each other: tables, links, the paths that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import vggcli
from tools import write_docs
from tools.draw_terminal import drawn
from vggcli.commands.request import Request

ROOT = Path(__file__).parent.parent
PAGES = write_docs.pages()
TABLES = write_docs.tables()


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# Tables


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_tables_are_the_programs(page: Path) -> None:
    text = page.read_text("utf-8")

    assert write_docs.with_tables(text, TABLES) == text, f"run {write_docs.COMMAND}"


def test_every_table_stands_on_one_page() -> None:
    placed = [table for page in PAGES for table in write_docs.tables_of(page.read_text("utf-8"))]

    assert sorted(placed) == sorted(TABLES)


def test_a_table_that_differs_is_seen_and_mended() -> None:
    page = "before\n<!-- table: x -->\nold | row\n<!-- end of table -->\nafter\n"

    assert write_docs.tables_of(page) == ["x"]
    mended = write_docs.with_tables(page, {"x": "| new |\n"})
    assert mended == page.replace("old | row", "\n| new |\n")
    with pytest.raises(KeyError, match="x"):
        write_docs.with_tables(page, {})


def test_the_tables_say_what_the_program_takes() -> None:
    options = TABLES["options of predict"]

    assert "| `-w`, `--weights FILE\\|demo` |" in options
    assert "| `--engine auto\\|torch\\|openvino` | What computes. | auto |" in options
    assert "| `-r`, `--recursive` | Descend into subfolders. | off |" in options
    default = "the checkpoint's own, its neighbour's, or ImageNet's for 1000 classes"
    assert re.search(rf"`--labels FILE` \| [^|]+ \| {default} \|", options)
    fields = set(Request.__dataclass_fields__) - {"settings", "inputs"}
    assert all(f"`--{field.replace('_', '-')}" in options for field in fields)
    assert re.findall(r"^\| ([\d, ]+) \|", TABLES["exit codes"], re.MULTILINE) == [
        *("0", "1", "2", "3", "4", "5", "70", "130, 143")
    ]
    assert "| `threads` |" in TABLES["keywords of load"]


# Links and paths


def headings(page: Path) -> set[str]:
    """The anchors that a page's headings get."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The files that a page links to, with the anchor or an empty text."""
    for target in re.findall(r"\]\(([^()\s]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield (page.parent / path if path else page), anchor


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    dead = [path.name + anchor for path, anchor in links(page) if not path.exists()]
    lost = [f"{path.name}#{anchor}" for path, anchor in links(page) if anchor and anchor not in headings(path)]

    assert (dead, lost) == ([], [])


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {path.resolve() for path, _ in links(ROOT / "README.md")}

    assert {page.resolve() for page in (ROOT / "docs").glob("*.md")} <= linked


@pytest.mark.parametrize("page", [*(ROOT / "docs").glob("*.md"), ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"], ids=name)
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"`((?:tests|tools|vggcli|benchmarks|docs)/[\w./-]*)`", page.read_text("utf-8"))

    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_map_has_every_room() -> None:
    text = (ROOT / "docs" / "development.md").read_text("utf-8")
    package = Path(vggcli.__file__).parent
    folders = {path.relative_to(package).as_posix() for path in package.rglob("*") if (path / "__init__.py").is_file()}
    modules = {path.name for path in package.glob("*.py")} - {"__main__.py"}

    assert {room for room in folders if f"`{room}/`" not in text} == {"weights/checkpoint/pickle"}  # stands beside
    assert {module for module in modules if f"`{module}`" not in text} == set()
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", text)) - set(re.findall(r"`((?:tests|benchmarks)/.+?)`", text))
    assert {path for path in named if not (package / path).exists()} == set()


# The front door


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 200


def test_a_picture_of_a_terminal_holds_what_was_printed_and_fetches_nothing() -> None:
    picture = drawn("vgg list", "vgg11 \x1b[31mred\x1b[0m", 40)

    assert all(word in picture for word in ("vgg&#160;list", "vgg11", ">red<"))
    assert re.findall(r"(?:src|href)\s*[:=(]|url\((?!#)", picture) == []
