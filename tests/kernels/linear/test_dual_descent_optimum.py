"""The models of `dual_descent` are the minimizers that others find."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from support.backends import using
from support.descent_cases import BODIES, TIGHT, Case, case, models, objective, ones, optimum

from megalabel.errors import DataError


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    using("cpu", case(0).descend)


@pytest.mark.pairwise(cost=[1.0, (3.0, 0.2)], bias=[0.0, 1.0, 0.3], body=BODIES)
def test_the_optimum(body, bias, cost, seed) -> None:
    c = case(seed, width=3 if bias == 0.3 else 0)
    found = using(body, c.descend, bias=bias, c=cost, **TIGHT)
    positive, negative = cost if isinstance(cost, tuple) else (cost, cost)
    count = 0
    for x, y, w in models(c, found, bias):
        costs = np.where(y > 0, positive, negative)
        best = optimum(x, y, costs)
        assert np.linalg.norm(w - best) <= 1e-3 * np.linalg.norm(best)
        assert objective(w, x, y, costs)[0] <= objective(best, x, y, costs)[0] * (1 + 1e-5)
        count += 1
    assert count >= 2  # four of five children, less one or two that no text of this seed has


@pytest.mark.parametrize(("body", "bias"), [("plain", 1.0), ("cpu", 0.0), ("cpu", 1.0)])
def test_from_scores_the_change_is_the_optimum(body, bias, seed, rng) -> None:
    c = case(seed, width=2 if bias else 0)
    n_texts, n_children = int(c.texts.sum()), int(c.offsets[-1])
    scores = rng.normal(size=n_texts * n_children).astype(np.float32)
    scores[-n_texts:] = -1.5  # the last child has no positives: these are no errors
    found = using(body, c.descend, bias=bias, scores=scores, **TIGHT)
    dense = np.zeros((c.x.shape[0], 0)) if c.dense is None else c.dense
    rows = c.texts[[0]].indices
    x = np.hstack([c.x.toarray(), dense, np.full((c.x.shape[0], 1), bias)]).astype(np.float64)[rows]
    for child in range(n_children):
        y = np.where(c.positives[[child]].toarray()[0, rows] > 0, 1.0, -1.0)
        of_child = scores[child * n_texts : (child + 1) * n_texts].astype(np.float64)
        w = np.zeros(x.shape[1])
        w[: c.x.shape[1]] = found.sparse.toarray()[child, : c.x.shape[1]]
        w[c.x.shape[1] : -1], w[-1] = found.dense[child], found.sparse.toarray()[child, -1] if bias else 0
        best = optimum(x, y, np.ones(len(y)), of_child)
        assert np.linalg.norm(w - best) <= 1e-3 * max(np.linalg.norm(best), 1e-6)
    assert not found.sparse[[n_children - 1]].nnz


def test_scores_of_another_shape_are_refused() -> None:
    c = case(0)
    for wrong in (np.zeros(3, np.float32), np.full(int(c.texts.sum()) * 5, np.nan, np.float32), np.zeros(1, int)):
        with pytest.raises(DataError):
            c.descend(scores=wrong)


@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_the_optimum_of_scikit_learn(bias, seed) -> None:
    from sklearn import svm

    count = 0
    for number in range(20):
        c = case(seed + number, n=50, v=35, children=(3,))
        found = using("cpu", c.descend, bias=bias, c=0.7, **TIGHT)
        for x, y, w in models(c, found, bias):
            if (y > 0).all():
                continue  # it refuses one class
            model = svm.LinearSVC(
                loss="squared_hinge", dual=True, C=0.7, tol=1e-7, max_iter=200_000, random_state=0,
                fit_intercept=bias > 0, intercept_scaling=bias or 1,
            )  # fmt: skip
            model.fit(x[:, :-1], y)
            best = np.append(model.coef_[0], model.intercept_ / bias if bias else 0)
            costs = np.full(len(y), 0.7)
            value, least = objective(w, x, y, costs)[0], objective(best, x, y, costs)[0]
            assert abs(value - least) <= 1e-3 * least
            assert np.linalg.norm(w - best) <= 1e-3 * np.linalg.norm(best)
            count += 1
    assert count >= 20


@pytest.mark.parametrize("body", BODIES)
def test_features_that_one_text_alone_has(body, seed) -> None:
    rng = np.random.default_rng(seed)
    x = sp.csr_matrix(np.diag(rng.normal(size=12)).astype(np.float32))
    everyone = sp.csr_matrix(np.ones((1, 12), np.float32))
    c = Case(x, everyone, np.array([0, 4]), ones(rng, 4, 12, 0.5), None)
    for rows, y, w in models(c, using(body, c.descend, **TIGHT), 1.0):
        best = optimum(rows, y, np.ones(12))
        assert np.linalg.norm(w - best) <= 1e-3 * np.linalg.norm(best)
