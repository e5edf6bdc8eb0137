"""Indexes return the labels and scores of the head, and say how many of them they keep."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from support.narrow_tables import narrow

from megalabel.errors import MissingExtra, SettingError
from megalabel.index.base import LabelTable
from megalabel.index.build import build_index, check_request
from megalabel.index.measure import exact_topk, interval, recall_of, texts_needed
from megalabel.index.scan import ScanIndex
from megalabel.index.tree import TreeIndex
from megalabel.types import Positives, TopK

N, DIM = 3000, 24


def made(seed: int = 0) -> tuple[LabelTable, torch.Tensor]:
    """Labels in 60 clusters, of different lengths and with biases, and texts near to some of them."""
    g = torch.Generator().manual_seed(seed)
    centers = torch.randn(60, DIM, generator=g)
    w = centers.repeat(N // 60, 1) + 0.6 * torch.randn(N, DIM, generator=g)
    w *= torch.empty(N, 1).uniform_(0.5, 1.5, generator=g)
    x = w[torch.randint(N, (800,), generator=g)] + 0.4 * torch.randn(800, DIM, generator=g)
    return LabelTable(w, torch.randn(N, generator=g)), x


@pytest.fixture(scope="module")
def tree():
    table, x = made()
    return table, x, TreeIndex.build(table, 10)


def same(found: TopK, exact: TopK) -> None:
    """The same scores and, where they are not nearly equal, the same labels."""
    torch.testing.assert_close(found.scores, exact.scores, rtol=1e-5, atol=1e-4)
    gaps = exact.scores.diff(dim=1).abs() > 1e-3
    clear = torch.nn.functional.pad(gaps, (0, 1), value=False) & torch.nn.functional.pad(gaps, (1, 0), value=True)
    assert torch.equal(found.ids[clear], exact.ids[clear])


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float8"])
def test_int8_finds_the_exact_labels_and_leaves_out_what_is_excluded(kind):
    table, x = made(1)
    if kind != "float32":
        table = LabelTable(narrow(table.weight, kind), table.bias)
    index, x = ScanIndex.build(table, 10), x[:60]
    exact = table.exact(x, 10)
    same(index.topk(table, x, 10), exact)
    rows = torch.arange(60).repeat_interleave(4)
    exclude = Positives.from_pairs(rows, exact.ids[:, :4].flatten())
    same(index.topk(table, x, 10, exclude), table.exact(x, 10, exclude))


def test_int8_scores_every_label_where_it_cannot_prove_the_result():
    table = LabelTable(torch.randn(200, DIM).repeat(2, 1) + 1e-4 * torch.randn(400, DIM), None)
    table.weight[:] = table.weight[:1] + 1e-3 * torch.randn(400, DIM)  # all within the error of 8 bits
    index, x = ScanIndex.build(table, 10), torch.randn(20, DIM)
    same(index.topk(table, x, 10), table.exact(x, 10))


def test_a_tree_returns_the_scores_of_the_head_and_all_labels_with_its_whole_beam(tree):
    table, x, index = tree
    exact = exact_topk(table, x, 10)
    found = index.with_width(8).topk(table, x, 10)
    wanted = (x[:, None] * table.weight[found.ids]).sum(2) + table.bias[found.ids]
    torch.testing.assert_close(found.scores, wanted, rtol=1e-4, atol=1e-4)
    recalls = [recall_of(index.with_width(w).topk(table, x, 10), exact) for w in (4, 16, index.widths()[-1])]
    assert recalls[0] < recalls[1] < recalls[2] and recalls[1] > 0.8 and recalls[2] > 0.999


def test_more_labels_than_an_index_is_for_are_ranked_exactly(tree):
    table, x, index = tree
    narrowest = index.with_width(4)
    same(narrowest.topk(table, x[:5], 500), table.exact(x[:5], 500))
    everything = torch.arange(N)[None].repeat(2, 1)
    hidden = Positives.from_pairs(torch.arange(2).repeat_interleave(N - 3), everything[:, 3:].flatten())
    same(narrowest.topk(table, x[:2], 10, hidden), table.exact(x[:2], 10, hidden))
    assert narrowest.topk(table, x[:0], 10).ids.shape == (0, 10)


def test_the_same_seed_gives_the_same_tree(tree):
    table, _, index = tree
    again = TreeIndex.build(table, 10)
    for a, b in zip(index.search.levels, again.search.levels, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


def test_labels_that_are_all_alike_are_found(tree):
    table = LabelTable(torch.ones(1000, DIM), None)
    index = TreeIndex.build(table, 3)
    assert index.topk(table, torch.ones(2, DIM), 3).scores.tolist() == [[DIM] * 3] * 2
    assert max(np.diff(index.search.levels[2].starts)) <= 12


def test_an_index_chosen_keeps_the_recall_that_was_asked_for():
    table, x = made(2)
    said: list[str] = []
    built = build_index("tree", table, x, recall=0.95, k=5, say=said.append)
    assert [row.kind for row in built.rows] == ["exact", "tree"] and said == []
    row = built.rows[1]
    assert row.low <= row.recall <= row.high and row.recall > 0.94
    fresh = made(3)[1]  # of other texts
    found = built.index.topk(table, fresh, 5)
    assert recall_of(found, exact_topk(table, fresh, 5)) > 0.8
    chosen = build_index("auto", table, x, recall=0.95, k=5, say=said.append)
    fastest = max(chosen.rows, key=lambda row: row.texts_per_second * (row.kind == "exact" or row.low >= 0.95))
    assert chosen.kind == fastest.kind and {row.kind for row in chosen.rows} == {"exact", "int8", "tree"}
    build_index("tree", table, x[:40], recall=0.99, k=5, say=said.append)
    assert len(said) >= 1  # too few texts


def test_recall_counts_ties_and_has_an_interval():
    exact = TopK(torch.tensor([[1, 2], [3, -1]]), torch.tensor([[2.0, 1.0], [5.0, -torch.inf]]))
    assert recall_of(exact, exact) == 1
    tied = TopK(torch.tensor([[1, 9], [7, -1]]), torch.tensor([[2.0, 1.0], [4.0, -torch.inf]]))
    assert recall_of(tied, exact) == 0.5
    low, high = interval(0.99, 1000)
    assert 0.98 < low < 0.99 < high < 0.997
    n = texts_needed(0.99)
    assert interval(1.0, n)[0] >= 0.99 > interval(1.0, n - 1)[0]


@pytest.mark.parametrize(
    "arguments",
    [("ivf", 0.9, 5), ("tree", 1.0, 5), ("tree", 0, 5), ("tree", 0.9, 0), ("tree", 0.9, 11), ("tree", 0.9, True)],
)
def test_wrong_requests_are_refused(arguments):
    with pytest.raises(SettingError):
        check_request(*arguments, 10)


def test_an_index_refuses_the_weights_of_another_head(tree):
    _, x, index = tree
    with pytest.raises(SettingError):
        index.topk(LabelTable(torch.zeros(N - 1, DIM), None), x, 5)


def test_hnsw_without_faiss_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    table, x = made()
    with pytest.raises(MissingExtra):
        build_index("hnsw", table, x)


def test_hnsw_finds_most_labels(tmp_path):
    pytest.importorskip("faiss", reason="the extra index is not installed")
    from megalabel.index.files import load_index, save_index

    table, x = made(4)
    built = build_index("hnsw", table, x, recall=0.9, k=5, say=lambda line: None)
    assert built.rows[1].recall > 0.9
    save_index(tmp_path / "index", built.index, "a")
    again = load_index(tmp_path / "index", "a", (N, DIM))
    assert torch.equal(again.topk(table, x, 5).ids, built.index.topk(table, x, 5).ids)
