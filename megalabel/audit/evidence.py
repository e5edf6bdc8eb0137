"""What speaks for a label of a text apart from the text itself: features of pairs of a text and a label.

For a pair (i, l) of text i and label l, with every count and sum without text i:

    linear      log-odds of l by linear trees that were fitted without the fold of text i, and 1 / its rank; a
                fixed low value and 0 where it is not among the best labels
    votes       Σ sim² [has l] / Σ sim² over the 50 texts nearest to text i
    document    cosine of text i and the sum of the other texts with l
    name        cosine of text i and the text of l
    beside      the largest P(l | j) over the other labels j of text i
    reverse     the largest P(j | l) over these
    texts       ln(1 + number of other texts with l)
    labels      the number of other labels of text i

and for given pairs, by the same trees, along the path to l:

    clusters    ln P of the clusters above l, without regard to the search
    own         ln P(l | its cluster)

Pairs are looked up by one number each, in blocks, so that no array has texts × labels entries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.audit.pairs import products, sorted_rows, values_at
from megalabel.audit.paths import TreePaths
from megalabel.inputs.tfidf import l2_rows
from megalabel.kernels.sparse.nearest_rows import InvertedIndex
from megalabel.kernels.sparse.sparse_rows import keep_largest, product_keep_largest
from megalabel.linear.forest import solve_trees, wide_depths
from megalabel.retrieval.co_occurrence import PRIOR
from megalabel.types import TopK

NAMES = ("linear", "rank", "votes", "document", "name", "beside", "reverse", "texts", "labels")
PATH_NAMES = ("clusters", "own")
NEAREST = 50  # texts that vote
RANKED = 30  # labels of the linear trees per text
QUERY, ROW, DOCUMENT, BESIDE = 32, 64, 1000, 100  # features and labels that are kept of each
COMMON = 0.05  # features of more texts than this share are left out where texts are compared
LOWEST = -16.0  # log-odds of a label that is not ranked
LEAST_PATH = -40.0  # the least logarithm of a probability along a path
BLOCK = 1 << 16  # pairs at a time


class Known(NamedTuple):
    """What is computed once for all pairs of N texts and L labels.

    labels: (N, L) CSR of ones. x: (N, V) CSR, TF-IDF rows. ranked: (N, L) CSR, log-odds minus `LOWEST` of the
    labels that trees ranked out of fold; rank: the same, 1 / rank. near: (N, N) CSR, shares of the votes.
    documents: (L, V) CSR sums of texts, and norms: (L,) their squared lengths. names: (L, V) CSR. both: (L, L)
    CSR, texts with two labels. counts: (L,). fold: (N,), that of each text. paths: for each fold, the tree that
    did not see it.
    """

    labels: sp.csr_matrix
    x: sp.csr_matrix
    ranked: sp.csr_matrix
    rank: sp.csr_matrix
    near: sp.csr_matrix
    documents: sp.csr_matrix
    norms: np.ndarray
    names: sp.csr_matrix
    both: sp.csr_matrix
    counts: np.ndarray
    fold: np.ndarray
    paths: list[TreePaths]


def gather(
    x: sp.csr_matrix,
    names: sp.csr_matrix,
    labels: sp.csr_matrix,
    folds: int,
    seed: int,
    say: Callable[[str], object],
) -> Known:
    """Fits the trees of each fold, and finds the nearest texts.

    Args:
        x: (N, V) CSR float32, TF-IDF rows of length 1.
        names: (L, V) CSR, those of the label texts.
        labels: (N, L) CSR of ones.
        folds: K; text i is in one of them at random.
        seed: of the folds and of the trees.
        say: takes a line of text per fold.
    """
    n, n_labels = labels.shape
    top, fold, paths = _out_of_fold(x, labels, folds, seed, say)
    there = top.ids >= 0
    rows = np.repeat(np.arange(n), there.sum(axis=1))
    p = np.clip(top.scores[there].astype(np.float64), 1e-7, 1 - 1e-7)
    odds = (np.log(p) - np.log1p(-p)).astype(np.float32) - LOWEST
    places = np.broadcast_to(1 / np.arange(1, top.ids.shape[1] + 1, dtype=np.float32), top.ids.shape)[there]
    ranked, rank = (
        sp.csr_matrix((values, (rows, top.ids[there])), shape=(n, n_labels)) for values in (odds, places)
    )
    has = labels.T.tocsr().astype(np.float32)
    documents = product_keep_largest(has, x, DOCUMENT).astype(np.float32)
    norms = np.asarray(documents.multiply(documents).sum(axis=1)).ravel()
    both = product_keep_largest(has, labels.astype(np.float32), BESIDE)
    say("comparing texts with each other")
    parts = [sorted_rows(part) for part in (ranked, rank, _votes(x), documents, names, both)]
    counts = np.bincount(labels.indices, minlength=n_labels).astype(np.float64)
    ranked, rank, near, documents, names, both = parts
    return Known(
        sorted_rows(labels), sorted_rows(x), ranked, rank, near, documents, norms, names, both, counts, fold, paths
    )


def _out_of_fold(
    x: sp.csr_matrix, labels: sp.csr_matrix, folds: int, seed: int, say: Callable[[str], object]
) -> tuple[TopK, np.ndarray, list[TreePaths]]:
    """The best labels of each text by trees that did not see its fold, the folds, and the trees."""
    n, n_labels = labels.shape
    fold = np.random.default_rng(seed).permutation(n) % folds
    k = min(RANKED, n_labels)
    ids, scores = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
    trees: list[TreePaths] = []
    for i in range(folds):
        inside, rest = np.flatnonzero(fold == i), np.flatnonzero(fold != i)
        say(f"fold {i + 1} of {folds}: {len(rest):,} texts")
        (tree,) = solve_trees(
            x[rest], labels[rest], trees=1, depths=wide_depths(n_labels), cluster_features=100, seed=seed,
            say=lambda line: None, max_iter=4, prune_below=0.2,
        )  # fmt: skip
        ids[inside], scores[inside] = tree(x[inside], k).numpy()
        trees.append(TreePaths.of_tree(tree))
        del tree
    return TopK(ids, scores), fold, trees


def _votes(x: sp.csr_matrix) -> sp.csr_matrix:
    """The share of each of the nearest other texts in the votes of a text: (N, N) CSR float32."""
    n = x.shape[0]
    often = np.bincount(x.indices, minlength=x.shape[1])
    rare = sp.diags_array((often <= max(COMMON * n, 100)).astype(np.float32))
    rows = keep_largest((x @ rare).tocsr().astype(np.float32), ROW)
    rows.eliminate_zeros()
    index = InvertedIndex.of_rows(rows)
    near, similarities = index.nearest(keep_largest(rows, QUERY), min(NEAREST, n), exclude=np.arange(n))
    there = near >= 0
    squares = np.where(there, similarities.astype(np.float64) ** 2, 0)
    shares = squares / np.maximum(squares.sum(axis=1, keepdims=True), 1e-12)
    at = np.repeat(np.arange(n), there.sum(axis=1))
    return sp.csr_matrix((shares[there].astype(np.float32), (at, near[there])), shape=(n, n))


def features(known: Known, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The features of P pairs: (P, 9) float32, in the order of `NAMES`."""
    found = np.empty((len(rows), len(NAMES)), np.float32)
    order = np.argsort(rows, kind="stable")  # so that a block needs the votes of few texts
    for start in range(0, len(rows), BLOCK):
        part = order[start : start + BLOCK]
        found[part] = _features(known, rows[part], columns[part])
    return found


def path_features(known: Known, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The features of P pairs along the paths: (P, 2) float32, in the order of `PATH_NAMES`."""
    found = np.empty((len(rows), len(PATH_NAMES)), np.float32)
    for i, tree in enumerate(known.paths):
        pairs = np.flatnonzero(known.fold[rows] == i)
        for start in range(0, len(pairs), BLOCK):
            part = pairs[start : start + BLOCK]
            steps = tree.log_scores(known.x, rows[part], columns[part])
            found[part, 0], found[part, 1] = steps[:, :-1].sum(axis=1), steps[:, -1]
    return np.maximum(found, np.float32(LEAST_PATH))


def _features(known: Known, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    own = values_at(known.labels, rows, columns)  # 1 where the pair is given
    others = known.counts[columns] - own
    product = products(known.x, known.documents, rows, columns) - own
    rest = np.maximum(known.norms[columns] - own * (2 * product + 1), 1e-6)
    document = np.where(others > 0, np.clip(product / np.sqrt(rest), 0, 1), 0)
    texts, inverse = np.unique(rows, return_inverse=True)
    votes = (known.near[texts] @ known.labels).tocsr()
    columns_of = [
        values_at(known.ranked, rows, columns) + LOWEST,
        values_at(known.rank, rows, columns),
        values_at(sorted_rows(votes), inverse, columns),
        document,
        products(known.x, known.names, rows, columns),
        *_beside(known, rows, columns, own),
        np.log1p(others),
        np.diff(known.labels.indptr)[rows] - own,
    ]
    return np.stack(columns_of, axis=1).astype(np.float32)


def _beside(known: Known, rows: np.ndarray, columns: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest P(l | j) and P(j | l) over the other labels j of each text, without the text: (P,) each."""
    starts, sizes = known.labels.indptr[rows], np.diff(known.labels.indptr)[rows]
    pair = np.repeat(np.arange(len(rows)), sizes)
    j = known.labels.indices[np.repeat(starts - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())]
    label = columns[pair]
    both = values_at(known.both, j, label) - own[pair]
    both = np.where(j == label, 0, np.maximum(both, 0))
    beside, reverse = np.zeros(len(rows)), np.zeros(len(rows))
    np.maximum.at(beside, pair, both / (known.counts[j] - 1 + PRIOR))
    np.maximum.at(reverse, pair, both / (known.counts[label] - own[pair] + PRIOR))
    return beside, reverse


def label_vectors(known: Known) -> sp.csr_matrix:
    """The label documents with length 1: (L, V) CSR."""
    return l2_rows(known.documents.copy())
