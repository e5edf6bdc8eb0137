"""Chunks hold just the weights they are given, survive files, and refuse arrays that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.kernels.linear import sparse_chunks as module
from megalabel.kernels.linear.sparse_chunks import Chunks


def whole(chunks: Chunks) -> np.ndarray:
    """(C, V + 1): the weights, the bias last."""
    weights = np.zeros((chunks.n_nodes, chunks.n_features + 1), dtype=np.float32)
    weights[:, -1] = chunks.bias
    for p in range(chunks.n_chunks):
        for row in range(chunks.starts[p], chunks.starts[p + 1]):
            for at in range(chunks.entries[row], chunks.entries[row + 1]):
                weights[chunks.offsets[p] + chunks.children[at], chunks.features[row]] += chunks.values[at]
    return weights


@pytest.mark.parametrize("block", [1, 20, 1000])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_holds_the_weights(share, block, rng, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    for offsets in ([0, 11], [0, 1, 2, 11], list(range(12)), [0, 5, 11]):
        weights = rng.normal(size=(11, 8)).astype(np.float32) * (rng.random((11, 8)) < share)
        chunks = Chunks.from_weights(sp.csr_matrix(weights), np.array(offsets))
        np.testing.assert_array_equal(whole(chunks), weights)
        assert len(chunks.values) == np.count_nonzero(weights[:, :-1])
        assert chunks.width == max(np.diff(offsets)) and f"{len(chunks.values)} weights" in repr(chunks)


def test_stored_zeros_and_repeats_and_the_bias():
    weights = sp.coo_matrix(([1.0, 2.0, 0.0, 3.0], ([0, 0, 1, 1], [1, 1, 0, 2])), shape=(2, 3))
    chunks = Chunks.from_weights(weights, np.array([0, 2]), bias=0.5)
    np.testing.assert_array_equal(whole(chunks), [[0, 3, 0], [0, 0, 1.5]])
    assert len(chunks.values) == 1


@pytest.mark.parametrize(
    "n, kind", [(256, np.uint8), (257, np.uint16), (1 << 16, np.uint16), ((1 << 16) + 1, np.int32)]
)
def test_smallest_types(n, kind):
    weights = sp.csr_matrix((np.ones(2), ([0, n - 1], [0, 0])), shape=(n, 2))
    chunks = Chunks.from_weights(weights, np.array([0, n]))
    assert chunks.children.dtype == kind and chunks.children.tolist() == [0, n - 1]
    assert (chunks.entries.dtype, chunks.features.dtype, chunks.values.dtype) == (np.uint32, np.int32, np.float32)


def test_comes_back_from_files(tmp_path, rng):
    weights = sp.random(20, 9, 0.4, format="csr", dtype=np.float32, random_state=rng)
    chunks = Chunks.from_weights(weights, np.array([0, 4, 20]), dense=rng.normal(size=(20, 3)))
    for name, array in chunks.arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in chunks.arrays}
    again = Chunks(8, **mapped)
    np.testing.assert_array_equal(whole(again), whole(chunks))
    for name, array in again.arrays.items():
        assert type(array) is np.ndarray and np.shares_memory(array, mapped[name])
        assert array.dtype == chunks.arrays[name].dtype and not array.flags.writeable


@pytest.mark.parametrize(
    "name, change",
    [
        ("offsets", lambda a: a[:-1]),
        ("offsets", lambda a: a * 0),
        ("offsets", lambda a: a.astype(np.int32)),
        ("starts", lambda a: a[::-1]),
        ("starts", lambda a: a[[0, -1]]),
        ("features", lambda a: a + 1000),
        ("features", lambda a: a - 1000),
        ("features", lambda a: a[::-1]),
        ("features", lambda a: a[:-1]),
        ("entries", lambda a: a[:-1]),
        ("entries", lambda a: a[::-1]),
        ("children", lambda a: a + 20),
        ("children", lambda a: a[:-1]),
        ("values", lambda a: a[:-1]),
        ("values", lambda a: a.astype(np.float64)),
        ("values", lambda a: a * np.nan),
        ("bias", lambda a: a[:-1]),
        ("bias", lambda a: a + np.inf),
        ("dense", lambda a: a[:-1]),
        ("dense", lambda a: a[0]),
        ("dense", lambda a: a * np.nan),
    ],
)
def test_damaged_arrays(name, change):
    rng = np.random.default_rng(5)
    weights = sp.csr_matrix(rng.normal(size=(20, 9)) * (rng.random((20, 9)) < 0.5))
    arrays = Chunks.from_weights(weights, np.array([0, 4, 20]), dense=np.ones((20, 3))).arrays
    with pytest.raises(DataError, match="expected"):
        Chunks(8, **{**arrays, name: change(arrays[name])})
    with pytest.raises(DataError):
        Chunks(int(arrays["features"].max()), **arrays)
    with pytest.raises(SettingError, match="n_features"):
        Chunks(-1, **arrays)


@pytest.mark.parametrize(
    "weights, offsets",
    [
        (sp.csr_matrix((3, 4)), [0, 2]),
        (sp.csr_matrix((3, 4)), [0, 0, 3]),
        (sp.csr_matrix((3, 4)), [3]),
        (sp.csr_matrix((3, 4)), []),
        (sp.csr_matrix((3, 0)), [0, 3]),
        (sp.csr_matrix([[np.inf, 1.0]]), [0, 1]),
        (sp.csr_matrix([[1e300, 1.0]]), [0, 1]),
        (np.ones((3, 4)), [0, 3]),
    ],
)
def test_weights_that_make_no_level(weights, offsets):
    with pytest.raises(DataError):
        Chunks.from_weights(weights, np.array(offsets))
