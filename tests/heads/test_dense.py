"""The dense head: the battery of all heads, and what is its own."""

from __future__ import annotations

import pytest
import torch
from heads.battery import CHECKS, DIM, N_LABELS, check_chunk_size_is_irrelevant, planted_views
from topk_agree import assert_topk_agree

from megalabel.errors import SettingError
from megalabel.heads.abilities import UpdatesInBackward, having
from megalabel.heads.dense import DenseHead
from megalabel.kernels.all_labels.all_labels_loss import AdamRule, SGDRule, plain
from megalabel.kernels.all_labels.streaming_topk import plain as plain_topk
from megalabel.types import Positives


def make(**settings: object) -> DenseHead:
    return DenseHead(N_LABELS, DIM, generator=torch.Generator().manual_seed(1), **settings)


SETTINGS = [
    {},
    {"bias": True},
    {"bias": True, "loss": "squared_hinge", "reduction": "mean"},
    {"weights": "bfloat16", "bias": True},
    {"weights": "float8"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())) or "defaults")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_battery(check, settings):
    check(lambda: make(**settings))


def test_chunk_size_is_irrelevant():
    check_chunk_size_is_irrelevant([lambda c=c: make(chunk=c) for c in (None, 1, 7, 1000)])


def test_loss_is_summed_over_texts_and_labels():
    head = make()
    views, positives = planted_views(head)
    truth = plain(views[:, 0].double(), head.weight.double(), None, positives)
    torch.testing.assert_close(head.loss(views, positives).double(), truth, rtol=1e-5, atol=0)
    nothing = DenseHead(N_LABELS, DIM, init_std=0.0)
    expected = len(views) * N_LABELS * 0.6931472  # every logit is 0: log 2 for each text and label
    assert float(nothing.loss(views, positives).detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["bce", "squared_hinge"])
def test_a_mean_is_over_texts_and_labels(loss):
    summed, averaged = make(loss=loss), make(loss=loss, reduction="mean")
    assert (summed.reduction, averaged.reduction) == ("sum", "mean")
    views, positives = planted_views(summed)
    truth = plain(views[:, 0].double(), summed.weight.double(), None, positives, loss)
    torch.testing.assert_close(summed.loss(views, positives).double(), truth, rtol=1e-5, atol=0)
    mean = averaged.loss(views, positives)
    torch.testing.assert_close(mean.double(), truth / (len(views) * N_LABELS), rtol=1e-5, atol=0)
    gradients = [torch.autograd.grad(head.loss(views, positives), head.weight)[0] for head in (summed, averaged)]
    torch.testing.assert_close(gradients[0] / (len(views) * N_LABELS), gradients[1])


def test_topk_is_the_dense_answer():
    head = make(bias=True)
    torch.nn.init.normal_(head.bias)
    views, positives = planted_views(head)
    found = head.topk(views, 6, exclude=positives)
    expected = plain_topk(views[:, 0], head.weight.detach(), head.bias.detach(), 6, positives)
    assert_topk_agree(found, expected)


@pytest.mark.parametrize("loss", ["bce", "squared_hinge"])
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_with_a_rule_the_backward_trains_and_leaves_no_gradient(rule, loss):
    head = make(bias=True, loss=loss, reduction="sum" if rule == "sgd" else "mean")
    assert having(head, UpdatesInBackward) == [head]
    views, positives = planted_views(head)
    rate = 0.02 if loss == "bce" else 0.0005  # the squared hinge bends eight times as much as BCE and more
    head.update_rule = SGDRule(lr=rate, momentum=0.9) if rule == "sgd" else AdamRule(lr=0.05)
    first = float(head.loss(views, positives).detach())
    for _ in range(60):
        head.loss(views, positives).backward()
    assert float(head.loss(views, positives).detach()) < 0.2 * first
    assert head.weight.grad is None
    assert head.bias.grad is None
    assert set(head.state_dict()) == {"weight", "bias"}


def test_in_evaluation_a_rule_rests():
    head = make()
    views, positives = planted_views(head)
    head.update_rule = SGDRule(lr=1.0)
    before = head.weight.detach().clone()
    head.eval()
    head.loss(views.requires_grad_(), positives).backward()  # even with gradients on
    assert torch.equal(head.weight, before)


def test_loss_every():
    head = make(loss_every=3)
    views, positives = planted_views(head)
    known = []
    for step in range(7):
        known.append([bool(head.loss(views, positives).isfinite()) for _ in range(2)])  # two micro-batches
        head.after_step(step, None)
    assert known == [[step % 3 == 0] * 2 for step in range(7)]
    with torch.no_grad():
        assert head.loss(views, positives).isfinite()
    head.eval()
    assert head.loss(views, positives).isfinite()


def test_prior_begins_at_each_labels_log_odds():
    head = make(bias=True)
    counts = torch.arange(N_LABELS)
    head.init_prior(counts, 100)
    torch.testing.assert_close(head.bias.detach().sigmoid(), (counts + 0.5) / 101)
    assert head.bias.isfinite().all()
    head.init_prior(torch.full((N_LABELS,), 100), 100)
    assert head.bias.isfinite().all()


def test_prior_of_the_squared_hinge_is_the_least_loss_of_a_constant():
    head = make(bias=True, loss="squared_hinge", init_std=0.0)
    counts, n = torch.arange(N_LABELS), 60
    head.init_prior(counts, n)
    rows = torch.cat([torch.arange(int(c)) for c in counts])
    positives = Positives.from_pairs(rows, torch.arange(N_LABELS).repeat_interleave(counts))
    views = torch.zeros(n, 1, DIM)
    bent = head.bias.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(plain(views[:, 0], head.weight.detach(), bent, positives, head.loss_name), bent)
    share = counts / n  # the half text that a label counts for at least shifts the minimum by this much
    torch.testing.assert_close(slope, 4 * n * ((counts + 0.5) / (n + 1) - share), rtol=1e-3, atol=1e-3)


def test_prior_of_other_labels_is_refused():
    with pytest.raises(SettingError, match="without bias"):
        make().init_prior(torch.zeros(N_LABELS), 10)
    for counts in (torch.zeros(3), torch.full((N_LABELS,), 11.0), torch.full((N_LABELS,), -1.0)):
        with pytest.raises(SettingError, match="label counts"):
            make(bias=True).init_prior(counts, 10)


def test_one_seed_one_head():
    assert torch.equal(make().weight, make().weight)
    assert float(make().weight.detach().std()) == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize(
    "bad", [{"n_labels": 0}, {"dim": 0}, {"loss_every": 0}, {"loss": "hinge"}, {"reduction": "max"}]
)
def test_settings_out_of_range(bad):
    with pytest.raises(SettingError, match=next(iter(bad))):
        DenseHead(**({"n_labels": 3, "dim": 2} | bad))


def test_repr_says_the_sizes():
    assert f"n_labels={N_LABELS}, dim={DIM}" in repr(make())
