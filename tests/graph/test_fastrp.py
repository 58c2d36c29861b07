"""Vectors of nodes by FastRP."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.graph.fastrp import fastrp


def graph(n: int, m: int, seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return [f"n:{i}" for i in range(n)], draw.integers(0, n, m), draw.integers(0, n, m)


def test_the_same_graph_has_the_same_vectors_in_whatever_order() -> None:
    ids, sources, targets = graph(200, 800)
    vectors = fastrp(ids, sources, targets, 64)
    order = np.random.default_rng(1).permutation(200)
    place = np.argsort(order)
    shuffled = fastrp([ids[n] for n in order], place[sources], place[targets], 64)
    np.testing.assert_allclose(shuffled, vectors[order], atol=1e-5)


def test_nodes_of_one_community_are_nearest_to_each_other() -> None:
    ids, sources, targets = graph(400, 16_000)
    community = np.arange(400) % 4
    kept = (community[sources] == community[targets]) | (np.random.default_rng(2).random(16_000) < 0.1)
    vectors = fastrp(ids, sources[kept], targets[kept])
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -1)
    nearest = np.argsort(-likeness, axis=1)[:, :10]
    assert (community[nearest] == community[:, None]).mean() > 0.98


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=60), st.integers(1, 40))
def test_vectors_have_unit_length_or_none(n: int, pairs: list[tuple[int, int]], dimension: int) -> None:
    ends = np.array([(a % n, b % n) for a, b in pairs], dtype=np.int64).reshape(-1, 2)
    vectors = fastrp([str(i) for i in range(n)], ends[:, 0], ends[:, 1], dimension)
    lengths = np.linalg.norm(vectors, axis=1)
    assert vectors.shape == (n, dimension)
    assert np.all((np.abs(lengths - 1) < 1e-3) | (lengths == 0))
    assert np.all(lengths[np.setdiff1d(np.arange(n), ends)] == 0)


def test_a_node_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of 2"):
        fastrp(["a", "b"], np.array([0]), np.array([2]))
    with pytest.raises(ValueError, match="1 sources and 2 targets"):
        fastrp(["a", "b"], np.array([0]), np.array([0, 1]))
