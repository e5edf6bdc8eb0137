"""The search with 8-bit integers: the compiled search is the plain one, and its scores bound the exact ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.narrow_tables import narrow

from megalabel.errors import SettingError
from megalabel.kernels.search import label_search
from megalabel.kernels.search.exact_scores import exact_scores
from megalabel.kernels.search.exact_scores import plain as plain_scores
from megalabel.kernels.search.groups import group_level, rows_in
from megalabel.kernels.search.label_search import LabelSearch, plain

DIM = 37  # not a multiple of four
CHUNKS = [0, 90, 91, 400, 400, 1000]  # of one label, of none, and of several tiles of groups


def level_of(w: np.ndarray, bias: np.ndarray | None, chunks: list[int], order: np.ndarray):
    return group_level(lambda ids: w[ids], bias, np.array(chunks, np.int64), order, w.shape[1])


@pytest.fixture(scope="module")
def searches():
    """A scan of 1,000 labels, one with bounds, and a tree of three levels over them."""
    rng = np.random.default_rng(0)
    w, bias = rng.standard_normal((1000, DIM), dtype=np.float32), rng.standard_normal(1000).astype(np.float32)
    w[5:9], bias[5:9] = w[4], bias[4]  # ties
    w[11] = 0
    w *= np.exp(rng.standard_normal((1000, 1))).astype(np.float32)
    w[5:9] = w[4]
    flat = level_of(w, bias, [0, 1000], np.arange(1000))
    nodes = rng.standard_normal((7, DIM), dtype=np.float32)
    top = level_of(nodes[:2], None, [0, 2], np.arange(2))
    middle = level_of(nodes[2:], None, [0, 3, 5], np.array([0, 2, 4, 1, 3]))
    order = np.concatenate([np.sort(part) for part in np.split(rng.permutation(1000), CHUNKS[1:-1])])
    leaves = level_of(w, bias, CHUNKS, order)
    for level in (top, middle, leaves):
        level.facts[:, 3] = 0
    tree = LabelSearch([top, middle, leaves], [2, 3], DIM)
    return w, bias, LabelSearch([flat], [], DIM), tree


def texts(n: int, seed: int = 1) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)
    x[n // 2] *= 1e-4
    return x


@pytest.mark.parametrize("kind", ["scan", "tree"])
def test_the_compiled_search_is_the_plain_one(searches, kind):
    search, x = searches[2 if kind == "scan" else 3], texts(9)
    ids, keys = search(x, 40)
    wanted_ids, wanted = plain(x, search.levels, search.beams, 40)
    np.testing.assert_allclose(keys, wanted, rtol=2e-5, atol=2e-5 * np.abs(wanted[np.isfinite(wanted)]).max())
    clear = np.abs(np.diff(wanted, axis=1, append=-np.inf)) > 1e-3
    clear[:, 1:] &= clear[:, :-1]
    np.testing.assert_array_equal(ids[clear], wanted_ids[clear])


def test_a_text_is_searched_alike_alone_and_among_others(searches):
    for search in searches[2:]:
        x = texts(11)
        ids, keys = search(x, 30)
        for n in (1, 2, 3, 5):
            parts = [search(part, 30) for part in np.split(x, range(n, 11, n))]
            np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), ids)
            np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), keys)


def test_equal_scores_go_to_the_lower_label(searches):
    w, _, search, _ = searches
    ids = search(np.ascontiguousarray(w[[4]]) * 3, 1000)[0][0]
    assert [int(i) for i in ids if 4 <= i <= 8] == [4, 5, 6, 7, 8]


def test_scores_of_a_scan_are_no_lower_than_exact_ones(searches):
    w, bias, search, _ = searches
    x = np.concatenate([texts(20, seed) for seed in range(5)])
    ids, keys = search(x, 1000)
    exact = np.take_along_axis(x.astype(float) @ w.T.astype(float) + bias, ids, 1)
    slack = 1e-5 * np.abs(keys).max(axis=1, keepdims=True)
    assert (keys >= exact - slack).all()
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(w, axis=1)[ids]
    assert (keys - exact <= 0.05 * norms + slack).all()


def test_rows_are_stored_to_half_a_step(searches):
    w, _, search, _ = searches
    level = search.levels[0]
    scale = level.facts[:, 0].reshape(-1)[:1000, None]
    assert np.abs(scale * rows_in(level)[:1000, :DIM] - w).max() <= 0.5001 * scale.max()
    assert (np.abs(scale * rows_in(level)[:1000, :DIM] - w) <= 0.5001 * scale).all()


def test_levels_that_do_not_fit_are_refused(searches):
    _, _, scan, tree = searches
    level = scan.levels[0]
    ids = level.ids.copy()
    ids[3] = 5_000
    for levels, beams in (
        ([level._replace(ids=ids)], []),
        ([level._replace(codes=level.codes[:, :-1])], []),
        ([level._replace(sums=level.sums.astype(np.int64))], []),
        ([level._replace(starts=np.array([0, 10_000]))], []),
        (tree.levels[1:], [3]),
        (tree.levels, [2]),
        (tree.levels, [2, 0]),
    ):
        with pytest.raises(SettingError):
            LabelSearch(levels, beams, DIM)
    for x, room in ((np.zeros((2, 5), np.float32), 3), (np.zeros((2, DIM)), 3), (texts(2), 0)):
        with pytest.raises(SettingError):
            scan(x, room)
    with pytest.raises(SettingError):
        scan(np.full((2, DIM), np.nan, np.float32), 3)


@pytest.mark.parametrize("with_bias", [False, True])
def test_exact_scores_are_those_in_float64(with_bias):
    torch.manual_seed(0)
    x, w, b = torch.randn(7, 19), torch.randn(30, 19), torch.randn(30) if with_bias else None
    ids = torch.randint(-1, 30, (7, 5))
    wanted = plain_scores(x.double(), w.double(), None if b is None else b.double(), ids)
    torch.testing.assert_close(exact_scores(x, w, b, ids).double(), wanted, rtol=1e-5, atol=1e-5)
    coarse = narrow(w, "bfloat16")
    wanted = plain_scores(x.double(), coarse.float().double(), None if b is None else b.double(), ids)
    torch.testing.assert_close(exact_scores(x, coarse, b, ids).double(), wanted, rtol=1e-5, atol=1e-5)
    for bad in (ids + 30, ids - 5, ids[:3]):
        with pytest.raises(SettingError):
            exact_scores(x, w, b, bad)


def test_threads_change_nothing(searches, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(label_search, "_BLOCK", 4)
    try:
        found = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(searches[3](texts(13), 20))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
