"""The in-place rules against torch.optim's AdamW and SGD, in float64, from gradients by weight and by logit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.rule import ONLY_PART, LabelRows, StepContext, UpdateRule
from megalabel.kernels.updates.sgd_rule import SGDRule

L, D, B = 11, 5, 4
CUTS = [(0, 3), (3, 10), (10, L)]


def make(kind: str, decay: float, decay_bias: bool) -> UpdateRule:
    if kind == "adam":
        return AdamRule(0.05, (0.8, 0.99), 1e-6, decay, decay_bias)
    momentum = 0.9 if kind == "momentum" else 0.0
    return SGDRule(0.05, momentum, decay, decay_bias=decay_bias)


def torchs(kind: str, decay: float, decay_bias: bool, weight: Tensor, bias: Tensor) -> torch.optim.Optimizer:
    groups = [
        {"params": [weight], "weight_decay": decay},
        {"params": [bias], "weight_decay": decay * decay_bias},
    ]
    if kind == "adam":
        return torch.optim.AdamW(groups, lr=0.05, betas=(0.8, 0.99), eps=1e-6)
    return torch.optim.SGD(groups, lr=0.05, momentum=0.9 if kind == "momentum" else 0.0)


@pytest.mark.pairwise(
    kind=["adam", "sgd", "momentum"],
    decays=[(0.1, True), (0.1, False), (0.0, False)],
    bias=[False, True],
    parts=[1, 3],
    way=["apply", "update"],
)
def test_the_rules_are_torchs(kind, decays, bias, parts, way, seed):
    decay, decay_bias = decays  # the rate, and whether biases decay too
    random = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64)

    weight, b = drawn(L, D), drawn(L)
    their_weight, their_b = weight.clone().requires_grad_(), b.clone().requires_grad_()
    theirs = torchs(kind, decay, decay_bias, their_weight, their_b)
    rule = make(kind, decay, decay_bias)
    for _ in range(5):
        their_weight.grad, their_b.grad = torch.zeros_like(weight), torch.zeros_like(b)
        for part in range(parts):
            step = StepContext.of_part(part, parts)
            g, x = drawn(L, B), drawn(B, D)
            their_weight.grad += 0.7 * g @ x
            their_b.grad += 0.7 * g.sum(1)
            rule.prepare(weight, b if bias else None, step)
            for start, stop in CUTS:
                ours = LabelRows(weight, b if bias else None, start, stop)
                rows = 0.7 * g[start:stop]
                if way == "apply":
                    rule.apply(ours, rows @ x, rows.sum(1) if bias else None, step)
                else:
                    rule.update(ours, g[start:stop].contiguous(), x, step, 0.7)
        theirs.step()
        torch.testing.assert_close(weight, their_weight.detach(), rtol=1e-12, atol=1e-12)
        if bias:
            torch.testing.assert_close(b, their_b.detach(), rtol=1e-12, atol=1e-12)


def test_one_micro_batch_a_step_needs_no_gradient_buffer():
    weight, g, x = torch.zeros(L, D), torch.ones(L, B), torch.ones(B, D)
    rule = AdamRule(0.1)
    assert rule.weight_state() == []
    for _ in range(2):
        rule.prepare(weight, None, ONLY_PART)
        rule.update(LabelRows(weight, None, 0, L), g, x, ONLY_PART)
    assert rule.gradient is None
    assert rule.bias_mean is None
    assert rule.steps == 2
    assert [kept.shape for kept in rule.weight_state()] == [weight.shape] * 2
    torch.testing.assert_close(weight, torch.full((L, D), -0.2))


def test_micro_batches_count_as_one_step_and_weights_wait_for_the_last():
    weight, bias = torch.zeros(L, D), torch.zeros(L)
    rule = AdamRule(0.1)
    rule.gradient = torch.full((L, D), float("nan"))  # what an earlier step left is of no use
    for part in range(3):
        step = StepContext.of_part(part, 3)
        assert (weight == 0).all()
        assert (bias == 0).all()
        rule.prepare(weight, bias, step)
        rule.apply(LabelRows(weight, bias, 0, L), torch.ones(L, D), torch.ones(L), step)
    assert rule.steps == 1
    torch.testing.assert_close(rule.gradient, torch.full((L, D), 3.0))
    torch.testing.assert_close(weight, torch.full((L, D), -0.1))
    torch.testing.assert_close(bias, torch.full((L,), -0.1))


@pytest.mark.parametrize("parts", [1, 2])
def test_narrow_products_move_wide_weights(parts, seed):
    random = torch.Generator().manual_seed(seed)
    g, x = torch.randn(L, B, generator=random), torch.randn(B, D, generator=random)
    weights = []
    for dtype in (torch.float32, torch.bfloat16):
        weight, bias, rule = torch.zeros(L, D), torch.zeros(L), AdamRule(0.1, eps=1.0)
        for part in range(parts):
            step = StepContext.of_part(part, parts)
            rule.prepare(weight, bias, step)
            rule.update(LabelRows(weight, bias, 0, L), g.to(dtype), x.to(dtype), step, 0.5)
        weights.append(weight)
        assert rule.mean.dtype == rule.bias_mean.dtype == torch.float32
    torch.testing.assert_close(*weights, rtol=5e-2, atol=5e-3)


def test_what_belongs_beside_another_head_is_refused():
    rule = AdamRule(0.1, mean=torch.zeros(L + 1, D))
    with pytest.raises(SettingError, match="buffer"):
        rule.prepare(torch.zeros(L, D), None, ONLY_PART)


@pytest.mark.parametrize(
    "bad", [{"lr": -0.1}, {"lr": float("nan")}, {"betas": (1.0, 0.9)}, {"eps": 0.0}, {"weight_decay": -1.0}]
)
def test_numbers_out_of_range(bad):
    with pytest.raises(SettingError, match=next(iter(bad))):
        AdamRule(**({"lr": 0.1} | bad))


@pytest.mark.parametrize("bad", [{"lr": float("inf")}, {"momentum": 1.0}, {"weight_decay": -1.0}])
def test_numbers_out_of_range_for_sgd(bad):
    with pytest.raises(SettingError, match=next(iter(bad))):
        SGDRule(**({"lr": 0.1} | bad))
