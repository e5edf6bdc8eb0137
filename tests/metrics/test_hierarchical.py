"""Hierarchical metrics against sums over sets, by definition."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.data.taxonomy import Taxonomy
from megalabel.metrics import hierarchical
from megalabel.metrics.hierarchical import measure_hierarchical
from megalabel.types import TopK

L, N = 30, 50


def taxonomy(rooted: bool) -> Taxonomy:
    rng = np.random.default_rng(0)
    pairs = [(p, c) for c in range(1, L) for p in rng.choice(c, min(c, rng.integers(rooted, 3)), replace=False)]
    parents, children = np.array(pairs).T
    return Taxonomy.of(parents, children, [str(i) for i in range(L)])


@pytest.mark.parametrize("rooted", [True, False])
def test_sets_with_ancestors_are_compared_without_the_root(rooted, monkeypatch):
    monkeypatch.setattr(hierarchical, "TEXTS", 16)
    rng, found = np.random.default_rng(1), taxonomy(rooted)
    ids = np.stack([rng.permutation(L)[:5] for _ in range(N)])
    ids[3, 2:] = -1
    scores = np.where(ids < 0, -np.inf, np.linspace(1, 0.5, 5)).astype(np.float32)
    truth = sp.csr_matrix((rng.random((N, L)) < 0.1).astype(np.float32))
    n_true = np.diff(truth.indptr) + np.arange(N) % 2
    got = measure_hierarchical(TopK(ids, scores), truth, found.ancestors, k=(1, 5), root=found.root, n_true=n_true)
    assert (found.root == 0) == rooted
    up = [{i, *found.ancestors(np.array([i])).indices.tolist()} - {found.root} for i in range(L)]
    for k in (1, 5):
        hits = predicted = true = 0
        for row in range(N):
            p = set().union(*(up[i] for i in ids[row, :k] if i >= 0))
            t = set().union(*(up[i] for i in truth[row].indices))
            hits, predicted, true = hits + len(p & t), predicted + len(p), true + len(t)
        precision, recall = hits / predicted, hits / (true + N // 2)
        wanted = [precision, recall, 2 * precision * recall / (precision + recall)]
        assert [got[f"{name}@{k}"] / 100 for name in ("hP", "hR", "hF1")] == pytest.approx(wanted)


def test_without_parents_they_are_those_of_flat_sets():
    none = Taxonomy(np.zeros(4, np.int64), np.zeros(0, np.int32))
    top = TopK(np.array([[0, 1], [2, -1]]), np.array([[1.0, 0.5], [1.0, -np.inf]], np.float32))
    truth = sp.csr_matrix(np.array([[1.0, 0, 1], [0, 1.0, 0]], np.float32))
    got = measure_hierarchical(top, truth, none.ancestors, k=[2])
    assert got == pytest.approx({"hP@2": 100 / 3, "hR@2": 100 / 3, "hF1@2": 100 / 3})
    assert list(measure_hierarchical(top, truth, none.ancestors, k=[2, 1])) == [
        "hP@1", "hP@2", "hR@1", "hR@2", "hF1@1", "hF1@2",
    ]  # fmt: skip
