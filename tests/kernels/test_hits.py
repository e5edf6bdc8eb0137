"""The numba bodies against the plain versions, and both against sets."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from megalabel.errors import DataError, SettingError
from megalabel.kernels.sparse import hits as module
from megalabel.kernels.sparse.hits import as_truth, best_gains, hits


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    truth = as_truth(sp.csr_matrix(np.eye(2)))
    hits(np.zeros((2, 1), dtype=np.int64), truth, body="numba")
    best_gains(truth, np.ones(2), 1, body="numba")


def problem(seed: int, n: int, n_labels: int, k: int) -> tuple[np.ndarray, sp.csr_matrix, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = as_truth(sp.random(n, n_labels, density=rng.random(), format="csr", random_state=seed))
    labels = rng.integers(-1, n_labels, (n, k))  # with repeats
    return labels, truth, rng.integers(0, 4, n_labels) / 2  # with ties and zeros


@settings(deadline=None)
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
    for body in ("plain", "numba", "auto"):
        assert np.array_equal(hits(labels, truth, body=body), expected)
        assert np.array_equal(best_gains(truth, gains, k, body=body), best)


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_both_bodies_agree_on_more_rows_and_both_index_types(index) -> None:
    labels, truth, gains = problem(5, 3001, 117, 7)
    truth.indices, truth.indptr = truth.indices.astype(index), truth.indptr.astype(index)
    found = hits(labels, truth, body="numba")
    assert 0 < found.sum() < found.size
    assert np.array_equal(found, hits(labels, truth, body="plain"))
    assert np.array_equal(best_gains(truth, gains, 7, body="numba"), best_gains(truth, gains, 7, body="plain"))


@pytest.mark.parametrize("body", ["plain", "numba"])
def test_memory_that_cannot_be_written_is_read(body) -> None:
    labels, truth, gains = problem(1, 4, 6, 2)
    expected = hits(labels, truth, body="plain"), best_gains(truth, gains, 2, body="plain")
    for array in (labels, truth.indices, truth.indptr, gains):
        array.flags.writeable = False
    assert np.array_equal(hits(labels, truth, body=body), expected[0])
    assert np.array_equal(best_gains(truth, gains, 2, body=body), expected[1])


def test_much_work_goes_to_numba(monkeypatch) -> None:
    monkeypatch.setattr(module, "_plain_hits", None)
    labels = np.zeros((module.ENOUGH_WORK, 1), dtype=np.int64)
    truth = sp.csr_matrix((module.ENOUGH_WORK, 3))
    assert not hits(labels, truth).any()


def test_labels_beyond_the_truth_are_no_hits() -> None:
    truth = as_truth(sp.csr_matrix(np.ones((2, 2))))
    for body in ("plain", "numba"):
        assert not hits(np.array([[2, 99], [-1, -7]]), truth, body=body).any()


def test_a_tidy_truth_is_not_copied() -> None:
    truth = sp.csr_matrix(np.eye(3))
    assert as_truth(truth) is truth


@pytest.mark.parametrize("labels", [np.zeros(3, dtype=int), np.zeros((3, 1)), np.zeros((2, 1), dtype=int)])
def test_labels_that_do_not_fit(labels) -> None:
    with pytest.raises(DataError):
        hits(labels, sp.csr_matrix(np.eye(3)))


def test_gains_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="one gain a label"):
        best_gains(sp.csr_matrix(np.eye(3)), np.ones(4), 1)


def test_an_unknown_body() -> None:
    with pytest.raises(SettingError, match="plain"):
        hits(np.zeros((3, 1), dtype=int), sp.csr_matrix(np.eye(3)), body="cuda")  # type: ignore[arg-type]
