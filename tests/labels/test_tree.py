"""Label trees: their arrays, and the lists and parents from which they are made or refused."""

import re
from itertools import pairwise

import numpy as np
import pytest
from support.small_trees import OFFSETS, ORDER, random_tree

from megalabel.errors import DataError
from megalabel.labels.tree import LabelTree


def test_numbers_of_a_small_tree(tree):
    assert tree.n_labels == 6
    assert tree.depth == 2
    assert tree.sizes == (2, 3, 6)
    assert tree.position.tolist() == [2, 1, 3, 4, 5, 0]
    assert tree.parents(0).tolist() == [0, 1, 1]
    assert tree.parents(1).tolist() == [0, 0, 1, 2, 2, 2]
    assert all(part.dtype == np.int64 for part in (*tree.offsets, tree.order, tree.position, tree.parents(0)))
    assert repr(tree) == "LabelTree(2 > 3 > 6)"


def test_parents_and_offsets_say_the_same(rng):
    tree = random_tree(rng)
    for level, offsets in enumerate(tree.offsets):
        parents = tree.parents(level)
        for node in range(tree.sizes[level]):
            assert np.flatnonzero(parents == node).tolist() == list(range(offsets[node], offsets[node + 1]))


def test_the_arrays_are_copies(tree):
    order = ORDER.copy()
    other = LabelTree(OFFSETS, order)
    order[0] = 0
    assert other == tree


def test_the_arrays_are_read_only_and_positions_are_new_each_time(tree):
    for array in (*tree.offsets, tree.order):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    tree.position[:] = 0
    assert tree.position.tolist() == [2, 1, 3, 4, 5, 0]


@pytest.mark.parametrize(
    ("offsets", "order", "said"),
    [
        ((), ORDER, "a tree without levels"),
        (([],), [], "offsets[0] is empty"),
        (([0],), [], "offsets[0] has one number"),
        (([1, 6],), ORDER, "offsets[0] starts with 1"),
        (([0, 3, 3, 6],), ORDER, "node 1 of level 0 has the children 3 to 3"),
        (([0, 4, 3, 6],), ORDER, "node 1 of level 0 has the children 4 to 3"),
        (([0, 2], [0, 2, 3, 6]), ORDER, "level 0 has 2 children, level 1 has 3 nodes"),
        (([0, 5],), ORDER, "6 labels in the order, 5 positions"),
        (([0, 6],), [5, 1, 0, 1, 3, 4], "label 1 is at positions 1 and 3"),
        (([0, 6],), [5, 1, 0, 6, 3, 4], "label 6 is at position 3"),
        (([0, 6],), [5, 1, 0, -1, 3, 4], "label -1 is at position 3"),
        (([0, 6],), ORDER.astype(float), "order has shape (6,) and dtype float64"),
        (([0, 6],), ORDER[None], "order has shape (1, 6)"),
        (([0.0, 6.0],), ORDER, "offsets[0] has shape (2,) and dtype float64"),
        (([0, 2**62, -(2**63) + 9, 6],), ORDER, "node 1 of level 0 has the children"),  # differences overflow
        (5, ORDER, "offsets is 5, of type int"),
        (None, ORDER, "offsets is None, of type NoneType"),
        ((5,), ORDER, "offsets[0] has shape ()"),
        (([0, [6]],), ORDER, "offsets[0] is not a row of numbers"),
        (([0, 6],), None, "order has shape () and dtype object"),
    ],
)
def test_what_is_no_tree_is_refused(offsets, order, said):
    with pytest.raises(DataError, match=re.escape(said)):
        LabelTree(offsets, order)


def test_from_clusters_follows_the_lists():
    tree = LabelTree.from_clusters([[[1], [0, 2]], [[0], [5, 1], [2, 3, 4]]], by="hand")
    assert tree.sizes == (2, 3, 6)
    assert tree.order.tolist() == [5, 1, 0, 2, 3, 4]
    assert [o.tolist() for o in tree.offsets] == [[0, 1, 3], [0, 2, 3, 6]]
    assert tree.built == {"source": "clusters", "by": "hand"}
    assert LabelTree.from_clusters([[[0, 4, 2], [1, 3]]]).order.tolist() == [0, 4, 2, 1, 3]


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ([], "a tree without clusters"),
        ([[]], "a tree without clusters"),
        ([[[0, 1], [1, 2]]], "label 1 is listed in level 0 at positions 1 and 2"),
        ([[[0, 1], [3]]], "label 3 is listed in level 0 at position 2, and there are 3"),
        ([[[0, 1], []]], "cluster 1 of level 0 is empty"),
        ([[[0], [0, 1]], [[0], [1]]], "level 1's cluster 0 is listed in level 0 at positions 0 and 1"),
        ([[[0]], [[0], [1]]], "level 1's cluster 1 is listed in level 0 at no position"),
        ([[["a"]]], "levels[0][0] has shape (1,) and dtype <U1"),
        ([[[0, 1], [[2], 3]]], "levels[0][1] is not a row of numbers"),
        ([[0, 1]], "levels[0][0] has shape ()"),
        ([5], "levels[0] is 5, of type int"),
        ([[[0]], None], "levels[1] is None, of type NoneType"),
        (None, "levels is None, of type NoneType"),
        ([[[0]], []], "level 1's cluster 0 is listed in level 0 at position 0, and there are 0"),
    ],
)
def test_clusters_that_are_no_tree_are_refused(levels, said):
    with pytest.raises(DataError, match=re.escape(said)):
        LabelTree.from_clusters(levels)


def test_from_parents_is_the_way_back_from_cluster_matrices(rng):
    tree = random_tree(rng)
    again = LabelTree.from_parents([tree.cluster_matrix(i).indices for i in range(tree.depth)])
    assert again.sizes == tree.sizes
    for level in range(tree.depth):
        assert (again.offsets[level] == tree.offsets[level]).all()
    for a, b in pairwise(tree.offsets[-1]):  # inside a leaf, labels rise
        assert again.order[a:b].tolist() == sorted(tree.order[a:b].tolist())


def test_from_parents_with_names_in_any_order():
    tree = LabelTree.from_parents([[1, 0, 1], [1, 0, 2, 2, 2, 0]])
    assert tree.sizes == (2, 3, 6)
    assert tree.order.tolist() == [0, 1, 5, 2, 3, 4]  # level 0's node 0 holds cluster 1, node 1 clusters 0 and 2
    assert tree.parents(0).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("parents", "said"),
    [
        ([], "a tree without levels"),
        ([[]], "starts"),
        ([[0, 2]], "cluster 1 of level 0 has no children"),
        ([[0, 0], [0, 0]], "cluster 1 of level 1 has no children"),
        ([[0, 0], [0, 1, 2]], "parents[1][2] is 2, but level 1 has 2 nodes"),
        ([[0, -1]], "parents[0][1] is -1"),
        ([[0, 10**12]], "cluster 1 of level 0 has no children"),  # and no memory for the numbers between
        ([[10**12, 1]], "cluster 0 of level 0 has no children"),
        ([[0, 0], [0, 10**12]], "parents[1][1] is 1000000000000, but level 1 has 2 nodes"),
        (None, "parents is None, of type NoneType"),
        ([0, 1], "parents[0] has shape ()"),
        ([[0, [1]]], "parents[0] is not a row of numbers"),
    ],
)
def test_parents_that_are_no_tree_are_refused(parents, said):
    with pytest.raises(DataError, match=re.escape(said) if said != "starts" else "has one number"):
        LabelTree.from_parents(parents)
