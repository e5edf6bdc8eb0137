"""Orders and groups of labels."""

import numpy as np
import pytest

from megalabel.errors import SettingError
from megalabel.labels.grouping import (
    auxiliary_clusters,
    auxiliary_depth,
    by_frequency,
    by_tree,
    frequent_first,
)
from megalabel.labels.tree import LabelTree

TREE = LabelTree.from_clusters([[[1], [0, 2]], [[0, 4], [3, 6, 1], [5, 2]]])


def test_clusters_of_a_level_are_those_that_the_tree_was_made_of():
    assert TREE.sizes == (2, 3, 7)
    leaves, coarse = auxiliary_clusters(TREE), auxiliary_clusters(TREE, 0)
    assert leaves.dtype == coarse.dtype == np.int64
    groups = {frozenset(np.flatnonzero(leaves == c).tolist()) for c in range(3)}
    assert groups == {frozenset({0, 4}), frozenset({1, 3, 6}), frozenset({2, 5})}
    assert np.flatnonzero(coarse == 0).tolist() == [1, 3, 6]
    assert np.flatnonzero(coarse == 1).tolist() == [0, 2, 4, 5]
    assert np.array_equal(auxiliary_clusters(TREE, 1), leaves)


@pytest.mark.parametrize("level", [-1, 2])
def test_levels_that_are_not_there(level):
    with pytest.raises(SettingError, match=f"level: {level}"):
        auxiliary_clusters(TREE, level)


@pytest.mark.parametrize(
    ("n_labels", "clusters"),
    [(131_073, 2048), (670_091, 8192), (501_070, 8192), (2_812_281, 32768), (200, 2), (201, 4), (100, 2), (2, 2)],
)
def test_as_many_clusters_as_published(n_labels, clusters):
    depth = auxiliary_depth(n_labels)
    assert 2**depth == clusters
    assert -(-n_labels // 2**depth) <= 100
    assert depth == 1 or -(-n_labels // 2 ** (depth - 1)) > 100


@pytest.mark.parametrize("arguments", [(1,), (50, 0)])
def test_nothing_to_cluster(arguments):
    with pytest.raises(SettingError, match="clusters of at most"):
        auxiliary_depth(*arguments)


def test_by_tree_is_a_copy_of_its_order():
    order = by_tree(TREE)
    assert np.array_equal(order, TREE.order)
    order[0] = 99
    assert 99 not in TREE.order


@pytest.mark.parametrize("dtype", [np.int64, np.uint32, np.float64])
def test_by_frequency_with_ties_to_the_lower_id(dtype):
    order = by_frequency(np.array([3, 0, 7, 3, 0], dtype=dtype))
    assert order.dtype == np.int64
    assert order.tolist() == [2, 0, 3, 1, 4]


def test_the_frequent_come_first_and_the_others_keep_their_order():
    counts = np.array([1, 9, 1, 5, 9, 0, 2])
    order = by_tree(TREE)
    assert frequent_first(order, counts, 0).tolist() == order.tolist()
    found = frequent_first(order, counts, 3).tolist()
    assert found == [1, 4, 3] + [label for label in order.tolist() if label not in (1, 4, 3)]
    assert frequent_first(order, counts, 7).tolist() == by_frequency(counts).tolist()


@pytest.mark.parametrize(("counts", "n"), [(np.ones(6), 1), (np.ones(7), 8), (np.ones(7), -1)])
def test_frequent_first_of_other_labels(counts, n):
    with pytest.raises(SettingError, match=f"n = {n}"):
        frequent_first(by_tree(TREE), counts, n)


@pytest.mark.parametrize("counts", [np.array([1, -1]), np.array([1.0, np.nan]), np.ones((2, 2)), np.array(["a"])])
def test_counts_that_are_none(counts):
    with pytest.raises(SettingError, match="counts of shape"):
        by_frequency(counts)
