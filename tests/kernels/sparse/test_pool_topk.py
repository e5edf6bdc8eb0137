"""Pooling the rankings of the parts of texts, against dictionaries and between implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from megalabel.errors import DataError, SettingError
from megalabel.kernels.core import dispatch
from megalabel.kernels.sparse.pool_topk import SHARPNESS, pool_topk
from megalabel.types import TopK

OFFSETS = np.array([0, 3, 3, 4, 9])  # a text without parts, and one with a single one


def rankings(scale: str, seed: int = 0, depth: int = 6, n_labels: int = 10) -> TopK:
    rng = np.random.default_rng(seed)
    ids = np.stack([rng.permutation(n_labels)[:depth] for _ in range(OFFSETS[-1])])
    scores = rng.random(ids.shape) if scale == "probability" else rng.normal(0, 3, ids.shape)
    gone = rng.random(ids.shape) < 0.2
    return TopK(np.where(gone, -1, ids), np.where(gone, -np.inf, scores).astype(np.float32))


def pooled(values: list[float], pooling: str, alpha: float, scale: str) -> float:
    if pooling == "max":
        return max(values)
    if scale == "log_odds":
        p = pooled([1 / (1 + math.exp(-value)) for value in values], pooling, alpha, "probability")
        return math.log(p) - math.log(1 - p)
    weights = [1.0 if pooling == "mean" else math.exp(alpha * value) for value in values]
    return math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(weights)


@pytest.mark.parametrize("backend", ["plain", "cpu"])
@pytest.mark.parametrize("scale", ["probability", "log_odds", "logit"])
@pytest.mark.parametrize("pooling", ["max", "mean", "softmax"])
@pytest.mark.parametrize("k", [1, 5, 12])
def test_pools_the_scores_of_each_label(backend, scale, pooling, k):
    top = rankings(scale)
    ids, scores = top.numpy()
    with dispatch.use(backend):
        labels, values = pool_topk(top, OFFSETS, k, pooling, scale).numpy()
    for n in range(len(OFFSETS) - 1):
        parts = range(OFFSETS[n], OFFSETS[n + 1])
        lists = [{int(i): float(s) for i, s in zip(ids[p], scores[p], strict=True) if i >= 0} for p in parts]
        least = min((s for one in lists for s in one.values()), default=0.0)
        missing = {"probability": 0.0, "log_odds": -700.0, "logit": least}[scale]
        expected = {}
        for label in {i for one in lists for i in one}:
            given = [one.get(label, missing) for one in lists if pooling != "max" or label in one]
            expected[label] = pooled(given, pooling, SHARPNESS[scale], scale)
        best = sorted(expected, key=lambda label: (-np.float32(expected[label]), label))[:k]
        found = labels[n, : len(best)].tolist()
        assert len(set(found)) == len(best)
        assert set(found) <= set(expected)
        np.testing.assert_allclose(values[n, : len(best)], [expected[i] for i in best], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(values[n, : len(best)], [expected[i] for i in found], rtol=1e-5, atol=1e-6)
        assert (labels[n, len(best) :] == -1).all()
        assert np.isneginf(values[n, len(best) :]).all()


@pytest.mark.parametrize("backend", ["plain", "cpu"])
@pytest.mark.parametrize("pooling", ["max", "mean", "softmax"])
def test_a_text_of_one_part_keeps_its_ranking(backend, pooling):
    top = TopK(np.array([[4, 2, 7]]), np.array([[0.9, 0.4, 0.1]], np.float32))
    with dispatch.use(backend):
        labels, values = pool_topk(top, np.array([0, 1]), 3, pooling).numpy()
    assert labels.tolist() == [[4, 2, 7]]
    np.testing.assert_allclose(values, top.scores, rtol=1e-6)


@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_ties_go_to_the_lower_label(backend):
    top = TopK(np.array([[5, 1], [2, 5]]), np.array([[0.5, 0.25], [0.5, 0.0]], np.float32))
    with dispatch.use(backend):
        assert pool_topk(top, np.array([0, 2]), 3, "mean").numpy()[0].tolist() == [[2, 5, 1]]
        assert pool_topk(top, np.array([0, 2]), 3, "max").numpy()[0].tolist() == [[2, 5, 1]]


def test_large_logits_do_not_overflow():
    top = TopK(np.array([[0, 1], [1, 0]]), np.array([[900.0, -900.0], [880.0, 870.0]], np.float32))
    values = pool_topk(top, np.array([0, 2]), 2, "softmax", "logit").numpy()[1]
    np.testing.assert_allclose(values, [[900.0, 880.0]], rtol=1e-5)
    assert np.isfinite(pool_topk(top, np.array([0, 2]), 2, "softmax", "log_odds").numpy()[1]).all()


@pytest.mark.parametrize("backend", ["plain", "cpu"])
@pytest.mark.parametrize("score", [-80.0, -3.0, 0.0, 20.0, 80.0])
def test_log_odds_keep_their_precision(backend, score):
    top = TopK(np.array([[0], [0]]), np.full((2, 1), score, np.float32))
    with dispatch.use(backend):
        for pooling in ("max", "mean", "softmax"):
            values = pool_topk(top, np.array([0, 2]), 1, pooling, "log_odds").numpy()[1]
            np.testing.assert_allclose(values, [[score]], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("offsets", "pooling", "k", "error"),
    [
        ([0, 1], "mean", 1, DataError),
        ([0, 2, 1, 2], "mean", 1, DataError),
        ([1, 2], "mean", 1, DataError),
        ([0, 2], "median", 1, SettingError),
        ([0, 2], "mean", 0, SettingError),
    ],
)
def test_bad_input(offsets, pooling, k, error):
    top = TopK(np.array([[0], [1]]), np.ones((2, 1), np.float32))
    with pytest.raises(error):
        pool_topk(top, np.array(offsets), k, pooling)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(DataError):
        pool_topk(TopK(np.array([[0]]), np.array([[np.nan]], np.float32)), np.array([0, 1]), 1, "mean")
