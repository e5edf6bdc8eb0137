"""The linear models of a tree: each node's is the solution of its own problem, and all of them find the labels."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.errors import DataError
from megalabel.kernels.linear.dual_descent import Stop, descend
from megalabel.labels.cluster import cluster
from megalabel.labels.tree import LabelTree
from megalabel.linear.tree import node_texts, solve_tree

N, L, V = 120, 24, 40
TREE = LabelTree((np.array([0, 2, 3]), np.array([0, 8, 16, 24])), np.random.default_rng(1).permutation(L))


def corpus(seed: int = 0) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Texts whose words are those of their labels, and noise; label 7 has no text."""
    random = np.random.default_rng(seed)
    truth = np.zeros((N, L), dtype=np.float32)
    for row in truth:
        row[random.choice(L, size=2, replace=False)] = 1
    truth[:, 7] = 0
    words = np.eye(L, V, dtype=np.float32)
    x = truth @ words + 0.1 * (random.random((N, V)) < 0.1)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    return sp.csr_matrix(x.astype(np.float32)), sp.csr_matrix(truth)


def test_texts_of_nodes():
    _, labels = corpus()
    dense = labels.toarray()
    by_level = node_texts(labels, TREE)
    assert [level.shape for level in by_level] == [(2, N), (3, N), (L, N)]
    for j in range(3):
        below = TREE.order[8 * j : 8 * j + 8]
        assert np.array_equal(by_level[1][j].toarray()[0], dense[:, below].max(axis=1))
    assert np.array_equal(by_level[0][0].toarray()[0], dense[:, TREE.order[:16]].max(axis=1))
    assert np.array_equal(by_level[2].toarray(), dense[:, TREE.order].T)


def test_a_stored_zero_is_no_label():
    _, labels = corpus()
    with_zeros = labels.copy()
    with_zeros.data[:50] = 0
    without = with_zeros.copy()
    without.eliminate_zeros()
    for a, b in zip(node_texts(with_zeros, TREE), node_texts(without, TREE), strict=True):
        assert (a != b).nnz == 0


def test_every_node_is_the_solution_of_its_own_problem():
    x, labels = corpus()
    tree = LabelTree((np.array([0, 8, 16, 24]),), TREE.order)
    members = labels.toarray()[:, tree.order]
    clusters = members.reshape(N, 3, 8).max(axis=2)
    log_p = np.repeat(_log_probabilities(x, np.arange(N), clusters), 8, axis=1)
    for j in range(3):
        log_p[:, 8 * j : 8 * j + 8] += _log_probabilities(
            x, np.flatnonzero(clusters[:, j]), members[:, 8 * j : 8 * j + 8]
        )
    found = solve_tree(x, labels, tree, prune_below=0, tol=1e-4, max_iter=500)(x, L)
    expected = np.empty_like(log_p)
    expected[:, tree.order] = np.exp(log_p)
    known = found.ids != 7
    np.testing.assert_allclose(
        found.scores[known], np.take_along_axis(expected, found.ids, axis=1)[known], rtol=0.02, atol=1e-6
    )


def _log_probabilities(x: sp.csr_matrix, rows: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Of one parent's children for all texts, (N, children), their models trained on these rows alone."""
    n, inside = members.shape[1], sp.csr_matrix(members[rows].T)
    of_all = sp.csr_matrix(np.ones((1, len(rows)), dtype=np.float32))
    found = descend(x[rows], of_all, np.array([0, n]), inside, prune_below=0, stop=Stop(1e-4, 500)).sparse
    z = (x @ found[:, :V].T).toarray() + found[:, V].toarray().T
    return -(np.maximum(0, 1 - z) ** 3)


def test_it_finds_the_labels():
    x, labels = corpus()
    found = solve_tree(x, labels, TREE)(x, 2)
    right = np.take_along_axis(labels.toarray(), found.ids, axis=1).mean()
    assert right > 0.95


def test_a_label_without_texts_comes_last():
    x, labels = corpus()
    found = solve_tree(x, labels, TREE)(x, L)
    places = np.argmax(found.ids == 7, axis=1)
    assert np.median(places) > L / 2
    assert (found.ids[:, 0] != 7).all()


def test_further_texts_teach_what_a_label_is_not():
    x, labels = corpus()
    wrong = sp.csr_matrix(np.roll(labels.toarray(), 1, axis=1))
    plain, taught = solve_tree(x, labels, TREE), solve_tree(x, labels, TREE, further=wrong)
    assert not np.array_equal(plain.levels[2].bias, taught.levels[2].bias)


def test_dense_features_beside_the_sparse():
    x, labels = corpus()
    empty = sp.csr_matrix((N, V), dtype=np.float32)
    found = solve_tree(empty, labels, TREE, dense=x.toarray())(empty, 2, inputs=x.toarray())
    assert np.take_along_axis(labels.toarray(), found.ids, axis=1).mean() > 0.95


def test_dense_features_alone():
    random = np.random.default_rng(0)
    centers, own = random.normal(size=(32, 16)), random.integers(0, 32, 300)
    dense = (centers[own] + 0.1 * random.normal(size=(300, 16))).astype(np.float32)
    labels = sp.csr_matrix((np.ones(300, dtype=np.float32), (np.arange(300), own)), shape=(300, 32))
    nothing = sp.csr_matrix((300, 0), dtype=np.float32)
    beam = solve_tree(nothing, labels, cluster(sp.csr_matrix(labels.T @ dense), (2,), seed=0), dense=dense)
    assert (beam(nothing, 1, inputs=dense).ids[:, 0] == own).mean() > 0.99


def test_labels_that_do_not_fit_the_tree():
    x, labels = corpus()
    with pytest.raises(DataError, match="24"):
        solve_tree(x, labels[:, :20], TREE)
