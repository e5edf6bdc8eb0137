"""Label features, graph and smoothing equal the slow float64 reference, on planted and on random data."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from labels.tree_reference import (
    dense,
    graph_of_counts,
    largest,
    normalized,
    pifa,
    rows_of,
    smoothed,
    walk_chances,
)
from planted import planted

import megalabel.labels.features as fast_features
import megalabel.labels.graph as fast_graph
from megalabel.inputs.tfidf import l2_rows
from megalabel.kernels.clustering.label_walks import walk_counts


def random_texts(rng: np.random.Generator, n: int, width: int) -> sp.csr_matrix:
    """Rows of numbers that no two share, so that no rounding decides what is kept; the first row is empty."""
    table = rng.uniform(0.5, 2.0, size=(n, width)) * (rng.random((n, width)) < 0.4)
    table[0] = 0
    return sp.csr_matrix(table.astype(np.float32))


def random_labels(rng: np.random.Generator, n: int, n_labels: int) -> sp.csr_matrix:
    """0 to 4 labels a text; the last label has no text."""
    table = np.zeros((n, n_labels), dtype=np.float32)
    for row in range(n):
        table[row, rng.choice(n_labels - 1, size=rng.integers(0, min(5, n_labels)), replace=False)] = 1
    return sp.csr_matrix(table)


def sets(labels: sp.csr_matrix) -> list[set[int]]:
    return [set(row) for row in rows_of(labels)]


def close(found: sp.csr_matrix, expected: list[dict[int, float]]) -> None:
    np.testing.assert_allclose(found.toarray(), dense(expected, found.shape[1]), rtol=1e-5, atol=1e-7)


@given(n=st.integers(2, 12), n_labels=st.integers(2, 8), keep=st.integers(1, 9), number=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_pifa_is_the_sum_of_unit_rows(n, n_labels, keep, number):
    rng = np.random.default_rng(number)
    texts, labels = random_texts(rng, n, 9), random_labels(rng, n, n_labels)
    found = fast_features.pifa(labels, l2_rows(texts.copy()), keep)
    close(found, pifa(rows_of(texts), sets(labels), n_labels, keep))
    assert np.diff(found.indptr).max() <= keep
    assert found[n_labels - 1].nnz == 0


@given(n_labels=st.integers(1, 9), number=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_both_sides_are_normalized(n_labels, number):
    rng = np.random.default_rng(number)
    counts = sp.csr_matrix(
        rng.integers(0, 40, size=(n_labels, n_labels)) * (rng.random((n_labels, n_labels)) < 0.6)
    )
    close(fast_graph.normalized(counts), normalized(rows_of(counts)))


@given(n_labels=st.integers(1, 9), keep=st.integers(1, 7), number=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_smoothing(n_labels, keep, number):
    rng = np.random.default_rng(number)
    graph = sp.csr_matrix(rng.random((n_labels, n_labels)) * (rng.random((n_labels, n_labels)) < 0.4))
    features = random_texts(rng, n_labels, 7)
    expected = smoothed(rows_of(graph), rows_of(features), keep)
    for label, row in enumerate(rows_of(graph)):
        if not row:  # ours: a label that no walk leaves keeps its own features; published: it has none
            expected[label] = largest(rows_of(features)[label], keep)
    close(fast_graph.smoothed(graph.astype(np.float32), features, keep), expected)


@pytest.mark.parametrize("p_reset", [0.0, 0.8, 1.0])
def test_walks_land_as_often_as_chance_says(p_reset):
    labels = random_labels(np.random.default_rng(5), 14, 8)
    hops = 10_000
    found = walk_counts(labels, walk_length=hops, restart_probability=p_reset, top_k=8, seed=3).toarray()
    expected = walk_chances(sets(labels), 8, hops, p_reset)
    has_texts = np.asarray(labels.sum(axis=0)).ravel() > 0
    assert (found[has_texts].sum(axis=1) == hops).all()
    assert (found[~has_texts] == 0).all()
    np.testing.assert_allclose(found / hops, expected / hops, atol=0.02)
    other = walk_chances(sets(labels), 8, hops, 1 - p_reset if p_reset != 0.8 else 0.2)
    assert np.abs(other - expected).max() / hops > 0.04  # restart the other way round would show


@pytest.mark.parametrize("top", [1, 3, 8])
def test_the_graph_keeps_the_largest_counts_and_the_diagonal(top):
    corpus = planted(n_labels=40, n_texts=150, n_test=1)
    labels = corpus.train.labels
    has_texts = set(np.flatnonzero(np.asarray(labels.sum(axis=0)).ravel()).tolist())
    everything = walk_counts(labels, top_k=40, seed=1)
    close(walk_counts(labels, top_k=top, seed=1), graph_of_counts(rows_of(everything), top, has_texts))


def test_from_texts_to_smoothed_features_on_the_planted_corpus():
    rng = np.random.default_rng(0)
    labels = planted(n_labels=40, n_texts=150, n_test=1).train.labels
    texts = random_texts(rng, 150, 60)
    has_texts = set(np.flatnonzero(np.asarray(labels.sum(axis=0)).ravel()).tolist())
    features = fast_features.pifa(labels, l2_rows(texts.copy()), 25)
    graph = fast_graph.label_graph(labels, top_k=5, seed=7)
    slow_features = pifa(rows_of(texts), sets(labels), 40, 25)
    counts = graph_of_counts(rows_of(walk_counts(labels, top_k=40, seed=7)), 5, has_texts)
    slow_graph = normalized(counts)
    close(features, slow_features)
    close(graph, slow_graph)
    expected = smoothed(slow_graph, slow_features, 25)
    found = fast_graph.smoothed(graph, features, 25)
    close(found[sorted(has_texts)], [expected[label] for label in sorted(has_texts)])
    assert np.abs(found.toarray() - features.toarray()).max() > 0.1  # smoothing moved them
