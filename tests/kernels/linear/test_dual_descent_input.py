"""What `descend` refuses, and what it says then; what it leaves as it was."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from support.backends import using

from megalabel.errors import DataError, SettingError
from megalabel.kernels.linear.dual_descent import Stop, descend

X = sp.csr_matrix(np.eye(4, 6, dtype=np.float32))
TEXTS = sp.csr_matrix(np.ones((2, 4), np.float32))
OFFSETS = np.array([0, 1, 3])
POSITIVES = sp.csr_matrix(np.eye(3, 4, dtype=np.float32))


def with_value(value: float) -> sp.csr_matrix:
    x = X.copy()
    x.data[1] = value
    return x


def damaged(matrix: sp.csr_matrix, column: int) -> sp.csr_matrix:
    """An index out of range, as no constructor would let it pass."""
    found = matrix.copy()
    found.indices[-1] = column
    return found


def twice() -> sp.csr_matrix:
    return sp.csr_matrix((np.ones(3, np.float32), np.array([0, 1, 1]), np.array([0, 1, 3])), shape=(2, 4))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": with_value(np.nan)}, r"x contains nan"),
        ({"x": with_value(np.inf)}, r"x contains inf"),
        ({"x": with_value(1).astype(np.float64) * 1e300}, r"x contains inf"),
        ({"x": X.toarray()}, r"x is of type ndarray"),
        ({"x": damaged(X, 6)}, r"x is a damaged CSR matrix"),
        ({"texts": TEXTS[:, :3]}, r"texts has 3 columns; expected one for each of the 4 texts"),
        ({"texts": damaged(TEXTS, 4)}, r"damaged CSR matrix"),
        ({"texts": -TEXTS}, r"negative value"),
        ({"texts": twice()}, r"texts: a parent has a text twice"),
        ({"positives": POSITIVES[:, :2]}, r"positives has 2 columns"),
        ({"positives": damaged(POSITIVES, -1)}, r"damaged CSR matrix"),
        (
            {"offsets": np.array([0, 3])},
            r"offsets of shape \(2,\).*expected 3 integers that rise from 0 to 3",
        ),
        ({"offsets": np.array([0, 1, 4])}, r"from 0 to 4; expected 3 integers"),
        ({"offsets": np.array([1, 2, 3])}, r"from 1 to 3; expected 3 integers"),
        ({"offsets": np.array([0, 4, 3])}, r"expected 3 integers that rise"),
        ({"offsets": np.array([0.0, 1.0, 3.0])}, r"float64; expected 3 integers"),
        ({"dense": np.zeros((3, 2), np.float32)}, r"dense features of shape \(3, 2\)"),
        ({"dense": np.zeros((4, 2), np.int64)}, r"int64; expected \(4, E\) float32"),
        ({"dense": np.full((4, 2), np.nan, np.float32)}, r"dense contains nan"),
        ({"keys": np.zeros(3, np.uint64)}, r"keys \(3,\) of uint64; expected \(2,\) uint64"),
        ({"keys": np.zeros(2, np.int64)}, r"keys \(2,\) of int64; expected \(2,\) uint64"),
    ],
)
def test_bad_data(changed, message) -> None:
    given = {"x": X, "texts": TEXTS, "offsets": OFFSETS, "positives": POSITIVES, **changed}
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(DataError, match=message):
        descend(**given)


def test_features_whose_squares_overflow() -> None:
    with pytest.raises(DataError, match=r"the weights contains (nan|-?inf)"):
        using("cpu", descend, with_value(1e30), TEXTS, OFFSETS, POSITIVES)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"c": 0.0}, r"c = 0.0; expected a number above 0"),
        ({"c": (1.0, -1.0)}, r"c = \(1.0, -1.0\)"),
        ({"c": float("nan")}, r"c = nan"),
        ({"bias": -1.0}, r"bias = -1.0; expected 0 or more"),
        ({"stop": Stop(tol=float("nan"))}, r"tol = nan"),
        ({"prune_below": float("inf")}, r"prune_below = inf"),
        ({"stop": Stop(max_iter=0)}, r"max_iter = 0; expected 1 or more"),
    ],
)
def test_bad_settings(setting, message) -> None:
    with pytest.raises(SettingError, match=message):
        descend(X, TEXTS, OFFSETS, POSITIVES, **setting)


@pytest.mark.parametrize("body", ["plain", "cpu"])
def test_what_is_given_is_not_written_to(body) -> None:
    x = sp.csr_matrix((np.ones(3, np.float32), np.array([5, 0, 0]), np.array([0, 2, 3, 3, 3])), shape=(4, 6))
    given = [x, TEXTS.astype(bool), OFFSETS.astype(np.uint8), POSITIVES.astype(np.float64)]
    before = [g.copy() for g in given]
    found = using(body, descend, *given)
    assert found.sparse.shape == (3, 7) and found.dense.shape == (3, 0)
    for now, was in zip(given, before, strict=True):
        if isinstance(now, np.ndarray):
            assert np.array_equal(now, was)
        else:
            assert np.array_equal(now.indices, was.indices) and np.array_equal(now.data, was.data)
