"""The nearest rows of an inverted index: both implementations against products in float64."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from support.backends import using

from megalabel.errors import DataError, SettingError
from megalabel.kernels.sparse._cpu import nearest_rows as fast
from megalabel.kernels.sparse.nearest_rows import InvertedIndex


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(fast, "_BLOCK", 7)
    yield
    torch.set_num_threads(before)


def whole(seed: int, n: int, m: int, density: float) -> sp.csr_matrix:
    """Small whole numbers, so that sums are exact and ties are many."""
    found = sp.random(n, m, density=density, format="csr", random_state=seed)
    found.data = np.random.default_rng(seed).integers(-2, 4, found.nnz)
    return found.astype(np.float32)


def scattered(n: int, m: int) -> sp.csr_matrix:
    """About 16 numbers in each row, without the permutation of all n · m places that `sp.random` makes."""
    rng = np.random.default_rng(n)
    starts = np.append(0, np.cumsum(rng.poisson(16, n)))
    values = rng.random(starts[-1], dtype=np.float32)
    found = sp.csr_matrix((values, rng.integers(0, m, starts[-1]), starts), shape=(n, m))
    found.sum_duplicates()
    return found


def one_by_one(x, q, k, exclude):
    products = (q.astype(np.float64) @ x.astype(np.float64).T).toarray()
    rows, values = np.full((len(products), k), -1), np.zeros((len(products), k))
    for n, line in enumerate(products):
        best = sorted((-v, r) for r, v in enumerate(line) if v > 0 and r != exclude[n])[:k]
        rows[n, : len(best)], values[n, : len(best)] = [r for _, r in best], [-v for v, _ in best]
    return rows, values


@pytest.mark.parametrize("backend", ["plain", "cpu"])
@pytest.mark.parametrize(("n_rows", "k"), [(1, 3), (63, 5), (64, 1), (700, 17), (700, 700)])
def test_the_best_rows_come_first_and_ties_go_to_the_lower_row(backend, n_rows, k):
    x, q = whole(0, n_rows, 50, 0.1), whole(1, 40, 50, 0.1)
    exclude = np.random.default_rng(2).integers(-1, n_rows, 40)
    rows, values = using(backend, InvertedIndex.of_rows(x).nearest, q, k, exclude)
    expected = one_by_one(x, q, k, exclude)
    assert np.array_equal(rows, expected[0])
    assert np.array_equal(values, expected[1])


@pytest.mark.parametrize("n_rows", [5_000, 60_000])
def test_many_rows_of_length_one_agree_with_float64(n_rows):
    x, q = scattered(n_rows, 4000), scattered(50, 4000)
    rows, values = using("cpu", InvertedIndex.of_rows(x).nearest, q, 20)
    products = (q.astype(np.float64) @ x.astype(np.float64).T).toarray()
    expected = -np.sort(-products, axis=1)[:, :20]
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(products, rows, axis=1), expected, rtol=1e-5, atol=1e-6)


def test_the_number_of_threads_changes_nothing():
    x, q = (sp.random(n, 300, density=0.05, format="csr", random_state=n, dtype=np.float32) for n in (900, 80))
    index = InvertedIndex.of_rows(x)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(using("cpu", index.nearest, q, 9))
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_nothing_is_found_without_common_columns_rows_or_queries(backend):
    none = sp.csr_matrix((2, 5), dtype=np.float32)
    index = InvertedIndex.of_rows(whole(0, 9, 5, 0.5))
    rows, values = using(backend, index.nearest, none, 3)
    assert (rows == -1).all() and (values == 0).all()
    assert using(backend, index.nearest, none[:0], 3)[0].shape == (0, 3)
    empty = InvertedIndex.of_rows(sp.csr_matrix((0, 5), dtype=np.float32))
    assert (using(backend, empty.nearest, whole(1, 4, 5, 0.5), 2)[0] == -1).all()


def test_what_does_not_fit_is_refused():
    index = InvertedIndex.of_rows(whole(0, 9, 5, 0.5))
    with pytest.raises(DataError, match="5 columns"):
        index.nearest(whole(1, 4, 6, 0.5), 2)
    with pytest.raises(DataError, match="excluded"):
        index.nearest(whole(1, 4, 5, 0.5), 2, np.zeros(3))
    with pytest.raises(SettingError, match="k = 0"):
        index.nearest(whole(1, 4, 5, 0.5), 0)
    with pytest.raises(DataError, match="nan"):
        InvertedIndex.of_rows(sp.csr_matrix(np.array([[np.nan]], np.float32)))
