"""The numba body does the steps of the plain one, and what it gives depends on nothing that it should not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.backends import using
from support.descent_cases import BODIES, TIGHT, case

from megalabel.kernels.linear._cpu import dual_descent as fast
from megalabel.kernels.linear.dual_descent import descend


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    using("cpu", case(0).descend)


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**31 - 1),
    n=st.integers(1, 30),
    v=st.integers(1, 25),
    children=st.lists(st.integers(0, 20), min_size=1, max_size=3),
    width=st.sampled_from([0, 1, 6]),
    bias=st.sampled_from([0.0, 1.5]),
    max_iter=st.integers(1, 4),
    prune_below=st.sampled_from([0.0, 0.1]),
)
def test_both_bodies_do_the_same_steps(seed, n, v, children, width, bias, max_iter, prune_below) -> None:
    c = case(seed, n, v, tuple(children), width)
    kept: dict[str, Any] = {"bias": bias, "max_iter": max_iter, "tol": 0, "c": (2.0, 0.5), "seed": seed}
    slow = using("plain", c.descend, prune_below=prune_below, **kept)
    quick = using("cpu", c.descend, prune_below=prune_below, **kept)
    quick.sparse.check_format(full_check=True)
    assert quick.sparse.has_canonical_format
    assert quick.sparse.dtype == quick.dense.dtype == np.float32
    assert quick.sparse.shape == slow.sparse.shape == (c.positives.shape[0], v + (bias > 0))
    difference = abs(quick.sparse - slow.sparse).toarray()
    near = np.abs(np.abs(slow.sparse.toarray()) - prune_below) < 1e-4  # rounding decides whether it is kept
    near |= np.abs(np.abs(quick.sparse.toarray()) - prune_below) < 1e-4
    assert (difference[~near] < 1e-4).all()
    assert np.allclose(quick.dense, slow.dense, atol=1e-4)


@pytest.mark.usefixtures("poisoned")
def test_threads_and_cuts_change_no_bit(monkeypatch, seed) -> None:
    c = case(seed, 60, 50, (40, 3, 0, 70, 17), width=5)
    torch.set_num_threads(1)
    one = using("cpu", c.descend, seed=3)
    torch.set_num_threads(2)
    two = using("cpu", c.descend, seed=3)
    monkeypatch.setattr(fast, "_ROOM", 1)  # a task a block
    monkeypatch.setattr(fast, "_PARTS", 10**9)
    cut = using("cpu", c.descend, seed=3)
    for other in (two, cut):
        assert np.array_equal(one.sparse.indptr, other.sparse.indptr)
        assert np.array_equal(one.sparse.indices, other.sparse.indices)
        assert np.array_equal(one.sparse.data, other.sparse.data)
        assert np.array_equal(one.dense, other.dense)


@pytest.mark.parametrize("body", BODIES)
def test_a_model_does_not_depend_on_its_siblings(body, seed) -> None:
    c = case(seed, children=(21,))
    some = [2, 3, 19]
    all_of_them = using(body, c.descend).sparse[some]
    alone = using(body, c._replace(offsets=np.array([0, 3]), positives=c.positives[some]).descend).sparse
    assert np.array_equal(all_of_them.toarray(), alone.toarray())


@pytest.mark.parametrize("body", BODIES)
def test_a_seed_is_an_order_and_not_another_optimum(body, seed) -> None:
    c = case(seed)
    first, other = (using(body, c.descend, max_iter=1, tol=0, seed=s).sparse.toarray() for s in (1, 2))
    assert not np.array_equal(first, other)
    first, other = (using(body, c.descend, seed=s, **TIGHT).sparse.toarray() for s in (1, 2))
    assert np.allclose(first, other, atol=1e-3)


@pytest.mark.parametrize("body", BODIES)
def test_light_weights_are_dropped_but_not_the_bias(body, seed) -> None:
    c = case(seed, width=2)
    full = using(body, c.descend, prune_below=0, bias=0.5)
    cut = using(body, c.descend, prune_below=0.3, bias=0.5)
    wanted = full.sparse.toarray()
    assert full.sparse.nnz == np.count_nonzero(wanted)
    light = np.abs(wanted) < np.float32(0.3)
    light[:, -1] = False
    assert light.any()
    wanted[light] = 0
    assert np.array_equal(cut.sparse.toarray(), wanted)
    assert np.array_equal(cut.dense, full.dense)
    every = using(body, c.descend, prune_below=1e9).sparse.toarray()
    assert not every[:, :-1].any() and every[:-1, -1].all()


@pytest.mark.parametrize("body", BODIES)
def test_dense_features_are_features(body, seed) -> None:
    c = case(seed)
    n, v = c.x.shape
    moved = c._replace(x=sp.csr_matrix((n, 1), dtype=np.float32), dense=c.x.toarray())
    sparse, dense = using(body, c.descend, **TIGHT), using(body, moved.descend, **TIGHT)
    assert np.allclose(dense.dense, sparse.sparse.toarray()[:, :v], atol=1e-3)
    assert np.allclose(dense.sparse.toarray()[:, -1], sparse.sparse.toarray()[:, -1], atol=1e-3)


@pytest.mark.parametrize("body", BODIES)
def test_nothing_to_do(body) -> None:
    c = case(1)
    n, v = c.x.shape
    no_texts = using(body, c._replace(texts=sp.csr_matrix(c.texts.shape, dtype=np.float32)).descend)
    assert no_texts.sparse.shape == (5, v + 1) and no_texts.sparse.nnz == 0
    nothing = sp.csr_matrix((0, n), dtype=np.float32)
    no_parents = using(body, descend, c.x, nothing, np.array([0]), nothing)
    assert no_parents.sparse.shape == (0, v + 1)
    without_words = using(body, c._replace(x=sp.csr_matrix((n, v), dtype=np.float32)).descend, bias=0)
    assert without_words.sparse.nnz == 0
