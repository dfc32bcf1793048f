"""`vgg inspect`: the tensors of a file as torch sees them, and what they make."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_examples import bounded, save
from conftest import Vgg
from httpserver import FaultServer
from networks import NARROW, STAGES, Sequential, Staged, Timm, Torchvision, hollow, prefixed, shapes_of

from vggcli.analysis.inspection import statistics
from vggcli.network import zoo
from vggcli.weights.checkpoint import open_checkpoint
from vggcli.weights.locate import DEMO_FILE


@pytest.fixture(scope="module")
def whole_shapes() -> dict[str, tuple[int, ...]]:
    """Key to shape of a full-size vgg16_bn."""
    return shapes_of(Torchvision, STAGES["vgg16"], hidden=4096, classes=1000)


@pytest.fixture(scope="module", params=["zip", "legacy"])
def whole(
    request: pytest.FixtureRequest, whole_shapes: dict[str, tuple[int, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return save(hollow(whole_shapes), tmp_path_factory.mktemp("whole") / "vgg16_bn.pth", request.param)


def lines(state: dict[str, torch.Tensor]) -> str:
    """The plain form, as torch sees the tensors."""
    rows = ((key, list(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for key, tensor in state.items())
    return "".join(f"{key}\t{shape}\t{dtype}\n" for key, shape, dtype in rows)


# The three forms


def test_keys_shapes_types_and_order_are_those_of_torch_load(whole: Path, vgg: Vgg) -> None:
    output = vgg("inspect", whole)

    assert (output.code, output.err) == (0, "")
    assert output.out == lines(torch.load(whole, weights_only=True))
    assert output.out.count("\n") == 97
    assert output.out.startswith("features.0.weight\t[64, 3, 3, 3]\tfloat32\nfeatures.0.bias\t[64]\tfloat32\n")


def test_the_order_is_the_files_and_types_are_named_as_torch_names_them(tmp_path: Path, vgg: Vgg) -> None:
    state = {
        "z": torch.zeros(2, 0, 3),
        "a": torch.zeros((), dtype=torch.int64),
        "m": torch.zeros(1, dtype=torch.bfloat16),
        "b": torch.zeros(1, dtype=torch.bool),
        "h": torch.zeros(1, dtype=torch.float16),
        "d": torch.zeros(1, dtype=torch.float64),
    }
    for form in ("zip", "legacy"):
        assert vgg("inspect", save(state, tmp_path / "w.pth", form)).out == lines(state)


def test_the_table_says_what_the_file_is(
    narrow_file: Path, vgg: Vgg, golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(narrow_file.parent)
    output = vgg("inspect", narrow_file.name, "-f", "table", env={"COLUMNS": "80"})

    assert (output.code, output.err) == (0, "")
    golden("inspect.txt", re.sub(r"[\d,]+ bytes", "N bytes", output.out))


def test_json_holds_the_same(whole: Path, whole_shapes: dict[str, tuple[int, ...]], vgg: Vgg) -> None:
    data = json.loads(vgg("inspect", whole, "-f", "json").out)
    tensors = data.pop("tensors")
    values = sum(math.prod(shape) for shape in whole_shapes.values())
    counters = sum(key.endswith("num_batches_tracked") for key in whole_shapes)

    assert tensors == [{"key": k, "shape": list(s), "dtype": "float32"} for k, s in whole_shapes.items()]
    assert data == {
        "path": str(whole),
        "format": data["format"],
        "bytes": whole.stat().st_size,
        "wrapper": [],
        "variant": "vgg16_bn",
        "dialect": "torchvision",
        "network": "3 > 64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M (norm relu) > 7x7 > "
        "4096 relu 4096 relu 1000",
        "classes": 1000,
        "features_only": False,
        "fits": True,
        "labels": None,
        "recipe": {
            "size": 224,
            "resize": "squash",
            "resize_to": 224,
            "interpolation": "bilinear",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "value_range": 1,
            "channel_order": "rgb",
            "activation": "softmax",
            "fill": None,
            "source": "assumed",
        },
        "notes": [],
        "totals": {"tensors": 97, "values": values, "bytes": 4 * values},
        "sha256": None,
    }
    assert data["format"] in ("zip", "legacy")
    assert values - counters - zoo.VARIANTS["vgg16_bn"].architecture.parameters() == 2 * 4224  # running statistics


def facts(output: str) -> dict[str, str]:
    """The lines above the table."""
    head = output[: output.index("\nkey ")].splitlines()
    return {line[:12].strip(): line[12:].strip() for line in head}


@pytest.mark.parametrize(
    ("kind", "dialect"), [(Torchvision, "torchvision"), (Staged, "staged"), (Sequential, "sequential"), (Timm, "timm")]
)
def test_dialect_variant_classes_and_wrapper_are_shown(kind: Any, dialect: str, tmp_path: Path, vgg: Vgg) -> None:
    state = hollow(shapes_of(kind, STAGES["vgg13"], classes=7))
    path = save({"epoch": 1, "state_dict": prefixed(state, "module.")}, tmp_path / "w.pth", "zip")
    shown = facts(vgg("inspect", path, "-f", "table").out)

    assert (shown["variant"], shown["dialect"], shown["classes"]) == ("vgg13_bn", dialect, "7")
    assert shown["weights in"] == "state_dict"
    assert "note" not in shown


def test_the_tutorials_vgg_13_is_shown_as_what_it_is(tmp_path: Path, vgg: Vgg) -> None:
    path = save(hollow(shapes_of(Staged, STAGES["vgg11"])), tmp_path / "VGG_13.pth", "zip")
    shown = facts(vgg("inspect", path, "-f", "table").out)
    data = json.loads(vgg("inspect", path, "-f", "json").out)

    assert shown["variant"] == data["variant"] == "vgg11_bn"
    assert data["notes"] == [shown["note"]]
    assert shown["note"].startswith("the stages are those of VGG-11 (1, 1, 2, 2, 2); a widely copied tutorial calls")


def test_convolutions_alone_are_shown_as_such(tmp_path: Path, vgg: Vgg) -> None:
    kept = {k: s for k, s in shapes_of(Torchvision, widths=NARROW).items() if k.startswith("features")}
    path = save(hollow(kept), tmp_path / "w.pth", "zip")
    shown, data = facts(vgg("inspect", path, "-f", "table").out), json.loads(vgg("inspect", path, "-f", "json").out)

    assert shown["variant"] == "the demo's network, with other weights, the convolutions only"
    assert shown["classes"] == "none (no classifier)"
    assert (data["fits"], data["features_only"], data["classes"]) == (False, True, None)


def test_a_network_that_is_none_of_the_zoos_is_shown_layer_by_layer(tmp_path: Path, vgg: Vgg) -> None:
    kept = {k: s for k, s in shapes_of(Torchvision, widths=NARROW).items() if k.startswith("features")}
    grey = {"features.0.weight": (8, 1, 3, 3), "classifier.weight": (10, 64), "criterion.weight": (10,)}
    path = save(hollow(kept | grey), tmp_path / "w.pth", "zip")
    shown, data = facts(vgg("inspect", path, "-f", "table").out), json.loads(vgg("inspect", path, "-f", "json").out)

    assert shown["variant"] == "none of the zoo's (VGG of 8+1 layers)"
    assert shown["network"] == data["network"] == "1 > 8 M 16 M 32 32 M 64 64 M 64 64 M (norm relu) > 1x1 > 10"
    assert (data["variant"], data["fits"], data["classes"]) == (None, True, 10)
    assert data["notes"] == ["no part of the network, and left out: criterion.weight"]


def test_a_chain_that_breaks_is_shown_with_the_place(tmp_path: Path, vgg: Vgg) -> None:
    shapes = shapes_of(Torchvision, widths=NARROW) | {"classifier.3.weight": (64, 65)}
    path = save(hollow(shapes), tmp_path / "w.pth", "zip")
    output = vgg("inspect", path, "-f", "table")

    assert output.code == 0
    assert facts(output.out)["variant"] == "unknown (classifier.3 takes 65 where classifier.0 gives 64)"


def test_what_is_no_vgg_is_listed_all_the_same(tmp_path: Path, vgg: Vgg) -> None:
    state = {"conv1.weight": torch.zeros(64, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}
    path = save(state, tmp_path / "resnet.pth", "zip")
    data = json.loads(vgg("inspect", path, "-f", "json").out)

    assert vgg("inspect", path).out == lines(state)
    shown = facts(vgg("inspect", path, "-f", "table").out)
    assert shown["variant"] == "unknown (it is a ResNet, and no VGG classifier)"
    assert (data["variant"], data["dialect"], data["classes"], data["fits"]) == (None, None, None, False)


def test_keys_from_strangers_stay_one_line_and_command_no_terminal(tmp_path: Path, vgg: Vgg) -> None:
    key = "a\n\x1b[31mb\t\\c"
    path = save({key: torch.zeros(2)}, tmp_path / "w.pth", "zip")

    assert vgg("inspect", path).out == "a\\n\\x1b[31mb\\t\\\\c\t[2]\tfloat32\n"
    assert "\x1b" not in vgg("inspect", path, "-f", "table").out
    assert json.loads(vgg("inspect", path, "-f", "json").out)["tensors"][0]["key"] == key


def test_class_names_are_in_the_json(tmp_path: Path, vgg: Vgg) -> None:
    state = {"state_dict": hollow({"x": (1,)}), "class_to_idx": {"cat": 0, "dog": 1}}
    path = save(state, tmp_path / "w.pth", "zip")

    assert json.loads(vgg("inspect", path, "-f", "json").out)["labels"] == ["cat", "dog"]


def test_the_demo_is_inspected_like_any_file(vgg: Vgg) -> None:
    data = json.loads(vgg("inspect", "demo", "-f", "json").out)

    assert (data["path"], data["format"], data["variant"]) == (str(DEMO_FILE), "safetensors", "demo")
    assert (data["fits"], data["classes"], len(data["labels"])) == (True, 10, 10)
    assert vgg("inspect", "demo").out == vgg("inspect", DEMO_FILE).out


# --arch


def test_a_file_that_fits_ends_with_exit_code_0(whole: Path, vgg: Vgg) -> None:
    output = vgg("inspect", whole, "--arch", "vgg16_bn", "-f", "table")

    assert (output.code, output.err) == (0, "")
    assert facts(output.out)["as vgg16_bn"] == "fits"


def test_differences_are_named_one_a_line_with_exit_code_3(tmp_path: Path, vgg: Vgg) -> None:
    state = {k: s for k, s in shapes_of(Torchvision, widths=NARROW).items() if k != "classifier.3.bias"}
    state |= {"features.0.weight": (8, 1, 3, 3), "mean": (3,)}
    path = save(prefixed(hollow(state), "module."), tmp_path / "w.pth", "zip")
    output = vgg("inspect", path, "--arch", "demo")

    assert output.code == 3
    assert output.out.count("\n") == len(state)
    assert output.err == (
        "vgg: missing: classifier.3.bias\n"
        "vgg: unexpected: module.mean\n"
        "vgg: of another shape: module.features.0.weight is [8, 1, 3, 3], demo has [8, 3, 3, 3]\n"
    )
    data = json.loads(vgg("inspect", path, "--arch", "demo", "-f", "json").out)
    assert data["comparison"] == {
        "arch": "demo",
        "fits": False,
        "missing": ["classifier.3.bias"],
        "unexpected": ["module.mean"],
        "misshapen": [{"key": "module.features.0.weight", "shape": [8, 1, 3, 3], "expected": [8, 3, 3, 3]}],
    }


def test_another_variant_is_named_first(whole: Path, vgg: Vgg) -> None:
    output = vgg("inspect", whole, "--arch", "vgg13_bn")

    assert output.code == 3
    first, *rest = output.err.splitlines()
    assert first == "vgg: it holds vgg16_bn, not vgg13_bn"
    assert "vgg: unexpected: features.40.weight" in rest


def test_convolutions_alone_do_not_fit(tmp_path: Path, vgg: Vgg) -> None:
    state = hollow({k: s for k, s in shapes_of(Torchvision, widths=NARROW).items() if k.startswith("features")})
    output = vgg("inspect", save(state, tmp_path / "w.pth", "zip"), "--arch", "demo", "-f", "table")

    assert output.code == 3
    assert output.err.endswith("vgg: missing: classifier.6.bias\nvgg: the classifier is missing\n")
    assert facts(output.out)["as demo"] == "does not fit"


def test_what_is_no_vgg_fits_no_variant(tmp_path: Path, vgg: Vgg) -> None:
    path = save({"conv1.weight": torch.zeros(1)}, tmp_path / "w.pth", "zip")
    output = vgg("inspect", path, "--arch", "vgg16")

    assert (output.code, output.out) == (3, "conv1.weight\t[1]\tfloat32\n")
    assert output.err == "vgg: it is no vgg16: its keys are those of no VGG layout that vgg knows\n"


# --stats


def test_statistics_are_those_of_the_finite_values(tmp_path: Path, vgg: Vgg) -> None:
    state = {
        "plain": torch.tensor([1.0, 2.0, 3.0, 6.0]),
        "nan": torch.tensor([math.nan, 1.0, 3.0]),
        "infinite": torch.tensor([math.inf, -math.inf, 2.0]).half(),
        "none": torch.tensor([math.nan]),
        "empty": torch.zeros(0),
        "count": torch.tensor(7),
        "double": torch.tensor([1e300, -1e300], dtype=torch.float64),
    }
    path = save(state, tmp_path / "w.pth", "zip")
    output = vgg("inspect", path, "--stats")

    assert output.code == 0
    assert output.err == "vgg: warning: NaN or infinite values in nan, infinite, none\n"
    assert output.out == (
        "plain\t[4]\tfloat32\t1\t6\t3\t1.871\t0\t0\n"
        "nan\t[3]\tfloat32\t1\t3\t2\t1\t1\t0\n"
        "infinite\t[3]\tfloat16\t2\t2\t2\t0\t0\t2\n"
        "none\t[1]\tfloat32\tnan\tnan\tnan\tnan\t1\t0\n"
        "empty\t[0]\tfloat32\tnan\tnan\tnan\tnan\t0\t0\n"
        "count\t[]\tint64\t7\t7\t7\t0\t0\t0\n"
        "double\t[2]\tfloat64\t-1e+300\t1e+300\t0\tinf\t0\t0\n"
    )
    data = json.loads(vgg("inspect", path, "--stats", "-f", "json").out)
    tensors = {entry["key"]: entry for entry in data["tensors"]}
    assert tensors["nan"] == {
        "key": "nan", "shape": [3], "dtype": "float32", "min": 1, "max": 3, "mean": 2, "std": 1, "nan": 1, "inf": 0
    }  # fmt: skip
    assert (tensors["none"]["min"], tensors["none"]["nan"]) == (None, 1)


def test_statistics_are_numpys(tmp_path: Path) -> None:
    values = torch.randn(50, 40, generator=torch.Generator().manual_seed(0)).bfloat16()
    with open_checkpoint(save({"w": values}, tmp_path / "w.pth", "zip")) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        found = statistics(checkpoint.root["w"])

    exact = values.double().numpy()
    numbers = astuple(found)
    assert numbers == pytest.approx((exact.min(), exact.max(), exact.mean(), exact.std(), 0, 0))
    assert np.isfinite(numbers).all()


@pytest.mark.long
def test_statistics_of_repeated_numbers_take_memory_for_a_part_of_them(tmp_path: Path) -> None:
    shapes: list[tuple[int, ...]] = [(1 << 26,), (3, 1 << 24), (1 << 24, 3), (1, 1 << 12, 1 << 12), (5, 7, 1 << 21)]
    for shape in shapes:
        with open_checkpoint(save({"w": torch.tensor(0.5).expand(shape)}, tmp_path / "w.pth", "zip")) as checkpoint:
            assert isinstance(checkpoint.root, dict)
            with bounded(memory=128 << 20):
                assert astuple(statistics(checkpoint.root["w"])) == (0.5, 0.5, 0.5, 0.0, 0, 0)


def test_statistics_of_many_blocks_are_numpys(tmp_path: Path) -> None:
    values = torch.randn(3, 5, 200_003, generator=torch.Generator().manual_seed(1)).transpose(0, 2)
    values[5, 2, 1], values[200_000, 0, 0], values[7, 0, 2] = math.nan, math.inf, -math.inf
    with open_checkpoint(save({"w": values}, tmp_path / "w.pth", "zip")) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        numbers = astuple(statistics(checkpoint.root["w"]))

    finite = values.double().numpy()
    finite = finite[np.isfinite(finite)]
    assert numbers == pytest.approx((finite.min(), finite.max(), finite.mean(), finite.std(), 1, 2))


def test_long_keys_are_cut_in_notes_and_whole_in_data(tmp_path: Path, vgg: Vgg) -> None:
    key = "k" * 4_000
    output = vgg("inspect", save({key: torch.tensor([math.nan])}, tmp_path / "w.pth", "zip"), "--stats")
    assert key in output.out
    assert output.err == f"vgg: warning: NaN or infinite values in {'k' * 100}...\n"


def test_names_that_are_no_names_are_a_note(tmp_path: Path, vgg: Vgg) -> None:
    path = save({"state_dict": hollow({"x": (1,)}), "classes": ["x" * 5_000] * 3}, tmp_path / "w.pth", "zip")
    data = json.loads(vgg("inspect", "-f", "json", path).out)
    assert data["labels"] is None
    assert data["notes"] == ["its class names cannot be used: name 1 has 5,000 characters, 1,000 at most are read"]


def test_many_unsound_tensors_are_counted(tmp_path: Path, vgg: Vgg) -> None:
    path = save({f"t{n}": torch.tensor([math.nan]) for n in range(8)}, tmp_path / "w.pth", "zip")

    warning = "vgg: warning: NaN or infinite values in t0, t1, t2, t3, t4 and 3 more\n"
    assert vgg("inspect", path, "--stats").err == warning


# --verify


def test_the_hash_in_a_name_is_checked(tmp_path: Path, vgg: Vgg) -> None:
    path = save({"w": torch.zeros(2)}, tmp_path / "w.pth", "zip")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    right = path.rename(tmp_path / f"mine-{digest[:8]}.pth")
    output = vgg("inspect", "--verify", right)

    assert (output.code, output.out) == (0, "w\t[2]\tfloat32\n")
    assert output.err == f"vgg: verified: the SHA-256 begins with {digest[:8]}, as the name says\n"
    assert json.loads(vgg("inspect", "--verify", right, "-f", "json").out)["sha256"] == digest
    assert facts(vgg("inspect", "--verify", right, "-f", "table").out)["sha256"] == digest


@pytest.mark.parametrize("name", ["mine-0000000a.pth", "vgg16_bn-6c64b313.pth"])
def test_a_wrong_hash_ends_with_exit_code_3(name: str, tmp_path: Path, vgg: Vgg) -> None:
    path = save({"w": torch.zeros(2)}, tmp_path / name, "zip")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    output = vgg("inspect", "--verify", path)

    assert (output.code, output.out) == (3, "")
    assert output.err == (
        f"vgg: wrong weights file {path}: its SHA-256 begins with {digest[:8]}, not {name[-12:-4]}: "
        "damaged, or another file. If it was downloaded, fetch it again.\n"
    )


def test_a_published_file_is_recognised_under_any_name(
    tmp_path: Path, vgg: Vgg, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save({"w": torch.zeros(2)}, tmp_path / "w.pth", "zip")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    assert vgg("inspect", "--verify", path).err == (
        f"vgg: the SHA-256 is {digest}; the name says nothing to hold it against\n"
    )
    published = zoo.WeightsFile(f"vgg11-{digest[:8]}.pth", "vgg11")
    monkeypatch.setitem(zoo.WEIGHTS_FILES, published.name, published)
    assert vgg("inspect", "--verify", path).err == (
        f"vgg: the SHA-256 is {digest}; it begins as that of the published {published.name}\n"
    )
    named = path.rename(tmp_path / published.name)
    assert vgg("inspect", "--verify", named).err == (
        f"vgg: verified: the SHA-256 is that of the published {published.name}\n"
    )


# URLs


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_a_url_is_listed_like_the_file(form: str, server: FaultServer, tmp_path: Path, vgg: Vgg) -> None:
    state = Torchvision(STAGES["vgg11"], NARROW, hidden=512).state_dict()
    path = save(state, tmp_path / "w.pth", form)
    url = server.add(path.read_bytes(), "w.pth")
    here, there = (json.loads(vgg("inspect", name, "-f", "json").out) for name in (path, url))

    assert there.pop("path") == url
    assert here.pop("path") == str(path)
    assert there == here
    assert vgg("inspect", url).out == vgg("inspect", path).out
    assert server.sent < 4 * path.stat().st_size / 5


def test_the_numbers_of_a_url_are_not_here(server: FaultServer, vgg: Vgg) -> None:
    url = server.add(b"", "w.pth")
    for option in ("--stats", "--verify"):
        output = vgg("inspect", option, url)
        assert (output.code, output.out) == (2, "")
        assert output.err == f"vgg: cannot check the weights of {url}: they are not here. Download the file first.\n"
    assert not server.requests


def test_a_url_without_a_file_is_explained(server: FaultServer, vgg: Vgg) -> None:
    output = vgg("inspect", f"{server.url}/nowhere.pth")

    assert (output.code, output.out) == (3, "")
    assert re.fullmatch(rf"vgg: .*{re.escape(server.url)}/nowhere\.pth: .*404.*\n", output.err)


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>", b"version https://git-lfs.github.com/spec/v1\n"])
def test_a_url_of_no_weights_is_explained_as_a_file_would_be(
    page: bytes, server: FaultServer, tmp_path: Path, vgg: Vgg
) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(page)
    url = server.add(page, "w.pth")
    here, there = vgg("inspect", path), vgg("inspect", url)

    assert (here.code, there.code, there.out) == (3, 3, "")
    assert there.err == here.err.replace(str(path), url)


def test_everything_that_a_pickle_would_have_called_is_named(tmp_path: Path, vgg: Vgg) -> None:
    names = [f"posix.call{number}" for number in range(9)]
    calls = b"".join(b"cposix\ncall%d\n)R0" % number for number in range(9))
    (tmp_path / "evil.pth").write_bytes(b"\x80\x02" + calls + b"N.")

    output = vgg("inspect", tmp_path / "evil.pth")

    assert (output.code, output.out) == (3, "")
    assert all(name in output.err for name in names)
    assert output.err.splitlines()[-1].startswith("vgg: cannot read weights ")
