"""Compact chunks hold the same weights, or rounded ones, and the search reads them without unpacking."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from megalabel.errors import DataError, SettingError
from megalabel.kernels.linear import compact_chunks as module
from megalabel.kernels.linear import sparse_beam
from megalabel.kernels.linear.compact_chunks import compact, float32_values
from megalabel.kernels.linear.sparse_beam import SparseBeam, plain
from megalabel.kernels.linear.sparse_chunks import Chunks

KINDS = ["float32", "bfloat16", "int8"]
V = 200_000  # four ranges of features, of which texts use few


@pytest.fixture(autouse=True, params=["looked up", "tabled"])
def look_up(request, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(sparse_beam, "_FEW", 0 if request.param == "tabled" else 10**9)
    yield
    torch.set_num_threads(before)


def level(rng, offsets, features, share=0.4, width=V):
    """Chunks with weights for some features, and their weights as one row per node."""
    n = int(offsets[-1])
    weights = sp.random(n, len(features) + 1, share, format="csr", dtype=np.float32, random_state=rng)
    weights.data[:] = rng.normal(size=weights.nnz)
    columns = np.append(features, width).astype(np.int32)
    wide = sp.csr_matrix((weights.data, columns[weights.indices], weights.indptr), shape=(n, width + 1))
    return Chunks.from_weights(wide, np.asarray(offsets))


def rows_of(chunks: Chunks) -> sp.csr_matrix:
    """(C, V + 1) CSR: the weights that chunks of any form stand for, the bias last."""
    ranges, starts = chunks.n_ranges, chunks.starts
    if chunks.lengths is None:
        ends = chunks.entries.astype(np.int64)
    else:
        ends = np.append(0, np.cumsum(chunks.lengths.astype(np.int64) + 1))
    counts = np.diff(starts)
    segment = np.repeat(np.arange(len(counts)), counts)  # of each row
    features = chunks.features.astype(np.int64) + (segment % ranges << 16)
    row = np.repeat(np.arange(len(segment)), np.diff(ends))  # of each entry
    nodes = chunks.offsets[segment[row] // ranges] + chunks.children
    found = sp.coo_matrix(
        (float32_values(chunks), (nodes, features[row])), shape=(chunks.n_nodes, chunks.n_features)
    )
    return sp.hstack([found, chunks.bias[:, None]]).tocsr()


def tree(rng, top: int) -> tuple[list[Chunks], np.ndarray, sp.csr_matrix]:
    """Three levels over 4 · `top` labels, and texts; above 256, the dtypes of the levels differ."""
    features = np.sort(rng.choice(V, 70, replace=False))
    offsets = [np.array([0, top]), np.arange(0, 2 * top + 1, 2), np.arange(0, 4 * top + 1, 2)]
    levels = [level(rng, o, features) for o in offsets]
    picked = sp.random(40, 70, 0.3, format="csr", dtype=np.float32, random_state=rng)
    x = sp.csr_matrix((picked.data, features[picked.indices], picked.indptr), shape=(40, V))
    return levels, rng.permutation(4 * top), x


@pytest.mark.parametrize("block", [3, 1 << 22])
def test_float32_loses_nothing_and_answers_with_the_same_bits(rng, monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    levels, order, x = tree(rng, 300)
    small = [compact(one) for one in levels]
    assert {one.features.dtype for one in small} == {np.dtype(np.uint16)}
    for one, other in zip(levels, small, strict=True):
        assert (rows_of(one) != rows_of(other)).nnz == 0
        assert sum(a.nbytes for a in other.arrays.values()) < sum(a.nbytes for a in one.arrays.values())
    wanted = SparseBeam(levels, order, [20, 30])(x, 5)
    found = SparseBeam(small, order, [20, 30])(x, 5)
    mixed = SparseBeam([levels[0], small[1], levels[2]], order, [20, 30])(x, 5)
    for one in (found, mixed):
        np.testing.assert_array_equal(one.ids, wanted.ids)
        np.testing.assert_array_equal(one.scores, wanted.scores)


@pytest.mark.parametrize("kind", KINDS)
def test_the_search_is_that_over_the_stored_weights(rng, kind):
    levels, order, x = tree(rng, 30)
    small = [compact(one, kind) for one in levels]
    offsets = [one.offsets for one in levels[1:]]
    found = SparseBeam(small, order, [10, 15])(x, 5, None)
    wanted = plain(x, [rows_of(one) for one in small], offsets, order, [10, 15], 5)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-4)


@pytest.mark.parametrize("block", [3, 1 << 22])
def test_weights_are_rounded_to_the_nearest(rng, monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    chunks = level(rng, [0, 3, 9], np.arange(50), width=50)
    exact = chunks.values
    nearest = torch.from_numpy(exact.copy()).bfloat16().float().numpy()
    np.testing.assert_array_equal(float32_values(compact(chunks, "bfloat16")), nearest)
    small = compact(chunks, "int8")
    weights = np.abs(rows_of(chunks)[:, :-1].toarray())
    np.testing.assert_allclose(small.scales, weights.max(axis=1) / 127, rtol=1e-6)
    errors = np.abs((rows_of(chunks) - rows_of(small)).toarray())
    assert (errors.max(axis=1) <= small.scales / 2 * 1.001).all() and errors.max() > 0


def test_the_largest_numbers_stay_finite():
    for kind, largest in (("bfloat16", np.finfo(np.float32).max), ("int8", 1e38)):
        weights = sp.csr_matrix([[largest, -largest, 0.0], [1e-44, 0.0, 0.0]])
        chunks = Chunks.from_weights(weights, np.array([0, 2]))
        found = float32_values(compact(chunks, kind))
        np.testing.assert_allclose(found, [largest, 1e-44, -largest], rtol=0.01, atol=1e-38)


@pytest.mark.parametrize("kind", KINDS)
def test_comes_back_from_files(tmp_path, rng, kind):
    small = compact(level(rng, [0, 4, 20], np.arange(0, V, 9001)), kind)
    for name, array in small.arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    again = Chunks(V, **{name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in small.arrays})
    assert (rows_of(again) != rows_of(small)).nnz == 0


def test_what_is_left_as_it_is(rng):
    empty = Chunks.from_weights(sp.csr_matrix((3, 9)), np.array([0, 3]))
    assert compact(empty, "int8").lengths is None and len(compact(empty, "int8").scales) == 3
    long = Chunks.from_weights(sp.csr_matrix(np.ones((300, 2))), np.array([0, 300]))  # a row of 300 entries
    assert compact(long).lengths is None
    few = level(rng, range(20), [V - 1], share=1.0)  # ranges would take more memory than the features
    assert compact(few).features.dtype == np.int32


@pytest.mark.parametrize(
    "name, change",
    [
        ("starts", lambda a: a[:-1]),
        ("features", lambda a: a[::-1]),
        ("features", lambda a: a + np.uint16(60_000)),
        ("lengths", lambda a: a + np.uint8(1)),
        ("lengths", lambda a: a[:-1]),
        ("entries", lambda a: a[[0, *range(len(a) - 1)]]),
        ("entries", lambda a: a[:-1]),
        ("scales", lambda a: a[:-1]),
        ("scales", lambda a: a * np.nan),
        ("scales", lambda a: None),
    ],
)
def test_damaged_arrays(rng, name, change):
    arrays = compact(level(rng, [0, 4, 20], np.arange(69_000, 69_060), share=0.5, width=70_000), "int8").arrays
    with pytest.raises(DataError, match="expected"):
        Chunks(70_000, **{**arrays, name: change(arrays[name])})


def test_not_finite_bfloat16_and_unknown_types(rng):
    chunks = level(rng, [0, 4], np.arange(9), width=9)
    arrays = compact(chunks, "bfloat16").arrays
    with pytest.raises(DataError, match="values"):
        Chunks(9, **{**arrays, "values": arrays["values"] | 0x7F80})
    with pytest.raises(SettingError, match="weights"):
        compact(chunks, "float8")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="weights"):
        compact(compact(chunks, "int8"), "bfloat16")
