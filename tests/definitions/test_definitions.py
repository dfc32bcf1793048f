"""VGGs as people publish them: each saved as its users do, and answered as its own forward answers, or said why not.

The right answer is computed by the network's own forward from what its own preprocessing makes of a picture; no code
of vgg's has part in it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Output, Vgg
from definitions.catalogue import DEFINITIONS, table
from definitions.definition import Definition
from definitions.layers import GRID, PLAIN, features, row, three, torchvision_like
from definitions.refused import REFUSED
from definitions.training import picture_for, trained, write_picture
from predict_examples import objects
from torch import nn

TOLERANCE = 1e-4
ALWAYS = ("--precision", "fp32", "-f", "jsonl", "-k", "1000")
ASSUMED = re.compile(r"assum|guess")
ON_TORCH_TOO = ("kuangliu", "vggface-prlz77", "fastai", "timm-folder", "convolutional-head", "whole-gelu", "d2l")
KNOWN_NAMES = {"thousand-classes"}  # whose names are the program's to choose, with a note

Trained = tuple[Path, list[float]]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Definition], Trained]:
    """Train and save a definition, once: its file or folder, and the right probabilities by class index."""
    made: dict[str, Trained] = {}

    def publish(definition: Definition) -> Trained:
        if definition.name not in made:
            folder = tmp_path_factory.mktemp(definition.name)
            network = trained(definition)
            right = definition.probabilities(network, picture_for(definition))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the old format warns that it cannot read a program's source
                file = definition.save(network, folder)
            assert_shows(definition, file, right)
            made[definition.name] = file, right
        return made[definition.name]

    return publish


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """These networks are so small that threads only wait for each other."""
    torch.set_num_threads(1)


def assert_shows(definition: Definition, file: Path, right: list[float]) -> None:
    """Of what can be told wrong from right by its answer."""
    assert max(right) < 0.97, "no class is certain, so that a wrong answer would show"
    assert sum(f.stat().st_size for f in (file.rglob("*") if file.is_dir() else [file]) if f.is_file()) < 2_000_000
    if definition.names is not None:
        assert len(definition.names) == len(right)
    if definition.activation != "sigmoid":
        assert sum(right) == pytest.approx(1)


def answered(output: Output) -> dict[int, tuple[str, float]]:
    """Label and probability by class index of the only record."""
    (record,) = objects(output.out)
    assert record["status"] == "ok", output
    return {p["index"]: (p["label"], p["probability"]) for p in record["predictions"]}


def assert_right(output: Output, definition: Definition, right: list[float]) -> None:
    assert output.code == 0, output
    found = answered(output)
    assert sorted(found) == list(range(len(right)))
    for index, probability in enumerate(right):
        assert found[index][1] == pytest.approx(probability, abs=TOLERANCE), f"class {index}: {found}, not {right}"
    if definition.name not in KNOWN_NAMES:
        assert [found[index][0] for index in sorted(found)] == list(definition.labels(len(right)))


@pytest.mark.parametrize("name", DEFINITIONS)
def test_answers_as_the_network_itself_and_assumes_nothing_without_a_word(
    name: str, published: Callable[[Definition], Trained], pictures: Path, vgg: Vgg
) -> None:
    definition = DEFINITIONS[name]
    file, right = published(definition)
    picture = write_picture(definition, pictures)

    output = vgg("predict", "-w", file, "--engine", "openvino", *ALWAYS, *definition.says, *definition.rest, picture)

    assert_right(output, definition, right)
    assert not ASSUMED.search(output.err), "everything was said"
    if definition.warns:
        assert_warns(vgg("predict", "-w", file, "--engine", "torch", "--quiet", *ALWAYS, picture))


def assert_warns(output: Output) -> None:
    """Without options a line says what was assumed, and which option decides."""
    lines = output.err.splitlines()
    if output.code == 0:
        assert any(ASSUMED.search(line) and "--" in line for line in lines), output
    else:  # two readings that nothing decides: the option that does is named
        assert output.code == 3, output
        assert len(lines) == 1, output
        assert re.search(r"--(recipe|size|mean|activation)", lines[0]), output


@pytest.mark.parametrize("name", ON_TORCH_TOO)
def test_torch_answers_the_same(
    name: str, published: Callable[[Definition], Trained], pictures: Path, vgg: Vgg
) -> None:
    definition = DEFINITIONS[name]
    file, right = published(definition)
    picture = write_picture(definition, pictures)

    output = vgg("predict", "-w", file, "--engine", "torch", *ALWAYS, *definition.says, *definition.rest, picture)

    assert_right(output, definition, right)


def test_several_labels_are_those_over_a_half(
    published: Callable[[Definition], Trained], pictures: Path, vgg: Vgg
) -> None:
    definition = DEFINITIONS["several-labels"]
    file, right = published(definition)

    output = vgg("predict", "-w", file, *ALWAYS, *definition.says, write_picture(definition, pictures))

    assert output.code == 0, output
    assert {index for index, value in enumerate(right) if value >= 0.5} == set(answered(output))


def test_a_foreign_config_is_ignored_with_a_note(
    published: Callable[[Definition], Trained], pictures: Path, vgg: Vgg
) -> None:
    definition = DEFINITIONS["config-beside-of-another"]
    file, right = published(definition)

    output = vgg("predict", "-w", file, *ALWAYS, *definition.says, write_picture(definition, pictures))

    assert_right(output, definition, right)
    assert "config.json" in output.err


def test_a_thousand_classes_get_imagenets_names_only_with_a_note(
    published: Callable[[Definition], Trained], pictures: Path, vgg: Vgg
) -> None:
    definition = DEFINITIONS["thousand-classes"]
    file, _ = published(definition)

    output = vgg("predict", "-w", file, *ALWAYS, *definition.says, write_picture(definition, pictures))

    label, _ = answered(output)[0]
    assert label == "class 0" or "ImageNet" in output.err, output


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_classifier_is_refused_in_a_sentence(name: str, tmp_path: Path, pictures: Path, vgg: Vgg) -> None:
    case = REFUSED[name]
    picture = write_picture(DEFINITIONS["kuangliu"], pictures)

    file = case.save(tmp_path)

    output = vgg("predict", "-w", file, picture)

    (line,) = output.err.splitlines()
    assert (output.code, output.out) == (3, "")
    said = line.replace(str(file), "FILE")  # whose name must not answer for the sentence
    for pattern in case.mentions:
        assert re.search(pattern, said, re.IGNORECASE), line


@pytest.mark.parametrize("name", [name for name, case in REFUSED.items() if case.opens])
@pytest.mark.parametrize("verb", ["inspect", "summary"])
def test_features_alone_can_be_looked_at(verb: str, name: str, tmp_path: Path, vgg: Vgg) -> None:
    file = REFUSED[name].save(tmp_path)

    output = vgg(verb, file, "-f", "table")

    assert output.code == 0, output
    assert "conv" in output.out


def state_of_vgg(*between: nn.Module) -> dict[str, torch.Tensor]:
    """VGG-11's features with a layer more behind the first ReLU."""
    layers = [*features(row("vgg11"), PLAIN)]
    return torchvision_like(nn.Sequential(*layers[:2], *between, *layers[2:]), three(GRID, 5)).state_dict()


def test_room_for_a_layer_that_leaves_no_weights_is_told(tmp_path: Path, pictures: Path, vgg: Vgg) -> None:
    """The paper's A-LRN has one, and its numbers alone show it."""
    picture = write_picture(DEFINITIONS["kuangliu"], pictures)
    for name, between in (("A", ()), ("A-LRN", (nn.LocalResponseNorm(5),))):
        torch.save(state_of_vgg(*between), tmp_path / name)
        output = vgg("predict", "-w", tmp_path / name, "--recipe", "imagenet", picture)
        assert output.code == 0, output
        assert ("between features.0 and features.4 is room for a layer" in output.err) == bool(between), output


def test_linears_without_room_for_a_relu_are_told(
    published: Callable[[Definition], Trained], pictures: Path, vgg: Vgg
) -> None:
    definition = DEFINITIONS["linear-linear"]
    file, _ = published(definition)

    output = vgg("predict", "-w", file, *definition.says, write_picture(definition, pictures))

    assert "classifier.0 and classifier.1 leave no room for a ReLU" in output.err


def test_features_without_classes_can_be_named(tmp_path: Path, pictures: Path, vgg: Vgg) -> None:
    file = REFUSED["without-classes"].save(tmp_path)
    (tmp_path / "labels.txt").write_text("".join(f"class of mine {n}\n" for n in range(40)))

    output = vgg(
        "predict", "-w", file, "--labels", tmp_path / "labels.txt", write_picture(DEFINITIONS["d2l"], pictures)
    )

    assert output.code == 0, output


# The definitions themselves


def test_the_table_has_a_row_for_each_definition() -> None:
    header, rule, *rows = table().splitlines()

    assert len(rows) == len(DEFINITIONS) >= 40
    assert {row.count(" | ") for row in (header, rule, *rows)} == {4}
    page = Path(__file__).parents[2] / "docs" / "definitions.md"
    assert table() in page.read_text("utf-8"), "write it anew: python -m definitions.catalogue, in tests"
