"""The beam search against lists, and covering beams against a matrix of all scores."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.beam_cases import SCORES, SEARCHES, case, running, same, some_pairs
from support.narrow_tables import narrow
from topk_agree import assert_topk_agree

from megalabel.errors import SettingError
from megalabel.kernels.candidates import _beam_gather
from megalabel.kernels.candidates import beam as module
from megalabel.kernels.candidates.beam import BeamSearch, beam_topk, plain
from megalabel.kernels.rounding.stochastic_rounding import integers
from megalabel.types import Positives, TopK


@pytest.fixture(autouse=True, params=SEARCHES)
def body(request: pytest.FixtureRequest) -> Iterator[None]:
    with running(request.param):
        yield


@pytest.mark.pairwise("body", depth=[1, 2, 3], own_views=[False, True], scores=SCORES, body=SEARCHES)
def test_equals_lists(depth, own_views, scores, seed):
    views, *tree = case(seed, depth, n_views=depth + 1 if own_views else 1)
    exclude = some_pairs(seed, len(views), len(tree[3]))
    for width in (1, 2, 5, 1000):
        beams = [width] * depth
        for k in (1, 4, 300):
            same(beam_topk(views, *tree, beams, k, scores), plain(views, *tree, beams, k, scores))
        expected = plain(views, *tree, beams, 4, scores, exclude)
        same(beam_topk(views, *tree, beams, 4, scores, exclude), expected)
        assert not set(map(tuple, torch.stack([exclude.rows, exclude.labels], 1).tolist())) & {
            (b, label) for b, row in enumerate(expected.ids.tolist()) for label in row
        }


@settings(max_examples=15)
@given(
    st.integers(0, 2**20), st.integers(1, 3), st.integers(1, 9), st.integers(1, 70), st.integers(1, 12), st.data()
)
def test_any_shape(seed, depth, width, batch, k, data):
    views, *tree = case(seed, depth, width, batch=batch)
    beams = data.draw(st.lists(st.integers(1, 20), min_size=depth, max_size=depth))
    scores = data.draw(st.sampled_from(SCORES))
    same(beam_topk(views, *tree, beams, k, scores), plain(views, *tree, beams, k, scores))


@pytest.mark.pairwise("body", depth=[1, 2, 3], scores=SCORES, body=SEARCHES)
def test_beams_that_cover_everything_score_all_labels(depth, scores, seed):
    views, weights, biases, offsets, order = case(seed, depth, n_views=depth + 1, batch=7)
    logits = [views[:, i] @ w.t() + b for i, (w, b) in enumerate(zip(weights, biases, strict=True))]
    every = torch.zeros(len(views), len(weights[0]), dtype=torch.float64)
    for i in range(depth + 1):  # from the top down, each level's part of the one above
        part = {"path": 1, "decayed": 0.5, "label": 0, "label*parent": i == depth}[scores]
        if i:
            parents = torch.from_numpy(np.repeat(np.arange(len(weights[i - 1])), np.diff(offsets[i - 1])))
            every = (every * part)[:, parents]
        every = every + torch.nn.functional.logsigmoid(logits[i].double())
    keys = torch.empty(len(views), len(order))
    keys[:, torch.from_numpy(order)] = logits[-1] if scores == "label" else every.float()
    labels = keys.sort(dim=1, descending=True, stable=True).indices
    probability = torch.empty(len(views), len(order), dtype=torch.float64)
    probability[:, torch.from_numpy(order)] = every.exp()
    beams = [len(w) for w in weights[:-1]]
    found = beam_topk(views, weights, biases, offsets, order, beams, len(order), scores)
    assert torch.equal(found.ids, labels)
    torch.testing.assert_close(found.scores, probability.gather(1, labels).float(), rtol=3e-6, atol=0)


@pytest.mark.parametrize("scores", SCORES)
def test_one_text_finds_what_a_batch_finds(scores, seed):
    views, *tree = case(seed, 3, n_views=4, batch=70)
    search = BeamSearch(*tree, (2, 3, 4), scores)
    exclude = some_pairs(seed, 70, len(tree[3]))
    together, allowed = search(views, 6), search(views, 6, exclude)
    for b in range(70):
        mine = exclude.rows == b
        own = Positives(exclude.rows[mine] * 0, exclude.labels[mine])
        same(search(views[b : b + 1], 6), TopK(together.ids[b : b + 1], together.scores[b : b + 1]))
        same(search(views[b : b + 1], 6, own), TopK(allowed.ids[b : b + 1], allowed.scores[b : b + 1]))


def test_pieces_of_any_size_give_the_same(monkeypatch, seed):
    views, *tree = case(seed, 3, n_views=4, batch=9)
    exclude = some_pairs(seed, 9, len(tree[3]))
    for name in ("_TEXTS", "_CELLS", "_BYTES"):
        owner = module if name == "_TEXTS" else _beam_gather
        monkeypatch.setattr(owner, name, 2)
    for scores in SCORES:
        expected = plain(views, *tree, (3, 3, 3), 6, scores, exclude)
        same(beam_topk(views, *tree, (3, 3, 3), 6, scores, exclude), expected)


@pytest.mark.parametrize("batch", [2, 40, 100])
def test_threads_do_not_change_a_bit(batch, seed):
    generator = torch.Generator().manual_seed(seed)
    _, weights, biases, offsets, order = case(seed, 2, 50)
    weights = [torch.randn(len(w), 19, generator=generator) for w in weights]
    views = torch.randn(batch, 3, 19, generator=generator)
    search = BeamSearch(weights, biases, offsets, order, (7, 9), "path")
    found = search(views, 5)
    torch.set_num_threads(3 - torch.get_num_threads())
    again = search(views, 5)
    assert torch.equal(found.ids, again.ids)
    assert torch.equal(found.scores, again.scores)


@pytest.mark.parametrize("scores", SCORES)
def test_float_tables_to_rounding(scores, seed):
    generator = torch.Generator().manual_seed(seed)
    _, weights, biases, offsets, order = case(seed, 2, 6)
    wide = [torch.randn(len(w), 37, generator=generator, dtype=torch.float64) for w in weights]
    views = torch.randn(40, 1, 37, generator=generator, dtype=torch.float64)
    beams = [1000, 1000]  # a narrow beam may take another way where two logits are nearly the same
    expected = plain(views, wide, biases, offsets, order, beams, 5, scores)
    for a, b in ((views, wide), (views.float(), wide), (views, [w.float() for w in wide])):
        found = beam_topk(a, b, biases, offsets, order, beams, 5, scores)
        assert_topk_agree(found, expected, rtol=1e-3, atol=1e-30)


@pytest.mark.parametrize("name", ["bfloat16", "float8"])
def test_narrow_tables_are_searched_as_the_numbers_that_they_hold(name, seed):
    """Small whole numbers, which both types hold, so that ties are the same."""
    views, weights, *tree = case(seed, 3, n_views=4, batch=40)
    tables = [narrow(w, name) for w in weights]
    assert all(torch.equal(t.float(), w) for t, w in zip(tables, weights, strict=True))
    exclude = some_pairs(seed, 40, len(tree[2]))
    for scores in SCORES:
        search = BeamSearch(tables, *tree, (2, 3, 4), scores)
        same(search(views, 6, exclude), plain(views, weights, *tree, (2, 3, 4), 6, scores, exclude))
        alone = plain(views[:1], weights, *tree, (2, 3, 4), 6, scores)
        same(search(views[:1], 6), alone)
    same(search(views, 6), beam_topk(views, weights, *tree, (2, 3, 4), 6, scores))
    codes = integers(tables[-1].codes)
    codes[:] = codes.flip(0)  # a step of a training is seen
    if tables[-1].exponents is not None:
        tables[-1].exponents.copy_(tables[-1].exponents.flip(0))
    same(search(views, 6), plain(views, [*weights[:-1], weights[-1].flip(0)], *tree, (2, 3, 4), 6, scores))
    tables[-1].codes.detach()[:] = torch.nan
    with pytest.raises(SettingError, match="NaN"):
        search(views, 6)


@pytest.mark.parametrize("name", ["bfloat16", "float8"])
def test_a_large_narrow_table_to_rounding_of_float64(name, seed):
    generator, dim, sizes = torch.Generator().manual_seed(seed), 35, (20, 400, 100_000)
    tables = [narrow(torch.randn(n, dim, generator=generator), name) for n in sizes]
    offsets = [np.arange(n + 1) * below // n for n, below in pairwise(sizes)]
    order = np.random.default_rng(seed).permutation(sizes[-1])
    views = torch.randn(3, 1, dim, generator=generator, dtype=torch.float64)
    wide = [table.float().double() for table in tables]
    arguments = [None] * 3, offsets, order, (20, 400), 9  # beams that keep all: no near ties on the way
    found = beam_topk(views, tables, *arguments)
    logits = views[:, 0] @ wide[-1].t()
    best = logits.topk(9)
    expected = TopK(torch.from_numpy(order)[best.indices], best.values.sigmoid().float())
    assert_topk_agree(found, expected, rtol=1e-3, atol=1e-30)


def test_clusters_are_ranked_by_their_own_level_or_by_the_path():
    # The first top node is likely and its only child is not; the other way round for the second.
    weights = [torch.tensor([[4.0], [-4.0]]), torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [0.0]])]
    offsets, order = [np.array([0, 1, 2])] * 2, np.array([0, 1])
    arguments = torch.ones(1, 1, 1), weights, [None] * 3, offsets, order, (2, 1), 1
    half, likely = 0.5, float(torch.sigmoid(torch.tensor(1.0)))
    path = half * half * float(torch.sigmoid(torch.tensor(4.0)))
    for scores, label, value in zip(SCORES, (1, 1, 0), (half, half * likely, path), strict=False):
        found = beam_topk(*arguments, scores)
        assert found.ids.tolist() == [[label]]
        assert found.scores.item() == pytest.approx(value)


@pytest.mark.pairwise("body", size=[-300.0, 90.0], scores=SCORES, body=SEARCHES)
def test_order_where_probabilities_are_all_0_or_all_1(scores, size):
    weights = [torch.tensor([[0.0]]), torch.tensor([[size + i] for i in (2.0, 0.0, 3.0, 1.0)])]
    found = beam_topk(torch.ones(1, 1, 1), weights, [None] * 2, [np.array([0, 4])], np.arange(4), [1], 4, scores)
    assert found.scores[0].unique().numel() == 1
    # Above float32's resolution of a logarithm near a parent's, the order is that of the labels.
    assert found.ids.tolist() == [[2, 0, 3, 1] if size < 0 or scores == "label" else [0, 1, 2, 3]]


def test_ties_go_to_the_lower_row_and_the_lower_label():
    weights = [torch.zeros(4, 2), torch.zeros(8, 2)]
    offsets, order = [np.arange(0, 9, 2)], np.array([7, 0, 3, 5, 1, 2, 4, 6])
    for beam, labels in ((1, [0, 7, -1]), (2, [0, 3, 5]), (4, [0, 1, 2])):
        found = beam_topk(torch.ones(2, 1, 2), weights, [None, None], offsets, order, [beam], 3)
        assert found.ids.tolist() == [labels] * 2
    assert found.scores.tolist() == [[0.5] * 3] * 2
