"""The auxiliary classifier: the battery around every kind of head, its loss, its share, its end."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from heads.battery import CHECKS, DIM, N_LABELS, N_TEXTS, planted_views
from heads.wrapped import cascade, dense, seeded, sparse

from megalabel.errors import SettingError
from megalabel.heads.abilities import UpdatesInBackward, having
from megalabel.heads.wrappers.auxiliary import WithAuxiliary, without_auxiliary
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.kernels.all_labels.label_loss import plain
from megalabel.kernels.updates.rule import ONLY_PART
from megalabel.training.optim.fused import FusedSGD
from megalabel.training.optim.row_sparse import RowAdam, RowSGD
from megalabel.types import Positives

INSIDE = {"dense": dense, "sparse": sparse, "cascade": cascade, "two views": lambda: cascade(n_views=2)}
CLUSTERS = torch.arange(N_LABELS) % 7


def make(inside=dense, loss_weight=0.4, until=30, **settings):
    return WithAuxiliary(inside(**settings), CLUSTERS, loss_weight=loss_weight, until=until, generator=seeded(2))


def tensors(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_battery(check, inside):
    check(lambda: make(INSIDE[inside]))


def test_loss_is_the_mixture_of_the_two():
    head = make()
    views, positives = planted_views(head)
    twice = Positives.from_pairs(
        positives.rows.repeat(2), torch.cat([positives.labels, (positives.labels + 7) % N_LABELS])
    )
    for pairs in (positives, twice):  # labels of one cluster count once
        main = plain("bce", views[:, 0] @ head.head.weight.t() + head.head.bias, pairs)
        logits = views[:, 0] @ head.auxiliary.weight.t() + head.auxiliary.bias
        hot = torch.zeros(N_TEXTS, 7)
        hot[pairs.rows, CLUSTERS[pairs.labels]] = 1
        beside = torch.nn.functional.binary_cross_entropy_with_logits(logits, hot)
        expected = 0.6 * main + 0.4 * beside
        torch.testing.assert_close(head.loss(views, pairs).detach(), expected.detach(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("inside", [dense, cascade])
def test_gradients_are_those_of_the_mixture(inside):
    head, alone = make(inside), inside()
    views, positives = planted_views(head)
    views.requires_grad_()
    head.loss(views, positives).backward()
    mixed = views.grad
    views.grad = None
    alone.loss(views, positives).backward()
    for (name, parameter), other in zip(head.head.named_parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, 0.6 * other.grad, msg=name)
    main = views.grad
    views.grad = None
    clusters = Positives.from_pairs(positives.rows, CLUSTERS[positives.labels])
    head.auxiliary.loss(views[:, -1], clusters).backward()
    torch.testing.assert_close(mixed, 0.6 * main + 0.4 * views.grad)


def test_the_last_of_several_views_is_read():
    head = make(lambda: cascade(n_views=2))
    views, positives = planted_views(head)
    views = views.clone()
    views[:, 0] = 0
    head.loss(views, positives).backward()
    clusters = Positives.from_pairs(positives.rows, CLUSTERS[positives.labels])
    expected = torch.autograd.grad(0.4 * head.auxiliary.loss(views[:, 1], clusters), head.auxiliary.weight)[0]
    torch.testing.assert_close(head.auxiliary.weight.grad, expected)
    assert (expected != 0).any()


def test_share_falls_along_a_cosine_and_follows_the_step():
    head = make(loss_weight=0.4, until=10)
    shares = [head.weight_at(step) for step in range(13)]
    assert shares[0] == pytest.approx(0.4)
    assert shares[5] == pytest.approx(0.2)
    assert shares[2] == pytest.approx(0.2 * (1 + math.cos(math.pi / 5)))
    assert all(a > b for a, b in pairwise(shares[:11]))
    assert shares[10:] == [0, 0, 0]
    views, positives = planted_views(head)
    for step in range(3):
        head.loss(views, positives)
        head.loss(views, positives)  # a micro-batch more is no step more
        assert head.metrics()["auxiliary weight"] == shares[step]
        head.after_step(step, None)


def test_at_the_end_the_head_is_alone():
    head, alone = make(until=2), dense()
    views, positives = planted_views(head)
    head.after_step(0, None)
    assert float(head.loss(views, positives).detach()) != float(alone.loss(views, positives).detach())
    head.after_step(1, None)
    loss = head.loss(views, positives)
    assert float(loss.detach()) == float(alone.loss(views, positives).detach())
    loss.backward()
    assert [p.grad for p in head.auxiliary.parameters()] == [None, None]
    assert head.head.weight.grad is not None
    logged = head.metrics()
    assert logged["auxiliary weight"] == 0
    assert "auxiliary loss" not in logged


def test_share_0_trains_no_classifier():
    head = make(loss_weight=0)
    views, positives = planted_views(head)
    head.loss(views, positives).backward()
    assert head.auxiliary.weight.grad is None


def test_the_step_is_saved_so_that_training_goes_on_as_it_was():
    def go(head, steps):
        """Adam for the classifier, SGD in the backward for the head, each step with its own half of the texts."""
        views, positives = planted_views(head)
        adam = torch.optim.SGD(head.auxiliary.parameters(), lr=0.1)
        fused = FusedSGD(head, lr=0.05)
        for step in steps:
            fused.begin(ONLY_PART)
            head.loss(views * (1 + step % 2), positives).backward()
            adam.step()
            adam.zero_grad()
            head.after_step(step, fused)

    whole, begun, resumed = make(until=6), make(until=6), make(until=6)
    go(whole, range(9))
    go(begun, range(4))
    resumed.load_state_dict(tensors(begun))
    assert resumed.weight_at(int(resumed.step)) == whole.weight_at(4) > 0
    go(resumed, range(4, 9))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert int(whole.step) == 9


def test_a_rule_inside_learns_from_its_share_of_the_loss():
    head, alone = make(loss_weight=0.4), dense()
    views, positives = planted_views(head)
    before = tensors(alone)
    for which, rate in ((head, 0.1), (alone, 0.1 * 0.6)):
        FusedSGD(which, lr=rate).begin(ONLY_PART)
        which.loss(views, positives).backward()
    torch.testing.assert_close(head.head.weight, alone.weight)
    assert not torch.equal(alone.weight, before["weight"])
    assert head.auxiliary.weight.grad is not None  # the optimizer of the head does not take the classifier along
    assert having(head, UpdatesInBackward) == [head.head]


@pytest.mark.parametrize("optimizer", [RowSGD, RowAdam])
def test_row_optimizers_reach_through(optimizer):
    head = make(cascade)
    views, positives = planted_views(head)
    before = tensors(head)
    rows = optimizer(head, lr=0.1)
    head.loss(views, positives).backward()
    assert all(ours is theirs for ours, theirs in zip(head.head.row_gradients, rows.row_gradients, strict=True))
    rows.step()
    assert not torch.equal(head.head.weights[1], before["head.weights.1"])
    assert torch.equal(head.auxiliary.weight, before["auxiliary.weight"])


def test_a_row_optimizer_refuses_a_head_without_row_gradients():
    with pytest.raises(SettingError, match="by row"):
        RowSGD(make(dense), lr=0.1)


def test_metrics_are_those_of_the_last_batch():
    head = make(cascade)
    assert "auxiliary weight" not in head.metrics()
    views, positives = planted_views(head)
    loss = float(head.loss(views, positives).detach())
    logged = head.metrics()
    assert logged["auxiliary weight"] == pytest.approx(0.4)
    assert 0.6 * logged["main loss"] + 0.4 * logged["auxiliary loss"] == pytest.approx(loss)
    assert "recall level 0" in logged
    summed = make(dense)
    loss = float(summed.loss(views, positives).detach())
    logged = summed.metrics()
    assert 0.6 * N_TEXTS * logged["main loss"] + 0.4 * logged["auxiliary loss"] == pytest.approx(loss)


@pytest.mark.parametrize("around", [lambda head: head, lambda head: WithProjection(head, DIM)])
def test_losses_that_were_not_computed_are_not_logged(around):
    head = make(lambda: around(dense(loss_every=2)))
    views, positives = planted_views(head)
    head.loss(views, positives)
    assert {"main loss", "auxiliary loss"} <= head.metrics().keys()
    head.after_step(0, None)
    assert head.loss(views, positives).isnan()
    assert head.metrics().keys() == {"auxiliary weight"}


def test_without_auxiliary_is_the_head_inside():
    head = make()
    assert without_auxiliary(head) is head.head
    assert without_auxiliary(head.head) is head.head
    assert make(loss_weight=0.1).reduction == "sum"
    assert make(cascade).reduction == "mean"


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_share_out_of_range(share):
    with pytest.raises(SettingError, match=r"loss_weight = .*from 0 to below 1"):
        make(loss_weight=share)


@pytest.mark.parametrize("until", [0, -3, 1.5, float("nan")])
def test_until_out_of_range(until):
    with pytest.raises(SettingError, match="until ="):
        make(until=until)


@pytest.mark.parametrize(
    ("clusters", "match"),
    [
        (torch.arange(N_LABELS - 1), r"clusters \(39,\)"),
        (torch.zeros(N_LABELS), "float32"),
        (torch.arange(N_LABELS) - 1, "label 0 is in cluster -1"),
        (torch.where(torch.arange(N_LABELS) == 5, 10**12, 0), "label 5 is in cluster 1000000000000"),
        (2 * (torch.arange(N_LABELS) % 3), "cluster 1 of 5 has no labels"),
    ],
)
def test_clusters_that_do_not_fit(clusters, match):
    with pytest.raises(SettingError, match=match):
        WithAuxiliary(dense(), clusters, loss_weight=0.4, until=10)


def test_one_seed_one_classifier():
    assert torch.equal(make().auxiliary.weight, make().auxiliary.weight)
    assert float(make().auxiliary.weight.detach().std()) == pytest.approx((3 * DIM) ** -0.5, rel=0.3)


def test_repr_says_share_and_end():
    assert "loss_weight=0.4, until=30" in repr(make())
