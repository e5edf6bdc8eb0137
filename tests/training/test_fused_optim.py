"""Optimizers that update a head in its backward pass, against those of torch."""

import copy

import pytest
import torch
from torch import nn

from megalabel.errors import SettingError
from megalabel.heads.base import Head
from megalabel.heads.dense import DenseHead
from megalabel.kernels.updates.adagrad import AdagradSettings, adagrad_step_
from megalabel.kernels.updates.rule import StepContext
from megalabel.training.optim.groups import FusedAdagrad, FusedAdam, FusedSGD, Optimizers
from megalabel.training.optim.schedule import ThreePhase
from megalabel.types import Positives

PAIRS = Positives.from_pairs(torch.tensor([0, 1, 2, 3, 3]), torch.tensor([1, 4, 0, 6, 2]))


def part(pairs, start, stop):
    inside = (pairs.rows >= start) & (pairs.rows < stop)
    return Positives(pairs.rows[inside] - start, pairs.labels[inside])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_fused_sgd_is_torch_sgd_whatever_the_micro_batches(momentum, decay, parts):
    torch.manual_seed(0)
    ours, theirs = DenseHead(7, 5, bias=True).double(), DenseHead(7, 5, bias=True).double()
    theirs.load_state_dict(ours.state_dict())
    optimizers = Optimizers(head=FusedSGD(ours, 0.1, momentum, decay))
    decayed = [{"params": [theirs.weight], "weight_decay": decay}, {"params": [theirs.bias]}]
    reference = torch.optim.SGD(decayed, lr=0.1, momentum=momentum)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for step in range(4):
        x = torch.randn(4, 1, 5, dtype=torch.float64)
        optimizers.scale_rates(1 / (step + 1))
        reference.param_groups[0]["lr"] = reference.param_groups[1]["lr"] = 0.1 / (step + 1)
        size = 4 // parts
        for i in range(parts):
            optimizers.begin(i, parts)
            rows = slice(i * size, (i + 1) * size)
            ours.loss(x[rows].requires_grad_(), part(PAIRS, i * size, (i + 1) * size)).backward()
        optimizers.step(scaler)
        theirs.loss(x, PAIRS).backward()
        reference.step()
        reference.zero_grad()
        for a, b in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_loss_scale_reaches_the_encoder_and_never_the_head():
    torch.manual_seed(0)
    plain, scaled = DenseHead(7, 5), DenseHead(7, 5)
    scaled.load_state_dict(plain.state_dict())
    x = torch.randn(4, 1, 5)
    gradients = []
    for head, scale in ((plain, 1.0), (scaled, 4096.0)):
        Optimizers(head=FusedSGD(head, 0.1, 0.9)).begin(0, 1, scale)
        views = x.clone().requires_grad_()
        (head.loss(views, PAIRS) * scale).backward()
        gradients.append(views.grad / scale)
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(plain.weight, scaled.weight, rtol=0, atol=0)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("decay_bias", [False, True])
@pytest.mark.parametrize("loss", ["bce", "squared_hinge"])
def test_fused_adam_is_torch_adamw(loss, decay_bias, parts):
    torch.manual_seed(0)
    ours, theirs = (DenseHead(7, 5, bias=True, loss=loss, init_std=0.5) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizers = Optimizers(head=FusedAdam(ours, 0.1, 0.2, (0.8, 0.99), 1e-3, decay_bias))
    groups = [
        {"params": [theirs.weight], "weight_decay": 0.2},
        {"params": [theirs.bias], "weight_decay": 0.2 * decay_bias},
    ]
    reference = torch.optim.AdamW(groups, lr=0.1, betas=(0.8, 0.99), eps=1e-3)
    size = 4 // parts
    for step in range(5):
        x = torch.randn(4, 1, 5)
        optimizers.scale_rates(1 / (step + 1))
        for group in reference.param_groups:
            group["lr"] = 0.1 / (step + 1)
        for i in range(parts):
            optimizers.begin(i, parts)
            rows = slice(i * size, (i + 1) * size)
            ours.loss(x[rows], part(PAIRS, i * size, (i + 1) * size)).backward()
        optimizers.step(torch.amp.GradScaler("cpu", enabled=False))
        theirs.loss(x, PAIRS).backward()
        reference.step()
        reference.zero_grad()
        for a, b in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert ours.weight.grad is None


@pytest.mark.parametrize("parts", [1, 2])
def test_fused_adagrad_goes_on_to_the_bit_whatever_the_micro_batches(parts):
    """Resumed after two steps, and against the formula on the dense gradients."""
    torch.manual_seed(0)
    ours, theirs, again = (DenseHead(7, 5, bias=True) for _ in range(3))
    theirs.load_state_dict(ours.state_dict())
    optimizers = Optimizers(head=FusedAdagrad(ours, 0.1, 0.1, 1e-3))
    totals, resumed = [torch.zeros(7), torch.zeros(7)], Optimizers(head=FusedAdagrad(again, 0.1, 0.1, 1e-3))
    scaler, size = torch.amp.GradScaler("cpu", enabled=False), 4 // parts
    for step in range(4):
        if step == 2:
            again.load_state_dict(ours.state_dict())
            resumed["head"].load_state_dict(copy.deepcopy(optimizers["head"].state_dict()))
        x = torch.randn(4, 1, 5)
        for head, optimizer in ((ours, optimizers), (again, resumed))[: 1 + (step >= 2)]:
            for i in range(parts):
                optimizer.begin(i, parts)
                rows = slice(i * size, (i + 1) * size)
                head.loss(x[rows].clone().requires_grad_(), part(PAIRS, i * size, (i + 1) * size)).backward()
            optimizer.step(scaler)
        theirs.loss(x, PAIRS).backward()
        with torch.no_grad():
            for p, total, decay in ((theirs.weight, totals[0], 0.1), (theirs.bias, totals[1], 0.0)):
                adagrad_step_(p.view(7, -1), total, p.grad.view(7, -1), AdagradSettings(0.1, 1e-3, decay))
                p.grad = None
        torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-4, atol=1e-5)
    assert torch.equal(ours.weight, again.weight) and torch.equal(ours.bias, again.bias)


def test_a_factor_of_the_loss_is_one_of_sgds_step():
    torch.manual_seed(0)
    heads = [DenseHead(7, 5, bias=True) for _ in range(2)]
    heads[1].load_state_dict(heads[0].state_dict())
    before, x = heads[0].weight.detach().clone(), torch.randn(4, 1, 5)
    for head, share in zip(heads, (1.0, 0.3), strict=True):
        Optimizers(head=FusedSGD(head, 0.1)).begin(0, 1, 4096.0)
        (share * head.loss(x, PAIRS) * 4096).backward()
    whole, part_of_it = (head.weight.detach() - before for head in heads)
    assert whole.norm() > 0.1
    torch.testing.assert_close(part_of_it, 0.3 * whole, rtol=1e-4, atol=1e-6)


def test_a_schedule_of_beta1_reaches_a_head_that_updates_itself():
    head = DenseHead(7, 5)
    fused = FusedAdam(head, 0.1, betas=(0.9, 0.99))
    optimizers = Optimizers(head=fused)
    schedule = ThreePhase(steps=10, per_epoch=1, warmup=2, final=2)
    for step, beta1 in ((0, 0.95), (5, 0.85)):
        optimizers.follow(schedule, step)
        optimizers.begin(0, 1)
        assert head.update_rule is fused.rules[0]
        assert head.update_rule.betas == (pytest.approx(beta1), 0.99)


def test_every_head_inside_a_wrapper_gets_a_rule_of_its_own():
    class Two(Head):
        loss = topk = config = None

        def __init__(self):
            super().__init__()
            self.inside = nn.ModuleList([DenseHead(3, 2), DenseHead(4, 2)])
            self.own = nn.Linear(2, 2)

    head = Two()
    fused = FusedSGD(head, 0.1, 0.9)
    fused.begin(StepContext.of_part(1, 3, 8.0))
    assert [inside.update_rule for inside in head.inside] == fused.rules
    assert fused.rules[0] is not fused.rules[1]
    assert [inside.step_context for inside in head.inside] == [StepContext(False, False, 8.0)] * 2
    assert [p.shape for p in fused.param_groups[0]["params"]] == [(3, 2), (4, 2)]


def test_a_state_of_another_optimizer_is_refused():
    sgd, adam = FusedSGD(DenseHead(3, 2), 0.1), FusedAdam(DenseHead(3, 2), 0.1)
    with pytest.raises(SettingError, match="the state of FusedAdam"):
        adam.load_state_dict(sgd.state_dict())


def test_fused_sgd_wants_a_head_that_updates_itself():
    class Other(Head):
        loss = topk = config = None

    head = Other()
    with pytest.raises(SettingError, match="does not update its weights"):
        FusedSGD(head, 0.1)
