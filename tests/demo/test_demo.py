"""The demo as it ships: small, says what it is, and gives each of its pictures its name."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from conftest import Vgg
from predict_examples import DEMO_FILE, DIGITS, LABELS
from safetensors import safe_open
from safetensors.numpy import load_file

from vggcli.network import zoo
from vggcli.weights.model import Model
from vggcli.weights.opening import open_model


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    opened = open_model(DEMO_FILE)
    yield opened
    opened.close()


def test_the_weights_are_under_a_megabyte_in_half_precision() -> None:
    assert DEMO_FILE.stat().st_size < 1_000_000
    dtypes = {key: str(array.dtype) for key, array in load_file(DEMO_FILE).items()}
    assert set(dtypes) == set(zoo.variant("demo").architecture.tensors())
    for key, dtype in dtypes.items():
        assert dtype == ("int64" if key.endswith("num_batches_tracked") else "float16")


def test_the_zoo_gives_the_size_of_the_file() -> None:
    assert zoo.variant("demo").size_mib == pytest.approx(DEMO_FILE.stat().st_size / 2**20, abs=0.05)


def test_the_weights_say_what_they_are(model: Model) -> None:
    with safe_open(DEMO_FILE, "numpy") as file:
        metadata = dict(file.metadata())

    assert model.variant == "demo"
    assert model.labels == LABELS
    assert json.loads(metadata["labels"]) == list(LABELS)
    assert metadata["description"] == zoo.DEMO_WHAT
    assert "CC BY 4.0" in metadata["trained_on"]


def test_each_digit_image_of_the_package_gets_its_name(vgg: Vgg) -> None:
    paths = [DIGITS / f"{label}.png" for label in LABELS]

    result = vgg("predict", "--weights", "demo", "-k", "1", "-f", "jsonl", *paths)

    assert result.code == 0, result
    records = [json.loads(line) for line in result.out.splitlines()]
    assert [record["predictions"][0]["label"] for record in records] == list(LABELS)
    assert {path.name for path in DIGITS.iterdir()} == {path.name for path in paths}
