"""People's checkpoints, in every key layout and wrapper: recognised from keys and shapes, and the same logits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch
from checkpoint_examples import save
from hypothesis import given
from hypothesis import strategies as st
from networks import NARROW, STAGES, Cifar, Sequential, Staged, Timm, Torchvision, prefixed, randomised, shapes_of
from torch import Tensor, nn

from vggcli.engines.openvino import OpenVINOEngine
from vggcli.engines.torch import TorchEngine
from vggcli.network import zoo
from vggcli.run.ranking import best
from vggcli.weights import description, key_mapping, model
from vggcli.weights.model import Model, open_model

ENGINES = {"torch": (TorchEngine, 1e-5), "openvino": (OpenVINOEngine, 1e-4)}  # and how far they may be from the network
KNOWN = [row.architecture for row in zoo.VARIANTS.values()]
State = dict[str, Tensor]


def read(shapes: dict[str, tuple[int, ...]]) -> key_mapping.KeyMapping:
    mapping = key_mapping.read(shapes, KNOWN)
    assert mapping is not None
    return mapping


def variant_of(mapping: key_mapping.KeyMapping) -> str | None:
    row = zoo.of_architecture(mapping.architecture)
    return row.name if row else None


def logits(opened: Model, engine: str, size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Two images through an engine, at a size that an adaptive pool may well have to change."""
    kind, _ = ENGINES[engine]
    sized = replace(opened, recipe=replace(opened.recipe, size=size))
    with closing(kind(sized, precision="fp32")) as running:
        return running.start(networks.images(2, size))()["fc8"]


def assert_same(got: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], tolerance: float) -> None:
    largest = np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() > 1e-2 * largest, "the logits must depend on the image"
    assert np.abs(got - expected).max() <= tolerance * largest


# Every layout, whole: built as described, saved, opened, run


@dataclass(frozen=True)
class Case:
    """A network as people write it, and what it must be recognised as."""

    make: Callable[[], nn.Module]
    variant: str
    dialect: str
    form: str
    size: int
    classes: int = 10


CASES = {
    "torchvision 11": Case(lambda: Torchvision(batch_norm=False), "vgg11", "torchvision", "legacy", 64),
    "torchvision 11_bn without biases": Case(lambda: Torchvision(bias=False), "vgg11_bn", "torchvision", "zip", 64),
    "torchvision 13": Case(lambda: Torchvision(STAGES["vgg13"], batch_norm=False), "vgg13", "torchvision", "zip", 64),
    "torchvision 16_bn": Case(lambda: Torchvision(STAGES["vgg16"]), "vgg16_bn", "torchvision", "legacy", 64),
    "torchvision 19_bn": Case(lambda: Torchvision(STAGES["vgg19"]), "vgg19_bn", "torchvision", "safetensors", 64),
    "staged 11": Case(Staged, "vgg11_bn", "staged", "legacy", 224),
    "staged 13 for 32x32": Case(lambda: Staged(STAGES["vgg13"], pool=1), "vgg13_bn", "staged", "zip", 32),
    "staged 16 for 64x64": Case(lambda: Staged(STAGES["vgg16"], pool=2), "vgg16_bn", "staged", "safetensors", 64),
    "staged 19 for 32x32": Case(lambda: Staged(STAGES["vgg19"], pool=1), "vgg19_bn", "staged", "zip", 32),
    "sequential 11": Case(Sequential, "vgg11_bn", "sequential", "zip", 224, 2),
    "sequential 19": Case(lambda: Sequential(STAGES["vgg19"]), "vgg19_bn", "sequential", "legacy", 64, 2),
    "timm 11_bn": Case(Timm, "vgg11_bn", "timm", "safetensors", 224),
    "timm 16": Case(lambda: Timm(STAGES["vgg16"], batch_norm=False), "vgg16", "timm", "zip", 224),
}


@dataclass(frozen=True)
class Saved:
    case: Case
    path: Path
    network: nn.Module
    logits: np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    case: Case = request.param
    network = randomised(case.make())
    path = save(network.state_dict(), tmp_path_factory.mktemp("saved") / "weights.pth", case.form)
    yield Saved(case, path, network, networks.logits_of(network, networks.images(2, case.size)))
    path.unlink()


@pytest.mark.parametrize("engine", ENGINES)
def test_logits_are_the_networks_own(saved: Saved, engine: str) -> None:
    with closing(open_model(saved.path)) as opened:
        got = logits(opened, engine, saved.case.size)

    assert_same(got, saved.logits, ENGINES[engine][1])


def test_variant_dialect_and_classes_are_found_without_help(saved: Saved) -> None:
    with closing(open_model(saved.path)) as opened:
        mapping = opened.mapping

    assert (opened.variant, mapping.dialect.name) == (saved.case.variant, saved.case.dialect)
    assert mapping.num_classes == saved.case.classes
    assert opened.labels == tuple(f"class {n}" for n in range(saved.case.classes))
    assert mapping.fits


def test_softmax_is_applied_once(tmp_path: Path) -> None:
    network = randomised(Staged(widths=NARROW, pool=1))
    path = save(network.state_dict(), tmp_path / "staged.pth", "zip")
    with closing(open_model(path)) as opened:
        found = best(logits(opened, "torch", 32)[0], opened.labels, top_k=10)
    with torch.inference_mode():
        probabilities = network(networks.normalised(networks.images(2, 32)))[0]

    assert [item.index for item in found] == probabilities.argsort(descending=True).tolist()
    assert [item.probability for item in found] == pytest.approx(
        probabilities.sort(descending=True)[0].tolist(), abs=1e-5
    )


# Wrappers and prefixes, in any combination


def optimizer_state(state: State) -> dict[str, Any]:
    """What Adam leaves beside the weights: two tensors of the shape of each, under numbers."""
    moments = {n: {"step": torch.tensor(1.0), "exp_avg": t, "exp_avg_sq": t} for n, t in enumerate(state.values())}
    return {"state": moments, "param_groups": [{"lr": 1e-3, "params": list(moments)}]}


WRAPPERS: dict[str, Callable[[State], object]] = {
    "module.": lambda state: prefixed(state, "module."),
    "_orig_mod.": lambda state: prefixed(state, "_orig_mod."),
    "_orig_mod.module.": lambda state: prefixed(state, "_orig_mod.module."),
    "module.module.": lambda state: prefixed(state, "module.module."),
    "model.": lambda state: prefixed(state, "model."),
    "net.module.": lambda state: prefixed(state, "net.module."),
    "model.vgg.": lambda state: prefixed(state, "model.vgg."),
    "state_dict": lambda state: {"epoch": 3, "arch": "vgg11_bn", "state_dict": state, "best_acc1": 0.5},
    "model": lambda state: {"model": state, "args": {"lr": 0.1, "data": None}},
    "model_state_dict": lambda state: {"epoch": 1, "model_state_dict": state, "loss": 0.25},
    "ema": lambda state: {"ema": state, "updates": 100},
    "state_dict of module.": lambda state: {"state_dict": prefixed(state, "module.")},
    "state_dict of model.": lambda state: {"state_dict": prefixed(state, "model."), "pytorch-lightning_version": "2"},
    "model of _orig_mod.module.": lambda state: {"model": prefixed(state, "_orig_mod.module.")},
    "model in state_dict": lambda state: {"state_dict": {"model": prefixed(state, "module.")}},
    "state_dict in ema": lambda state: {"ema": {"state_dict": state, "decay": 0.99}},
    "numbers beside it": lambda state: {f"n{n}": torch.tensor(n) for n in range(9)} | {"weights": state},
}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "torchvision": lambda: Torchvision(widths=NARROW),
    "staged": lambda: Staged(widths=NARROW, pool=2),
    "sequential": lambda: Sequential(widths=NARROW),
    "timm": lambda: Timm(widths=NARROW),
}


@dataclass(frozen=True)
class Narrow:
    state: State
    size: int
    logits: np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(scope="module", params=NETWORKS)
def narrow(request: pytest.FixtureRequest) -> Narrow:
    network, size = randomised(NETWORKS[request.param]()), 224 if request.param == "timm" else 64
    return Narrow(network.state_dict(), size, networks.logits_of(network, networks.images(2, size)))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_and_prefixes_change_nothing(narrow: Narrow, wrapper: str, tmp_path: Path) -> None:
    path = save(WRAPPERS[wrapper](narrow.state), tmp_path / "w.pth", "zip")
    with closing(open_model(path)) as opened:
        got = logits(opened, "torch", narrow.size)

    assert not any("the weights under" in note for note in opened.notes)
    assert_same(got, narrow.logits, 1e-5)


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_every_file_format_gives_the_same_logits(narrow: Narrow, form: str, tmp_path: Path) -> None:
    path = save(prefixed(narrow.state, "module."), tmp_path / "w.bin", form)
    with closing(open_model(path)) as opened:
        got = logits(opened, "torch", narrow.size)

    assert_same(got, narrow.logits, 1e-5)


def test_data_parallel_of_the_convolutions_alone(tmp_path: Path) -> None:
    """As the ImageNet example of PyTorch saved its VGGs: `features.module.N` beside `classifier.N`."""
    network = randomised(Torchvision(widths=NARROW))
    expected = networks.logits_of(network, networks.images(2, 64))
    network.features = nn.DataParallel(network.features)  # type: ignore[assignment]
    path = save({"state_dict": network.state_dict()}, tmp_path / "w.pth", "legacy")
    with closing(open_model(path)) as opened:
        assert "features.module.0.weight" in opened.mapping.sources.values()
        assert_same(logits(opened, "torch", 64), expected, 1e-5)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "ema"])
def test_an_optimizers_state_is_no_network(key: str, tmp_path: Path) -> None:
    state = Torchvision(widths=NARROW).state_dict()
    parts = {"optimizer": optimizer_state(state), "epoch": 4, key: state, "scheduler": {"last_lr": [0.1]}}
    path = save(parts, tmp_path / "w.pth", "zip")
    with closing(open_model(path)) as opened:
        assert np.array_equal(opened.array("features.0.weight"), state["features.0.weight"].numpy())
        assert opened.notes == ()


def test_of_model_and_average_the_model_is_used_and_the_other_named(tmp_path: Path) -> None:
    first, second = (randomised(Torchvision(widths=NARROW), seed).state_dict() for seed in (1, 2))
    path = save({"model_ema": second, "state_dict": first}, tmp_path / "w.pth", "zip")
    with closing(open_model(path)) as opened:
        assert np.array_equal(opened.array("features.0.weight"), first["features.0.weight"].numpy())
        assert opened.notes == ("the weights under state_dict are used; there are also model_ema",)


# Recognised from keys and shapes alone


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "bn"])
@pytest.mark.parametrize("kind", [Torchvision, Sequential, Timm])
def test_every_depth_in_every_layout(kind: type[nn.Module], name: str, batch_norm: bool) -> None:
    for classes in (2, 10, 1000):
        shapes = shapes_of(kind, STAGES[name], hidden=4096, classes=classes, batch_norm=batch_norm)
        mapping = read(shapes)
        assert (variant_of(mapping), mapping.dialect.name) == (name + "_bn" * batch_norm, kind.__name__.lower())
        assert (mapping.num_classes, mapping.architecture.hidden) == (classes, (4096, 4096))
        assert mapping.fits


@pytest.mark.parametrize("name", STAGES)
def test_every_depth_of_the_staged_network(name: str) -> None:
    for classes, pool in ((10, 7), (10, 1), (1000, 7)):
        mapping = read(shapes_of(Staged, STAGES[name], classes=classes, pool=pool))
        assert (variant_of(mapping), mapping.dialect.name, mapping.fits) == (f"{name}_bn", "staged", True)
        architecture = mapping.architecture
        assert (architecture.num_classes, architecture.native_size) == (classes, 32 * pool)
        assert (architecture.conv_bias, architecture.classifier_norm, architecture.dropout) == (False, True, None)


def test_a_file_without_the_counters_of_training_fits() -> None:
    for make in (Torchvision, Staged, Sequential, Timm):
        shapes = shapes_of(make)
        fewer = {key: shape for key, shape in shapes.items() if not key.endswith("num_batches_tracked")}
        assert len(fewer) < len(shapes)
        assert read(fewer).fits


def test_the_order_of_the_keys_does_not_matter(tmp_path: Path) -> None:
    network = randomised(Staged(widths=NARROW, pool=1))
    items = list(network.state_dict().items())
    random.Random(0).shuffle(items)
    with closing(open_model(save(dict(items), tmp_path / "w.pth", "zip"))) as opened:
        got = logits(opened, "torch", 32)

    assert_same(got, networks.logits_of(network, networks.images(2, 32)), 1e-5)


def test_the_tutorials_vgg_13_is_recognised_by_what_it_holds(tmp_path: Path) -> None:
    path = save(Staged(STAGES["vgg11"], NARROW, pool=1).state_dict(), tmp_path / "VGG_13.pth", "zip")
    stages = shapes_of(Staged, STAGES["vgg11"])
    mapping = read(stages)
    notes = description.notes(mapping, "vgg11_bn", _found(path))

    assert variant_of(mapping) == "vgg11_bn"
    assert notes == (
        "the stages are those of VGG-11 (1, 1, 2, 2, 2); a widely copied tutorial calls this network VGG_13, "
        "whose stages are 2, 2, 2, 2, 2",
    )
    assert description.notes(read(shapes_of(Staged, STAGES["vgg13"])), "vgg13_bn", _found(path)) == ()


def _found(path: Path) -> Any:
    from vggcli.weights import state_dict
    from vggcli.weights.checkpoint import open_checkpoint

    with open_checkpoint(path) as checkpoint:
        return state_dict.find(checkpoint)


@pytest.mark.parametrize("kind", [Staged, Cifar])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_for_small_images_gets_small_images(kind: type[nn.Module], engine: str, tmp_path: Path) -> None:
    network = randomised(kind(widths=NARROW, pool=1))
    with closing(open_model(save(network.state_dict(), tmp_path / "w.pth", "zip"))) as opened:
        assert (opened.recipe.size, replace(opened.recipe, resize="crop").side) == (32, 37)
        assert "its classifier takes 32x32 images, so images are resized to that" in opened.notes
        assert_same(logits(opened, engine, 32), networks.logits_of(network, networks.images(2, 32)), ENGINES[engine][1])


@pytest.mark.parametrize("kind", [Torchvision, Staged, Sequential])
@pytest.mark.parametrize("name", STAGES)
def test_convolutions_alone_are_recognised_as_such(kind: type[nn.Module], name: str) -> None:
    shapes = {k: s for k, s in shapes_of(kind, STAGES[name]).items() if k.startswith(("features", "conv"))}
    mapping = read(shapes)

    assert (variant_of(mapping), mapping.features_only, mapping.fits) == (f"{name}_bn", True, False)
    assert mapping.num_classes is None


def test_a_classifier_of_another_kind_is_not_called_a_missing_one() -> None:
    """The VGGs of many CIFAR repositories end in a single linear layer."""
    shapes = {k: s for k, s in shapes_of(Torchvision).items() if k.startswith("features")}
    mapping = read({**shapes, "classifier.weight": (10, 512), "classifier.bias": (10,)})

    assert not mapping.features_only
    assert mapping.unexpected == ("classifier.weight", "classifier.bias")
    assert mapping.num_classes is None


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"conv1.weight": (64, 3, 7, 7), "layer1.0.conv1.weight": (64, 64, 3, 3), "fc.weight": (1000, 512)},
        {"features.weight": (64, 3, 3, 3)},
        {"features.0.weight": (64, 3)},
        {"features.0.conv.weight": (64, 3, 3, 3), "classifier.6.weight": (1000, 4096)},
    ],
)
def test_what_is_no_vgg_is_called_none(shapes: dict[str, tuple[int, ...]]) -> None:
    assert key_mapping.read(shapes, KNOWN) is None
    assert key_mapping.read_as(shapes, KNOWN[0]) is None


# Damage, named in the file's own words


DAMAGE = {
    "torchvision": (Torchvision, "features.11.weight", "features.26.running_var", "classifier.3.weight"),
    "staged": (Staged, "conv3_256.3.weight", "conv3_512b.4.running_var", "fc1.weight"),
    "sequential": (Sequential, "conv_layers.25.weight", "conv_layers.1.running_mean", "fc_layers.0.weight"),
    "timm": (Timm, "features.0.weight", "features.1.bias", "head.fc.weight"),
}


@pytest.mark.parametrize("dialect", DAMAGE)
def test_a_missing_tensor_is_named_and_nothing_else(dialect: str) -> None:
    make, *keys = DAMAGE[dialect]
    for key in keys:
        shapes = shapes_of(make)
        del shapes[key]
        mapping = read(shapes)
        assert (variant_of(mapping), mapping.dialect.name) == ("vgg11_bn", dialect)
        assert (mapping.missing, mapping.unexpected, mapping.misshapen) == ((key,), (), ())
        assert not mapping.fits


def test_the_last_convolution_missing_is_no_other_network() -> None:
    for name, sizes in STAGES.items():
        for kind in (Torchvision, Staged):
            shapes = shapes_of(kind, sizes)
            last = [key for key, shape in shapes.items() if len(shape) == 4][-1]
            del shapes[last]
            mapping = read(shapes)
            assert (variant_of(mapping), mapping.missing) == (f"{name}_bn", (last,))


def test_a_missing_layer_is_named_whole() -> None:
    shapes = {k: s for k, s in shapes_of(Timm).items() if not k.startswith("head")}

    assert read(shapes).missing == ("head.fc.weight", "head.fc.bias")
    assert read(shapes).num_classes is None


def test_unexpected_tensors_are_named_under_the_files_names() -> None:
    shapes = {f"module.{key}": shape for key, shape in shapes_of(Torchvision).items()}
    mapping = read({"module.mean": (3, 1, 1), **shapes, "module.criterion.weight": (10,)})

    assert mapping.unexpected == ("module.mean", "module.criterion.weight")
    assert variant_of(mapping) == "vgg11_bn"
    assert not mapping.fits


def test_a_tensor_of_another_shape_is_named_with_both() -> None:
    shapes = shapes_of(Torchvision) | {"features.0.weight": (64, 1, 3, 3)}

    assert read(shapes).misshapen == (("features.0.weight", (64, 1, 3, 3), (64, 3, 3, 3)),)


def test_two_networks_in_one_dict_are_not_mixed() -> None:
    shapes = shapes_of(Torchvision, widths=NARROW)
    both = shapes | {f"module.{key}": shape for key, shape in shapes.items()}
    mapping = read(both)

    assert set(mapping.sources.values()) == set(shapes)
    assert len(mapping.unexpected) == len(shapes)


def test_a_network_of_more_stages_than_any_variant_is_read_too() -> None:
    for kind in (Torchvision, Sequential):
        mapping = read(shapes_of(kind, (1,) * 11, (2,) * 11))
        assert mapping.fits
        assert mapping.architecture.stages == ((2,),) * 11


def test_another_network_of_the_same_kind_is_read_as_what_it_is() -> None:
    mapping = read(shapes_of(Torchvision, (1, 2, 1), (4, 6, 8)))

    assert mapping.fits
    assert mapping.architecture.stages == ((4,), (6, 6), (8,))
    assert variant_of(mapping) is None


def test_a_file_without_biases_is_held_against_a_variant_as_one_without() -> None:
    mapping = key_mapping.read_as(shapes_of(Torchvision, bias=False), zoo.variant("vgg11_bn").architecture)

    assert mapping is not None
    assert mapping.fits


@pytest.mark.parametrize(
    "changed",
    [
        {"features.0.weight": (0, 3, 3, 3)},
        {"features.25.weight": (0, 512, 3, 3)},
        {"classifier.0.weight": ()},
        {"classifier.0.weight": (0, 25088)},
        {"classifier.0.weight": (64,)},
        {"classifier.6.weight": (10, 0)},
        {"features.00.weight": (64, 3, 3, 3)},
        {"features.\u0663.weight": (64, 3, 3, 3)},  # a digit three to Unicode and to int()
        {"features.0.weight\n": (64, 3, 3, 3)},
        {"features.9999.weight": (64, 3, 3, 3)},
        {"features.10000.weight": (64, 3, 3, 3)},
    ],
)
def test_odd_keys_and_shapes_are_differences_and_no_crash(changed: dict[str, tuple[int, ...]]) -> None:
    mapping = read(shapes_of(Torchvision) | changed)

    assert not mapping.fits
    assert model.differences(mapping)


def test_a_tensor_that_a_loss_left_beside_a_wrapped_network_is_named() -> None:
    shapes = {f"model.{key}": shape for key, shape in shapes_of(Torchvision).items()}
    mapping = read(shapes | {"criterion.weight": (10,)})

    assert mapping.unexpected == ("criterion.weight",)
    assert not mapping.missing
    assert variant_of(mapping) == "vgg11_bn"


def test_two_networks_side_by_side_are_none() -> None:
    shapes = shapes_of(Torchvision, widths=NARROW)
    both = {f"{name}.{key}": shape for name in ("student", "teacher") for key, shape in shapes.items()}

    assert key_mapping.clean(both) == {key: key for key in both}


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_state_of_the_features_alone_is_recognised(batch_norm: bool) -> None:
    with torch.device("meta"):
        features = Torchvision(batch_norm=batch_norm).features
    mapping = read(networks.shapes(features))

    assert mapping.features_only
    assert not mapping.unexpected
    assert mapping.sources["features.0.weight"] == "0.weight"
    assert variant_of(mapping) == ("vgg11_bn" if batch_norm else "vgg11")


def test_a_prefix_of_a_million_parts_is_taken_off_at_once() -> None:
    key = "model." * 1_000_000
    assert key_mapping.clean([key + "features.0.weight"]) == {"features.0.weight": key + "features.0.weight"}


def test_more_tensors_than_any_vgg_has_are_not_searched() -> None:
    many = {f"layer{number}.weight": (1,) for number in range(5000)}
    assert key_mapping.read(shapes_of(Torchvision, widths=NARROW) | many, []) is None


ALL_SHAPES = [shapes_of(make, widths=NARROW) for make in (Torchvision, Staged, Sequential, Timm)]


@given(data=st.data())
def test_whatever_is_changed_the_differences_say_so(data: st.DataObject) -> None:
    """Every tensor is used, missing or of another shape; every key of the file is used or unexpected."""
    shapes = dict(data.draw(st.sampled_from(ALL_SHAPES)))
    keys = sorted(shapes)
    for key in data.draw(st.sets(st.sampled_from(keys), max_size=4)):
        del shapes[key]
    for key in data.draw(st.sets(st.sampled_from(keys), max_size=3)):
        shapes[key] = tuple(data.draw(st.lists(st.integers(0, 9), max_size=5)))
    mapping = key_mapping.read(shapes, KNOWN)
    if mapping is None:
        return
    needed = mapping.architecture.tensors()
    optional = sum(key.endswith(key_mapping.OPTIONAL) and key not in mapping.sources for key in needed)
    assert len(mapping.sources) + len(mapping.missing) + optional == len(needed)
    assert sorted([*mapping.sources.values(), *mapping.unexpected]) == sorted(shapes)
    if mapping.fits:
        assert all(prod(shapes[name]) == prod(needed[key]) for key, name in mapping.sources.items())
