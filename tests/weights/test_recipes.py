"""Whose recipe a weights file has: the first that knows says it, and nothing is assumed without a word."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import networks
import pytest
import torch
from safetensors.torch import save_file

from vggcli.errors import UsageError, WeightsError
from vggcli.images.recipe import IMAGENET, RECIPES, Recipe
from vggcli.network import zoo
from vggcli.weights import neighbours, origin, recipes, store
from vggcli.weights.locate import DEMO_FILE, locate
from vggcli.weights.model import Model
from vggcli.weights.opening import open_model
from vggcli.weights.origin import Origin
from vggcli.weights.recipes import NetworkInput, RecipeOptions, choose

HALF = [0.5, 0.5, 0.5]
PROCESSOR = {"do_resize": True, "image_mean": HALF, "image_std": HALF, "size": {"height": 224, "width": 224}}
TIMM = {"input_size": [3, 224, 224], "mean": HALF, "std": HALF, "crop_pct": 1.0, "crop_mode": "squash"}
ASSUMED = "w.pth does not say how to prepare its images: imagenet is assumed (squash 224); --recipe says another"


def state(classes: int = 5) -> dict[str, torch.Tensor]:
    network = networks.Torchvision(widths=networks.NARROW, hidden=8, classes=classes)
    return dict(network.state_dict())


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return state()


def opened(content: object, folder: Path, **options: Any) -> Model:
    path = folder / "w.pth"
    torch.save(content, path)
    with closing(open_model(path, recipe=RecipeOptions(**options))) as model:
        return model


def write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document), "utf-8")


# Where it comes from


def test_nothing_is_assumed_without_a_word(weights: Any, tmp_path: Path) -> None:
    model = opened(weights, tmp_path)

    assert (model.recipe, model.recipe.source, model.warning) == (IMAGENET, "assumed", ASSUMED)


@pytest.mark.parametrize(
    "options",
    [
        {"recipe": "imagenet"},
        {"recipe": "caffe", "size": 64},
        {"recipe": Recipe(64)},
        {"mean": (0.5, 0.5, 0.5), "std": (1.0, 1.0, 1.0)},
        {"mean": (0.5,), "std": (1.0,)},
    ],
    ids=str,
)
def test_what_is_said_needs_no_warning(options: dict[str, Any], weights: Any, tmp_path: Path) -> None:
    model = opened(weights, tmp_path, **options)

    assert (model.recipe.source, model.warning) == ("option", "")


@pytest.mark.parametrize(
    "options",
    [{"mean": (0.5, 0.5, 0.5)}, {"std": (1.0,)}, {"size": 64}, {"resize": "crop"}, {"bgr": True}, {"value_range": 255}],
    ids=str,
)
def test_a_part_leaves_the_rest_assumed(options: dict[str, Any], weights: Any, tmp_path: Path) -> None:
    model = opened(weights, tmp_path, **options)

    assert model.recipe.source == "assumed"
    assert "is assumed" in model.warning
    assert model.recipe.describe() in model.warning


def test_options_replace_parts_of_a_recipe(weights: Any, tmp_path: Path) -> None:
    said = opened(weights, tmp_path, recipe="caffe", size=32, mean=(1.0, 2.0, 3.0), resize="crop", activation="sigmoid")

    expected = replace(RECIPES["caffe"], size=32, mean=(1.0, 2.0, 3.0), resize="crop", activation="sigmoid")
    assert said.recipe == expected
    assert said.recipe.side == 37
    assert opened(weights, tmp_path, recipe="caffe", bgr=False).recipe.channel_order == "rgb"


@pytest.mark.parametrize("name", RECIPES)
def test_every_name_is_that_recipe(name: str, weights: Any, tmp_path: Path) -> None:
    assert opened(weights, tmp_path, recipe=name).recipe == RECIPES[name]


@pytest.mark.parametrize(
    "document",
    [
        replace(RECIPES["half"], resize="letterbox").to_json(),
        {"pretrained_cfg": TIMM | {"crop_mode": "border", "interpolation": "bilinear"}},
        {"mean": 0.5, "std": [0.5], "resize": "letterbox"},
    ],
    ids=["ours", "timm", "short"],
)
def test_a_recipe_file_is_said_too(document: object, weights: Any, tmp_path: Path) -> None:
    write(tmp_path / "r.json", document)

    model = opened(weights, tmp_path, recipe=str(tmp_path / "r.json"))

    assert (model.recipe.name, model.recipe.resize, model.recipe.side) == ("half", "letterbox", 224)
    assert (model.recipe.source, model.warning) == ("option", "")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"lr": 0.1}, "it says nothing of preprocessing"),
        ({"size": 224, "std": [0, 0, 0]}, "it must be above 0"),
        ({"size": 224, "sise": 3}, "cannot use the recipe {path}: unknown field sise: a recipe has size."),
        ({"channel_order": "grey", "mean": [0], "std": [1]}, "its network takes 3 channels"),
    ],
)
def test_a_recipe_file_that_cannot_be_used_is_refused(document: object, why: str, weights: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write(path, document)

    with pytest.raises(UsageError) as caught:
        opened(weights, tmp_path, recipe=str(path))

    assert why.format(path=path) in str(caught.value)


def test_an_unknown_recipe_is_told_what_there_is(weights: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown recipe caff: .*Known are imagenet, caffe, half, unit, cifar10, cif"):
        opened(weights, tmp_path, recipe="caff")
    with pytest.raises(UsageError, match=r"cannot read none\.json: no such file"):
        opened(weights, tmp_path, recipe="none.json")
    with pytest.raises(UsageError, match=r"unknown recipe x+: no recipe has that name"):
        opened(weights, tmp_path, recipe="x" * 5000)  # longer than any path
    with pytest.raises(UsageError, match=r"unknown recipe a.+b: no recipe has that name"):
        opened(weights, tmp_path, recipe="a\0b")
    with pytest.raises(UsageError, match=r"cannot read a.+b\.json: embedded null byte"):
        opened(weights, tmp_path, recipe="a\0b.json")


@pytest.mark.parametrize(
    "content",
    [
        {"pretrained_cfg": TIMM | {"interpolation": "bilinear"}},
        {"config": {"pretrained_cfg": TIMM | {"interpolation": "bilinear"}}},
        {"recipe": RECIPES["half"].to_json()},
        {"recipe": json.dumps(RECIPES["half"].to_json())},
    ],
    ids=["timm", "nested", "ours", "json"],
)
def test_a_checkpoint_may_carry_it(content: dict[str, Any], weights: Any, tmp_path: Path) -> None:
    model = opened({"state_dict": weights} | content, tmp_path)

    assert (model.recipe, model.recipe.source, model.warning) == (RECIPES["half"], "file", "")


def test_metadata_of_safetensors_may_carry_it(weights: Any, tmp_path: Path) -> None:
    recipe = replace(RECIPES["cifar10"], size=64)
    path = tmp_path / "w.safetensors"
    save_file({k: t.contiguous() for k, t in weights.items()}, path, {"recipe": json.dumps(recipe.to_json())})

    with closing(open_model(path)) as model:
        assert (model.recipe, model.recipe.source, model.warning) == (recipe, "file", "")


def test_a_recipe_in_the_checkpoint_that_cannot_be_is_noted_and_not_used(weights: Any, tmp_path: Path) -> None:
    content = {"state_dict": weights, "recipe": {"mean": HALF, "std": [0, 0, 0]}}

    model = opened(content, tmp_path)

    assert (model.recipe.source, model.warning) == ("assumed", ASSUMED)
    assert "the recipe in the checkpoint is ignored: cannot use std [0.0, 0.0, 0.0]: it must be above 0" in model.notes


@pytest.mark.parametrize("field", ["size", "mean", "resize", "resize_to", "fill", "channel_order"])
def test_a_text_that_a_recipe_repeats_is_not_written_out(field: str, weights: Any, tmp_path: Path) -> None:
    tracemalloc.start()
    model = opened({"state_dict": weights, "recipe": {field: ["x" * 100_000] * 2000}}, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 20e6  # written out it has 200 MB
    assert any(note.startswith(f"the recipe in the checkpoint is ignored: cannot use {field}") for note in model.notes)
    assert max(map(len, model.notes)) < 300


@pytest.mark.parametrize("field", ["input_size", "crop_pct", "crop_mode"])
def test_nor_one_that_a_configuration_repeats(field: str, weights: Any, tmp_path: Path) -> None:
    tracemalloc.start()
    repeated = {field: ["x" * 100_000] * 2000}
    model = opened({"state_dict": weights, "pretrained_cfg": TIMM | repeated}, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 20e6
    assert any(f"ignored: cannot use {field}" in note for note in model.notes)


def test_a_configuration_without_mean_and_std_leaves_them_assumed(weights: Any, tmp_path: Path) -> None:
    write(tmp_path / "preprocessor_config.json", {"do_resize": True, "size": 64})

    model = opened(weights, tmp_path)

    assert (model.recipe.size, model.recipe.source) == (64, "assumed")
    assert "imagenet is assumed (squash 64)" in model.warning


@pytest.mark.parametrize(
    ("mean", "std", "value_range"),
    [(HALF, [0.25] * 3, 1), ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], 255), ([0.485], [0.229], 1)],
    ids=["unit", "bytes", "one"],
)
@pytest.mark.parametrize("prefix", ["normalize.", "0.", "", "model.norm._", "pixel_"])
def test_a_network_that_normalises_says_its_mean_and_std(
    prefix: str, mean: list[float], std: list[float], value_range: int
) -> None:
    buffers = {
        f"{prefix}mean": FakeTensor(mean),
        f"{prefix}std": FakeTensor(std),
        "bn.running_mean": FakeTensor([9] * 3),
    }

    choice = choose(Origin(Path("w.pth"), {}, {}, buffers), NetworkInput())  # type: ignore[arg-type]

    channels = 3 // len(mean)
    assert (choice.recipe.mean, choice.recipe.std) == (tuple(mean) * channels, tuple(std) * channels)
    assert (choice.recipe.value_range, choice.recipe.source, choice.warning) == (value_range, "file", "")


class FakeTensor:
    """A buffer of single-precision numbers."""

    def __init__(self, values: list[float]) -> None:
        self._values, self.numel = values, len(values)

    def float32(self) -> Any:
        return torch.tensor(self._values).reshape(1, -1, 1, 1).numpy()


# Beside the file


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_neighbour_says_it(name: str, weights: Any, tmp_path: Path) -> None:
    document: object = PROCESSOR if name.startswith("pre") else {"architecture": "vgg11_bn", "pretrained_cfg": TIMM}
    write(tmp_path / name, document)

    model = opened(weights, tmp_path)

    assert (model.recipe.name, model.recipe.source, model.warning, model.notes) == ("half", "config", "", ())


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"pretrained_cfg": TIMM, "num_classes": 37}, "it speaks of 37 classes, the file has 5"),
        ({"pretrained_cfg": TIMM | {"num_classes": 37}}, "it speaks of 37 classes, the file has 5"),
        ({"id2label": {"0": "cat", "1": "dog"}}, "it speaks of 2 classes, the file has 5"),
        ({"architecture": "vgg16_bn", "pretrained_cfg": TIMM}, "it is of another network, vgg16_bn"),
        ({"architecture": "vgg11", "pretrained_cfg": TIMM}, "it is of another network, vgg11"),
        ({"architecture": "resnet50", "pretrained_cfg": TIMM}, "it is of another network, resnet50"),
        ({"model_type": "vit", "pretrained_cfg": TIMM}, "it is of another network, vit"),
    ],
    ids=str,
)
def test_another_files_configuration_is_ignored_with_a_note(
    config: object, why: str, weights: Any, tmp_path: Path
) -> None:
    write(tmp_path / "config.json", config)

    alone = opened(weights, tmp_path)
    write(tmp_path / "preprocessor_config.json", PROCESSOR)
    both = opened(weights, tmp_path)

    assert (alone.recipe.source, alone.warning) == ("assumed", ASSUMED)
    assert f"config.json beside it is ignored: {why}" in alone.notes
    assert both.recipe.source == "assumed"
    assert f"config.json and preprocessor_config.json beside it are ignored: {why}" in both.notes


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "it is no JSON: expecting property name enclosed in double quotes in line 1"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "it is nested more than 64 levels deep"),
        (b"[1]", None),
        (b'{"port": 80}', None),
    ],
    ids=["torn", "deep", "list", "other"],
)
def test_a_neighbour_of_another_kind_changes_nothing(
    data: bytes, why: str | None, weights: Any, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_bytes(data)

    model = opened(weights, tmp_path)

    assert model.warning == ASSUMED
    assert model.notes == ((f"config.json beside it is ignored: {why}",) if why else ())


def test_a_neighbour_of_a_size_that_the_network_cannot_take_is_ignored_with_a_note() -> None:
    beside = neighbours.Neighbours(processor=PROCESSOR)

    choice = choose(Origin(Path("w.pth"), {}, {}, {}, beside), NetworkInput(size=32, takes_any=False))

    assert (choice.recipe.size, choice.recipe.source) == (32, "assumed")
    assert choice.notes == (
        "preprocessor_config.json beside it is ignored: cannot use size 224: its classifier takes images of 32x32",
    )


def test_the_checkpoint_counts_before_its_neighbours_and_options_before_both(weights: Any, tmp_path: Path) -> None:
    write(tmp_path / "preprocessor_config.json", PROCESSOR)
    content = {"state_dict": weights, "recipe": RECIPES["unit"].to_json()}

    assert opened(content, tmp_path).recipe.name == "unit"
    assert opened(content, tmp_path, recipe="caffe").recipe.name == "caffe"
    assert opened(weights, tmp_path).recipe.name == "half"


# Known files


def test_the_demo_and_the_cache_are_known(isolated_home: Path, weights: Any) -> None:
    folder = store.cache_folder()
    folder.mkdir(parents=True)
    path = folder / "vgg11_bn-6002323d.pth"
    torch.save(weights, path)

    for known in (DEMO_FILE, path):
        with closing(open_model(known)) as model:
            assert (model.recipe, model.recipe.source, model.warning) == (IMAGENET, "published", "")


@pytest.mark.parametrize(("prefix", "recipe"), [("00b39a1b", "caffe"), ("d01eb7cb", "caffe"), ("6002323d", "imagenet")])
def test_a_published_file_is_known_by_its_hash_under_its_name(
    prefix: str, recipe: str, weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"vgg11_bn-{prefix}.pth"
    torch.save(weights, tmp_path / name)

    with closing(open_model(tmp_path / name)) as model:
        assert (model.recipe.source, bool(model.warning)) == ("assumed", True), "its name alone is not enough"
    monkeypatch.setattr(store, "verify", lambda _: prefix + "0" * 56)
    with closing(open_model(tmp_path / name)) as model:
        assert (model.recipe.name, model.recipe.source, model.warning) == (recipe, "published", "")


def test_a_published_file_is_known_by_its_hash_under_any_name(
    weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    monkeypatch.setattr(store, "verify", lambda path: hashed.append(path) or "6002323d" + "0" * 56)

    assert opened(weights, tmp_path).warning == ASSUMED
    assert hashed == [], "a file of another size is not read for it"
    monkeypatch.setattr(origin, "_mib", lambda _: zoo.VARIANTS["vgg11_bn"].size_mib)
    model = opened(weights, tmp_path)

    assert (model.recipe.source, model.warning, hashed) == ("published", "", [tmp_path / "w.pth"])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "it is no JSON: expecting property name enclosed in double quotes in line 1"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"[" * 100_000, "it is nested more than 64 levels deep"),
        (b" " * (5 << 20), "it is longer than 4194304 bytes"),
    ],
    ids=["torn", "bytes", "deep", "large"],
)
def test_a_recipe_file_that_is_no_json_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "a.json").write_bytes(data)

    with pytest.raises(UsageError) as caught:
        choose(NOTHING, NetworkInput(), RecipeOptions(str(tmp_path / "a.json")))

    assert caught.value.why == why


# Sizes, channels, logits

SMALL = NetworkInput(size=32, takes_any=False)
OPEN = NetworkInput(size=32, guess="its classifier takes 512 features, the channels of its last convolution")
NOTHING = Origin(Path("w.pth"), {}, {}, {})


@pytest.mark.parametrize("name", RECIPES)
def test_a_names_size_gives_way_to_the_networks(name: str) -> None:
    assert choose(NOTHING, SMALL, RecipeOptions(name)).recipe == replace(RECIPES[name], size=32)


@pytest.mark.parametrize(
    ("network", "size", "why"),
    [
        (SMALL, 64, "cannot use size 64: its classifier takes images of 32x32."),
        (NetworkInput(), 31, "cannot use size 31: its pools leave nothing of less than 32 pixels."),
        (NetworkInput(), 1025, "cannot use size 1025: it must be a whole number from 1 to 1024."),
    ],
)
def test_a_size_that_the_network_cannot_take_is_refused(network: NetworkInput, size: int, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(NOTHING, network, RecipeOptions(size=size))

    assert str(caught.value) == why
    assert choose(NOTHING, SMALL, RecipeOptions(size=44)).recipe.size == 44  # the pools leave one pixel of it too


def test_a_guessed_size_is_said_to_be_one() -> None:
    choice = choose(NOTHING, OPEN)

    assert (choice.recipe.size, choice.recipe.source) == (32, "guessed")
    assert choice.warning == (
        "w.pth does not say how to prepare its images: imagenet is assumed (squash 32); --recipe says another; its "
        "input size of 32 pixels is a guess (its classifier takes 512 features, the channels of its last convolution; "
        "--size says another)"
    )


@pytest.mark.parametrize(
    ("options", "size", "is_guessed"),
    [
        (RecipeOptions("imagenet"), 224, False),
        (RecipeOptions("cifar10"), 32, False),
        (RecipeOptions("half"), 32, True),
        (RecipeOptions("half", size=64), 64, False),
        (RecipeOptions(mean=(0.5,), std=(0.5,)), 32, True),
    ],
    ids=str,
)
def test_only_what_says_a_size_ends_the_guess(options: RecipeOptions, size: int, is_guessed: bool) -> None:
    choice = choose(NOTHING, OPEN, options)

    assert (choice.recipe.size, choice.recipe.source) == (size, "guessed" if is_guessed else "option")
    assert choice.warning.startswith("w.pth: its input size of 32 pixels is a guess") == is_guessed


def test_a_crop_keeps_its_share_at_another_size() -> None:
    file = replace(NOTHING, root={"pretrained_cfg": TIMM | {"crop_pct": 0.875, "crop_mode": "center"}})

    assert choose(file, NetworkInput(), RecipeOptions(size=112)).recipe.side == 128
    assert choose(file, NetworkInput(), RecipeOptions(resize="squash")).recipe.side == 224


def test_a_grey_network_takes_the_mean_of_three() -> None:
    grey = NetworkInput(channels=1)

    imagenet = choose(NOTHING, grey, RecipeOptions("imagenet")).recipe
    own = choose(NOTHING, grey, RecipeOptions(mean=(0.1307,), std=(0.3081,))).recipe

    assert imagenet.channel_order == own.channel_order == "grey"
    assert (imagenet.mean, imagenet.std) == ((pytest.approx(0.449),), (pytest.approx(0.226),))
    assert (own.mean, own.std) == ((0.1307,), (0.3081,))


@pytest.mark.parametrize(
    "values", [[], [1, 2], ["a", "b", "c"], [1, None, 2], [float("nan")] * 3, [10**400] * 3, {}, "black"], ids=str
)
@pytest.mark.parametrize("field", ["mean", "std", "fill"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_no_colour_is_noted_and_not_used(channels: int, field: str, values: Any) -> None:
    file = replace(NOTHING, root={"recipe": {"mean": 0.5, "std": 0.5, field: values}})

    choice = choose(file, NetworkInput(channels=channels))

    assert choice.recipe.source == "assumed"
    assert choice.notes[0].startswith(f"the recipe in the checkpoint is ignored: cannot use {field}")


@pytest.mark.parametrize("stated", [{"size": "crop"}, {"size": 9e9}, {"resize_to": {}}, {"resize_to": "all"}], ids=str)
def test_lengths_that_are_none_are_noted_and_not_used(stated: dict[str, Any]) -> None:
    file = replace(NOTHING, root={"recipe": {"size": 64, "resize_to": 80, "mean": 0.5, "std": 0.5} | stated})

    for options in (RecipeOptions(), RecipeOptions(size=96)):
        choice = choose(file, NetworkInput(), options)
        assert (choice.recipe.source, choice.recipe.size) == ("assumed", options.size or 224)
        assert choice.notes[0].startswith("the recipe in the checkpoint is ignored: cannot use ")


@pytest.mark.parametrize(
    ("root", "config", "activation"),
    [
        ({}, None, "softmax"),
        ({"problem_type": "multi_label_classification"}, None, "sigmoid"),
        ({"hyper_parameters": {"problem_type": "multi_label_classification"}}, None, "sigmoid"),
        ({}, {"problem_type": "multi_label_classification"}, "sigmoid"),
        ({}, {"problem_type": "single_label_classification"}, "softmax"),
        ({"recipe": RECIPES["unit"].to_json() | {"activation": "sigmoid"}}, None, "sigmoid"),
    ],
    ids=str,
)
def test_what_the_logits_are_for_is_taken_from_where_it_stands(root: Any, config: Any, activation: str) -> None:
    file = replace(NOTHING, root=root, beside=neighbours.Neighbours(config))

    assert choose(file, NetworkInput()).recipe.activation == activation
    assert choose(file, NetworkInput(), RecipeOptions(activation="softmax")).recipe.activation == "softmax"
    assert choose(file, NetworkInput(), RecipeOptions(activation="sigmoid")).recipe.activation == "sigmoid"


@pytest.mark.parametrize(
    ("last", "activation"), [("Sigmoid", "sigmoid"), ("Softmax", "softmax"), ("Dropout", "softmax")]
)
def test_a_whole_module_says_what_its_logits_are_for(last: str, activation: str, tmp_path: Path) -> None:
    network = networks.Torchvision(widths=networks.NARROW, hidden=8, classes=5)
    network.classifier.append(getattr(torch.nn, last)())

    assert opened(network, tmp_path).recipe.activation == activation
    assert opened(network, tmp_path, activation="softmax").recipe.activation == "softmax"


def test_a_module_that_ends_with_a_softmax_is_believed_before_a_config(tmp_path: Path) -> None:
    file = replace(NOTHING, beside=neighbours.Neighbours({"problem_type": "multi_label_classification"}))

    assert choose(file, NetworkInput(ending="softmax")).recipe.activation == "softmax"
    assert choose(file, NetworkInput()).recipe.activation == "sigmoid"


def test_one_logit_is_never_the_only_one_of_a_softmax(tmp_path: Path) -> None:
    write(tmp_path / "r.json", RECIPES["unit"].to_json())

    for options in ({}, {"recipe": "unit"}, {"recipe": str(tmp_path / "r.json")}, {"recipe": Recipe()}):
        assert opened(state(1), tmp_path, **options).recipe.activation == "sigmoid"
    with pytest.raises(UsageError, match="the softmax of one number is always 1"):
        opened(state(1), tmp_path, activation="softmax")


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({}, ("class 0",)),
        ({"class_to_idx": {"cat": 0, "dog": 1}}, ("cat", "dog")),
        ({"classes": ["dog"]}, ("dog",)),
        ({"classes": ["cat", "dog", "hat"]}, ("class 0",)),
    ],
    ids=str,
)
def test_two_names_of_one_logit_are_two_classes(content: Any, names: tuple[str, ...], tmp_path: Path) -> None:
    assert opened({"state_dict": state(1)} | content, tmp_path).labels == names


# Folders


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_model_folder_is_its_file(name: str, weights: Any, tmp_path: Path) -> None:
    write(tmp_path / "config.json", {"model_type": "my-network", "num_labels": 5})
    write(tmp_path / "preprocessor_config.json", PROCESSOR)
    if name.endswith("bin"):
        torch.save(weights, tmp_path / name)
    else:
        save_file({k: t.contiguous() for k, t in weights.items()}, tmp_path / name)

    path = locate(str(tmp_path), None, store.FetchOptions(offline=True))

    assert path == tmp_path / name
    with closing(open_model(path)) as model:
        assert (model.recipe.name, model.recipe.source, model.notes) == ("half", "config", ())


def test_a_folder_named_as_a_variant_is_a_model_when_there_are_weights_in_it(
    weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("vgg11_bn")
    folder.mkdir()
    with pytest.raises(WeightsError, match="--offline forbids it"):
        locate("vgg11_bn", None, store.FetchOptions(offline=True))

    torch.save(weights, folder / "pytorch_model.bin")

    assert locate("vgg11_bn", None, store.FetchOptions(offline=True)) == folder / "pytorch_model.bin"


def test_weights_in_several_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors.index.json", {})

    with pytest.raises(WeightsError, match="its weights are in several files"):
        locate(str(tmp_path), None, store.FetchOptions(offline=True))


def test_the_network_of_a_file_without_a_classifier_has_neighbours_too(tmp_path: Path) -> None:
    write(tmp_path / "config.json", {"num_classes": 1000, "pretrained_cfg": TIMM})

    found = neighbours.find(tmp_path / "w.pth", None, zoo.VARIANTS["vgg11"].architecture)

    assert found.config is not None
    assert recipes.choose(Origin(None, {}, {}, {}, found), NetworkInput()).recipe.name == "half"
