"""Rankings as one, against dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from megalabel.errors import SettingError
from megalabel.kernels.sparse.merge_topk import best_of, merge_topk
from megalabel.types import TopK


def ranking(rng: np.random.Generator, n: int, k: int, n_labels: int) -> TopK:
    labels = np.stack([rng.permutation(n_labels)[:k] for _ in range(n)])
    scores = -np.sort(-rng.random((n, k)), axis=1).astype(np.float32)
    gone = rng.random((n, k)) < 0.1
    return TopK(np.where(gone, -1, labels), np.where(gone, -np.inf, scores).astype(np.float32))


@pytest.mark.parametrize("weights", [None, (0.2, 0.5, 0.3), (1.0, -0.5, 2.0), (0.0, 1.0, 0.0)])
@pytest.mark.parametrize("k", [1, 4, 40])
def test_is_the_sum_of_each_label(weights, k):
    rng = np.random.default_rng(0)
    found = [ranking(rng, 7, width, 12) for width in (5, 12, 1)]
    labels, scores = merge_topk(found, k, weights).numpy()
    for n in range(7):
        sums: dict[int, float] = {}
        for weight, (ids, values) in zip(weights or (1 / 3,) * 3, (top.numpy() for top in found), strict=True):
            for label, value in zip(ids[n], values[n], strict=True):
                if label >= 0:
                    sums[int(label)] = sums.get(int(label), 0.0) + weight * float(value)
        best = sorted(sums, key=lambda label: (-sums[label], label))[:k]
        assert labels[n].tolist() == best + [-1] * (k - len(best))
        np.testing.assert_allclose(scores[n, : len(best)], [sums[label] for label in best], rtol=1e-6)
        assert np.isneginf(scores[n, len(best) :]).all()


def test_ties_go_to_the_lower_label():
    found = [TopK(np.array([[5]]), np.array([[1.0]])), TopK(np.array([[2]]), np.array([[1.0]]))]
    assert merge_topk(found, 2).numpy()[0].tolist() == [[2, 5]]


def test_no_text_at_all():
    empty = TopK(np.zeros((0, 3), dtype=np.int64), np.zeros((0, 3), dtype=np.float32))
    assert merge_topk([empty, empty], 2).numpy()[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("rows", "k", "weights", "match"),
    [
        ([], 1, None, "no texts"),
        ([1, 2], 1, None, "1 and 2 texts"),
        ([1, 1], 1, (1.0,), "weights"),
        ([1, 1], 1, (1.0, float("nan")), "nan"),
        ([1], 0, None, "k = 0"),
    ],
)
def test_bad_input(rows, k, weights, match):
    with pytest.raises(SettingError, match=match):
        merge_topk([TopK(np.zeros((n, 1), dtype=np.int64), np.zeros((n, 1))) for n in rows], k, weights)


@pytest.mark.parametrize("k", [1, 4, 9])
def test_the_best_of_rankings_without_a_label_in_common(k) -> None:
    rng = np.random.default_rng(1)
    labels = np.stack([rng.permutation(9) for _ in range(5)])
    labels[labels == 8] = -1  # nothing
    scores = rng.integers(0, 3, labels.shape).astype(np.float32)  # many ties
    scores[labels < 0] = -np.inf
    found = best_of(torch.from_numpy(labels), torch.from_numpy(scores), k)
    for row in range(5):
        order = sorted(range(9), key=lambda i: (-scores[row, i], labels[row, i]))[:k]
        assert found.ids[row].tolist() == labels[row, order].tolist()
        assert found.scores[row].tolist() == scores[row, order].tolist()
