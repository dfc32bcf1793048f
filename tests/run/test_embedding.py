"""A layer's output as a vector: pooled or flattened, of length 1, in float16, with no value changed beyond rounding."""

from __future__ import annotations

import numpy as np
import pytest

from vggcli.errors import InputError, StoppedError, UsageError
from vggcli.images.discover import Input
from vggcli.network import zoo
from vggcli.run.batches import Result
from vggcli.run.embedding import VectorForm, to_embedding, vector_of

DEMO = zoo.variant("demo").architecture
MAPS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("layer", "pool", "dimensions"),
    [
        ("fc7", "none", 64),
        ("pool5", "none", 64 * 49),
        ("relu5_2", "avg", 64),
        ("conv1-1", "max", 8),
        ("avgpool", "avg", 64),
    ],
)
def test_a_form_knows_its_dimensions(layer: str, pool: str, dimensions: int) -> None:
    form = VectorForm.of(DEMO, 224, layer, pool=pool, normalize=False, dtype="fp32")

    assert (form.dimensions, form.layer) == (dimensions, layer.replace("_", "-"))


@pytest.mark.parametrize(
    ("layer", "pool", "why"),
    [("fc9", "none", "The nearest names are fc8"), ("fc7", "avg", "it gives 64 features, without positions to pool")],
)
def test_what_no_network_gives_is_refused(layer: str, pool: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        VectorForm.of(DEMO, 224, layer, pool=pool, normalize=False, dtype="fp32")


@pytest.mark.parametrize(("pool", "expected"), [("none", list(range(24))), ("avg", [5.5, 17.5]), ("max", [11.0, 23.0])])
def test_maps_are_pooled_over_their_positions_or_flattened_in_their_order(pool: str, expected: list[float]) -> None:
    vector = vector_of(MAPS, VectorForm("x", len(expected), pool), "a.jpg")

    assert (vector.tolist(), vector.dtype) == (expected, np.float32)


def test_a_normalised_vector_has_length_1_whatever_its_scale() -> None:
    for scale in (1.0, 1e-25, 1e25):
        vector = vector_of(MAPS * np.float32(scale), VectorForm("x", 24, normalize=True), "a.jpg")
        assert np.linalg.norm(vector.astype(np.float64)) == pytest.approx(1, abs=1e-6)
    assert not vector_of(np.zeros(3, np.float32), VectorForm("x", 3, normalize=True), "a.jpg").any()


def test_a_value_beyond_float16_stops_the_run_and_does_not_become_infinite() -> None:
    output, form = np.array([1, -70000], np.float32), VectorForm("conv4-1", 2, dtype="fp16")
    with pytest.raises(
        StoppedError, match=r"vector of a\.jpg: conv4-1 gives 70000, and fp16 ends at 65504\. Use --dtype"
    ):
        vector_of(output, form, "a.jpg")

    vector = vector_of(output, VectorForm("conv4-1", 2, normalize=True, dtype="fp16"), "a.jpg")
    assert (vector.dtype, vector[1]) == (np.float16, -1)


def test_a_failed_result_has_no_vector() -> None:
    item = to_embedding(Result(Input("a.jpg"), error=InputError("empty", "a.jpg", "no bytes")), VectorForm("fc7", 64))

    assert (item.path, item.vector, str(item.failure)) == ("a.jpg", None, "empty: no bytes")
