"""Nearest rows and groups of near duplicates are those that a plain matrix of all cosines gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vggcli.analysis import similarity
from vggcli.analysis.similarity import Groups, directions, duplicates, nearest, similarities_to_first


def vectors(count: int, dimensions: int, dtype: Any = np.float16) -> NDArray[Any]:
    return np.random.default_rng(count).standard_normal((count, dimensions)).astype(dtype)


def cosines(rows: NDArray[Any], queries: NDArray[Any]) -> NDArray[np.float64]:
    """All of them, in float64; -inf where a row has no direction."""
    wide = rows.astype(np.float64)
    with np.errstate(all="ignore"):
        found = queries.astype(np.float64) @ (wide / np.linalg.norm(wide, axis=1, keepdims=True)).T
    return np.where(np.isnan(found), -np.inf, found)


@pytest.fixture(params=[1 << 22, 500], ids=["one block", "many blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_BLOCK_VALUES", request.param)
    monkeypatch.setattr(similarity, "_MOST_ROWS", 64)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(("count", "k", "threads"), [(700, 10, 3), (700, 1, 1), (5, 10, 2), (1, 3, 2), (0, 3, 2)])
def test_the_nearest_are_those_of_all_cosines(count: int, k: int, threads: int, dtype: Any) -> None:
    rows, queries = vectors(count, 16, dtype), directions(vectors(9, 16, np.float32))[0]
    rows[3:5] = np.nan
    rows[100:101] = 0
    rows[300:301] = rows[200:201]
    found = nearest(rows, queries, k, threads)

    expected = cosines(rows, queries)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :k]
    known = np.take_along_axis(expected, order, 1) > -np.inf
    assert found.rows.shape == found.similarities.shape == (9, k)
    np.testing.assert_array_equal(found.rows[:, : order.shape[1]], np.where(known, order, -1))
    np.testing.assert_allclose(
        found.similarities[:, : order.shape[1]], np.take_along_axis(expected, order, 1), atol=1e-6
    )
    assert (found.rows[:, order.shape[1] :] == -1).all()


def test_rows_without_a_direction_are_like_nothing() -> None:
    rows = np.array([[np.nan, 1], [np.inf, 1], [0, 0], [-1, 0]], np.float32)

    found = nearest(rows, np.array([[1, 0]], np.float32), 4, 1)

    assert found.rows.tolist() == [[3, -1, -1, -1]]
    assert found.similarities[0, 0] == -1
    assert directions(rows)[1].tolist() == [False, False, False, True]


def groups_of(rows: NDArray[Any], least: float, threads: int = 2) -> list[list[int]]:
    groups = Groups(len(rows))
    assert list(duplicates(rows, least, threads, groups))[-1:] == [len(rows)][: len(rows)]
    return [members.tolist() for members in groups.members()]


def components(rows: NDArray[Any], least: float) -> list[list[int]]:
    """The same by walking from row to row."""
    alike = cosines(rows, directions(rows)[0]) >= least
    seen: set[int] = set()
    found = []
    for start in range(len(rows)):
        todo, members = [start], []
        while todo:
            row = todo.pop()
            if row not in seen:
                seen.add(row)
                members.append(row)
                todo += np.flatnonzero(alike[row]).tolist()
        found += [sorted(members)] if len(members) > 1 else []
    return found


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("least", [0.5, 0.8, 0.999])
def test_groups_are_what_steps_of_that_similarity_connect(least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_PAIR_ROWS", 50)
    monkeypatch.setattr(similarity, "_PAIR_COLUMNS", 70)
    monkeypatch.setattr(similarity, "_SLAB_ROWS", 7)
    rows = vectors(400, 6)
    rows[17], rows[18] = np.nan, 0
    rows[390] = rows[20]

    assert groups_of(rows, least) == components(rows, least)


def test_a_chain_is_one_group_and_equal_rows_are_alike_at_1() -> None:
    angles = np.arange(12) * 0.1
    chain = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    same = np.tile(vectors(1, 512, np.float32), (300, 1))

    assert groups_of(chain, 0.99) == [list(range(12))]
    assert groups_of(same, 1.0) == [list(range(300))]
    assert groups_of(chain[:1], 0.9) == groups_of(chain[:0], 0.9) == []


def test_similarities_of_a_group_are_those_to_its_first() -> None:
    rows = vectors(50, 8)
    members = np.array([4, 7, 30])

    found = list(similarities_to_first(rows, members))

    assert [row for row, _ in found] == [4, 7, 30]
    expected = cosines(rows[members], directions(rows[4:5])[0])[0]
    np.testing.assert_allclose([cosine for _, cosine in found], expected, atol=1e-6)
