"""Hits and best gains: the plain and the compiled implementation against sets."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from support.backends import using

from megalabel.errors import DataError
from megalabel.kernels.sparse.hits import as_truth, best_gains, hits


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    truth = as_truth(sp.csr_matrix(np.eye(2)))
    using("cpu", hits, np.zeros((2, 1), dtype=np.int64), truth)
    using("cpu", best_gains, truth, np.ones(2), 1)


def problem(seed: int, n: int, n_labels: int, k: int) -> tuple[np.ndarray, sp.csr_matrix, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = as_truth(sp.random(n, n_labels, density=rng.random(), format="csr", random_state=seed))
    labels = rng.integers(-1, n_labels, (n, k))  # with repeats
    return labels, truth, rng.integers(0, 4, n_labels) / 2  # with ties and zeros


@given(st.integers(0, 2**31 - 1), st.integers(0, 7), st.integers(1, 9), st.integers(1, 6))
def test_both_bodies_equal_sets(seed: int, n: int, n_labels: int, k: int) -> None:
    labels, truth, gains = problem(seed, n, n_labels, k)
    expected = np.zeros((n, k), dtype=bool)
    best = np.zeros((n, k))
    for row in range(n):
        true = set(truth.indices[truth.indptr[row] : truth.indptr[row + 1]].tolist())
        for j, label in enumerate(labels[row].tolist()):
            expected[row, j] = label in true and label not in labels[row, :j]
        worth = sorted((gains[label] for label in true), reverse=True)[:k]
        best[row, : len(worth)] = worth
    for body in ("plain", "cpu"):
        assert np.array_equal(using(body, hits, labels, truth), expected)
        assert np.array_equal(using(body, best_gains, truth, gains, k), best)


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_both_bodies_agree_on_more_rows_and_both_index_types(index) -> None:
    labels, truth, gains = problem(5, 3001, 117, 7)
    truth.indices, truth.indptr = truth.indices.astype(index), truth.indptr.astype(index)
    found = using("cpu", hits, labels, truth)
    assert 0 < found.sum() < found.size
    assert np.array_equal(found, using("plain", hits, labels, truth))
    assert np.array_equal(using("cpu", best_gains, truth, gains, 7), using("plain", best_gains, truth, gains, 7))


@pytest.mark.parametrize("body", ["plain", "cpu"])
def test_memory_that_cannot_be_written_is_read(body) -> None:
    labels, truth, gains = problem(1, 4, 6, 2)
    expected = using("plain", hits, labels, truth), using("plain", best_gains, truth, gains, 2)
    for array in (labels, truth.indices, truth.indptr, gains):
        array.flags.writeable = False
    assert np.array_equal(using(body, hits, labels, truth), expected[0])
    assert np.array_equal(using(body, best_gains, truth, gains, 2), expected[1])


def test_labels_beyond_the_truth_are_no_hits() -> None:
    truth = as_truth(sp.csr_matrix(np.ones((2, 2))))
    for body in ("plain", "cpu"):
        assert not using(body, hits, np.array([[2, 99], [-1, -7]]), truth).any()


def test_a_tidy_truth_is_not_copied() -> None:
    truth = sp.csr_matrix(np.eye(3))
    assert as_truth(truth) is truth


@pytest.mark.parametrize("labels", [np.zeros(3, dtype=int), np.zeros((3, 1)), np.zeros((2, 1), dtype=int)])
def test_labels_that_do_not_fit(labels) -> None:
    with pytest.raises(DataError):
        hits(labels, sp.csr_matrix(np.eye(3)))


def test_gains_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="one gain per label"):
        best_gains(sp.csr_matrix(np.eye(3)), np.ones(4), 1)
