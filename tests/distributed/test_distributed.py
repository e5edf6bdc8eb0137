"""Label shards, exchanges between processes and merged rankings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from megalabel.data.texts import Texts
from megalabel.distributed import collectives
from megalabel.distributed.merged_topk import merge_shards, merged_topk
from megalabel.distributed.shards import LabelShards
from megalabel.distributed.world import World, join
from megalabel.errors import SettingError
from megalabel.inputs.token_store import TokenStore
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.types import TopK

SIZES = {1: [5], 3: [3, 0, 4]}
inf = float("inf")


@pytest.mark.parametrize(("n_labels", "size"), [(11, 1), (11, 4), (3, 5), (0, 2)])
def test_even_shards_hold_each_label_once_and_differ_by_one_label_at_most(n_labels, size):
    shards = LabelShards.even(n_labels, size)
    assert [label for rank in range(size) for label in shards.range(rank)] == list(range(n_labels))
    assert max(shards.sizes) - min(shards.sizes) <= 1
    assert (shards.n_labels, shards.size) == (n_labels, size)


def test_the_owner_of_a_label_is_the_rank_whose_range_holds_it():
    shards = LabelShards.at(0, 2, 2, 5, 5)
    owners = [next(r for r in range(4) if label in shards.range(r)) for label in range(5)]
    assert owners == [0, 0, 2, 2, 2]
    assert shards.owner(torch.arange(5)).tolist() == owners
    assert shards.owner(np.arange(5).reshape(5, 1)).tolist() == [[rank] for rank in owners]


@pytest.mark.parametrize("bounds", [(0,), (1, 2), (0, 3, 2), ()])
def test_bounds_that_do_not_ascend_from_zero_are_refused(bounds):
    with pytest.raises(SettingError):
        LabelShards(bounds)


def test_numbers_of_processes_that_do_not_fit_are_refused():
    with pytest.raises(SettingError):
        LabelShards.even(5, 0)
    with pytest.raises(SettingError):
        LabelShards.even(5, 2).range(2)
    with pytest.raises(SettingError):
        World(2, 2)
    with pytest.raises(SettingError):
        collectives.gather_rows(torch.zeros(3, 2), [2], World())


@pytest.mark.parametrize("variables", [{"WORLD_SIZE": "2"}, {"WORLD_SIZE": "two", "RANK": "0"}])
def test_incomplete_variables_of_torchrun_are_refused(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingError), join():
        pass


def test_without_torchrun_a_job_has_one_process_and_no_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join() as world:
        assert world == World.current() == World(0, 1, 0)
        assert world.is_main
        assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("size", [1, 3])
def test_exchanges_give_what_one_process_would_compute_and_count_their_bytes(ranks, size):
    sizes = SIZES[size]
    rows = [torch.randn(n, 2) for n in sizes]
    found = ranks.run(size, "support.rank_programs:exchanges", rows, sizes)
    together = torch.cat(rows)
    for rank, one in enumerate(found):
        assert torch.equal(one["gathered"], together)
        own = torch.cat([torch.zeros(0, 2), *rows[rank : rank + 1]]) * (size * (size + 1) / 2)
        torch.testing.assert_close(one["own"], own)
        assert one["total"].tolist() == [size * (size - 1) / 2] * 12
        assert one["from last"] == f"of {size - 1}"
        assert one["of all"] == [{"rank": r} for r in range(size)]
        row, others = 2 * 4, size - 1
        bytes_of = {
            "gather": others * max(sizes) * row,
            "reduce_scatter": (sum(sizes) - sizes[rank]) * row,
            "sum": 2 * others * 12 * 4 // size,
        }
        assert one["sent"] == (bytes_of if size > 1 else {})


def test_a_merged_ranking_is_that_of_one_process_with_ties_to_the_lower_label(ranks):
    scores = torch.randint(0, 3, (6, 11)).float()
    scores[0] = -inf
    scores[1, 4:] = -inf
    for k in (4, 13):
        found = ranks.run(3, "support.rank_programs:ranked", scores, (0, 5, 5, 11), k)
        best = scores.sort(dim=1, descending=True, stable=True)
        for one in found:
            assert one.ids.shape == one.scores.shape == (6, k)
            assert torch.equal(one.ids[:, :11], best.indices[:, :k])
            assert torch.equal(one.scores[:, :11], best.values[:, :k])
            assert (one.ids[:, 11:] == -1).all()
            assert (one.scores[:, 11:] == -inf).all()


@pytest.mark.parametrize("n_texts", [11, 2])
def test_tokens_that_processes_make_together_are_those_of_one(ranks, n_texts):
    texts = [" ".join(f"word{i}" for i in range(n % 7)) for n in range(n_texts)]
    store = TokenStore.build(Texts.from_strings(texts), learn_tokenizer(texts, 1000), 5)
    for ids, offsets, manifest in ranks.run(3, "support.rank_programs:tokens", texts, 4):
        assert ids.tolist() == store.ids.tolist()
        assert ids.dtype == store.ids.dtype
        assert offsets.tolist() == store.offsets.tolist()
        assert manifest == store.manifest


def test_missing_labels_come_after_labels_without_a_score():
    first = TopK(torch.tensor([[-1, -1]]), torch.tensor([[-inf, -inf]]))
    second = TopK(torch.tensor([[7, 6]]), torch.tensor([[-inf, -inf]]))
    assert merge_shards([first, second], 3).ids.tolist() == [[6, 7, -1]]


def test_one_process_merges_its_own_ranking_alone():
    found = TopK(torch.tensor([[2, 0], [1, -1]]), torch.tensor([[0.5, 0.25], [1.0, -inf]]))
    merged = merged_topk(found, 10, 3, World())
    assert merged.ids.tolist() == [[12, 10, -1], [11, -1, -1]]
    assert merged_topk(TopK(found.ids[:0], found.scores[:0]), 10, 3, World()).ids.shape == (0, 3)
