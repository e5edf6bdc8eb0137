"""The largest entries of sparse rows: both implementations against sorting the rows one by one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.backends import using

from megalabel.errors import DataError, SettingError
from megalabel.kernels.sparse._cpu import sparse_rows as fast
from megalabel.kernels.sparse.sparse_rows import keep_largest, product_keep_largest


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    for kind in (np.float32, np.float64):
        one = sp.csr_matrix(np.eye(2, dtype=kind))
        using("cpu", keep_largest, one, 1)
        using("cpu", product_keep_largest, one, one, 1)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(fast, "_BLOCK", 7)
    yield
    torch.set_num_threads(before)


def random(seed: int, n: int, m: int, density: float, kind: type = np.float32) -> sp.csr_matrix:
    """Small whole numbers, so that sums are exact and ties are many; some zeros are stored."""
    found = sp.random(n, m, density=density, format="csr", random_state=seed)
    found.data = np.random.default_rng(seed).integers(-3, 5, found.nnz)
    return found.astype(kind)


def largest_one_by_one(rows: list[list[tuple[int, float]]], k: int, shape: tuple[int, int]) -> sp.csr_matrix:
    kept = [sorted(sorted(row, key=lambda entry: (-entry[1], entry[0]))[:k]) for row in rows]
    indptr = np.cumsum([0, *map(len, kept)])
    flat = [entry for row in kept for entry in row]
    return sp.csr_matrix(([value for _, value in flat], [column for column, _ in flat], indptr), shape=shape)


def check_same(found: sp.csr_matrix, expected: sp.csr_matrix) -> None:
    found.check_format(full_check=True)
    assert found.shape == expected.shape and found.has_sorted_indices
    assert np.array_equal(found.indptr, expected.indptr)
    assert np.array_equal(found.indices, expected.indices)
    assert np.array_equal(found.data, expected.data)


@given(st.integers(0, 2**31 - 1), st.integers(0, 30), st.integers(0, 20), st.integers(1, 25), st.booleans())
def test_the_largest_of_each_row(seed, n, m, k, wide) -> None:
    kind = np.float64 if wide else np.float32
    matrix = random(seed, n, m, 0.5, kind)
    before = matrix.copy()
    rows = [
        list(zip(matrix.indices[a:b].tolist(), matrix.data[a:b].tolist(), strict=True))
        for a, b in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    ]
    expected = largest_one_by_one(rows, k, (n, m))
    for body in ("plain", "cpu"):
        found = using(body, keep_largest, matrix, k)
        assert found.dtype == kind
        check_same(found, expected)
    check_same(matrix, before)


@given(
    st.integers(0, 2**31 - 1),
    st.integers(0, 30),
    st.integers(1, 12),
    st.integers(0, 40),
    st.integers(1, 25),
    st.booleans(),
)
def test_the_largest_of_a_product(seed, n, m, v, k, wide) -> None:
    a, x = random(seed, n, m, 0.3), random(seed + 1, m, v, 0.4, np.float64 if wide else np.float32)
    product = a.toarray().astype(x.dtype) @ x.toarray()
    rows = [[(column, value) for column, value in enumerate(row.tolist()) if value] for row in product]
    expected = largest_one_by_one(rows, k, (n, v))
    for body in ("plain", "cpu"):
        found = using(body, product_keep_largest, a, x, k)
        assert found.dtype == x.dtype
        check_same(found, expected)


def test_threads_do_not_change_a_bit() -> None:
    a = sp.random(300, 200, density=0.1, format="csr", random_state=0, dtype=np.float32)
    x = sp.random(200, 500, density=0.1, format="csr", random_state=1, dtype=np.float32)
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(using("cpu", product_keep_largest, a, x, 9))
    check_same(found[1], found[0])
    check_same(found[2], found[0])
    plain = using("plain", product_keep_largest, a, x, 9)
    assert np.array_equal(found[0].indices, plain.indices)
    np.testing.assert_allclose(found[0].data, plain.data, rtol=1e-6)


def test_entries_stored_twice_and_other_types() -> None:
    matrix = sp.csr_matrix((np.array([1, 2, 2]), np.array([3, 0, 3]), np.array([0, 3])), shape=(1, 4))
    for body in ("plain", "cpu"):
        found = using(body, keep_largest, matrix, 1)
        assert found.dtype == np.float32 and found.toarray().tolist() == [[0, 0, 0, 3]]
        assert using(body, keep_largest, matrix.tocoo(), 5).toarray().tolist() == [[2, 0, 0, 3]]
    assert matrix.nnz == 3


@pytest.mark.parametrize("body", ["plain", "cpu"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(body, value) -> None:
    bad, good = sp.csr_matrix(np.array([[1.0, value]])), sp.csr_matrix(np.array([[1.0, 0.0], [0.0, 1.0]]))
    calls = {
        "matrix": lambda: using(body, keep_largest, bad, 1),
        "a": lambda: using(body, product_keep_largest, bad, good, 1),
        "x": lambda: using(body, product_keep_largest, good, sp.vstack([bad, bad]).tocsr(), 1),
    }
    for where, call in calls.items():
        with pytest.raises(DataError) as found:
            call()
        assert found.value.where == where


@pytest.mark.parametrize("body", ["plain", "cpu"])
def test_a_product_beyond_float32(body) -> None:
    huge = sp.csr_matrix(np.array([[3e38]], dtype=np.float32))
    with pytest.raises(DataError, match="product"), np.errstate(over="ignore"):
        using(body, product_keep_largest, huge, huge, 1)


def test_a_sum_beyond_float32_is_no_error() -> None:
    huge = sp.csr_matrix(np.array([[3e38, 2e38]], dtype=np.float32))
    assert keep_largest(huge, 1).indices.tolist() == [0]


def test_what_does_not_fit() -> None:
    eye = sp.csr_matrix(np.eye(3))
    with pytest.raises(DataError, match="CSR"):
        keep_largest(np.eye(3), 1)
    with pytest.raises(DataError, match="columns of the first"):
        product_keep_largest(eye, sp.csr_matrix((4, 2)), 1)
    damaged = eye.copy()
    damaged.indices[1] = 7
    with pytest.raises(DataError, match="damaged"):
        keep_largest(damaged, 1)
    for k in (0, -1):
        with pytest.raises(SettingError, match="k = "):
            keep_largest(eye, k)
        with pytest.raises(SettingError, match="k = "):
            product_keep_largest(eye, eye, k)
