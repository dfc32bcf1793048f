"""What is built and installed: the files in the packages, the light install, and life without torch or torchvision."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from predict_examples import DEMO_FILE, DIGITS, LABELS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it along

ROOT = Path(__file__).parent.parent
HEART = ("torch", "torchvision")


def test_the_light_install_is_every_dependency_but_torch_and_torchvision() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    lines = (ROOT / "requirements-light.txt").read_text("utf-8").splitlines()

    kept = [entry for entry in declared if re.split(r"[^\w-]", entry)[0] not in HEART]
    assert len(declared) - len(kept) == len(HEART)
    assert [line for line in lines if line and not line.startswith("#")] == kept


# What is built


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel, built by hatchling alone: no network, no second environment."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True)
    return folder


def in_sdist(built: Path) -> set[str]:
    """Paths as in the repository."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_the_wheel_holds_all_that_the_program_reads_and_no_tools(built: Path) -> None:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())

    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vggcli").rglob("*") if path.is_file()}
    assert {name for name in files if "__pycache__" not in name} <= names
    needed = ["py.typed", "imagenet_classes.txt", "demo/digits.safetensors"]
    assert {f"vggcli/{name}" for name in needed} <= names
    assert {f"vggcli/demo/digits/{label}.png" for label in LABELS} <= names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"vggcli"}


def links(page: Path) -> set[str]:
    """Files of the repository that a page links to, as paths in the repository."""
    found = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
    inside = (link for link in found if "://" not in link and not link.startswith("mailto:"))
    return {os.path.normpath(page.parent.relative_to(ROOT) / link) for link in inside}


def test_the_sdist_holds_what_its_pages_link_to_and_what_its_tests_need(built: Path) -> None:
    names = in_sdist(built)
    pages = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]

    linked = {link for page in pages for link in links(page)}
    assert "SECURITY.md" in linked
    folders = {str(parent) for name in names for parent in Path(name).parents}
    assert linked <= names | folders
    assert {"LICENSE", "requirements-light.txt", "pyproject.toml", ".ci/run", "tests/conftest.py"} <= names
    assert {"tools/train_demo/train.py", "benchmarks/run.py"} <= names


# Without torch, and with a torchvision that cannot be imported


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The demo under a name that says nothing about it."""
    path = tmp_path / "digits.safetensors"
    path.write_bytes(DEMO_FILE.read_bytes())
    return path


def run(fakes: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`vgg` in a process of its own that finds the packages of a folder first."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(fakes), *sys.path])}
    command = [sys.executable, "-m", "vggcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def packages_that_raise(folder: Path, error: str, *names: str) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise {error.format(name=name)}\n")
    return folder


@pytest.fixture
def no_torch(tmp_path: Path) -> Path:
    return packages_that_raise(tmp_path / "fakes", "ModuleNotFoundError(\"No module named '{name}'\")", *HEART)


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "-f", "tsv", "-k", "1", "IMAGE", "-w", "WEIGHTS"],
        ["predict", "--engine", "openvino", "--device", "cpu", "IMAGE", "-w", "WEIGHTS"],
        ["inspect", "WEIGHTS", "--stats"],
        ["summary", "WEIGHTS"],
        ["list"],
        ["download", "demo"],
    ],
    ids=" ".join,
)
def test_without_torch_everything_works_that_does_not_need_it(
    arguments: list[str], no_torch: Path, weights: Path
) -> None:
    files = {"IMAGE": DIGITS / "six.png", "WEIGHTS": weights}
    done = run(no_torch, *(files.get(argument, argument) for argument in arguments))

    assert done.returncode == 0, done.stderr
    assert done.stdout
    if arguments[0] == "predict":
        assert done.stdout.split("\t")[3] == "six"


@pytest.mark.parametrize("options", [["--engine", "torch"], ["--device", "cuda"], ["--device", "mps"]], ids=" ".join)
def test_without_torch_what_needs_it_is_one_line_and_exit_code_5(
    options: list[str], no_torch: Path, weights: Path
) -> None:
    done = run(no_torch, "predict", "-w", weights, "--recipe", "imagenet", *options, DIGITS / "six.png")

    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == (
        "vgg: cannot use the engine torch: importing it fails (No module named 'torch'). Run pip install torch.\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "--engine", "torch", "-f", "tsv", "-k", "1", "IMAGE", "-w", "WEIGHTS"],
        ["predict", "--engine", "openvino", "--fast-decode", "-f", "tsv", "-k", "1", "IMAGE", "-w", "WEIGHTS"],
        ["inspect", "WEIGHTS"],
    ],
    ids=" ".join,
)
def test_a_torchvision_that_cannot_be_imported_stops_nothing(
    arguments: list[str], tmp_path: Path, weights: Path
) -> None:
    """As beside a CPU-only torch, where its compiled operators are missing."""
    error = "RuntimeError('operator {name}::nms does not exist')"
    broken = packages_that_raise(tmp_path / "fakes", error, "torchvision")
    files = {"IMAGE": DIGITS / "six.png", "WEIGHTS": weights}

    done = run(broken, *(files.get(argument, argument) for argument in arguments))

    assert done.returncode == 0, done.stderr
    assert done.stdout
    if arguments[0] == "predict":
        assert done.stdout.split("\t")[1:4] == ["1", "6", "six"]
    assert "nms" not in done.stderr
