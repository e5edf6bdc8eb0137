"""A cascade whose subtrees are divided among processes, against one process with the same batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import planted
from support.cascade_ranks import BATCH, DIM, N_LABELS, losses_with_auxiliary, recipe_run, trained, tree
from topk_agree import assert_topk_agree

import megalabel
from megalabel.distributed.own_texts import shares
from megalabel.distributed.subtrees import Subtrees
from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.wrappers.cascade_parallel import CascadeParallel
from megalabel.storage.tensors import load_tensors
from megalabel.types import TopK

PROGRAM = "support.cascade_ranks:run"
BORDERS = {1: (0, 5), 2: (0, 2, 5), 3: (0, 3, 3, 5), 4: (0, 1, 2, 4, 5)}  # the second of three owns no label
CASES = [
    (1, "adagrad", {}),
    (2, "adam", {"path_score": "label", "level_dropout": (0.2, 0.1, 0.2)}),
    (3, "adagrad", {"reduction": "sum", "n_views": 1, "path_score": "decayed"}),
    (4, "dense", {"beams": (2, 6), "level_weights": (1, 2, 0.5)}),
    (4, "sgd", {"path_score": "path", "beams": (1, 2)}),
]


@pytest.mark.parametrize(("size", "optimizer", "settings"), CASES, ids=str)
def test_processes_train_the_weights_of_one_with_the_same_batches(ranks, size, optimizer, settings):
    alone = trained(World(), optimizer, None, **settings)
    found = ranks.run(size, PROGRAM, optimizer, BORDERS[size], settings)
    state = found[0]["state"]
    assert all(one["state"] is None for one in found[1:])
    assert state.keys() == alone["state"].keys()
    for name, wanted in alone["state"].items():
        limit = 1e-6 * float(wanted.abs().max())  # of sums over processes, whose order differs
        torch.testing.assert_close(state[name], wanted, rtol=1e-5, atol=limit)
    for one in found:
        for name, wanted in alone["encoder"].items():
            torch.testing.assert_close(one["encoder"][name], wanted, rtol=1e-5, atol=2e-6)
        for top, wanted in zip(one["tops"], alone["tops"], strict=True):
            assert_topk_agree(top, wanted, rtol=1e-5)
        assert one["losses"] == pytest.approx(alone["losses"], rel=1e-5)
        assert one["metrics"] == pytest.approx(alone["metrics"])
    for level, n in enumerate(tree().sizes):
        assert sum(one["rows"][level] for one in found) == n
    assert [one["sent"] for one in found] == [sent(size, rank, settings) for rank in range(size)]


def test_an_auxiliary_classifier_of_a_cascade_counts_each_text_once(ranks):
    alone = losses_with_auxiliary(World(), None)
    for found in ranks.run(3, "support.cascade_ranks:losses_with_auxiliary", BORDERS[3]):
        assert found == pytest.approx(alone, rel=1e-5)


def test_a_run_of_three_processes_saves_the_model_of_one(ranks, tmp_path):
    recipe_run(World(), str(tmp_path / "one"))
    ranks.run(3, "support.cascade_ranks:recipe_run", str(tmp_path / "three"))
    for name in ("encoder", "head"):
        found, wanted = (
            load_tensors(tmp_path / run / "model" / f"{name}.safetensors", next_step="-")
            for run in ("three", "one")
        )
        assert found.keys() == wanted.keys()
        for key in wanted:
            torch.testing.assert_close(found[key], wanted[key], rtol=1e-4, atol=1e-6)
    one, three = (megalabel.load(tmp_path / run) for run in ("one", "three"))
    texts = list(planted(n_labels=61).test.texts[:30])
    assert_topk_agree(three.topk(texts, 5), one.topk(texts, 5), rtol=1e-4)


def test_checkpoints_of_four_processes_are_resumed_by_two_and_three(ranks, tmp_path):
    relay, texts = "support.recipe_programs:relay", list(planted().test.texts[:20])
    four, two = tmp_path / "four", tmp_path / "two"
    found = ranks.run(4, relay, four, four, "cascadexml", texts, 5)
    found += ranks.run(2, relay, four, two, "cascadexml", texts)
    found += ranks.run(3, relay, two, None, "cascadexml", texts)
    model = megalabel.load(two).topk(texts, 5)
    for ids, scores in found:
        assert_topk_agree(TopK(ids, scores), model, rtol=1e-5)


def test_subtrees_are_whole_and_about_even():
    labels = tree()
    for size in (1, 2, 3, 5, 9):
        subtrees = Subtrees.balanced(labels, size)
        for level, n in enumerate(labels.sizes):
            assert [row for rank in range(size) for row in subtrees.rows(level, rank)] == list(range(n))
        for level, offsets in enumerate(labels.offsets):
            bounds = np.array(subtrees.levels[level].bounds)
            assert offsets[bounds].tolist() == list(subtrees.levels[level + 1].bounds)
    largest = int(np.diff(labels.offsets[1][labels.offsets[0]]).max())
    assert max(Subtrees.balanced(labels, 2).levels[-1].sizes) <= N_LABELS / 2 + largest / 2
    with pytest.raises(SettingError, match="borders"):
        Subtrees.at(labels, 0, 4)
    with pytest.raises(SettingError, match="subtrees"):
        CascadeParallel(labels, DIM, world=World(0, 2), subtrees=Subtrees.balanced(labels, 3), beams=(3, 4))


def test_each_process_begins_with_the_weights_and_biases_of_the_whole_cascade():
    counts = [torch.arange(n) % 50 for n in tree().sizes]
    random = [torch.Generator().manual_seed(4) for _ in range(5)]
    whole = CascadeHead(tree(), DIM, beams=(3, 4), generator=random[0])
    whole.init_prior(counts, 60)
    for rank in range(4):
        subtrees = Subtrees.at(tree(), *BORDERS[4])
        part = CascadeParallel(
            tree(), DIM, beams=(3, 4), world=World(rank, 4), subtrees=subtrees, generator=random[rank + 1]
        )
        part.init_prior(counts, 60)
        for level, own in enumerate(part.own):
            assert torch.equal(part.weights[level], whole.weights[level][own.start : own.stop])
            assert torch.equal(part.biases[level], whole.biases[level][own.start : own.stop])
        assert random[rank + 1].get_state().equal(random[0].get_state())
        assert part.config() == whole.config()
        part.check_state()


def sent(size: int, rank: int, settings: dict) -> int:
    """The bytes of a step: see docs/scale.md."""
    own = shares(BATCH, size)
    others, longest, levels = size - 1, max(own), 3
    views = 4 * DIM * settings.get("n_views", levels)
    subtrees = Subtrees.at(tree(), *BORDERS[size])
    columns = [min(beam, subtrees.widest(i)) for i, beam in enumerate(settings.get("beams", (3, 4)))]
    total = others * longest * views + (BATCH - own[rank]) * views  # views and their gradients
    total += (BATCH - own[rank]) * sum(5 * n + 4 for n in columns) + 4 * others * own[rank] * len(columns)
    return total + (2 * others * 8 * levels // size if settings.get("reduction") != "sum" else 0)
