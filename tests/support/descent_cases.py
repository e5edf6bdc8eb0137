"""Texts and trees for the tests of `dual_descent`, and independent minimizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
import scipy.sparse as sp

from megalabel.kernels.core.random import stream_keys
from megalabel.kernels.linear.dual_descent import LinearWeights, Stop, descend

BODIES = ["plain", "cpu"]
TIGHT: dict[str, Any] = {"tol": 1e-5, "max_iter": 3000, "prune_below": 0}


class Case(NamedTuple):
    """The arguments of `descend` without settings."""

    x: sp.csr_matrix
    texts: sp.csr_matrix
    offsets: np.ndarray
    positives: sp.csr_matrix
    dense: np.ndarray | None

    def descend(self, seed: int = 0, tol: float = 0.1, max_iter: int = 20, **settings: Any) -> LinearWeights:
        keys = stream_keys(seed, np.arange(self.texts.shape[0]))
        return descend(*self[:4], dense=self.dense, keys=keys, stop=Stop(tol, max_iter), **settings)


def ones(rng: np.random.Generator, rows: int, columns: int, share: float) -> sp.csr_matrix:
    return sp.csr_matrix((rng.random((rows, columns)) < share).astype(np.float32))


def case(
    seed: int, n: int = 40, v: int = 30, children: tuple[int, ...] = (5,), width: int = 0, share: float = 0.2
) -> Case:
    """Texts, every third a copy of the previous one; the first child has all texts, the last none."""
    rng = np.random.default_rng(seed)
    x = ones(rng, n, v, share).toarray() * rng.normal(size=(n, v)).astype(np.float32)
    dense = rng.normal(size=(n, width)).astype(np.float32) if width else None
    x[2::3] = x[1::3][: len(x[2::3])]
    positives = ones(rng, sum(children), n, share).tolil()
    if len(children) and sum(children) > 1:
        positives[0], positives[-1] = 1, 0
    texts = ones(rng, len(children), n, 0.8)
    return Case(sp.csr_matrix(x), texts, np.cumsum([0, *children]), positives.tocsr(), dense)


def objective(
    w: np.ndarray, x: np.ndarray, y: np.ndarray, cost: np.ndarray, scores: np.ndarray | float = 0.0
) -> tuple[float, np.ndarray]:
    """The objective in the docstring of `dual_descent`, and its gradient."""
    gap = np.maximum(0, 1 - y * (scores + x @ w))
    return w @ w / 2 + (cost * gap**2).sum(), w - 2 * (cost * gap * y) @ x


def optimum(x: np.ndarray, y: np.ndarray, cost: np.ndarray, scores: np.ndarray | float = 0.0) -> np.ndarray:
    """The optimum by L-BFGS on the primal, which is differentiable everywhere."""
    options = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-10}
    found = scipy.optimize.minimize(
        objective, np.zeros(x.shape[1]), (x, y, cost, scores), jac=True, method="L-BFGS-B", options=options
    )
    return found.x


def models(c: Case, found: LinearWeights, bias: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """x, y and the found weights of each child with positives; asserts that the others have none."""
    n, v = c.x.shape
    dense = np.zeros((n, 0)) if c.dense is None else c.dense
    x = np.hstack([c.x.toarray(), dense, np.full((n, 1), bias)]).astype(np.float64)
    every = np.zeros((c.positives.shape[0], x.shape[1]))
    every[:, : found.sparse.shape[1]] = found.sparse.toarray()
    every[:, -1] = every[:, v] if bias else 0
    every[:, v:-1] = found.dense
    for parent in range(c.texts.shape[0]):
        rows = c.texts[[parent]].indices
        for child in range(c.offsets[parent], c.offsets[parent + 1]):
            y = np.where(c.positives[[child]].toarray()[0, rows] > 0, 1.0, -1.0)
            if (y > 0).any():
                yield x[rows], y, every[child]
            else:
                assert not every[child].any()
