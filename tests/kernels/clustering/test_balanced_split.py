"""The split tree: what it must be whatever the data, and the numba body against the plain version."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.backends import using

from megalabel.errors import DataError, SettingError
from megalabel.kernels.clustering._cpu import balanced_split as fast
from megalabel.kernels.clustering.balanced_split import balanced_tree, unit_rows


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    small, fast._SMALL = fast._SMALL, 1000
    using("cpu", balanced_tree, sparse(0, 64, 30, 0.5), [4])
    fast._SMALL = small


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def sparse(seed: int, n: int, v: int, density: float) -> sp.csr_matrix:
    return sp.random(n, v, density=density, format="csr", random_state=seed, dtype=np.float32)


def planted(seed: int, depth: int, size: int) -> tuple[sp.csr_matrix, np.ndarray]:
    """2^depth clusters of `size` labels in disorder: a label has a column of each of its cluster's ancestors."""
    rng = np.random.default_rng(seed)
    cluster = rng.permutation(np.repeat(np.arange(1 << depth), size))
    ancestors = np.stack([(cluster >> up) + (1 << (depth - up)) for up in range(depth)], axis=1)
    dense = rng.random((len(cluster), 2 << depth)) * 0.05
    weight = 4.0 ** np.arange(depth)  # what lies near the root matters most
    np.put_along_axis(dense, ancestors, weight + rng.random(ancestors.shape) * 0.05, axis=1)
    return sp.csr_matrix(dense.astype(np.float32)), cluster


def check_tree(order: np.ndarray, offsets: tuple[np.ndarray, ...], n: int, depths: list[int]) -> None:
    assert order.dtype == np.int64 and np.array_equal(np.sort(order), np.arange(n))
    assert len(offsets) == len(depths)
    for level, depth in zip(offsets, depths, strict=True):
        assert level.dtype == np.int64 and level[0] == 0 and (np.diff(level) > 0).all()
        assert len(level) - 1 == min(1 << depth, n)
    for coarse, fine in pairwise(offsets):
        assert coarse[-1] == len(fine) - 1
    assert offsets[-1][-1] == n
    places = offsets[-1]
    for level in offsets[-2::-1]:
        assert np.ptp(np.diff(places)) <= 1
        places = places[level]
    assert np.ptp(np.diff(places)) <= 1


@settings(max_examples=30)
@given(
    st.integers(0, 2**31 - 1),
    st.integers(1, 70),
    st.integers(0, 40),
    st.sampled_from([[1], [2, 5], [3, 4, 9], [7]]),
    st.booleans(),
)
def test_any_input_gives_a_nested_balanced_tree(seed, n, v, depths, in_large_nodes) -> None:
    x = sparse(seed, n, v, 0.1)  # with many rows of zeros
    x.data[: len(x.data) // 4] *= -1
    expected = using("plain", balanced_tree, x, depths, seed=seed)
    check_tree(*expected, n, depths)
    before = fast._SMALL
    fast._SMALL = 0 if in_large_nodes else before
    try:
        found = using("cpu", balanced_tree, x, depths, seed=seed)
    finally:
        fast._SMALL = before
    check_tree(*found, n, depths)
    assert np.array_equal(found[0], expected[0])


@pytest.mark.parametrize("small", [0, 2000, 1 << 21])
@pytest.mark.parametrize("seed", range(3))
def test_the_fast_body_is_the_plain_one_for_any_threads(monkeypatch, small, seed) -> None:
    monkeypatch.setattr(fast, "_SMALL", small)
    monkeypatch.setattr(fast, "_PIECE", 37)
    x = sparse(seed, 501, 300, 0.05)
    expected = using("plain", balanced_tree, x, [3, 6], seed=seed)
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        order, offsets = using("cpu", balanced_tree, x, [3, 6], seed=seed)
        assert np.array_equal(order, expected[0])
        assert all(np.array_equal(a, b) for a, b in zip(offsets, expected[1], strict=True))


@pytest.mark.parametrize("body", ["plain", "cpu"])
def test_planted_clusters_are_found(body) -> None:
    x, cluster = planted(0, 3, 25)
    order, offsets = using(body, balanced_tree, x, [1, 3])
    leaves = [set(cluster[order[a:b]]) for a, b in pairwise(offsets[1])]
    assert all(len(leaf) == 1 for leaf in leaves) and len(set.union(*leaves)) == 8
    halves = cluster[order].reshape(2, -1) >> 2
    assert (halves[0] == halves[0, 0]).all() and (halves[1] == 1 - halves[0, 0]).all()


@pytest.mark.parametrize("body", ["plain", "cpu"])
def test_halves_are_those_of_their_own_centers(body) -> None:
    x = sparse(4, 201, 60, 0.2)
    order, offsets = using(body, balanced_tree, x, [1], tolerance=0)
    rows = unit_rows(x)
    left, right = order[: offsets[0][1]], order[offsets[0][1] :]
    assert len(left) == 101
    centers = np.stack([np.asarray(rows[side].sum(axis=0)).ravel() for side in (left, right)])
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    difference = rows @ (centers[1] - centers[0])
    assert difference[left].max() <= difference[right].min() + 1e-6
    assert difference[left].mean() < difference[right].mean() - 0.05


@pytest.mark.parametrize("body", ["plain", "cpu"])
@pytest.mark.parametrize("row", [[0, 0, 0], [1, 0, 3]])
def test_ties_go_to_the_lower_label(body, row) -> None:
    x = sp.csr_matrix(np.array([row] * 13, dtype=np.float32))
    order, offsets = using(body, balanced_tree, x, [2, 3])
    assert np.array_equal(order, np.arange(13))
    assert np.array_equal(np.diff(offsets[1]), [2, 2, 2, 1, 2, 1, 2, 1])


@pytest.mark.parametrize("body", ["plain", "cpu"])
def test_labels_without_features_lie_between(body) -> None:
    x = sp.csr_matrix(np.array([[0, 1], [0, 0], [1, 0], [0, 0], [0, 2], [3, 0]], dtype=np.float32))
    order, _ = using(body, balanced_tree, x, [1], seed=5)
    halves = sorted([sorted(order[:3]), sorted(order[3:])])
    assert halves in ([[0, 1, 4], [2, 3, 5]], [[0, 3, 4], [1, 2, 5]])


@pytest.mark.parametrize("body", ["plain", "cpu"])
def test_one_label_and_more_depth_than_labels(body) -> None:
    order, offsets = using(body, balanced_tree, sparse(0, 1, 5, 1), [1, 3])
    assert order.tolist() == [0] and [level.tolist() for level in offsets] == [[0, 1], [0, 1]]
    order, offsets = using(body, balanced_tree, sparse(0, 3, 5, 1), [1, 2, 40])
    assert sorted(order) == [0, 1, 2]
    assert [level.tolist() for level in offsets] == [[0, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]


@pytest.mark.parametrize("body", ["plain", "cpu"])
def test_lengths_do_not_matter_and_inputs_are_left_alone(body) -> None:
    x = sparse(3, 90, 40, 0.2)
    scaled = sp.csr_matrix(sp.diags(2.0 ** np.random.default_rng(0).integers(-60, 60, 90)) @ x)
    kept = scaled.copy()
    order, _ = using(body, balanced_tree, scaled.astype(np.float32), [4])
    assert np.array_equal(order, using(body, balanced_tree, x, [4])[0])
    assert np.array_equal(using(body, balanced_tree, scaled, [4])[0], order)
    assert np.array_equal(scaled.data, kept.data) and np.array_equal(scaled.indices, kept.indices)


def test_another_seed_gives_another_tree() -> None:
    x = sparse(1, 100, 50, 0.1)
    trees = [balanced_tree(x, [3], seed=seed)[0] for seed in (0, 0, 1, -1)]
    assert np.array_equal(trees[0], trees[1])
    assert not np.array_equal(trees[0], trees[2]) and not np.array_equal(trees[0], trees[3])


def test_columns_stored_twice_count_once() -> None:
    x = sparse(2, 40, 30, 0.2)
    twice = sp.csr_matrix((np.repeat(x.data / 2, 2), np.repeat(x.indices, 2), x.indptr * 2), shape=x.shape)
    for body in ("plain", "cpu"):
        assert np.array_equal(using(body, balanced_tree, twice, [3])[0], using(body, balanced_tree, x, [3])[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("body", ["plain", "cpu"])
def test_features_that_are_not_finite(value, body) -> None:
    with pytest.raises(DataError, match="finite"):
        using(body, balanced_tree, sp.csr_matrix(np.array([[1.0, value], [1.0, 2.0]])), [1])


def test_features_that_are_no_matrix_of_labels() -> None:
    with pytest.raises(DataError, match="CSR"):
        balanced_tree(np.eye(3), [1])
    with pytest.raises(DataError, match="0 labels"):
        balanced_tree(sp.csr_matrix((0, 3)), [1])


@pytest.mark.parametrize("depths", [[], [0], [3, 3], [5, 2], [1.5], [-1, 2]])
def test_depths_that_do_not_rise(depths) -> None:
    with pytest.raises(SettingError, match="depths"):
        balanced_tree(sp.csr_matrix(np.eye(3)), depths)


@pytest.mark.parametrize("tolerance", [-1e-9, np.nan])
def test_a_tolerance_below_zero(tolerance) -> None:
    with pytest.raises(SettingError, match="tolerance"):
        balanced_tree(sp.csr_matrix(np.eye(3)), [1], tolerance=tolerance)
