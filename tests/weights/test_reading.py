"""People's checkpoints, in every key layout and wrapper: recognised from keys and shapes, and the same logits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from definitions.catalogue import DEFINITIONS
from definitions.layers import LAST, PLAIN, features, flat, head, pooled, row, three
from definitions.training import picture_for, trained
from hypothesis import given
from hypothesis import strategies as st
from networks import NARROW, STAGES, Cifar, Sequential, Staged, Timm, Torchvision, prefixed, randomised, shapes_of
from torch import Tensor, nn

from vggcli.engines.openvino import OpenVINOEngine
from vggcli.engines.torch import TorchEngine
from vggcli.network import zoo
from vggcli.network.architecture import vgg
from vggcli.network.module import with_weights
from vggcli.run.ranking import best
from vggcli.weights import description, opening
from vggcli.weights.model import Model
from vggcli.weights.opening import open_model
from vggcli.weights.reading import keys
from vggcli.weights.reading.problem import BrokenChainError
from vggcli.weights.reading.reading import OPTIONAL, Reading, read
from vggcli.weights.reading.size import Size

ENGINES = {"torch": (TorchEngine, 1e-5), "openvino": (OpenVINOEngine, 1e-4)}  # and how far they may be from the network
State = dict[str, Tensor]
WIDTHS_OF = {name: zoo.VARIANTS[name].architecture.stages for name in STAGES}


def variant_of(reading: Reading) -> str | None:
    row = zoo.of_architecture(reading.architecture)
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
        reading = opened.reading

    assert (opened.variant, reading.layout.name) == (saved.case.variant, saved.case.dialect)
    assert reading.architecture.num_classes == saved.case.classes
    assert opened.labels == tuple(f"class {n}" for n in range(saved.case.classes))
    assert not reading.outside


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
        assert "features.module.0.weight" in opened.reading.sources.values()
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


# Every definition that needs no more than its keys


SIZES = {"wujie-faces": 44, "gap-3-at-64": 64}  # that the rule for a guess does not give
NEED_MORE = ("koehrsen", "udacity-module", "torchvision-reference", "timm-train")  # foreign objects beside the weights
KEYS_ENOUGH = [
    name
    for name in DEFINITIONS
    if not name.startswith(("whole", "udacity-whole", "normalize"))
    if name not in (*NEED_MORE, "no-last-pool-at-32", "flat-at-448")  # which their size alone decides
]


@pytest.mark.training
@pytest.mark.parametrize("name", KEYS_ENOUGH)
def test_the_network_that_was_read_gives_the_definitions_own_logits(name: str, tmp_path: Path) -> None:
    """Fed as its users feed it: what is read here is the network, not its preprocessing."""
    definition = DEFINITIONS[name]
    network = trained(definition)
    path = definition.save(network, tmp_path)
    file = next(iter([*path.glob("model.safetensors"), *path.glob("*.bin")])) if path.is_dir() else path
    x = torch.stack([definition.see(image) for image in (picture_for(definition), picture_for(definition).rotate(90))])
    with closing(open_model(file)) as opened, torch.inference_mode():
        got, expected = with_weights(opened.architecture, opened.arrays())(x), network(x).flatten(1)
        size = opened.reading.size

    if definition.activation == "done":
        got = got.softmax(1)
    if isinstance([*network.modules()][-1], nn.LogSoftmax):
        got = got.log_softmax(1)
    assert_same(got.numpy(), expected.numpy(), 1e-4)
    assert size.pixels == x.shape[-1] or (size.guess and x.shape[-1] == SIZES[name])


@pytest.mark.parametrize("name", ["fastai", "norm-after-relu", "norm-between-linears", "convolutional-head", "slimmed"])
@pytest.mark.parametrize("engine", ENGINES)
def test_engines_run_what_was_read(name: str, engine: str, tmp_path: Path) -> None:
    definition = DEFINITIONS[name]
    path = definition.save(trained(definition), tmp_path)
    kind, tolerance = ENGINES[engine]
    with closing(open_model(path)) as opened:
        size = opened.recipe.size
        last = opened.architecture.layers()[-1].name
        with closing(kind(opened, precision="fp32")) as running:
            got = running.start(networks.images(2, size))()[last]
        with torch.inference_mode():
            expected = with_weights(opened.architecture, opened.arrays())(networks.normalised(networks.images(2, size)))

    assert_same(got, expected.numpy(), tolerance)


# Recognised from keys and shapes alone


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "bn"])
@pytest.mark.parametrize("kind", [Torchvision, Sequential, Timm])
def test_every_depth_in_every_layout(kind: type[nn.Module], name: str, batch_norm: bool) -> None:
    for classes in (2, 10, 1000):
        reading = read(shapes_of(kind, STAGES[name], hidden=4096, classes=classes, batch_norm=batch_norm))
        architecture = reading.architecture
        assert (variant_of(reading), reading.layout.name) == (name + "_bn" * batch_norm, kind.__name__.lower())
        assert [linear.out_features for linear in architecture.linears] == [4096, 4096, classes]
        assert (reading.size, reading.outside) == (Size(224), ())
        assert architecture == vgg(WIDTHS_OF[name], batch_norm=batch_norm, num_classes=classes)


@pytest.mark.parametrize("name", STAGES)
def test_every_depth_of_the_staged_network(name: str) -> None:
    for classes, pool in ((10, 7), (10, 1), (1000, 7)):
        reading = read(shapes_of(Staged, STAGES[name], classes=classes, pool=pool))
        assert (variant_of(reading), reading.layout.name) == (f"{name}_bn", "staged")
        options = {"conv_bias": False, "classifier_norm": True, "dropout": None, "adaptive": False, "hidden": (64, 64)}
        row = vgg(WIDTHS_OF[name], batch_norm=True, pool=pool, num_classes=classes, **options)
        assert (reading.architecture, reading.size) == (row, Size(32 * pool))


def test_a_file_without_the_counters_of_training_is_whole() -> None:
    for make in (Torchvision, Staged, Sequential, Timm):
        shapes = shapes_of(make)
        fewer = {key: shape for key, shape in shapes.items() if not key.endswith(OPTIONAL)}
        assert len(fewer) < len(shapes)
        assert read(fewer).architecture == read(shapes).architecture


@pytest.mark.parametrize("kind", [Staged, Torchvision, Timm])
def test_the_order_of_the_keys_does_not_matter(kind: type[nn.Module]) -> None:
    items = list(shapes_of(kind, STAGES["vgg19"], NARROW).items())
    whole = read(dict(items))
    for seed in range(5):
        random.Random(seed).shuffle(items)
        shuffled = read(dict(items))
        assert (shuffled.architecture, shuffled.sources) == (whole.architecture, whole.sources)


def test_names_in_words_keep_the_order_in_which_they_were_defined() -> None:
    """Sorted, "three" would come before "two", and the shapes would not mind."""
    words = ("one", "two", "three")
    names = [f"conv{stage}_{number}" for stage in (1, 2, 3, 4) for number in (1, 2)] + [f"conv5_{w}" for w in words]
    defined: dict[str, tuple[int, ...]] = {}
    for name in names:
        defined |= {f"{name}.weight": (4, 4 if defined else 3, 3, 3), f"{name}.bias": (4,)}
    defined |= {"fc.weight": (5, 4), "fc.bias": (5,)}

    assert [s for s in read(defined).sources.values() if "conv5" in s and "weight" in s] == [
        f"conv5_{word}.weight" for word in words
    ]
    with pytest.raises(BrokenChainError, match="the order of conv5_one and conv5_three is not known"):
        read(dict(sorted(defined.items())))


def test_the_tutorials_vgg_13_is_recognised_by_what_it_holds(tmp_path: Path) -> None:
    path = save(Staged(STAGES["vgg11"], NARROW, pool=1).state_dict(), tmp_path / "VGG_13.pth", "zip")
    reading = read(shapes_of(Staged, STAGES["vgg11"]))
    notes = description.notes(reading, "vgg11_bn", _found(path))

    assert variant_of(reading) == "vgg11_bn"
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
        assert bool(opened.reading.size.guess) == (kind is Cifar)
        assert ("its classifier takes 32x32 images, so images are resized to that" in opened.notes) == (kind is Staged)
        assert_same(logits(opened, engine, 32), networks.logits_of(network, networks.images(2, 32)), ENGINES[engine][1])


@pytest.mark.parametrize(
    ("classes", "pixels", "why"),
    [
        (10, 32, "its classifier takes one feature a channel, which fits any size, and 10 classes are usual at 32"),
        (100, 32, "its classifier takes one feature a channel, which fits any size, and 100 classes are usual at 32"),
        (200, 64, "its classifier takes one feature a channel, which fits any size, and 200 classes are usual at 64"),
        (7, 224, "its classifier takes one feature a channel, which fits any size"),
    ],
)
def test_a_size_that_only_the_head_speaks_of_is_a_guess_by_rule(classes: int, pixels: int, why: str) -> None:
    assert read(shapes_of(Cifar, classes=classes)).size == Size(pixels, why)


def test_a_grid_that_is_not_the_papers_is_for_the_size_that_gives_it() -> None:
    assert read(shapes_of(Cifar, pool=3)).size == Size(96, "its classifier takes a map of 3x3, which 96 pixels give")


@pytest.mark.parametrize("kind", [Torchvision, Staged, Sequential])
@pytest.mark.parametrize("name", STAGES)
def test_convolutions_alone_are_recognised_as_such(kind: type[nn.Module], name: str) -> None:
    shapes = {k: s for k, s in shapes_of(kind, STAGES[name]).items() if k.startswith(("features", "conv"))}
    reading = read(shapes)

    assert (variant_of(reading), reading.features_only) == (f"{name}_bn", True)
    assert reading.architecture.num_classes == 0
    assert reading.architecture.layers()[-1].name == "pool5"


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_state_of_the_features_alone_is_recognised(batch_norm: bool) -> None:
    with torch.device("meta"):
        part = Torchvision(batch_norm=batch_norm).features
    reading = read(networks.shapes(part))

    assert reading.features_only
    assert not reading.outside
    assert reading.sources["features.0.weight"] == "0.weight"
    assert variant_of(reading) == ("vgg11_bn" if batch_norm else "vgg11")


# What pickled modules say


@dataclass(frozen=True)
class Said:
    """A hint as the reader of pickled modules gives it."""

    key: str
    kind: str
    settings: Mapping[str, Any]


def said_by(network: nn.Module, prefix: str = "") -> list[Said]:
    return [
        Said(prefix + key, type(module).__name__, {k: v for k, v in vars(module).items() if not k.startswith("_")})
        for key, module in network.named_modules()
        if not [*module.children()]
    ]


SPEAKING: dict[str, Callable[[], nn.Module]] = {
    "leaky": lambda: flat(features(row("vgg16"), relu=lambda: nn.LeakyReLU(0.2)), three(LAST, 10)),
    "elu": lambda: flat(features(row("vgg16"), PLAIN, relu=lambda: nn.ELU(0.5)), three(LAST, 10)),
    "gelu, the head too": lambda: flat(
        features(row("vgg11"), relu=nn.GELU), nn.Sequential(nn.Linear(LAST, 9), nn.GELU(), nn.Linear(9, 10))
    ),
    "silu and tanh": lambda: flat(
        features(row("vgg11"), relu=nn.SiLU), nn.Sequential(nn.Linear(LAST, 9), nn.Tanh(), nn.Linear(9, 10))
    ),
    "relu6": lambda: flat(features(row("vgg13"), relu=nn.ReLU6), three(LAST, 10)),
    "average pools": lambda: flat(features(row("vgg16"), pool=nn.AvgPool2d), nn.Linear(LAST, 10)),
    "epsilon": lambda: flat(features(row("vgg11"), eps=0.3), head((LAST, 9), "relu", nn.BatchNorm1d(9, 0.2), (9, 10))),
    "norm behind relu": lambda: flat(features(row("vgg11"), "conv relu norm"), nn.Linear(LAST, 10)),
    "no last pool": lambda: pooled(features(row("vgg11", last_pool=False)), nn.Linear(LAST, 10)),
    "a depth of its own": lambda: flat(features(row((3, 1, 2, 1, 1)), PLAIN), nn.Linear(LAST, 10)),
}


@pytest.mark.parametrize("name", SPEAKING)
@pytest.mark.parametrize("engine", ENGINES)
def test_modules_say_what_keys_do_not(name: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = randomised(SPEAKING[name]())
    path = save({"state_dict": prefixed(network.state_dict(), "module.")}, tmp_path / "w.pth", "zip")
    hints = said_by(network, "module.")
    monkeypatch.setattr(opening.reader, "read", lambda shapes, rows, _: read(shapes, rows, hints))
    kind, tolerance = ENGINES[engine]
    pixels = networks.images(2, 32)
    with closing(open_model(path)) as opened:
        last = opened.architecture.layers()[-1].name
        with closing(kind(opened, precision="fp32")) as running:
            got = running.start(pixels)()[last]
        with torch.inference_mode():
            again = with_weights(opened.architecture, opened.arrays())(networks.normalised(pixels)).numpy()

    expected = networks.logits_of(network, pixels)
    assert_same(got, expected, tolerance)
    assert_same(again, expected, 1e-6)


@pytest.mark.parametrize(
    ("kind", "settings", "why"),
    [
        ("MaxPool2d", {"kernel_size": 3, "stride": 2}, "features.2 is a MaxPool2d that does not halve the map"),
        ("MaxPool2d", {"kernel_size": 2, "stride": 2, "ceil_mode": True}, "features.2 is a MaxPool2d"),
        ("LocalResponseNorm", {"size": 5}, "features.2 is a LocalResponseNorm, which no VGG has"),
        ("GELU", {"approximate": "tanh"}, "features.2 is a GELU with approximate=tanh"),
        ("AdaptiveMaxPool2d", {"output_size": 1}, "the greatest value of each channel"),
    ],
)
def test_modules_that_no_vgg_has_are_refused(kind: str, settings: dict[str, Any], why: str) -> None:
    hints = [Said("features.0", "Conv2d", {}), Said("features.2", kind, settings), Said("features.3", "Conv2d", {})]
    with pytest.raises(BrokenChainError, match=why):
        read(convolutions((0, 3, 6)), None, hints)


@pytest.mark.parametrize(
    ("name", "value"), [("stride", (2, 2)), ("padding", (0, 0)), ("dilation", (2, 2)), ("padding_mode", "reflect")]
)
def test_convolutions_of_another_kind_are_refused(name: str, value: object) -> None:
    with pytest.raises(BrokenChainError, match=rf"features\.3 has {name}"):
        read(convolutions((0, 3, 6)), None, [Said("features.3", "Conv2d", {name: value})])


def test_what_a_module_does_to_its_logits_is_told() -> None:
    hints = [Said(f"features.{number}", "Conv2d", {}) for number in (0, 3, 6)]

    assert read(convolutions((0, 3, 6)), None, hints).ending == ""
    assert read(convolutions((0, 3, 6)), None, [*hints, Said("last", "Sigmoid", {})]).ending == "sigmoid"
    assert read(convolutions((0, 3, 6)), None, [*hints, Said("last", "LogSoftmax", {"dim": 1})]).ending == "softmax"


@pytest.mark.parametrize("last", [nn.ReLU(), nn.Tanh()], ids=lambda last: type(last).__name__)
def test_a_sequence_that_changes_the_logits_is_refused(last: nn.Module) -> None:
    network = networks.Torchvision(widths=networks.NARROW, hidden=8, classes=5)
    network.classifier.append(last)
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}

    with pytest.raises(BrokenChainError, match=rf"classifier\.7 is a {type(last).__name__} behind the last layer"):
        read(shapes, None, said_by(network))


# Where the chain breaks, in the file's own words


BROKEN: dict[str, tuple[dict[str, tuple[int, ...] | None], str]] = {
    "no weight": ({"features.11.weight": None}, "features.11.weight is missing"),
    "no mean": ({"features.1.running_mean": None}, "features.1.running_mean is missing"),
    "no variance": ({"features.26.running_var": None}, "features.26.running_var is missing"),
    "no weight of a norm": ({"features.1.weight": None}, "features.1.weight is missing"),
    "no bias among biases": ({"features.11.bias": None}, "features.11.bias is missing"),
    "no weight of a linear": ({"classifier.3.weight": None}, "classifier.3.weight is missing"),
    "no bias of a linear": ({"classifier.0.bias": None}, "classifier.0.bias is missing"),
    "another width": ({"features.11.weight": (256, 250, 3, 3)}, "features.11 takes 250 where features.8 gives 256"),
    "another bias": ({"features.11.bias": (3,)}, "features.11.bias is [3] where [256] belongs"),
    "another norm": (
        {f"features.12.{n}": (8,) for n in ("weight", "bias", "running_mean", "running_var")},
        "features.12 has 8 channels where features.11 gives 256",
    ),
    "another linear": ({"classifier.3.weight": (64, 256)}, "classifier.3 takes 256 where classifier.0 gives 64"),
    "no square": (
        {"classifier.0.weight": (64, 512 * 6)},
        "classifier.0 takes 3072 where features.25 gives 512 channels",
    ),
    "no multiple": (
        {"classifier.0.weight": (64, 25089)},
        "classifier.0 takes 25089 where the features have 512 channels",
    ),
    "no window": (
        {"features.0.weight": (64, 3, 3, 1)},
        "features.0 is a convolution of 3x1, and a VGG has square ones",
    ),
    "empty": ({"features.0.weight": (0, 3, 3, 3)}, "features.0 has weight [0, 3, 3, 3]"),
    "number alone": ({"classifier.0.weight": ()}, "classifier.0 has weight [], bias [64], which no layer of a VGG has"),
    "two channels": ({"features.0.weight": (64, 2, 3, 3)}, "features.0 takes images of 2 channels"),
    "another kind": ({"features.7.gamma": (128,), "features.7.weight": (1, 128)}, "features.7 takes 128"),
    "learned slope": ({"features.2.weight": (1,)}, "features.2 has weight [1], which no layer of a VGG has"),
    "enormous": (
        {"classifier.0.weight": (10**9, 25088), "classifier.0.bias": (10**9,), "classifier.3.weight": (64, 10**9)},
        "it is too large: classifier.0 has 25,089,000,000,000 values",
    ),
    "far away": ({"features.9999.weight": (512, 512, 3, 3), "features.9999.bias": (512,)}, "features.9999"),
    "another digit": ({"features.\u0663.weight": (64, 3, 3, 3)}, "it holds two networks"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_chain_that_does_not_close_is_refused_with_its_place(case: str) -> None:
    changes, why = BROKEN[case]
    shapes: dict[str, Any] = shapes_of(Torchvision) | changes
    with pytest.raises(BrokenChainError) as caught:
        read({key: shape for key, shape in shapes.items() if shape is not None})

    assert why in caught.value.why


def test_the_last_convolution_missing_is_no_other_network() -> None:
    for sizes in STAGES.values():
        for kind in (Torchvision, Staged):
            shapes = shapes_of(kind, sizes)
            last = [key for key, shape in shapes.items() if len(shape) == 4][-1]
            del shapes[last]
            with pytest.raises(BrokenChainError):
                read(shapes)


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_convolution_lost_with_all_its_tensors_is_noticed(name: str, batch_norm: bool) -> None:
    """Where it has as many channels before as behind, the chain closes all the same."""
    shapes = shapes_of(Torchvision, STAGES[name], batch_norm=batch_norm)
    square = [key for key, s in shapes.items() if len(s) == 4 and s[0] == s[1]]
    for key in square[:-1]:
        number = int(key.split(".")[1])
        lost = {f"features.{number}.", f"features.{number + 1}."} if batch_norm else {f"features.{number}."}
        kept = {k: s for k, s in shapes.items() if not k.startswith(tuple(lost))}
        with pytest.raises(BrokenChainError):
            read(kept)


def test_two_networks_in_one_dict_are_not_mixed() -> None:
    shapes = shapes_of(Torchvision, widths=NARROW)
    with pytest.raises(BrokenChainError, match="it holds two networks, features and module, side by side"):
        read(shapes | {f"module.{key}": shape for key, shape in shapes.items()})
    with pytest.raises(BrokenChainError, match="it holds two networks, student and teacher, side by side"):
        read({f"{name}.{key}": shape for name in ("student", "teacher") for key, shape in shapes.items()})


def test_a_network_of_another_depth_is_read_as_what_it_is() -> None:
    reading = read(shapes_of(Torchvision, (1, 2, 1), (4, 6, 8)))

    assert reading.architecture.stages == ((4,), (6, 6), (8,))
    assert reading.size == Size(56, "its classifier takes a map of 7x7, which 56 pixels give")
    assert variant_of(reading) is None


@pytest.mark.parametrize(
    ("numbers", "stages"),
    [
        ((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), (2, 2, 3, 3, 3)),  # torchvision's gaps
        (range(13), (2, 2, 3, 3, 3)),  # a ModuleList: the table
        (range(0, 52, 4), (2, 2, 3, 3, 3)),  # a dropout where there is no pool: the table
        ((0, 2, 6, 8, 12, 14, 16, 20), (2, 2, 3, 1)),  # pool and dropout
        ((0, 3, 6), (1, 1, 1)),  # room for a pool behind each
        (range(16), (2, 2, 4, 4, 4)),
        (range(10), (2, 2, 2, 2, 2)),
        (range(8), (1, 1, 2, 2, 2)),
    ],
)
def test_stages_are_in_the_gaps_or_in_the_papers_table(numbers: Iterable[int], stages: tuple[int, ...]) -> None:
    assert tuple(map(len, read(convolutions(numbers)).architecture.stages)) == stages


@pytest.mark.parametrize("numbers", [range(17), (0, 2, 5, 7, 11, 13), range(0, 24, 2)])
def test_convolutions_that_show_no_pools_are_refused(numbers: Iterable[int]) -> None:
    with pytest.raises(BrokenChainError, match="leave open where the pools are"):
        read(convolutions(numbers))


def named(names: Iterable[str], widths: Iterable[int]) -> dict[str, tuple[int, ...]]:
    """A chain of convolutions under these names."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for name, width in zip(names, widths, strict=True):
        shapes |= {f"{name}.weight": (width, channels, 3, 3), f"{name}.bias": (width,)}
        channels = width
    return shapes


@pytest.mark.parametrize(
    "form", ["conv{}_{}", "conv{}{}", "block{}_conv{}", "stage{}.conv{}", "body.conv{}.{}", "c{}x{}"]
)
def test_names_of_stage_and_number_show_the_stages(form: str) -> None:
    names = [form.format(stage, number) for stage, size in enumerate((2, 1, 3), 1) for number in range(1, size + 1)]

    assert read(named(names, [4] * 6)).architecture.stages == ((4, 4), (4,), (4, 4, 4))


def test_the_papers_table_is_not_for_widths_that_speak_against_it() -> None:
    names = [f"conv{number}" for number in range(1, 11)]
    assert tuple(map(len, read(named(names, [4, 4, 8, 8, 16, 16, 32, 32, 32, 32])).architecture.stages)) == (2,) * 5
    with pytest.raises(BrokenChainError, match="leave open where the pools are"):
        read(named(names, [4, 4, 8, 8, 16, 16, 16, 32, 32, 32]))


def test_a_layer_behind_imagenets_classes_leaves_open_what_stands_between() -> None:
    shapes = {f"vgg.{key}": shape for key, shape in shapes_of(Torchvision, classes=1000).items()}
    with pytest.raises(BrokenChainError, match=r"whether a ReLU stands between classifier\.6 and fc"):
        read(shapes | {"fc.weight": (5, 1000), "fc.bias": (5,)})


def convolutions(numbers: Iterable[int]) -> dict[str, tuple[int, ...]]:
    """A chain of narrow convolutions under these numbers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for place, number in enumerate(numbers):
        shapes |= {f"features.{number}.weight": (4, 4 if place else 3, 3, 3), f"features.{number}.bias": (4,)}
    return shapes


def test_a_list_of_widths_beside_the_weights_says_where_the_pools_are() -> None:
    shapes = convolutions(range(4)) | {"classifier.weight": (10, 4), "classifier.bias": (10,)}
    with pytest.raises(BrokenChainError):
        read(shapes)
    reading = read(shapes, [4, 4, "M", 4, 4])
    names = [layer.name for layer in reading.architecture.layers()]

    assert reading.architecture.stages == ((4, 4), (4, 4))
    assert names == "conv1-1 relu1-1 conv1-2 relu1-2 pool1 conv2-1 relu2-1 conv2-2 relu2-2 avgpool fc6".split()
    for of_another in ([4, 4, "M", 4, 5], "VGG16", [4, "M", "M", 4, 4, 4], None):
        with pytest.raises(BrokenChainError):
            read(shapes, of_another)


def test_layers_that_lost_their_biases_to_batch_norm_are_whole() -> None:
    shapes = shapes_of(Staged)
    assert read({k: s for k, s in shapes.items() if k not in ("fc1.bias", "fc2.bias")}).architecture.linears[2].bias
    assert not read({k: s for k, s in shapes.items() if k != "fc3.bias"}).architecture.linears[2].bias


def test_a_prefix_of_a_million_parts_is_taken_off_at_once() -> None:
    key = "model." * 1_000_000
    assert keys.clean([key + "features.0.weight"]) == {"features.0.weight": key + "features.0.weight"}


def test_more_tensors_than_any_vgg_has_are_not_searched() -> None:
    many = {f"layer{number}.weight": (1,) for number in range(5000)}
    with pytest.raises(BrokenChainError, match="it holds 5,062 tensors, more than any VGG has"):
        read(shapes_of(Torchvision, widths=NARROW) | many)


ALL_SHAPES = [shapes_of(make, widths=NARROW) for make in (Torchvision, Staged, Sequential, Timm)]


@given(data=st.data())
def test_whatever_is_changed_every_tensor_has_its_place_or_is_named(data: st.DataObject) -> None:
    """Or the file is refused; what is read has every tensor that it needs, in its shape."""
    shapes = dict(data.draw(st.sampled_from(ALL_SHAPES)))
    names = sorted(shapes)
    for key in data.draw(st.sets(st.sampled_from(names), max_size=4)):
        del shapes[key]
    for key in data.draw(st.sets(st.sampled_from(names), max_size=3)):
        shapes[key] = tuple(data.draw(st.lists(st.integers(0, 9), max_size=5)))
    try:
        reading = read(shapes)
    except BrokenChainError:
        return
    needed = reading.architecture.tensors()
    assert all(key in reading.sources or key.endswith(OPTIONAL) for key in needed)
    assert sorted([*reading.sources.values(), *reading.outside]) == sorted(shapes)
    assert all(
        prod(shapes[name]) == prod(needed[key]) for key, name in reading.sources.items() if not key.endswith(OPTIONAL)
    )
