"""Sums and predictions of boosted symmetric trees: both implementations, and the trees that are fitted."""

import numpy as np
import pytest
from support.backends import using

from megalabel.errors import DataError, FormatError
from megalabel.kernels.merging.boosted_trees import histograms, margins
from megalabel.retrieval.boosted import BoostedTrees


def data(n=3000, seed=0):
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, 5)).astype(np.float32)
    x[:, 3] = np.round(x[:, 3])  # a feature with few values
    x[:, 4] = 1  # and one that is constant
    true = (x[:, 0] > 0.3) ^ (x[:, 1] > 0)
    return x, true


@pytest.mark.parametrize("n", [1, 50, 20_000])
def test_histograms_agree(n):
    random = np.random.default_rng(n)
    bins, leaf = random.integers(0, 9, (n, 4)).astype(np.uint8), random.integers(0, 4, n)
    g, h = random.standard_normal(n), random.random(n)
    plain, fast = (using(backend, histograms, bins, leaf, g, h, 4, 9) for backend in ("plain", "cpu"))
    np.testing.assert_allclose(fast, plain, atol=1e-9)
    np.testing.assert_allclose(plain.sum(axis=(0, 2)), np.tile([g.sum(), h.sum()], (4, 1)), atol=1e-8)


@pytest.mark.parametrize("n", [0, 1, 20_000])
def test_margins_agree(n):
    x, true = data(500)
    trees = BoostedTrees.fit(x, true, np.zeros(500), 7)
    rows, start = data(n)[0], np.linspace(-1, 1, n)
    plain, fast = (
        using(backend, margins, rows, start, trees.features, trees.thresholds, trees.values)
        for backend in ("plain", "cpu")
    )
    np.testing.assert_allclose(fast, plain, rtol=1e-12)


def test_trees_learn_what_no_single_feature_tells():
    x, true = data()
    start = np.zeros(len(x))
    trees = BoostedTrees.fit(x, true, start, 60)
    new, wanted = data(seed=1)
    assert ((trees.margins(new, np.zeros(len(new))) > 0) == wanted).mean() > 0.95
    assert np.array_equal(trees.margins(x, start), BoostedTrees.fit(x, true, start, 60).margins(x, start))
    assert np.array_equal(trees.first(0).margins(x, start), start)
    part = BoostedTrees.fit(x, true, start, 20)
    assert np.array_equal(trees.first(20).margins(x, start), part.margins(x, start))


def test_constant_features_give_no_trees_that_move_ties():
    x, true = np.ones((100, 2), np.float32), np.arange(100) < 30
    trees = BoostedTrees.fit(x, true, np.zeros(100), 5)
    assert len(np.unique(trees.margins(x, np.zeros(100)))) == 1


def test_trees_that_do_not_fit_are_refused():
    x, true = data(100)
    trees = BoostedTrees.fit(x, true, np.zeros(100), 3)
    with pytest.raises(DataError, match="features below F"):
        margins(x[:, :1], np.zeros(100), trees.features + 1, trees.thresholds, trees.values)
    with pytest.raises(FormatError, match="finite trees"):
        BoostedTrees(trees.features, trees.thresholds * np.nan, trees.values, 5)
