"""The intermediate layer: the battery around every kind of head, and what is its own."""

from __future__ import annotations

import pytest
import torch
from heads.battery import CHECKS, DIM, N_LABELS, planted_views
from heads.wrapped import cascade, dense, seeded, sparse, ties

from megalabel.errors import FormatError, SettingError
from megalabel.heads.wrappers.auxiliary import WithAuxiliary, without_auxiliary
from megalabel.heads.wrappers.projection import ACTIVATIONS, WithProjection
from megalabel.kernels.all_labels.streaming_topk import plain_of
from megalabel.kernels.fan_in.strongest_inputs import strongest_inputs
from megalabel.kernels.updates.rule import ONLY_PART
from megalabel.training.optim.fused import FusedSGD
from megalabel.training.optim.row_sparse import RowSGD

WIDE = 20
INSIDE = {"dense": dense, "sparse": sparse, "cascade": cascade}


def make(inside=dense, activation="none"):
    return WithProjection(inside(dim=WIDE), DIM, activation=activation, generator=seeded(2))


@pytest.mark.parametrize(("inside", "activation"), [("dense", "none"), ("sparse", "relu"), ("cascade", "gelu")])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_battery(check, inside, activation):
    check(lambda: make(INSIDE[inside], activation))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_head_reads_the_layer_in_training_and_in_prediction(activation):
    head = make(activation=activation)
    views, positives = planted_views(head)
    wide = head.linear(views)
    wide = {"none": lambda x: x, "relu": torch.relu, "gelu": torch.nn.functional.gelu}[activation](wide)
    assert torch.equal(head.loss(views, positives), head.head.loss(wide, positives))
    found, expected = head.topk(views, 5), head.head.topk(wide, 5)
    assert torch.equal(found.ids, expected.ids)
    assert torch.equal(found.scores, expected.scores)
    assert not found.scores.requires_grad


def test_with_a_rule_inside_the_layer_still_gets_gradients():
    head = make()
    views, positives = planted_views(head)
    before = head.head.weight.detach().clone()
    FusedSGD(head, lr=0.1).begin(ONLY_PART)
    head.loss(views, positives).backward()
    assert (head.linear.weight.grad != 0).any()
    assert head.head.weight.grad is None
    assert not torch.equal(head.head.weight, before)


def test_what_it_does_not_change_it_passes_on():
    head = make(INSIDE["cascade"])
    views, positives = planted_views(head)
    rows = RowSGD(head, lr=0.1)
    head.loss(views, positives).backward()
    assert all(rows.row_gradients)
    assert head.reduction == "mean"
    assert "recall level 0" in head.metrics()
    labels = torch.randperm(N_LABELS, generator=seeded())
    named = make()
    ties(named)
    scores = (named.linear(views) @ named.head.weight.t() + named.head.bias)[:, 0].detach()
    assert torch.equal(named.topk(views, 4, row_to_label=labels).ids, plain_of(scores, 4, None, labels).ids)


def test_under_autocast_the_head_gets_float32():
    head = make()
    views, positives = planted_views(head)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = head.loss(views, positives)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, head.loss(views, positives), rtol=0.02, atol=0)
    assert float(loss.detach()) != float(head.loss(views, positives).detach())


def test_an_auxiliary_classifier_around_it_reads_the_views_of_the_encoder():
    clusters = torch.arange(N_LABELS) % 7
    around = WithAuxiliary(make(), clusters, loss_weight=0.3, until=5)
    assert isinstance(without_auxiliary(around), WithProjection)
    assert around.auxiliary.weight.shape == (7, DIM)


def test_one_seed_one_layer():
    assert torch.equal(make().linear.weight, make().linear.weight)
    weight = make().linear.weight.detach()
    assert weight.shape == (WIDE, DIM)
    assert 0.8 * DIM**-0.5 < float(weight.abs().max()) <= DIM**-0.5


def test_settings_out_of_range():
    with pytest.raises(SettingError, match=r"activation = 'tanh'.*none, relu, gelu"):
        make(activation="tanh")
    with pytest.raises(SettingError, match="dim = 0"):
        WithProjection(dense(), 0)
    with pytest.raises(SettingError, match="n_views = 2"):
        WithProjection(cascade(n_views=2), DIM)


@pytest.mark.parametrize(
    ("inner", "match"),
    [
        ({"class": "os:system", "config": {}}, "os:system is not a head"),
        ({"class": "megalabel.heads.base:Tensor", "config": {}}, "is not a head"),
        ({"class": "megalabel.heads.nowhere:Head", "config": {}}, "cannot be imported"),
        ({"class": "this_is_not_imported:Head", "config": {}}, "Import this_is_not_imported before"),
        ({"class": "antigravity:Head", "config": {}}, "not part of megalabel"),
        ({"config": {}}, "not a class and a config"),
        (7, "not a class and a config"),
    ],
)
def test_settings_import_no_other_code(inner, match):
    with pytest.raises(FormatError, match=match):
        WithProjection.from_config({"head": inner, "dim": DIM, "activation": "none"})


def test_connections_are_chosen_by_the_projected_views():
    inside = sparse(dim=24, init_connections="texts")
    head = WithProjection(inside, DIM, activation="relu", generator=seeded(2))
    views, positives = planted_views(head)
    head.refresh(lambda: (views, positives))
    assert torch.equal(inside.inputs, strongest_inputs(head.projected(views)[:, 0], positives, N_LABELS, 8))
