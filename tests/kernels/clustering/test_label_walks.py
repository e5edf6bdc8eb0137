"""The walks against a walker that goes hop by hop, and against what probability says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.backends import using

from megalabel.errors import DataError, SettingError
from megalabel.kernels.clustering._cpu import label_walks as fast
from megalabel.kernels.clustering.label_walks import walk_counts


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    using("cpu", walk_counts, sp.csr_matrix(np.eye(2)), walk_length=2)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(fast, "_PIECE", 7)
    yield
    torch.set_num_threads(before)


_MASK = (1 << 64) - 1


def mix(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


def number(seed: int, label: int, place: int) -> int:
    step = 0x9E3779B97F4A7C15
    key = mix(mix(seed + step & _MASK) ^ mix(label + step & _MASK))
    return mix(key + (place + 1) * step & _MASK)


def walk_hop_by_hop(
    labels: sp.csr_matrix, hops: int, p_reset: float, top: int, seed: int
) -> dict[tuple[int, int], float]:
    dense = labels.toarray() > 0
    counts: dict[tuple[int, int], float] = {}
    for label in np.flatnonzero(dense.any(axis=0)).tolist():
        here, landed = label, Counter()
        for hop in range(hops):
            if hop and (number(seed, label, 2 * hop + 1) >> 11) / 2**53 < p_reset:
                here = label
            bits = number(seed, label, 2 * hop)
            texts = np.flatnonzero(dense[:, here])
            text = texts[(bits >> 32) * len(texts) >> 32]
            inside = np.flatnonzero(dense[text])
            here = int(inside[(bits & 0xFFFFFFFF) * len(inside) >> 32])
            landed[here] += 1
        for other, count in sorted(landed.items(), key=lambda pair: (-pair[1], pair[0]))[:top]:
            counts[label, other] = count
        counts[label, label] = max(landed[label], 1)
    return counts


def check_same(found: sp.csr_matrix, expected: sp.csr_matrix) -> None:
    assert found.dtype == expected.dtype == np.float32
    assert np.array_equal(found.indptr, expected.indptr)
    assert np.array_equal(found.indices, expected.indices)
    assert np.array_equal(found.data, expected.data)


@settings(max_examples=50)
@given(
    st.integers(-(2**70), 2**70),
    st.integers(0, 12),
    st.integers(0, 20),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    st.integers(1, 9),
)
def test_both_bodies_equal_a_walk_hop_by_hop(seed, n, n_labels, hops, p_reset, top) -> None:
    labels = sp.random(n, n_labels, density=0.25, format="csr", random_state=abs(seed) % 1000)
    expected = walk_hop_by_hop(labels, hops, p_reset, top, seed & _MASK)
    for body in ("plain", "cpu"):
        found = using(
            body, walk_counts, labels, walk_length=hops, restart_probability=p_reset, top_k=top, seed=seed
        )
        found.check_format(full_check=True)
        assert found.shape == (n_labels, n_labels) and found.dtype == np.float32 and found.has_sorted_indices
        rows, columns = found.nonzero()
        assert dict(zip(zip(rows.tolist(), columns.tolist(), strict=True), found.data, strict=True)) == expected


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_threads_and_index_types_change_nothing(index) -> None:
    labels = sp.random(400, 300, density=0.02, format="csr", random_state=0)
    labels.indices, labels.indptr = labels.indices.astype(index), labels.indptr.astype(index)
    expected = using("plain", walk_counts, labels, seed=3)
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        check_same(using("cpu", walk_counts, labels, seed=3), expected)
    assert (using("cpu", walk_counts, labels, seed=4) != expected).nnz > 0


@pytest.mark.parametrize("body", ["plain", "cpu"])
def test_counts_are_what_probability_says(body) -> None:
    # Label 0 has both texts, 1 and 2 one each: a hop from 0 lands on 0 half the time, on 1 and 2 a quarter each.
    labels = sp.csr_matrix(np.array([[1, 1, 0], [1, 0, 1]]))
    hops = 20_000
    found = using(body, walk_counts, labels, walk_length=hops, restart_probability=1).toarray() / hops
    assert np.allclose(found, [[0.5, 0.25, 0.25], [0.5, 0.5, 0], [0.5, 0, 0.5]], atol=0.015)
    # Without return, every walk forgets where it began: the stationary distribution is 1/2, 1/4, 1/4.
    found = using(body, walk_counts, labels, walk_length=hops, restart_probability=0).toarray() / hops
    assert np.allclose(found, [[0.5, 0.25, 0.25]] * 3, atol=0.015)


@pytest.mark.parametrize("body", ["plain", "cpu"])
def test_the_diagonal_stays_and_empty_labels_have_empty_rows(body) -> None:
    # Label 0 is one among 31 labels of one text; label 31 has no text.
    labels = sp.csr_matrix(np.array([[1] * 31 + [0]]))
    found = using(body, walk_counts, labels, walk_length=1, top_k=1).toarray()
    assert not found[31].any() and not found[:, 31].any()
    assert (found.diagonal()[:31] == 1).all()
    assert (found.sum(axis=1)[:31] <= 2).all() and (found.sum(axis=1)[:31] == 2).sum() > 20


@pytest.mark.parametrize("body", ["plain", "cpu"])
def test_a_stored_zero_is_no_label(body) -> None:
    labels = sp.csr_matrix((np.array([1.0, 0.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    assert using(body, walk_counts, labels, walk_length=5).toarray().tolist() == [[5, 0], [0, 0]]


def test_what_does_not_fit() -> None:
    labels = sp.csr_matrix(np.eye(3))
    with pytest.raises(DataError):
        walk_counts(np.eye(3))
    with pytest.raises(DataError, match="negative"):
        walk_counts(-labels)
    with pytest.raises(SettingError, match="walk_length"):
        walk_counts(labels, walk_length=0)
    with pytest.raises(SettingError, match="k = 0"):
        walk_counts(labels, top_k=0)
    for p_reset in (-0.1, 1.1, np.nan):
        with pytest.raises(SettingError, match="restart_probability"):
            walk_counts(labels, restart_probability=p_reset)
