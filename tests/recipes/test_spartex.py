"""Spartex on planted data: it learns, its parts are wired as the paper has them, and bad settings are told."""

import json

import numpy as np
import pytest
import torch
from planted import planted

import megalabel
from megalabel.errors import MegalabelError, SettingError
from megalabel.heads.auxiliary import WithAuxiliary
from megalabel.heads.dealt import Dealt
from megalabel.heads.dense import DenseHead
from megalabel.heads.intermediate import WithIntermediate
from megalabel.heads.sparse import SparseHead
from megalabel.labels.tree import LabelTree
from megalabel.recipes.presets import find
from megalabel.recipes.spartex import spartex
from megalabel.training.fused import FusedAdam

SMALL = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=20, batch_size=32, hidden=0, dropout=0.1, fan_in=48,
    prune="fraction", prune_fraction=0.2, rewire_every=20, auxiliary=False, head_lr=0.02, encoder_lr=0.002,
    token_lr=0.02, warmup=0.05, log_every=1,
)  # fmt: skip
BCE = dict(loss="bce", head_optimizer="sgd", head_lr=0.01, prior=True, head_scale=0.0, micro_batches=2)


@pytest.mark.parametrize(
    "more",
    [
        {},
        BCE,
        {"auxiliary": True, "auxiliary_epochs": 4, "distinct_inputs": True, "growth": "gradient"},
        {"group": 16, "dense_share": 0.1, "prune_scope": "group", "prior": True, "label_texts": True},
        {"intermediate": 300, "intermediate_lr": 0.002, "prune": "threshold", "prune_threshold": 0.005},
        {"prune": "none", "group": 16, "group_by": "frequency", "reduction": "sum", "head_lr": 0.005},
    ],
    ids=["hinge", "bce", "auxiliary", "groups", "intermediate", "static"],
)
def test_it_learns_and_comes_back(more, tmp_path):
    data = planted()
    model = megalabel.train(spartex(data, **{**SMALL, **more}), tmp_path / "run", quiet=True)
    assert megalabel.evaluate(model, data)["P@1"] > 90
    again = megalabel.load(tmp_path / "run")
    a, b = model.topk(data.test.texts, k=5), again.topk(data.test.texts, k=5)
    assert torch.equal(torch.as_tensor(a.labels), torch.as_tensor(b.labels))
    assert not isinstance(again.head, WithAuxiliary)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    told = [line for line in lines if "rewired in all %" in line]
    if more.get("prune") == "none":
        assert not told
    else:
        assert told[-1]["rewired in all %"] > 5
        assert 0 < told[-1]["age"] < told[-1]["step"]
    if "auxiliary" in more:
        assert lines[0]["auxiliary share"] == 0.4
        assert told[-1]["auxiliary share"] == 0


def test_the_wiring_is_the_papers(tiny_bert):
    data = planted()
    recipe = spartex(data, encoder=str(tiny_bert), fan_in=8, batch_size=16, warmup=10)
    head = recipe.head
    assert isinstance(head, WithAuxiliary)
    assert (head.share, head.until) == (0.4, 15 * recipe.batches.per_epoch)
    layer = head.head
    assert isinstance(layer, SparseHead)
    assert (layer.loss_name, layer.reduction, layer.averaged) == ("squared_hinge", "mean", True)
    rewiring = layer.rewiring
    assert (rewiring.every, rewiring.until) == (800, int(0.66 * recipe.batches.steps))
    assert (rewiring.prune, rewiring.threshold, rewiring.scope) == ("threshold", 0.01, "layer")
    assert (rewiring.growth, rewiring.start) == ("random", "zero")
    assert (rewiring.distinct, rewiring.keep_moments) == (False, False)
    assert recipe.encoder.readouts[0].pool == "first"
    rates = {name: values[0] for name, values in recipe.optimizers.base.items()}
    assert rates == {"encoder": 1e-5, "auxiliary": 5e-4, "head": 0.01}
    fused = recipe.optimizers["head"]
    assert isinstance(fused, FusedAdam)
    assert (fused.rules[0].weight_decay, fused.rules[0].decay_bias) == (1e-4, True)
    assert layer.rule is fused.rules[0]


def test_groups_follow_the_tree_and_frequent_labels_are_dense(tmp_path):
    data = planted()
    order = np.random.default_rng(0).permutation(64)
    LabelTree((np.array([0, 2, 4]), np.arange(0, 65, 16)), order).save(tmp_path / "tree")
    recipe = spartex(data, **{**SMALL, "group": 16, "dense_share": 0.1, "tree": str(tmp_path / "tree")})
    head = recipe.head
    assert isinstance(head, Dealt)
    dense, sparse = head.heads
    assert isinstance(dense, DenseHead) and isinstance(sparse, SparseHead)
    assert (dense.n_labels, sparse.n_labels) == (6, 58)
    counts = np.asarray(recipe.data.train.labels[np.setdiff1d(np.arange(400), recipe.validation)].sum(0)).ravel()
    frequent = head.order[:6].tolist()
    assert frequent == np.argsort(-counts, kind="stable")[:6].tolist()
    assert head.order[6:].tolist() == [label for label in order.tolist() if label not in frequent]
    assert {dense.loss_name, sparse.loss_name} == {"squared_hinge"}
    assert len(recipe.optimizers["head"].rules) == 2


def test_the_intermediate_layer_is_before_the_labels_only():
    more = {"intermediate": 100, "intermediate_activation": "relu", "auxiliary": True, "auxiliary_epochs": 3}
    head = spartex(planted(), **{**SMALL, **more}).head
    assert isinstance(head, WithAuxiliary) and isinstance(head.head, WithIntermediate)
    assert head.auxiliary.dim == head.dim == 256
    assert head.head.head.dim == 100


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"fan_in": 257}, r"fan_in = 257.*1 to 256"),
        ({"prune": "threshold", "prune_threshold": 1.0}, "all would be dropped"),
        ({"prune": "threshold", "prune_threshold": 0.1, "group": 16}, "all would be dropped"),
        ({"prune": "fraction", "prune_fraction": 0.0}, "fraction = 0"),
        ({"group": 24}, "group = 24"),
        ({"rewire_every": 0}, "rewire_every = 0"),
        ({"rewire_every": 1000}, "at least one rewiring"),
        ({"rewire_until": 1.5}, "rewire_until"),
        ({"dense_share": 1.0}, "dense_share"),
        ({"prune": "weights"}, "prune"),
        ({"prune_scope": "row"}, "prune_scope = 'row'"),
        ({"growth": "rigl", "prune": "none"}, "growth"),
        ({"growth_start": "one", "prune": "none"}, "growth_start = 'one'"),
        ({"group_by": "name", "group": 16}, "group_by"),
        ({"loss": "hinge"}, "squared_hinge"),
        ({"reduction": "max"}, "mean or sum"),
        ({"head_optimizer": "lamb"}, "head_optimizer"),
        ({"auxiliary": True, "auxiliary_epochs": 21}, "auxiliary_epochs = 21"),
        ({"auxiliary": True, "auxiliary_epochs": 0}, "auxiliary_epochs = 0"),
        ({"auxiliary": True, "auxiliary_share": 1.0}, "auxiliary_share"),
        ({"intermediate": 40}, "fan_in = 48"),
        ({"intermediate": 100, "intermediate_activation": "tanh"}, "tanh"),
        ({"tree": "no-such-folder", "group": 16}, "no-such-folder"),
        ({"encoder": "small", "pool": "max"}, "pool"),
    ],
    ids=str,
)
def test_what_cannot_be_is_told_before_training(bad, words):
    with pytest.raises(MegalabelError, match=words):
        spartex(planted(), **{**SMALL, **bad})


def test_a_tree_of_other_labels_is_refused(tmp_path):
    LabelTree((np.array([0, 2, 4]),), np.arange(4)).save(tmp_path / "tree")
    with pytest.raises(SettingError, match=r"4 labels.*64|64 labels.*4"):
        spartex(planted(), **{**SMALL, "group": 16, "tree": str(tmp_path / "tree")})


# Table C6 of our notes: epochs, batch of an optimiser step, tokens, dropout, fan-in, threshold or fraction, steps
# between rewirings, rate of the labels, of the encoder, and warm-up.
PUBLISHED = {
    "Wiki10-31K": (100, 32, 128, 0.6, 64, "threshold", 0.01, 300, 0.01, 1e-5, 1000),
    "Amazon-670K": (110, 64, 128, 0.6, 128, "threshold", 0.01, 800, 0.01, 1e-5, 1000),
    "Wiki-500K": (50, 128, 128, 0.5, 128, "threshold", 0.05, 600, 0.05, 5e-5, 1000),
    "Amazon-3M": (51, 256, 128, 0.35, 128, "fraction", 0.25, 750, 0.05, 5e-5, 10000),
    "LF-AmazonTitles-131K": (100, 512, 32, 0.7, 128, "fraction", 0.15, 1000, 0.08, 1e-5, 5000),
    "LF-WikiSeeAlso-320K": (101, 128, 32, 0.55, 128, "threshold", 0.02, 800, 0.01, 2e-4, 5000),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_sets_have_the_papers_values(name):
    preset = find("spartex", name)
    a = preset.arguments
    how = a["prune"]
    found = (
        a["epochs"], a["batch_size"], a["max_length"], a["dropout"], a["fan_in"], how, a[f"prune_{how}"],
        a["rewire_every"], a["head_lr"], a["encoder_lr"], a["warmup"],
    )  # fmt: skip
    assert found == PUBLISHED[name]
    assert a["keep_moments"] is True
    assert a["rewire_until"] == 0.66
    assert not a.get("distinct_inputs", False)
