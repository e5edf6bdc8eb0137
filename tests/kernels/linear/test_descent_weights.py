"""Weights of texts in the dual descent: each is a factor of C."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from support.backends import using
from support.descent_cases import BODIES, TIGHT, case, optimum

from megalabel.errors import DataError


def weights_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice([0.2, 1.0, 2.0, 5.0], n)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("width", [0, 3])
def test_the_optimum_is_that_of_the_weighted_objective(body, width):
    c, weights = case(0, width=width), weights_of(40)
    found = using(body, c.descend, weights=weights, c=0.7, **TIGHT)
    rows = c.texts[[0]].indices
    dense = np.zeros((40, 0)) if c.dense is None else c.dense
    values = np.hstack([c.x[rows].toarray(), dense[rows], np.ones((len(rows), 1))]).astype(np.float64)
    for child in range(4):
        y = np.where(np.isin(rows, c.positives[[child]].indices), 1.0, -1.0)
        if not (y > 0).any():
            continue
        truth = optimum(values, y, 0.7 * weights[rows])
        own = np.hstack([found.sparse[[child]].toarray()[0, :-1], found.dense[child], found.sparse[child, -1]])
        np.testing.assert_allclose(own, truth, atol=2e-4)


@pytest.mark.parametrize("body", BODIES)
def test_twice_the_weight_is_the_text_twice(body):
    c = case(3, n=30)
    counts = np.random.default_rng(1).integers(1, 4, 30)
    rows = np.repeat(np.arange(30), counts)
    weighted = using(body, c.descend, weights=counts, **TIGHT)
    copied = c._replace(x=c.x[rows], texts=c.texts[:, rows], positives=c.positives[:, rows])
    copied = using(body, copied.descend, **TIGHT)
    np.testing.assert_allclose(weighted.sparse.toarray(), copied.sparse.toarray(), atol=2e-4)


@pytest.mark.parametrize("body", BODIES)
def test_ones_change_no_bit(body):
    c = case(5, n=60, children=(7, 20), width=2)
    none, ones = (using(body, c.descend, weights=weights) for weights in (None, np.ones(60)))
    assert (none.sparse != ones.sparse).nnz == 0
    np.testing.assert_array_equal(none.dense, ones.dense)


@pytest.mark.parametrize("body", BODIES)
def test_a_tiny_weight_does_not_spoil_the_others(body):
    c = case(2, n=20)
    weights = np.ones(20)
    weights[4] = 1e-300
    keep = np.flatnonzero(np.arange(20) != 4)
    found = using(body, c.descend, weights=weights, **TIGHT)
    rest = c._replace(x=c.x[keep], texts=c.texts[:, keep], positives=c.positives[:, keep])
    without = using(body, rest.descend, **TIGHT)
    np.testing.assert_allclose(found.sparse.toarray(), without.sparse.toarray(), atol=2e-4)


@pytest.mark.parametrize("weights", [[1.0], np.zeros(40), np.full(40, np.nan), np.full(40, np.inf), -np.ones(40)])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(DataError, match="weights"):
        case(0).descend(weights=np.asarray(weights))


def test_no_texts():
    c = case(0)
    c = c._replace(x=sp.csr_matrix((0, 30), dtype=np.float32), texts=c.texts[:, :0], positives=c.positives[:, :0])
    assert c.descend(weights=np.ones(0)).sparse.nnz == 0
