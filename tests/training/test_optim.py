"""Lazy Adam, states of optimizers, schedules of rates, and clipping."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from training.test_fused_optim import PAIRS

from megalabel.errors import SettingError
from megalabel.heads.dense import DenseHead
from megalabel.training.optim.groups import FusedAdam, FusedSGD, Optimizers, adamw, clip_norm, lazy_adam
from megalabel.training.optim.lazy_adam import LazyAdam
from megalabel.training.optim.schedule import WarmupCosine


def test_lazy_adam_is_adam_on_rows_with_gradients_only():
    torch.manual_seed(0)
    table = nn.Embedding(6, 3, sparse=True)
    dense = nn.Parameter(table.weight[:2].detach().clone())
    ours, theirs = LazyAdam([table.weight], lr=0.1), torch.optim.Adam([dense], lr=0.1)
    before = table.weight.detach().clone()
    for _ in range(5):
        target = torch.randn(2, 3)
        (table(torch.tensor([0, 1, 0])) * target[[0, 1, 0]]).sum().backward()
        (dense * target * torch.tensor([[2.0], [1.0]])).sum().backward()
        for optimizer in (ours, theirs):
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(table.weight[:2], dense)
    assert torch.equal(table.weight[2:], before[2:])


def test_a_row_that_comes_late_takes_a_first_step_of_one_rate():
    table = nn.Embedding(2, 3, sparse=True)
    optimizer = LazyAdam([table.weight], lr=0.1)
    for row in (0, 0, 0, 0, 1):
        before = table.weight.detach().clone()
        table(torch.tensor([row])).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.testing.assert_close(before[1] - table.weight[1], torch.full((3,), 0.1))


def test_lazy_adam_is_adam_on_dense_gradients():
    torch.manual_seed(0)
    shapes = [(3, 4), (4,), ()]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizers = LazyAdam(ours, lr=0.1), torch.optim.Adam(theirs, lr=0.1)
    for _ in range(5):
        factor = torch.randn(())
        for parameters, optimizer in zip((ours, theirs), optimizers, strict=True):
            sum((p**2).sum() for p in parameters).mul(factor).backward()
            optimizer.step()
            optimizer.zero_grad()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    "fused", [lambda head: FusedSGD(head, 0.1, 0.9), lambda head: FusedAdam(head, 0.1)], ids=["sgd", "adam"]
)
def test_optimizers_survive_their_state(fused):
    def made():
        torch.manual_seed(1)
        table, head = nn.Embedding(6, 3, sparse=True), DenseHead(7, 3, bias=True)
        optimizers = Optimizers(tokens=lazy_adam(table, 0.1), head=fused(head))
        return table, head, optimizers

    def step(table, head, optimizers, seed):
        optimizers.begin(0, 1)
        head.loss(table(torch.tensor([[seed], [1], [2], [3]])), PAIRS).backward()
        optimizers.step(torch.amp.GradScaler("cpu", enabled=False))

    first, second = made(), made()
    for seed in range(3):
        step(*first, seed)
    for a, b in zip(first[:2], second[:2], strict=True):
        b.load_state_dict(copy.deepcopy(a.state_dict()))
    for name, optimizer in first[2].named.items():
        second[2][name].load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for parts in (first, second):
        step(*parts, 4)
    assert torch.equal(first[0].weight, second[0].weight)
    assert torch.equal(first[1].weight, second[1].weight)
    assert torch.equal(first[1].bias, second[1].bias)


def test_vectors_do_not_decay_and_sparse_tables_go_their_own_way():
    module = nn.Sequential(nn.Embedding(5, 4, sparse=True), nn.Linear(4, 3), nn.LayerNorm(3))
    optimizer = adamw(module, 0.1, 0.5)
    by_decay = {g["weight_decay"]: [tuple(p.shape) for p in g["params"]] for g in optimizer.param_groups}
    assert by_decay == {0.5: [(3, 4)], 0.0: [(3,), (3,), (3,)]}
    assert [p.shape for g in lazy_adam(module, 0.1).param_groups for p in g["params"]] == [(5, 4)]
    assert lazy_adam(nn.Linear(2, 2), 0.1) is None
    assert adamw(nn.Embedding(5, 4, sparse=True), 0.1) is None


def test_warm_up_rises_in_a_line_and_the_cosine_falls_to_zero():
    schedule = WarmupCosine(steps=100, warmup=0.1)
    factors = [schedule(step) for step in range(100)]
    assert factors[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert all(a > b for a, b in itertools.pairwise(factors[10:]))
    assert 0 < factors[-1] < 0.001
    assert WarmupCosine(100, 10).warmup_steps == 10
    assert math.isclose(WarmupCosine(100, 0)(0), 1.0)


@pytest.mark.parametrize("warmup", [-1, 100, 5000])
def test_a_warm_up_longer_than_the_run_is_refused(warmup):
    with pytest.raises(SettingError, match="warm-up shorter than the run"):
        WarmupCosine(100, warmup)


def test_one_norm_over_dense_and_sparse_gradients_is_clipped():
    torch.manual_seed(0)
    table, linear = nn.Embedding(6, 3, sparse=True), nn.Linear(3, 2)
    dense = copy.deepcopy(nn.ModuleList([table, linear]))
    dense[0].sparse = False
    for embed, out in ((table, linear), dense):
        (out(embed(torch.tensor([0, 1, 0]))) ** 2).sum().mul(100).backward()
    ours = [*table.parameters(), *linear.parameters()]
    clip_norm(ours, 0.5)
    nn.utils.clip_grad_norm_(dense.parameters(), 0.5)
    for a, b in zip(ours, dense.parameters(), strict=True):
        torch.testing.assert_close(a.grad.to_dense(), b.grad)
    before = linear.weight.grad.clone()
    clip_norm(ours, 10.0)
    assert torch.equal(before, linear.weight.grad)


def test_the_heads_gradient_is_not_clipped():
    def moved(clip):
        torch.manual_seed(0)
        encoder, head = nn.Linear(5, 5), DenseHead(7, 5)
        before = head.weight.detach().clone(), encoder.weight.detach().clone()
        optimizers = Optimizers(
            encoder=torch.optim.SGD(encoder.parameters(), lr=1.0), head=torch.optim.SGD(head.parameters(), lr=1.0)
        )
        head.loss(encoder(torch.randn(4, 1, 5)), PAIRS).backward()
        optimizers.step(torch.amp.GradScaler("cpu", enabled=False), clip, head)
        return head.weight - before[0], encoder.weight - before[1]

    (free_head, free), (head, clipped) = moved(0.0), moved(0.01)
    assert torch.equal(free_head, head)
    assert clipped.norm() <= 0.0101 < free.norm()
