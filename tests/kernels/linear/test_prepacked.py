"""Prepacked weights are found by other look-ups, with the same bits of the results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import megalabel
from megalabel.kernels.linear import prepacked as module
from megalabel.kernels.linear.compact_chunks import compact
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.models.ensemble import Ensemble

WRITTEN = Path(__file__).parents[2] / "data" / "v0.1.0"
V = 70_000  # two ranges of features
TOP, BELOW = 9, 7  # children of the root, and of each of them


def levels(rng, shares=(0.6, 0.1)) -> list[Chunks]:
    """Two levels, of which the first has many rows with most children; chunk 3 of the second has no weights."""
    features = np.sort(rng.choice(V, 120, replace=False))
    found = []
    for offsets, share in zip((np.array([0, TOP]), np.arange(0, TOP * BELOW + 1, BELOW)), shares, strict=True):
        few = sp.random(offsets[-1], 120, share, format="csr", dtype=np.float32, random_state=rng)
        few.data[:] = rng.normal(size=few.nnz)
        wide = sp.csr_matrix((few.data, features[few.indices], few.indptr), shape=(offsets[-1], V + 1)).tolil()
        if len(offsets) > 2:
            wide[3 * BELOW : 4 * BELOW] = 0
        found.append(Chunks.from_weights(wide.tocsr(), offsets))
    return found


def texts_for(chunks: list[Chunks], rng, n: int = 30) -> sp.csr_matrix:
    """Texts with 1 to 200 features, of which the chunks know about half; the first one has none."""
    known = np.unique(chunks[0].features)
    rows = [np.array([], int)]
    for size in rng.integers(1, 200, n - 1):
        rows.append(np.unique(np.append(rng.choice(known, size // 2), rng.integers(0, V, size))))
    indptr = np.append(0, np.cumsum([len(row) for row in rows]))
    values = rng.normal(size=indptr[-1]).astype(np.float32)
    return sp.csr_matrix((values, np.concatenate(rows), indptr), shape=(n, V))


def assert_same(found, wanted) -> None:
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.scores, wanted.scores)


@pytest.mark.parametrize("short", [False, True])
def test_the_results_keep_their_bits_for_one_text_and_for_many(rng, short):
    chunks = levels(rng)
    x = texts_for(chunks, rng)
    if short:
        chunks = [compact(one, short_features=True) for one in chunks]
    search = SparseBeam(chunks, rng.permutation(TOP * BELOW), [4])
    wanted = search(x, 6)
    search.prepack()
    assert all(len(level.records.words) for level in search._arrays)
    assert_same(search(x, 6), wanted)
    for t in range(x.shape[0]):
        one = search(x[[t]], 6)
        np.testing.assert_array_equal(one.scores[0], wanted.scores[t])
        np.testing.assert_array_equal(one.ids[0], wanted.ids[t])


def test_levels_that_records_cannot_hold_stay_and_the_others_are_prepacked(rng, monkeypatch):
    chunks = levels(rng)
    x = texts_for(chunks, rng)
    rounded = [chunks[0], compact(chunks[1], "int8")]
    for these, most_children in ((rounded, 256), (chunks, BELOW)):
        search = SparseBeam(these, np.arange(TOP * BELOW), [4])
        wanted = search(x, 6)
        monkeypatch.setattr(module, "_CHILDREN", most_children)
        search.prepack()
        assert len([level for level in search._arrays if len(level.records.words)]) == 1
        assert_same(search(x, 6), wanted)


def test_prepacking_twice_changes_nothing(rng):
    chunks = levels(rng)
    x = texts_for(chunks, rng)
    search = SparseBeam(chunks, np.arange(TOP * BELOW), [4])
    search.prepack()
    wanted, words = search(x, 6), [level.records.words for level in search._arrays]
    search.prepack()
    assert all(level.records.words is before for level, before in zip(search._arrays, words, strict=True))
    assert_same(search(x, 6), wanted)


def test_models_prepack_their_trees_and_those_of_their_parts():
    texts = ["a musical instrument", "a small bird", ""]
    hybrid, linear = (megalabel.load(WRITTEN / name / "run") for name in ("hybrid", "linear"))
    for model, trees in (
        (hybrid, [*hybrid.joint_trees, *hybrid.word_trees]),
        (Ensemble([linear, linear]), linear.trees),
    ):
        wanted = model.topk(texts, 5)
        assert model.prepack() is model
        assert trees and all(len(level.records.buckets) for tree in trees for level in tree._arrays)
        assert_same(model.topk(texts, 5), wanted)
