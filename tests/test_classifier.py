"""The library: one opened model, every kind of input, any thread, nothing left behind."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch
import torchvision
from fakes import wait_for_threads_but
from PIL import Image, ImageFile

import vggcli
from vggcli.weights.locate import DEMO_FILE

DIGITS = DEMO_FILE.parent / "digits"
SEVEN, TWO = DIGITS / "seven.png", DIGITS / "two.png"
LABELS = tuple("zero one two three four five six seven eight nine".split())


@pytest.fixture(scope="module")
def demo() -> Iterator[vggcli.Classifier]:
    with vggcli.load("demo", precision="fp32") as classifier:
        yield classifier


def test_what_a_classifier_knows(demo: vggcli.Classifier) -> None:
    assert demo.labels == LABELS
    assert demo.variant == "demo"
    assert demo.architecture.num_classes == 10
    assert (demo.recipe.size, demo.recipe.resize) == (224, "squash")
    assert demo.engine in ("openvino", "torch")
    assert (demo.device, demo.precision) == ("cpu", "fp32")
    assert any("handwritten digits" in note for note in demo.notes)


# Inputs


def test_a_path_bytes_a_picture_and_an_array_give_the_same_record(demo: vggcli.Classifier) -> None:
    by_path = demo.classify(str(SEVEN))
    with Image.open(SEVEN) as picture:
        array = np.asarray(picture.convert("RGB"))
        others = [SEVEN, SEVEN.read_bytes(), picture, array]
        records = [demo.classify(other) for other in others]

    assert by_path.path == records[0].path == str(SEVEN)
    assert [record.path for record in records[1:]] == [None, None, None]
    assert by_path.predictions[0].label == "seven"
    assert len(by_path.predictions) == 5
    assert all(record.predictions == by_path.predictions for record in records)


def test_predict_gives_one_record_for_every_input_in_order(demo: vggcli.Classifier, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(SEVEN.read_bytes()[:200])
    records = list(demo.predict([TWO, broken, SEVEN.read_bytes(), "none.png", DIGITS], top_k=1))

    assert [record.path for record in records[:4]] == [str(TWO), str(broken), None, "none.png"]
    assert [record.failure.kind if record.failure else record.predictions[0].label for record in records[:4]] == [
        "two",
        "truncated",
        "seven",
        "missing",
    ]
    assert sorted(str(record.path) for record in records[4:]) == sorted(map(str, DIGITS.glob("*.png")))


def test_one_input_needs_no_list(demo: vggcli.Classifier) -> None:
    (record,) = demo.predict(SEVEN.read_bytes(), top_k=2)

    assert [prediction.rank for prediction in record.predictions] == [1, 2]


def test_predict_is_lazy(demo: vggcli.Classifier) -> None:
    endless = demo.predict(itertools.repeat(SEVEN))
    first = next(endless)
    endless.close()  # type: ignore[attr-defined]

    assert first.predictions[0].label == "seven"


def test_an_unusable_image_is_an_error_with_its_kind(demo: vggcli.Classifier) -> None:
    for image, kind in ((b"", "empty"), (b"text", "unsupported"), ("none.png", "missing"), (DIGITS, "not-a-file")):
        with pytest.raises(vggcli.InputError) as caught:
            demo.classify(image)
        assert caught.value.kind == kind


@pytest.mark.parametrize(
    "image", [3, None, 1.5, object(), np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)]
)
def test_what_is_no_image_is_a_wrong_type(demo: vggcli.Classifier, image: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"uint8|path"):
        demo.classify(image)
    with pytest.raises((TypeError, ValueError), match=r"uint8|path"):
        list(demo.predict([image]))


def test_wrong_numbers_are_refused(demo: vggcli.Classifier) -> None:
    with pytest.raises(TypeError, match="top_k"):
        demo.classify(SEVEN, top_k="3")  # type: ignore[arg-type]
    with pytest.raises(vggcli.UsageError, match="top_k"):
        demo.predict(SEVEN, top_k=0)
    with pytest.raises(TypeError, match="min_prob"):
        demo.predict(SEVEN, min_prob="0.5")  # type: ignore[arg-type]
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(vggcli.UsageError, match="min_prob"):
            demo.classify(SEVEN, min_prob=wrong)
    assert len(demo.classify(SEVEN, top_k=99).predictions) == 10


def test_improbable_classes_are_left_out(demo: vggcli.Classifier) -> None:
    every = demo.classify(SEVEN, top_k=10).predictions
    least = every[2].probability

    assert demo.classify(SEVEN, min_prob=least).predictions == every[:3]
    assert [record.predictions for record in demo.predict([SEVEN], top_k=2, min_prob=least)] == [every[:2]]
    assert demo.classify(SEVEN, min_prob=1).predictions == ()


def test_of_labels_that_do_not_exclude_each_other_all_that_are_probable_are_given() -> None:
    with vggcli.load("demo", activation="sigmoid") as several:
        every = several.classify(SEVEN, min_prob=0).predictions
        probable = tuple(prediction for prediction in every if prediction.probability >= 0.5)

        assert len(every) == 10
        assert several.classify(SEVEN).predictions == probable != every
        assert several.classify(SEVEN, top_k=1, min_prob=0).predictions == every[:1]


# Settings


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"engine": "fast"}, vggcli.UsageError),
        ({"precision": "int3"}, vggcli.UsageError),
        ({"resize": "stretch"}, vggcli.UsageError),
        ({"device": "tpu"}, vggcli.UsageError),
        ({"threads": 0}, vggcli.UsageError),
        ({"batch_size": "8"}, TypeError),
        ({"batchsize": 8}, TypeError),
        ({"weights": 7}, TypeError),
        ({"weights": "/no/such.pth"}, vggcli.WeightsError),
        ({"weights": "demo", "arch": "vgg16"}, vggcli.MismatchError),
        ({"weights": "demo", "labels": "/no/such.txt"}, vggcli.UsageError),
    ],
    ids=str,
)
def test_what_cannot_be_loaded_is_refused(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        vggcli.load(**settings)


def test_two_classifiers_keep_their_own_limits() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters), ImageFile.LOAD_TRUNCATED_IMAGES
    with vggcli.load("demo", max_pixels=5000) as small, vggcli.load("demo", allow_truncated=True) as large:
        with pytest.raises(vggcli.InputError) as caught:
            small.classify(picture)
        assert large.classify(picture).predictions
        assert small.classify(picture[:50, :50]).predictions
        during = Image.MAX_IMAGE_PIXELS, list(warnings.filters), ImageFile.LOAD_TRUNCATED_IMAGES

    assert caught.value.kind == "bomb"
    assert during == before


def test_the_keywords_are_the_settings() -> None:
    """What `load` takes is what the settings hold, with the same defaults."""
    import dataclasses
    import inspect

    from vggcli.library.settings import Settings

    parameters = inspect.signature(vggcli.load).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        field.name: field.default for field in dataclasses.fields(Settings)
    }


# Threads and processes


def test_eight_threads_on_one_classifier(demo: vggcli.Classifier) -> None:
    paths = sorted(DIGITS.glob("*.png"))
    expected = [record.predictions for record in demo.predict(paths)]
    with ThreadPoolExecutor(8) as pool:
        alone = list(pool.map(demo.classify, paths * 3))
        together = list(pool.map(lambda _: [record.predictions for record in demo.predict(paths)], range(8)))

    assert [record.predictions for record in alone] == expected * 3
    assert together == [expected] * 8


def test_a_classifier_pickles_as_its_settings(demo: vggcli.Classifier, tmp_path: Path) -> None:
    (tmp_path / "pickled").write_bytes(pickle.dumps(demo))
    code = (
        "import pickle, sys; vgg = pickle.load(open(sys.argv[1], 'rb'));"
        "print(vgg.classify(sys.argv[2]).predictions[0].label, vgg.precision)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "pickled"), str(SEVEN)], capture_output=True, text=True, check=True
    )

    assert done.stdout == "seven fp32\n"
    assert len((tmp_path / "pickled").read_bytes()) < 1000


def test_a_relative_path_pickles_as_the_file_that_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.safetensors").write_bytes(DEMO_FILE.read_bytes())
    monkeypatch.chdir(tmp_path)
    with vggcli.load(Path("mine.safetensors")) as vgg:
        pickled = pickle.dumps(vgg)
    monkeypatch.chdir("/")
    with pickle.loads(pickled) as again:
        assert again.labels == LABELS


def test_nothing_is_printed_and_nothing_of_the_process_is_changed(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    environment, limit, filters = dict(os.environ), Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with vggcli.load("demo") as vgg:
        list(vgg.predict([SEVEN, "none.png", b"broken"]))

    assert capfd.readouterr() == ("", "")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert (dict(os.environ), Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == (environment, limit, filters)
    assert not logging.getLogger("vggcli").handlers


def test_no_thread_and_no_open_file_is_left_behind() -> None:
    before, threads = open_files(), threading.enumerate()
    with vggcli.load("demo") as vgg:
        list(vgg.predict([SEVEN, "none.png"]))
        started = vgg.predict(itertools.repeat(SEVEN))
        next(started)
        if Path("/proc/self/fd").exists():
            assert open_files() - before
        del started  # dropped before its end

    wait_for_threads_but(threads)
    assert not open_files() - before


def open_files() -> Counter[str]:
    """How often this process has each of the package's files open or mapped, for systems that tell."""
    found: Counter[str] = Counter()
    with contextlib.suppress(OSError):
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # that of the listing itself
                found[os.readlink(f"/proc/self/fd/{number}")] += 1
        found.update(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines())
    return Counter({name: count for name, count in found.items() if name.endswith((".safetensors", ".png"))})


def test_closed_is_closed(demo: vggcli.Classifier) -> None:
    vgg = vggcli.load("demo")
    endless = vgg.predict(itertools.repeat(SEVEN))
    next(endless)
    vgg.close()
    vgg.close()

    assert len(list(endless)) < 10_000  # it ends
    with pytest.raises(vggcli.UsageError, match="closed"):
        vgg.classify(SEVEN)


# Activations


class Hooked:
    """What modules of torchvision's network give, by name."""

    def __init__(self, network: torch.nn.Module, places: dict[str, str]) -> None:
        self.found: dict[str, np.ndarray[Any, Any]] = {}
        for name, place in places.items():
            network.get_submodule(place).register_forward_hook(self._hook(name))

    def _hook(self, name: str) -> Any:
        def keep(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
            self.found[name] = output.detach().clone().numpy()

        return keep


PLACES = {
    "fc7": "classifier.3",
    "relu7": "classifier.4",
    "pool5": "features.28",
    "conv5-2": "features.25",
    "bn5-2": "features.26",
    "relu5-2": "features.27",
    "fc8": "classifier.6",
}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    """torchvision's vgg11_bn with a narrow classifier, random, with ReLUs that are not in place."""
    torch.manual_seed(1)
    network = torchvision.models.vgg11_bn(num_classes=7)
    network.classifier[0], network.classifier[3] = torch.nn.Linear(25088, 32), torch.nn.Linear(32, 24)
    network.classifier[6] = torch.nn.Linear(24, 7)
    networks.randomised(network)
    for module in network.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    path = tmp_path_factory.mktemp("weights") / "theirs.pth"
    torch.save(network.state_dict(), path)
    return path, network


@pytest.mark.parametrize(("engine", "tolerance"), [("torch", 1e-5), ("openvino", 1e-4)])
def test_activations_equal_torchvisions(
    engine: str, tolerance: float, theirs: tuple[Path, torch.nn.Module], tmp_path: Path
) -> None:
    pytest.importorskip(engine)
    path, network = theirs
    pixels = np.random.default_rng(1).integers(0, 256, (224, 224, 3), np.uint8)
    hooked = Hooked(network, PLACES)
    with torch.no_grad():
        network(networks.normalised(pixels[None]))
    with vggcli.load(path, engine=engine, precision="fp32") as vgg:
        (item,) = vgg.activations([pixels], [*PLACES, "relu5_2"])
        with pytest.raises(vggcli.UsageError, match="relu5-2"):
            vgg.activations([pixels], ["relu5-3"])

    assert (item.path, item.failure) == (None, None)
    for name in PLACES:
        expected = hooked.found[name][0]
        assert (item[name].dtype, item[name].shape) == (np.float32, expected.shape)
        assert np.abs(item[name] - expected).max() <= tolerance * np.abs(expected).max(), name
    assert np.array_equal(item["relu5_2"], item["relu5-2"])


def test_what_fails_is_an_item_too(demo: vggcli.Classifier) -> None:
    good, bad = demo.activations([SEVEN, "none.png"], "fc7")

    assert good["fc7"].shape == (64,)
    assert (bad.path, bad.failure and bad.failure.kind, dict(bad.outputs)) == ("none.png", "missing", {})


def test_to_torch_is_torchvisions_network(theirs: tuple[Path, torch.nn.Module]) -> None:
    path, network = theirs
    with vggcli.load(path) as vgg:
        module = vgg.to_torch()
    batch = networks.normalised(networks.images(2, 224))

    assert list(module.state_dict()) == list(network.state_dict())
    assert not module.training
    with torch.no_grad():
        assert torch.equal(module(batch), network(batch))
        next(module.parameters()).add_(1)  # its own copy, which can be trained


# Inspection


def test_inspect_gives_values() -> None:
    found = vggcli.inspect("demo")

    assert (found.format, found.variant, found.classes, found.labels) == ("safetensors", "demo", 10, LABELS)
    assert found.recipe == vggcli.Recipe()
    assert found.architecture is not None
    assert {key: tensor.shape for key, tensor in found.tensors.items()} == found.architecture.tensors()


def test_a_picture_that_was_given_is_left_alone(demo: vggcli.Classifier) -> None:
    picture = Image.open(io.BytesIO(SEVEN.read_bytes()))
    mode = picture.mode
    demo.classify(picture)

    assert picture.mode == mode
    picture.load()  # still open


def test_the_public_face_is_lazy_and_whole() -> None:
    code = (
        "import sys, vggcli; heavy = {'torch', 'numpy', 'PIL', 'openvino'} & set(sys.modules); assert not heavy, heavy;"
        "assert set(vggcli.__all__) <= set(dir(vggcli));"
        "[getattr(vggcli, name) for name in vggcli.__all__]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'clasify'"):
        _ = vggcli.clasify  # type: ignore[attr-defined]
    assert threading.current_thread() is threading.main_thread()


def test_features_alone_give_activations_and_no_classes(tmp_path: Path) -> None:
    """As in torch.save(vgg19.features.state_dict()); the right values are the module's own."""
    network = networks.randomised(networks.Torchvision(widths=networks.NARROW))
    torch.save(network.features.state_dict(), tmp_path / "features.pth")
    pixels = networks.images(1, 224)
    with torch.inference_mode():
        expected = network.features(networks.normalised(pixels))[0].numpy()

    for engine in ("torch", "openvino"):
        with vggcli.load(tmp_path / "features.pth", engine=engine, precision="fp32") as opened:
            (item,) = opened.activations(pixels[0], layers="pool5")
            assert np.abs(item["pool5"] - expected).max() <= 1e-4 * np.abs(expected).max()
            assert (opened.engine, opened.labels, opened.architecture.num_classes) == (engine, (), 0)
            with pytest.raises(vggcli.MismatchError, match="no classifier, so it has no classes"):
                opened.classify(pixels[0])
            with pytest.raises(vggcli.MismatchError, match="no classifier, so it has no classes"):
                next(iter(opened.predict([pixels[0]])))


# Recipes


def test_load_warns_in_the_log_of_what_it_assumes(narrow_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with vggcli.load(narrow_file) as vgg:
        assert vgg.recipe.source == "assumed"
        assert vgg.warning in vgg.notes
        assert [record.getMessage() for record in caplog.records] == [vgg.warning]
    caplog.clear()

    with vggcli.load(narrow_file, recipe="imagenet") as said, vggcli.load("demo") as demo:
        assert (said.recipe.source, said.warning, demo.recipe.source, demo.warning) == ("option", "", "published", "")
    assert caplog.records == []


def test_a_recipe_travels_with_its_classifier(
    narrow_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = vggcli.Recipe(64, "letterbox", mean=(0.1, 0.2, 0.3), activation="sigmoid")
    (tmp_path / "r.json").write_text(json.dumps(recipe.to_json()))
    monkeypatch.chdir(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)

    for said in (recipe, "r.json"):
        with vggcli.load(narrow_file, recipe=said, precision="fp32") as vgg:
            there = pickle.dumps(vgg)
            assert vgg.recipe == recipe
            best = vgg.classify(picture).predictions
        monkeypatch.chdir("/")
        with pickle.loads(there) as back:
            assert (back.recipe, back.classify(picture).predictions) == (recipe, best)
        monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"recipe": 3}, TypeError),
        ({"size": 2.5}, TypeError),
        ({"size": True}, TypeError),
        ({"mean": 3}, TypeError),
        ({"mean": [0, 1]}, vggcli.UsageError),
        ({"std": ["a"]}, ValueError),
        ({"value_range": 3}, vggcli.UsageError),
        ({"resize": "zoom"}, vggcli.UsageError),
        ({"activation": "tanh"}, vggcli.UsageError),
        ({"recipe": "caff"}, vggcli.UsageError),
    ],
    ids=str,
)
def test_a_keyword_of_a_recipe_that_cannot_be_is_refused(keywords: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        vggcli.load("demo", **keywords)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_more_threads_than_any_machine_has_are_refused(engine: str) -> None:
    with pytest.raises(vggcli.UsageError, match="cannot use threads 99999999999: it must be 4096 or less"):
        vggcli.load("demo", engine=engine, threads=99_999_999_999)
