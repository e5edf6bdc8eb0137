"""Batches that are unions of clusters: which rows they hold, how clusters grow, and where halving cuts."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.inputs.cluster_batches import ClusterBatches, halves
from megalabel.kernels.clustering.balanced_split import balanced_tree


class Rows:
    def __init__(self, n: int) -> None:
        self.lengths, self.max_length = np.full(n, 3), 3

    def __len__(self) -> int:
        return len(self.lengths)


def batches(n: int, size: int, order: np.ndarray | None = None, **arguments: object) -> ClusterBatches:
    order = np.arange(n)[::-1] if order is None else order
    return ClusterBatches(Rows(n), size, 6, order=lambda: order, **arguments)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 100, 1000])
def test_halves_are_the_nodes_of_a_balanced_tree(n):
    features = sp.csr_matrix(np.random.default_rng(n).random((n, 5)).astype(np.float32))
    for depth in range(1, 8):
        if 2**depth > n:
            break
        offsets = balanced_tree(features, (depth,))[1][-1]
        assert np.array_equal(halves(n, depth), offsets)
    assert np.array_equal(halves(n, 0), [0, n])
    assert np.array_equal(halves(n, 12), np.arange(n + 1))


@pytest.mark.parametrize(("n", "size"), [(64, 16), (100, 16), (37, 50), (1000, 64)])
@pytest.mark.parametrize("cluster_size", [1, 2, 8, 500])
def test_an_epoch_holds_each_row_once_in_as_many_batches_as_there_are_steps(n, size, cluster_size):
    made = batches(n, size, cluster_size=cluster_size)
    for epoch in range(3):
        plan = made.plan(epoch)
        assert len(plan) == made.per_epoch and max(map(len, plan)) <= size
        assert sorted(np.concatenate(plan)) == list(range(n))
    if cluster_size < n // 2:
        assert not all(np.array_equal(a, b) for a, b in zip(made.plan(0), made.plan(1), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(made.plan(1), made.plan(1), strict=True))


def test_a_batch_is_a_union_of_clusters():
    order = np.random.default_rng(0).permutation(64)
    cluster = np.empty(64, dtype=int)
    cluster[order] = np.repeat(np.arange(8), 8)
    for rows in batches(64, 16, order, cluster_size=8).plan(0):
        found, counts = np.unique(cluster[rows], return_counts=True)
        assert len(found) == 2 and (counts == 8).all()


def test_clusters_grow_after_the_epochs_given_and_never_beyond_a_batch():
    made = batches(100, 10, cluster_size=1, doublings=(1, 2, 2, 5))
    assert [made.cluster_size(epoch) for epoch in range(6)] == [1, 2, 8, 8, 8, 10]
    assert made.ahead is False


@pytest.mark.parametrize("bad", [{"cluster_size": 0}, {"doublings": (0,)}], ids=str)
def test_numbers_below_one_are_refused(bad):
    with pytest.raises(SettingError):
        batches(10, 5, **bad)
