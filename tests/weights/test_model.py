"""Weights found, opened and checked; and what is said, with which exit code, of files that are no such weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import networks
import numpy as np
import pytest
import torch
from checkpoint_examples import bounded, save
from conftest import Vgg
from networks import NARROW, STAGES, Staged, Timm, Torchvision, hollow, randomised, shapes_of
from torch import nn

from vggcli.errors import CheckpointError, DownloadError, MismatchError, UsageError, WeightsError
from vggcli.images.recipe import IMAGENET
from vggcli.network import zoo
from vggcli.weights.locate import DEMO_FILE, locate
from vggcli.weights.opening import open_model
from vggcli.weights.store import FetchOptions, cache_folder

OFFLINE = FetchOptions(offline=True)


def hollow_file(path: Path, kind: type[nn.Module] = Torchvision, name: str = "vgg16", **options: object) -> Path:
    """A variant at full size in a few kilobytes."""
    return save(hollow(shapes_of(kind, STAGES[name], **options)), path, "zip")


# Where weights come from


def test_a_path_is_a_path(narrow_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(str(narrow_file), None, OFFLINE) == narrow_file
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vgg16").write_bytes(b"mine")
    assert locate("vgg16", None, OFFLINE) == Path("vgg16")
    (tmp_path / "vgg19").mkdir()  # of results, say
    with pytest.raises(DownloadError, match=r"vgg19-dcbb9e9d\.pth"):
        locate("vgg19", None, OFFLINE)


def test_demo_is_the_file_in_the_package_whatever_lies_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()

    assert locate("demo", None, OFFLINE) == DEMO_FILE
    assert locate(None, "demo", OFFLINE) == DEMO_FILE


@pytest.mark.parametrize(
    ("weights", "arch", "file"),
    [
        (None, None, "vgg16_bn-6c64b313.pth"),
        (None, "vgg11", "vgg11-8a719046.pth"),
        ("vgg13", None, "vgg13-19584684.pth"),
        ("vgg13-c768596a", None, "vgg13-c768596a.pth"),
        ("vgg11-bbd30ac9.pth", "vgg11", "vgg11-bbd30ac9.pth"),
    ],
)
@pytest.mark.usefixtures("no_sockets")
def test_published_weights_come_from_the_cache(weights: str | None, arch: str | None, file: str) -> None:
    with pytest.raises(DownloadError, match=f"https://download.pytorch.org/models/{file}"):
        locate(weights, arch, OFFLINE)
    path = cache_folder() / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")

    assert locate(weights, arch, FetchOptions()) == path


def test_neither_file_nor_name_is_explained() -> None:
    with pytest.raises(WeightsError) as caught:
        locate("nowhere.pth", None, OFFLINE)

    assert str(caught.value) == (
        "cannot read weights nowhere.pth: there is no such file. "
        "Give a file, demo, or the name of a variant such as vgg16_bn."
    )


def test_an_unknown_variant_is_answered_before_anything_is_fetched() -> None:
    with pytest.raises(UsageError, match=r"unknown architecture vgg17: no such variant\. The nearest names are"):
        locate(None, "vgg17", OFFLINE)


@pytest.mark.usefixtures("no_sockets")
def test_the_published_file_without_a_classifier_is_refused_before_it_is_fetched() -> None:
    with pytest.raises(MismatchError) as caught:
        locate("vgg16_features-amdegroot-88682ab5", None, FetchOptions())

    assert str(caught.value) == (
        "cannot classify with vgg16_features-amdegroot-88682ab5.pth: its classifier holds no usable weights: the file "
        "was published for the convolutions alone, as the backbone of a detector. Use vgg16's own weights."
    )


# What an opened model is


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_come_as_float32_in_the_networks_shape(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {key: tensor.to(dtype) for key, tensor in randomised(Timm(widths=NARROW)).state_dict().items()}
    with closing(open_model(save(state, tmp_path / "w.pt", "zip"))) as opened:
        first, linear = opened.array("features.0.weight"), opened.array("classifier.0.weight")
        expected = state["pre_logits.fc1.weight"].float().numpy()

    assert (first.dtype, linear.dtype) == (np.float32, np.float32)
    assert np.array_equal(linear, expected.reshape(64, -1))


def test_arrays_outlive_the_model(narrow_file: Path) -> None:
    opened = open_model(narrow_file)
    array = opened.array("classifier.6.bias")
    before = array.copy()
    opened.close()

    assert np.array_equal(array, before)


def test_threads_read_one_model_at_once(narrow_file: Path) -> None:
    with closing(open_model(narrow_file)) as opened:
        keys = sorted(opened.reading.sources)
        expected = {key: opened.array(key).copy() for key in keys}

    with closing(open_model(narrow_file)) as opened, ThreadPoolExecutor(8) as pool:

        def differing(start: int) -> list[str]:
            opened.check_numbers()
            opened.forget_pages()  # as an engine with a copy of its own does, beside others that read in place
            turned = keys[start:] + keys[:start]
            return [key for key in turned if not np.array_equal(opened.array(key), expected[key])]

        assert list(pool.map(differing, range(8))) == [[]] * 8


def test_a_closed_model_gives_no_more_arrays(narrow_file: Path) -> None:
    opened = open_model(narrow_file)
    opened.close()
    opened.close()
    with pytest.raises(CheckpointError, match="was closed"):
        opened.array("classifier.6.bias")


def test_the_checkpoints_own_class_names_are_used(tmp_path: Path) -> None:
    names = [f"name {index}" for index in range(10)]
    state = Torchvision(widths=NARROW).state_dict()
    for path in (
        save({"state_dict": state, "classes": names}, tmp_path / "a.pth", "zip"),
        save(state, tmp_path / "b.safetensors", "safetensors", {"labels": json.dumps(names)}),
    ):
        with closing(open_model(path)) as opened:
            assert opened.labels == tuple(names)


def test_a_thousand_classes_have_imagenets_names(tmp_path: Path) -> None:
    with closing(open_model(hollow_file(tmp_path / "w.pth", classes=1000))) as opened:
        assert opened.labels[:2] == ("tench", "goldfish")
        assert (opened.variant, opened.name) == ("vgg16_bn", "w.pth")
        assert opened.notes == (
            "nothing in the file says that its 1000 classes are ImageNet's; they get ImageNet's names",
        )
        assert opened.recipe == IMAGENET


def test_the_demo_says_what_it_is(vgg: Vgg) -> None:
    with closing(open_model(DEMO_FILE)) as opened:
        assert opened.name == "demo"
        assert opened.variant == "demo"
        assert opened.labels == ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
        assert opened.architecture == zoo.VARIANTS["demo"].architecture
    shown = vgg("inspect", "demo", "-f", "table").out
    assert f"variant     demo ({zoo.DEMO_WHAT})\n" in shown
    assert "weights     demo\n" in vgg("summary", "demo", "-f", "table").out
    assert f"demo        {zoo.DEMO_WHAT}\n" in vgg("list", "-f", "table").out


# The variant asked for


@pytest.mark.parametrize("kind", [Torchvision, Staged, Timm])
def test_arch_may_say_what_the_weights_say(kind: type[nn.Module], tmp_path: Path) -> None:
    with closing(open_model(hollow_file(tmp_path / "w.pth", kind), "vgg16-bn")) as opened:
        assert opened.variant == "vgg16_bn"


@pytest.mark.parametrize("asked", ["vgg16", "vgg19_bn", "demo"])
def test_weights_of_another_variant_are_named(asked: str, tmp_path: Path, vgg: Vgg) -> None:
    path = hollow_file(tmp_path / "w.pth")
    output = vgg("predict", "-w", path, "-a", asked, tmp_path / "no.png")

    assert (output.code, output.out) == (3, "")
    assert output.err == (
        f"vgg: cannot classify with {path}: it holds vgg16_bn, not {asked}. Leave --arch out, or say --arch vgg16_bn.\n"
    )


def test_an_unknown_arch_is_wrong_usage(narrow_file: Path, vgg: Vgg) -> None:
    for command in (["predict", "x.png", "-w"], ["inspect"]):
        output = vgg(*command, narrow_file, "--arch", "vg16")
        assert (output.code, output.out) == (2, "")
        assert output.err == (
            "vgg: unknown architecture vg16: no such variant. The nearest names are vgg16, vgg19, vgg16_bn.\n"
        )


def test_a_wrong_number_of_labels_is_wrong_usage(narrow_file: Path, tmp_path: Path, vgg: Vgg) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    output = vgg("predict", "-w", narrow_file, "--labels", names, "x.png")

    assert (output.code, output.out) == (2, "")
    assert output.err == (
        f"vgg: cannot use the labels {names}: it has 2 names, the model has 10 classes. "
        "Give one name a line, in the order of the classes.\n"
    )


# Files that are no usable weights: the same words whoever asks


def write_html(path: Path) -> None:
    path.write_text("<!DOCTYPE html>\n<html><body>Sign in</body></html>")


def write_pointer(path: Path) -> None:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 553507836\n")


def write_model(path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2)), path)


def write_cut(path: Path) -> None:
    torch.save(Torchvision(widths=NARROW).state_dict(), path)
    path.write_bytes(path.read_bytes()[:100_000])


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "there is no such file. Check the path."),
    "folder": (
        lambda path: path.mkdir(),
        "it is a folder without model.safetensors or pytorch_model.bin. Name the weights file inside it.",
    ),
    "empty": (lambda path: path.write_bytes(b""), "the file is empty. Download or copy the file again."),
    "html": (
        write_html,
        "it is an HTML or XML page. "
        "Download the file again, and check the address: open it in a browser to see what the server sends.",
    ),
    "pointer": (
        write_pointer,
        "it is a Git LFS pointer, a few lines that stand for the real file. "
        "Run `git lfs pull` in the repository that it comes from.",
    ),
    "no tensors": (lambda path: torch.save({"epoch": 3}, path), "it holds no tensors. Name a file of weights."),
}


def test_a_small_file_that_asks_for_huge_images_is_refused(tmp_path: Path) -> None:
    path = hollow_file(tmp_path / "w.pth", Staged, pool=40)
    assert path.stat().st_size < 100_000

    with pytest.raises(MismatchError, match="for images of 1280 pixels a side, and vgg takes 1024 at most"):
        open_model(path)
    open_model(hollow_file(tmp_path / "largest.pth", Staged, pool=32)).close()


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("command", [["predict", "x.png", "-w"], ["inspect"], ["inspect", "--stats"], ["summary"]])
def test_an_unreadable_file_is_explained(kind: str, command: list[str], tmp_path: Path, vgg: Vgg) -> None:
    path = tmp_path / "weights.pth"
    write, why = UNREADABLE[kind]
    write(path)
    if kind == "missing" and command[0] == "predict":
        why = "there is no such file. Give a file, demo, or the name of a variant such as vgg16_bn."
    output = vgg(*command, path)

    assert (output.code, output.out) == (3, "")
    assert output.err == f"vgg: cannot read weights {path}: {why}\n"


def test_a_whole_module_that_is_no_vgg_is_no_vgg(tmp_path: Path, vgg: Vgg) -> None:
    path = tmp_path / "weights.pth"
    write_model(path)

    refused, shown = vgg("predict", "x.png", "-w", path), vgg("inspect", path, "-f", "table")

    assert (refused.code, refused.out) == (3, "")
    assert "its keys are those of no VGG layout" in refused.err
    assert "torch.save" not in refused.err
    assert shown.code == 0
    note = "objects in it are kept as data, and none was made or run: "
    assert note + "torch.nn.modules.container.Sequential, torch.nn.modules.linear.Linear" in shown.out


@pytest.mark.parametrize("command", [["predict", "x.png", "-w"], ["inspect"], ["summary"]])
def test_a_file_that_ends_early_is_explained(command: list[str], tmp_path: Path, vgg: Vgg) -> None:
    path = tmp_path / "weights.pth"
    write_cut(path)
    output = vgg(*command, path)

    assert (output.code, output.out) == (3, "")
    assert output.err.startswith(f"vgg: cannot read weights {path}: ")
    assert output.err.count("\n") == 1


def changed(*drop: str, **put: torch.Tensor) -> dict[str, torch.Tensor]:
    """A network's state_dict with tensors taken out and, with __ for a dot, put in."""
    state = Torchvision(widths=NARROW).state_dict()
    kept = {key: tensor for key, tensor in state.items() if not key.startswith(drop or "-")}
    return kept | {key.replace("__", "."): tensor for key, tensor in put.items()}


MISMATCHED: dict[str, tuple[Callable[[], dict[str, torch.Tensor]], str]] = {
    "no vgg": (
        lambda: {"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.weight": torch.zeros(10, 64)},
        "conv1 is a convolution of 7x7, and those of a VGG are 3x3. {see}",
    ),
    "no convolution": (
        lambda: {"fc.weight": torch.zeros(10, 64)},
        "its keys are those of no VGG layout that vgg knows. {see}",
    ),
    "one missing": (lambda: changed("classifier.3.bias"), "classifier.3.bias is missing. {see}"),
    "a weight missing": (lambda: changed("classifier.3.weight"), "classifier.3.weight is missing. {see}"),
    "a batch norm missing": (
        lambda: changed("features.1."),
        "features.0 has no batch norm behind it, and other convolutions have. {see}",
    ),
    "a linear layer missing": (
        lambda: changed("classifier.3"),
        "between classifier.0 and classifier.6 is room for more layers than a VGG has there. {see}",
    ),
    "another shape": (
        lambda: changed(features__4__weight=torch.zeros(16, 9, 3, 3)),
        "features.4 takes 9 where features.0 gives 8. {see}",
    ),
    "a layer that no VGG has": (
        lambda: changed(features__2__weight=torch.zeros(8)),
        "features.2 has weight [8], which no layer of a VGG has. {see}",
    ),
}


def test_a_file_of_features_is_refused_as_a_classifier_and_can_be_looked_at(tmp_path: Path, vgg: Vgg) -> None:
    path = save(changed("classifier"), tmp_path / "weights.pth", "zip")
    predicted, summarised = vgg("predict", "x.png", "-w", path), vgg("summary", path)

    assert (predicted.code, predicted.out) == (3, "")
    assert predicted.err == (
        f"vgg: cannot classify with {path}: it holds the convolutions of demo and no classifier, so it has no classes. "
        "Use weights with a classifier, e.g. those of `vgg download vgg16_bn`.\n"
    )
    assert summarised.code == 0
    assert summarised.out.splitlines()[-2].startswith("pool5\t")


@pytest.mark.parametrize("kind", MISMATCHED)
def test_what_keeps_a_file_from_being_a_network_is_named(kind: str, tmp_path: Path, vgg: Vgg) -> None:
    make, why = MISMATCHED[kind]
    path = save(make(), tmp_path / "weights.pth", "zip")
    see = f"`vgg inspect {path}` lists what it holds."

    predicted, summarised, inspected = (
        vgg("predict", "x.png", "-w", path),
        vgg("summary", path),
        vgg("inspect", path),
    )
    assert (predicted.code, predicted.out) == (3, "")
    assert predicted.err == f"vgg: cannot classify with {path}: {why.format(see=see)}\n"
    assert (summarised.code, summarised.out) == (3, "")
    assert summarised.err == f"vgg: cannot summarise {path}: {why.format(see=see)}\n"
    assert (inspected.code, inspected.err) == (0, "")
    assert inspected.out.count("\n") == len(make())


def test_the_file_without_a_classifier_is_refused_by_its_name_and_can_be_inspected(tmp_path: Path, vgg: Vgg) -> None:
    path = hollow_file(tmp_path / "vgg16_features-amdegroot-88682ab5.pth", batch_norm=False, classes=1000)
    why = (
        "its classifier holds no usable weights: the file was published for the convolutions alone, as the backbone of "
        "a detector"
    )
    output = vgg("predict", "x.png", "-w", path)

    assert output.code == 3
    assert output.err == f"vgg: cannot classify with {path}: {why}. Use vgg16's own weights: vgg download vgg16.\n"
    assert f"note        predict refuses it: {why}\n" in vgg("inspect", path, "-f", "table").out


def test_a_tensor_alone_is_no_state_dict(tmp_path: Path, vgg: Vgg) -> None:
    path = tmp_path / "weights.pth"
    torch.save(torch.zeros(3), path)
    predicted, inspected = vgg("predict", "x.png", "-w", path), vgg("inspect", path)

    assert (predicted.code, inspected.code) == (3, 3)
    assert predicted.err == (
        f"vgg: cannot classify with {path}: it holds no named tensors. See `vgg inspect {path}`.\n"
    )
    assert inspected.err == f"vgg: nothing to list in {path}: it holds no named tensors.\n"


def test_the_network_of_the_tests_is_the_demos() -> None:
    """What the tests above call demo is read off widths and depths, as for any file."""
    assert tuple(networks.NARROW) == tuple(stage[0] for stage in zoo.VARIANTS["demo"].architecture.stages)


def test_a_few_bytes_that_stand_for_gigabytes_are_refused_before_they_are_laid_out(tmp_path: Path) -> None:
    with closing(open_model(hollow_file(tmp_path / "w.pth", hidden=4096))) as opened:
        with bounded(memory=64 << 20), pytest.raises(MismatchError, match="repeat the same few numbers"):
            opened.array("classifier.0.weight")
        with pytest.raises(MismatchError, match="repeat the same few numbers"):
            opened.check_numbers()


def test_names_that_are_no_names_are_refused_unless_others_are_given(tmp_path: Path) -> None:
    names = ["x" * 2_000] * 10
    path = save(
        {"state_dict": hollow(shapes_of(Torchvision, STAGES["vgg11"])), "classes": names}, tmp_path / "w", "zip"
    )

    with pytest.raises(MismatchError, match=r"name 1 has 2,000 characters.*--labels FILE"):
        open_model(path)
    (tmp_path / "names.txt").write_text("\n".join("abcdefghij"))
    with closing(open_model(path, labels_path=str(tmp_path / "names.txt"))) as opened:
        assert opened.labels == tuple("abcdefghij")
