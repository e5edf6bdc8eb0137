"""Spartex on planted data: it learns, its parts are wired as the paper has them, and bad settings are told."""

import json

import numpy as np
import pytest
import torch
from planted import planted

import megalabel
from megalabel.errors import MegalabelError, SettingError
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.auxiliary import WithAuxiliary
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.kernels.fan_in.strongest_inputs import strongest_inputs
from megalabel.labels.tree import LabelTree
from megalabel.recipes.spartex import spartex
from megalabel.training.optim.fused import FusedAdam
from megalabel.types import Positives

SMALL = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=20, batch_size=32, hidden_dim=0, dropout=0.1,
    fan_in=48, prune="fraction", prune_fraction=0.2, rewire_every=20, auxiliary=False, head_lr=0.02,
    encoder_lr=0.002, token_lr=0.02, warmup=0.05, log_every=1,
)  # fmt: skip
BCE = dict(
    loss="bce", head_optimizer="sgd", head_lr=0.01, bias_from_prior=True, head_init_scale=0.0, accumulation_steps=2
)


@pytest.mark.parametrize(
    "more",
    [
        {},
        BCE,
        {"head_optimizer": "adagrad", "dense_fraction": 0.1, "accumulation_steps": 2, "reduction": "sum"},
        {"auxiliary": True, "auxiliary_epochs": 4, "distinct_inputs": True, "regrow": "gradient"},
        {"group": 16, "dense_fraction": 0.1, "prune_scope": "group", "bias_from_prior": True, "label_texts": True},
        {"projection_dim": 300, "projection_lr": 0.002, "prune": "threshold", "prune_threshold": 0.005},
        {
            "init_connections": "texts",
            "prune": "none",
            "group": 16,
            "group_by": "frequency",
            "reduction": "sum",
            "head_lr": 0.005,
        },
    ],
    ids=["hinge", "bce", "adagrad", "auxiliary", "groups", "intermediate", "static"],
)
def test_it_learns_and_comes_back(more, tmp_path):
    data = planted()
    model = megalabel.train(spartex(data, **{**SMALL, **more}), tmp_path / "run", quiet=True)
    assert megalabel.evaluate(model, data)["P@1"] > 90
    again = megalabel.load(tmp_path / "run")
    a, b = model.topk(data.test.texts, k=5), again.topk(data.test.texts, k=5)
    assert torch.equal(torch.as_tensor(a.ids), torch.as_tensor(b.ids))
    assert not isinstance(again.head, WithAuxiliary)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    told = [line for line in lines if "rewired in all %" in line]
    if more.get("prune") == "none":
        assert not told
    else:
        assert told[-1]["rewired in all %"] > 5
        assert 0 < told[-1]["age"] < told[-1]["step"]
    if "auxiliary" in more:
        assert lines[0]["auxiliary weight"] == 0.4
        assert told[-1]["auxiliary weight"] == 0


def test_the_wiring_is_the_papers(tiny_bert):
    data = planted()
    recipe = spartex(data, encoder=str(tiny_bert), fan_in=8, batch_size=16, warmup=10)
    head = recipe.head
    assert isinstance(head, WithAuxiliary)
    assert (head.loss_weight, head.until) == (0.4, 15 * recipe.batches.per_epoch)
    layer = head.head
    assert isinstance(layer, SparseHead)
    assert (layer.loss_name, layer.reduction) == ("squared_hinge", "mean")
    rewiring = layer.rewiring
    assert (rewiring.every, rewiring.until) == (800, int(0.66 * recipe.batches.steps))
    assert (rewiring.prune, rewiring.prune_threshold, rewiring.prune_scope) == ("threshold", 0.01, "layer")
    assert (rewiring.regrow, rewiring.regrow_init) == ("random", "zero")
    assert (rewiring.distinct_inputs, rewiring.keep_optimizer_state) == (False, False)
    assert recipe.encoder.readouts[0].pooling == "first"
    rates = {name: values[0] for name, values in recipe.optimizers.base.items()}
    assert rates == {"encoder": 1e-5, "auxiliary": 5e-4, "head": 0.01}
    fused = recipe.optimizers["head"]
    assert isinstance(fused, FusedAdam)
    assert (fused.rules[0].weight_decay, fused.rules[0].decay_bias) == (1e-4, True)
    assert layer.update_rule is fused.rules[0]


def test_gradients_of_a_mean_over_670_091_labels_still_move_what_adamw_trains(tiny_bert):
    # The root mean square of the encoder's gradients at that size (64 texts, 128 inputs per label) is 5e-9.
    data = planted()
    recipe = spartex(
        data, encoder=str(tiny_bert), fan_in=8, batch_size=16, warmup=10, projection_dim=40, label_texts=False
    )
    for name in ("encoder", "auxiliary", "intermediate"):
        optimizer = recipe.optimizers[name]
        (group, *_) = optimizer.param_groups
        assert group["eps"] == 1e-8
        parameter = group["params"][0]
        before = parameter.detach().clone()
        parameter.grad = torch.full_like(parameter, 5e-9)
        group["weight_decay"] = 0.0
        optimizer.step()
        # g / (|g| + eps) of the first step is a third; at an eps of 1e-6 it would be half a percent.
        moved = (before - parameter.detach()) / group["lr"]
        torch.testing.assert_close(moved, torch.full_like(moved, 1 / 3), atol=0.05, rtol=0)


def test_groups_follow_the_tree_and_frequent_labels_are_dense(tmp_path):
    data = planted()
    order = np.random.default_rng(0).permutation(64)
    LabelTree((np.array([0, 2, 4]), np.arange(0, 65, 16)), order).save(tmp_path / "tree")
    recipe = spartex(data, **{**SMALL, "group": 16, "dense_fraction": 0.1, "tree": str(tmp_path / "tree")})
    head = recipe.head
    assert isinstance(head, PartitionedHead)
    dense, sparse = head.heads
    assert isinstance(dense, DenseHead) and isinstance(sparse, SparseHead)
    assert (dense.n_labels, sparse.n_labels) == (6, 58)
    counts = np.asarray(recipe.data.train.labels[np.setdiff1d(np.arange(400), recipe.validation)].sum(0)).ravel()
    frequent = head.order[:6].tolist()
    assert frequent == np.argsort(-counts, kind="stable")[:6].tolist()
    assert head.order[6:].tolist() == [label for label in order.tolist() if label not in frequent]
    assert {dense.loss_name, sparse.loss_name} == {"squared_hinge"}
    assert len(recipe.optimizers["head"].rules) == 2


def test_connections_by_texts_are_chosen_once_by_the_untrained_encoder(tmp_path):
    data, more = planted(), {**SMALL, **BCE, "fan_in": 16, "init_connections": "texts", "prune": "none"}
    untrained = spartex(data, **more)
    model = megalabel.NeuralClassifier(untrained.encoder, untrained.head, data.label_texts, untrained.max_length)
    kept = np.setdiff1d(np.arange(len(data.train)), untrained.validation)
    views, labels = torch.from_numpy(model.encode(data.train.texts[kept])), data.train.labels[kept].tocoo()
    pairs = Positives.from_pairs(torch.from_numpy(labels.row).long(), torch.from_numpy(labels.col).long())
    wanted = strongest_inputs(views[:, 0], pairs, data.n_labels, 16)
    trained = megalabel.train(spartex(data, **more), tmp_path / "run", quiet=True)
    assert (
        trained.head.inputs == wanted
    ).float().mean() > 0.99  # batches pad texts otherwise, so sums round otherwise
    assert (untrained.head.inputs == wanted).float().mean() < 0.5


def test_the_intermediate_layer_is_before_the_labels_only():
    more = {"projection_dim": 100, "projection_activation": "relu", "auxiliary": True, "auxiliary_epochs": 3}
    head = spartex(planted(), **{**SMALL, **more}).head
    assert isinstance(head, WithAuxiliary) and isinstance(head.head, WithProjection)
    assert head.auxiliary.dim == head.dim == 256
    assert head.head.head.dim == 100


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"fan_in": 257}, "fan_in"),
        ({"prune": "threshold", "prune_threshold": 1.0}, "prune_threshold"),
        ({"prune": "threshold", "prune_threshold": 0.0}, "prune_threshold"),
        ({"prune": "threshold", "prune_threshold": 0.1, "group": 16}, "prune_threshold"),
        ({"prune": "fraction", "prune_fraction": 0.0}, "prune_fraction"),
        ({"prune_scope": "group", "prune_fraction": 0.04}, "prune_fraction"),
        ({"group": 24}, "group"),
        ({"rewire_every": 0}, "rewire_every"),
        ({"rewire_every": 1000}, "rewire_every"),
        ({"rewire_until": 0.01}, "rewire_every"),
        ({"rewire_until": 1.5}, "rewire_until"),
        ({"dense_fraction": 1.5}, "dense_fraction"),
        ({"prune": "weights"}, "prune"),
        ({"prune_scope": "row"}, "prune_scope"),
        ({"regrow": "rigl", "prune": "none"}, "regrow"),
        ({"regrow_init": "one", "prune": "none"}, "regrow_init"),
        ({"group_by": "name", "group": 16}, "group_by"),
        ({"loss": "hinge"}, "loss"),
        ({"reduction": "max"}, "reduction"),
        ({"head_optimizer": "lamb"}, "head_optimizer"),
        ({"auxiliary": True, "auxiliary_epochs": 21}, "auxiliary_epochs"),
        ({"auxiliary": True, "auxiliary_epochs": 0}, "auxiliary_epochs"),
        ({"auxiliary": True, "auxiliary_weight": 1.0}, "auxiliary_weight"),
        ({"projection_dim": 40}, "fan_in"),
        ({"projection_dim": 100, "projection_activation": "tanh"}, "projection_activation"),
        ({"encoder": "small", "pooling": "middle"}, "pooling"),
        ({"encoder": "small", "fan_in": 129}, "fan_in"),
        ({"encoder": "no-such", "prune": "threshold", "prune_threshold": 1.0}, "prune_threshold"),
        ({"warmup": 240.0}, "warmup"),
        ({"pooling": "mean"}, "pooling"),
        ({"tokenizer": "letters"}, "tokenizer"),
        ({"tree_source": "pictures"}, "tree_source"),
        ({"precision": "int8"}, "precision"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_long_begins(bad, where, nothing_long):
    with pytest.raises(SettingError) as refused:
        spartex(planted(), **{**SMALL, **bad})
    assert refused.value.where == where


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"tree": "no-such-folder", "group": 16}, "no-such-folder"),
        ({"fan_in": 256, "distinct_inputs": True}, "256 of 256 inputs"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_encoder_or_is_missing_is_refused_as_early(bad, words, nothing_long):
    with pytest.raises(MegalabelError, match=words):
        spartex(planted(), **{**SMALL, **bad})


def test_a_pretrained_encoder_too_narrow_is_told_before_the_tree(tiny_bert, monkeypatch):
    monkeypatch.setattr("megalabel.recipes.sparse_layer.build_tree", None)
    with pytest.raises(SettingError, match=r"fan_in = 33.*1 to 32"):
        spartex(
            planted(), **{**SMALL, "encoder": str(tiny_bert), "tokenizer": "wordpiece", "fan_in": 33, "group": 16}
        )


def test_the_papers_warm_up_is_too_long_for_a_small_set(tiny_bert, nothing_long):
    with pytest.raises(SettingError, match=r"1,000 steps in a run of 660.*a fraction such as 0\.05"):
        spartex(planted(), encoder=str(tiny_bert))


@pytest.mark.parametrize("more", [{}, {"group": 16, "group_by": "frequency"}], ids=str)
def test_a_tree_that_nothing_uses_is_refused(more, tmp_path):
    LabelTree((np.array([0, 32, 64]),), np.arange(64)).save(tmp_path / "tree")
    arguments = {**SMALL, "tree": str(tmp_path / "tree"), **more}
    with pytest.raises(SettingError, match=r"would not be used.*auxiliary, or a group above 1"):
        spartex(planted(), **arguments)
    assert (
        spartex(planted(), **{**arguments, "auxiliary": True, "auxiliary_epochs": 2}).head.auxiliary.n_labels == 2
    )


def test_labels_are_ordered_by_frequency_and_no_tree_is_built(monkeypatch):
    monkeypatch.setattr("megalabel.recipes.sparse_layer.build_tree", None)
    recipe = spartex(planted(), **{**SMALL, "group": 16, "group_by": "frequency", "validation_fraction": 0.0})
    counts = np.asarray(recipe.data.train.labels.sum(0)).ravel()
    assert recipe.head.order.tolist() == np.argsort(-counts, kind="stable").tolist()


def test_a_tree_of_other_labels_is_refused(tmp_path):
    LabelTree((np.array([0, 2, 4]),), np.arange(4)).save(tmp_path / "tree")
    with pytest.raises(SettingError, match=r"4 labels.*64|64 labels.*4"):
        spartex(planted(), **{**SMALL, "group": 16, "tree": str(tmp_path / "tree")})
