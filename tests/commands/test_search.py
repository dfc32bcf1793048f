"""`vgg search`: query images as the file's were, rows of it or of another file, duplicates, and what does not fit."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import Vgg
from numpy.typing import NDArray
from predict_examples import DIGITS, LABELS, digit

from vggcli.output.vectors import paths_path

DEMO = ("embed", "--weights", "demo", "--precision", "fp32", "-q")
NAMES = sorted(LABELS)


def cosines(path: Path) -> NDArray[Any]:
    rows = np.load(path).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found: NDArray[Any] = rows @ rows.T
    return found


def rows_of(text: str) -> list[tuple[str, str, str, float]]:
    found = []
    for line in text.splitlines():
        query, rank, path, similarity, error = line.split("\t")
        assert error == ""
        found.append((query, rank, path, float(similarity)))
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's digits and their vectors, which no test changes."""
    from typer.testing import CliRunner

    from vggcli.cli.app import app

    folder = tmp_path_factory.mktemp("features")
    shutil.copytree(DIGITS, folder / "digits")
    for name, *words in (["features.npy"], ["pool5.npy", "--layer", "pool5", "--pool", "avg"]):
        words = [*DEMO, *words, str(folder / "digits"), "-o", str(folder / name)]
        assert CliRunner().invoke(app, words).exit_code == 0
    words = [*DEMO, str(folder / "digits" / "two.png"), "none.png", "-o", str(folder / "two.safetensors")]
    assert CliRunner().invoke(app, words).exit_code == 1
    return folder


def expected(made: Path, label: str, k: int, *, without_self: bool = True) -> list[tuple[str, float]]:
    all_of = cosines(made / "features.npy")[NAMES.index(label)]
    order = [row for row in np.argsort(-all_of) if not (without_self and NAMES[row] == label)][:k]
    return [(str(made / "digits" / f"{NAMES[row]}.png"), all_of[row]) for row in order]


def test_an_image_finds_the_images_that_are_most_like_it(made: Path, vgg: Vgg) -> None:
    output = vgg("search", made / "features.npy", made / "digits" / "two.png", "-k", "3", "--precision", "fp32", "-q")

    found = rows_of(output.out)
    wanted = expected(made, "two", 3)
    assert (output.code, output.err) == (0, "")
    assert [(rank, path) for _, rank, path, _ in found] == [(str(n), path) for n, (path, _) in enumerate(wanted, 1)]
    assert [row[3] for row in found] == pytest.approx([cosine for _, cosine in wanted], abs=1e-4)


def test_it_is_found_by_itself_only_on_request(made: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)  # the same image under another name is still itself
    words = ("search", "features.npy", "digits/two.png", "-k", "20", "--precision", "fp32", "-q")

    assert len(rows_of(vgg(*words).out)) == 9
    with_self = rows_of(vgg(*words, "--include-self").out)
    assert len(with_self) == 10
    assert (with_self[0][2], with_self[0][3]) == (str(made / "digits" / "two.png"), pytest.approx(1, abs=1e-5))


def test_a_query_that_fails_has_its_row(made: Path, vgg: Vgg) -> None:
    output = vgg("search", made / "features.npy", "none.png", made / "digits" / "six.png", "-k", "1", "-f", "jsonl")

    first, second = map(json.loads, output.out.splitlines())
    assert output.code == 1
    assert first == {
        "query": "none.png",
        "status": "error",
        "error": {"kind": "missing", "message": "there is no such file"},
        "rank": None,
        "path": None,
        "similarity": None,
    }
    assert (second["status"], second["rank"], Path(second["path"]).parent.name) == ("ok", 1, "digits")
    assert "vgg: cannot search for none.png: there is no such file" in output.err


def test_every_row_of_the_file_may_be_a_query(made: Path, tmp_path: Path, vgg: Vgg) -> None:
    features, out = made / "features.npy", tmp_path / "out.csv"

    assert vgg("search", features, "--queries", features, "-k", "2", "-o", out).code == 0
    assert vgg("search", features, "--row", "3", "--row", "0", "-k", "1", "-o", tmp_path / "out.parquet").code == 0

    with out.open() as file:
        header, *rows = csv.reader(file)
    assert header == ["query", "rank", "path", "similarity", "error"]
    wanted = [(str(made / "digits" / f"{label}.png"), expected(made, label, 2)) for label in NAMES]
    assert [(row[0], row[2]) for row in rows] == [(query, path) for query, some in wanted for path, _ in some]
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["path"] for row in table] == [expected(made, NAMES[row], 1)[0][0] for row in (3, 0)]
    assert table[0]["similarity"] == pytest.approx(expected(made, NAMES[3], 1)[0][1], abs=1e-5)


def test_the_rows_of_another_file_are_queries_too(made: Path, vgg: Vgg) -> None:
    output = vgg("search", made / "features.npy", "--queries", made / "two.safetensors", "-k", "1")

    first, second = output.out.splitlines()
    assert output.code == 1
    assert first.split("\t")[2] == expected(made, "two", 1)[0][0]
    assert second == "none.png\t\t\t\tmissing: there is no such file"


def test_an_image_that_stands_in_the_file_often_hides_no_other(tmp_path: Path, vgg: Vgg) -> None:
    images = [str(digit("two"))] * 12 + [str(digit("six")), str(digit("one"))]
    assert vgg(*DEMO, *images, "-o", tmp_path / "x.npy").code == 0

    found = rows_of(vgg("search", tmp_path / "x.npy", digit("two"), "-k", "2", "-q").out)

    assert sorted(Path(row[2]).name for row in found) == ["one.png", "six.png"]


def test_min_similarity_leaves_out_what_is_less(made: Path, vgg: Vgg) -> None:
    (_, least), (_, less) = expected(made, "two", 2)
    row = str(NAMES.index("two"))
    words = ("search", made / "features.npy", "--row", row, "--min-similarity")

    assert len(rows_of(vgg(*words, str((least + less) / 2)).out)) == 1
    assert vgg(*words, "1").out == f"{made / 'digits' / 'two.png'}\t\t\t\t\n"


def test_near_duplicates_are_groups(tmp_path: Path, vgg: Vgg) -> None:
    images = [digit(label) for label in ("two", "six", "two", "one", "six", "two")]
    names = [tmp_path / f"{number}.png" for number in range(6)]
    for image, name in zip(images, names, strict=True):
        shutil.copy(image, name)
    features = tmp_path / "x.npy"
    vgg(*DEMO, *names, "none.png", "-o", features)

    output = vgg("search", features, "--duplicates", "--min-similarity", "0.999")

    rows = [line.split("\t") for line in output.out.splitlines()]
    assert output.code == 0
    assert [(group, Path(path).stem) for group, path, _ in rows] == [
        *[("1", "0"), ("1", "2"), ("1", "5")],
        *[("2", "1"), ("2", "4")],
    ]
    assert {similarity for _, _, similarity in rows} == {"1.000000"}
    table = vgg("search", features, "--duplicates", "--min-similarity", "0.999", "-f", "table").out
    assert table.splitlines()[:2] == ["group 1", f"  1.0000  {names[0]}"]


def test_a_table_has_a_section_for_each_query(made: Path, vgg: Vgg) -> None:
    output = vgg("search", made / "features.npy", "--row", "1", "--row", "2", "-k", "1", "-f", "table")

    lines = output.out.splitlines()
    assert lines[::2] == [str(made / "digits" / f"{NAMES[row]}.png") for row in (1, 2)]
    assert lines[1] == f"  {expected(made, NAMES[1], 1)[0][1]:.4f}  {expected(made, NAMES[1], 1)[0][0]}"


# What does not fit


def changed(made: Path, folder: Path, **values: Any) -> Path:
    """A copy of the vectors with another sidecar."""
    for file in made.glob("features.npy*"):
        shutil.copy(file, folder)
    sidecar = folder / "features.npy.vgg.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | values))
    return folder / "features.npy"


def test_another_network_is_refused_by_name(made: Path, narrow_file: Path, vgg: Vgg) -> None:
    output = vgg("search", made / "features.npy", digit("two"), "--weights", narrow_file)

    assert (output.code, output.out) == (2, "")
    assert "its network is 'demo' ('sha256:" in output.err
    assert f"and {narrow_file.name} is 'sha256:" in output.err
    assert "Name the file that made its vectors with --weights." in output.err


def test_the_weights_are_found_again_or_asked_for(made: Path, tmp_path: Path, vgg: Vgg) -> None:
    features = changed(made, tmp_path, weights_path="/no/such/file.pth", weights="mine.pth")

    output = vgg("search", features, digit("two"))
    assert output.code == 2
    assert "the weights that made its vectors, 'mine.pth', are not at '/no/such/file.pth'. Name them with" in output.err
    assert vgg("search", features, digit("two"), "--weights", "demo").code == 0


def test_a_file_of_another_layer_is_refused_by_name(made: Path, vgg: Vgg) -> None:
    output = vgg("search", made / "features.npy", "--queries", made / "pool5.npy")

    assert output.code == 2
    assert f"its layer is 'pool5', that of {made / 'features.npy'} is 'fc7'" in output.err
    assert "its pool is 'avg'" in output.err


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"recipe": {"size": 224, "resize": "crop"}}, "its recipe is 'squash 224'"),
        ({"weights_fingerprint": "sha256:0", "weights": "x\x1b[31m"}, "its network is "),
    ],
)
def test_a_file_of_another_recipe_or_network_is_refused_by_name(
    values: dict[str, Any], why: str, made: Path, tmp_path: Path, vgg: Vgg
) -> None:
    output = vgg("search", made / "features.npy", "--queries", changed(made, tmp_path, **values))

    assert output.code == 2
    assert why in output.err
    assert "\x1b" not in output.err


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"recipe": {"size": -1}}, "the recipe in features.npy.vgg.json is none: cannot use size -1"),
        ({"recipe": {"size": 224, "evil": 1}}, "is none: unknown field evil"),
        ({"recipe": [1] * 50}, "is none: it says nothing of images"),
        ({"layer": 3}, "names the layer 3"),
        ({"layer": "fc77"}, "unknown layer fc77"),
        ({"layer": "fc8"}, "it has 64 dimensions, and fc8 of its network gives 10"),
        ({"pool": "x" * 500}, "names the layer 'fc7', pooled by 'xxx"),
        ({"weights_path": 5, "weights": None}, "are not at 5"),
        ({"weights_path": "/dev/zero"}, "are not at '/dev/zero'"),
    ],
)
def test_hostile_sidecars_are_refused(values: dict[str, Any], why: str, made: Path, tmp_path: Path, vgg: Vgg) -> None:
    output = vgg("search", changed(made, tmp_path, **values), digit("two"))

    assert output.code in (2, 3)
    assert why in output.err
    assert len(output.err) < 1000


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "there is nothing to search for. Name images, --queries FILE, --row N or --duplicates"),
        (("a.png", "--duplicates"), "it is one kind of search at a time"),
        (("--row", "10"), "cannot use --row 10"),
        (("--duplicates", "--min-similarity", "0"), "for duplicates it must be above 0"),
        (("--queries", "none.npy"), "cannot search none.npy: no such file or directory"),
        (("--row", "1", "-f", "parquet"), "cannot write parquet"),
        (("--row", "1", "--min-similarity", "nan"), "cannot use --min-similarity nan: it must be from -1 to 1"),
        (("--row", "1", "-o", "features.npy.paths.jsonl", "--overwrite"), "this run reads"),
        (("--row", "1", "-f", "tsv", "-o", "features.npy.vgg.json", "--overwrite"), "this run reads"),
        (("--queries", "pool5.npy", "-o", "pool5.npy.paths.jsonl", "--overwrite"), "this run reads"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(
    words: tuple[str, ...], why: str, made: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)

    output = vgg("search", "features.npy", *words)

    assert output.code == 2
    assert why in output.err


def test_an_unfinished_or_foreign_file_is_refused(made: Path, tmp_path: Path, vgg: Vgg) -> None:
    features = changed(made, tmp_path)
    features.write_bytes(features.read_bytes()[:-5])
    assert "Finish it with --resume." in vgg("search", features, "--row", "0").err
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    assert "it is neither .npy nor .safetensors" in vgg("search", tmp_path / "x.parquet", "--row", "0").err


def test_a_refused_search_leaves_what_was_found_before(made: Path, tmp_path: Path, vgg: Vgg) -> None:
    before = tmp_path / "found.csv"
    before.write_text("mine")

    output = vgg("search", made / "features.npy", "--queries", made / "pool5.npy", "-o", before, "--overwrite")

    assert (output.code, before.read_text()) == (2, "mine")


@pytest.mark.parametrize("path", ["\ud800.png", "a\0.png"])
def test_a_path_that_can_be_no_files_is_found_as_it_stands(path: str, made: Path, tmp_path: Path, vgg: Vgg) -> None:
    features = changed(made, tmp_path)
    paths_path(features).write_text((json.dumps({"path": path, "status": "ok"}) + "\n") * len(NAMES))

    output = vgg("search", features, digit("two"), "-k", "1", "-f", "jsonl")

    assert (output.code, json.loads(output.out)["path"]) == (0, path)


def test_a_file_of_newlines_is_not_read_to_its_end(made: Path, tmp_path: Path, vgg: Vgg) -> None:
    features = changed(made, tmp_path)
    paths_path(features).write_bytes(b"\n" * 100_000)

    assert "it has 10 rows, and features.npy.paths.jsonl 11 lines or more" in vgg("search", features, "--row", "0").err
