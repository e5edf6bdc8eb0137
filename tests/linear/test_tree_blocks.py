"""A level that is solved in blocks of parents, with its weights in files, is the level solved at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.kernels.core import dispatch
from megalabel.kernels.linear import chunk_files
from megalabel.kernels.linear.chunk_files import ChunkFiles
from megalabel.kernels.linear.compact_chunks import compact
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.labels.cluster import cluster
from megalabel.linear import level_blocks as module
from megalabel.linear.tree import solve_tree


@pytest.fixture(autouse=True)
def compiled():
    """Small blocks would otherwise be solved by the plain body, in float64."""
    with dispatch.use("cpu"):
        yield


N, V, L = 200, 60, 40


def problem(rng):
    """Texts, labels of which some have no text, and a tree of three levels."""
    labels = sp.random(N, L, 0.08, format="csr", dtype=np.float32, random_state=rng)
    labels.data[:] = 1
    labels = (labels @ sp.diags_array((np.arange(L) != 7).astype(np.float32))).tocsr().astype(np.float32)
    words = labels @ sp.random(L, V, 0.1, format="csr", dtype=np.float32, random_state=rng)
    noise = sp.random(N, V, 0.05, format="csr", dtype=np.float32, random_state=rng)
    x = (words + noise).tocsr().astype(np.float32)
    return x, labels, cluster((labels.T @ x).tocsr(), (1, 3), seed=0)


@pytest.mark.parametrize("stored", ["float32", "bfloat16", "int8"])
def test_blocks_change_nothing(rng, monkeypatch, stored):
    x, labels, tree = problem(rng)
    whole = solve_tree(x, labels, tree, stored=stored)
    monkeypatch.setattr(module, "BLOCK", 300)
    parts = solve_tree(x, labels, tree, stored=stored)
    assert isinstance(parts.levels[-1].values.base, np.ndarray)  # of a map
    for one, other in zip(whole.levels, parts.levels, strict=True):
        assert one.arrays.keys() == other.arrays.keys()
        for name, array in one.arrays.items():
            assert array.dtype == other.arrays[name].dtype
            np.testing.assert_array_equal(array, other.arrays[name])
    found, wanted = parts(x, 3), whole(x, 3)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.scores, wanted.scores)


def test_blocks_with_dense_features(rng, monkeypatch):
    x, labels, tree = problem(rng)
    dense = rng.normal(size=(N, 4)).astype(np.float32)
    whole = solve_tree(x, labels, tree, dense=dense)
    monkeypatch.setattr(module, "BLOCK", 300)
    parts = solve_tree(x, labels, tree, dense=dense)
    for one, other in zip(whole.levels, parts.levels, strict=True):
        np.testing.assert_array_equal(one.dense, other.dense)


@pytest.mark.parametrize("n_rows_at_a_time", [8, 1 << 20])
@pytest.mark.parametrize("width", [5, 300])
def test_files_hold_what_is_added(rng, monkeypatch, width, n_rows_at_a_time):
    monkeypatch.setattr(chunk_files, "_BLOCK", n_rows_at_a_time)
    offsets = np.array([0, 2, 2 + width, 5 + width, 9 + width])
    weights = sp.random(offsets[-1], 30, 0.3, format="csr", dtype=np.float32, random_state=rng)
    wanted = Chunks.from_weights(weights, offsets)
    with ChunkFiles(29, offsets, "float32") as files:
        for first, last in ((0, 1), (1, 2), (2, 4)):
            rows = slice(offsets[first], offsets[last])
            files.add(Chunks.from_weights(weights[rows], offsets[first : last + 1] - offsets[first]))
        found = files.finish()
    for name, array in (compact(wanted) if width == 5 else wanted).arrays.items():
        if name != "features":
            assert getattr(found, name).dtype == array.dtype
            np.testing.assert_array_equal(getattr(found, name), array)
    assert found.children.dtype == wanted.children.dtype
    np.testing.assert_array_equal(found.features, wanted.features)


@pytest.mark.parametrize("narrow", [1, 300, 1200, 1 << 32])
def test_entries_of_wide_levels_take_four_bytes_until_there_are_too_many(rng, monkeypatch, narrow):
    monkeypatch.setattr(chunk_files, "_NARROW", narrow)
    offsets = np.array([0, 300, 600, 900])
    weights = sp.random(900, 20, 0.1, format="csr", dtype=np.float32, random_state=rng)
    wanted = Chunks.from_weights(weights, offsets)
    with ChunkFiles(19, offsets, "float32") as files:
        for start in offsets[:-1]:
            files.add(Chunks.from_weights(weights[start : start + 300], np.array([0, 300])))
        found = files.finish()
    np.testing.assert_array_equal(found.entries, wanted.entries)
    assert 1200 < len(wanted.children) < 1 << 32
    assert found.entries.dtype == (np.int64 if narrow <= 1200 else np.uint32)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a list of open files")
@pytest.mark.parametrize("width", [4, 300])
def test_a_level_keeps_one_file_open(rng, width):
    """Three trees of six levels under the usual limit of 256 on macOS."""
    offsets, levels = np.array([0, width, 2 * width]), []
    weights = sp.random(width, 30, 0.3, format="csr", dtype=np.float32, random_state=rng)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(18):
        with ChunkFiles(29, offsets, "int8") as files:
            for _ in range(2):
                files.add(Chunks.from_weights(weights, offsets[:2], dense=np.ones((width, 3))))
            levels.append(files.finish())
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 18
    for level in levels:
        assert all(array.ctypes.data % array.itemsize == 0 for array in level.arrays.values())
        np.testing.assert_array_equal(level.values, levels[0].values)
    del level, levels
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_empty_levels(rng):
    offsets = np.array([0, 2, 4])
    with ChunkFiles(9, offsets, "int8") as files:
        for _ in range(2):
            files.add(Chunks.from_weights(sp.csr_matrix((2, 10)), np.array([0, 2])))
        assert len(files.finish().values) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_full_disk_is_named(rng, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "wb", buffering=0))
    monkeypatch.setattr(module, "BLOCK", 300)
    x, labels, tree = problem(rng)
    with pytest.raises(OSError, match="space") as full:
        solve_tree(x, labels, tree)
    assert full.value.filename == tempfile.gettempdir()
