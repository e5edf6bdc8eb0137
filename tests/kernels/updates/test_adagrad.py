"""Row-wise Adagrad: its formula by hand and against torch, and the rule that applies it chunk by chunk."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.updates.adagrad import AdagradSettings, adagrad_step_
from megalabel.kernels.updates.adagrad_rule import AdagradRule
from megalabel.kernels.updates.memory import adagrad_state
from megalabel.kernels.updates.rule import ONLY_PART, LabelRows, StepContext

L, D, B = 11, 5, 4
CUTS = [(0, 3), (3, 10), (10, L)]


def test_two_steps_by_hand():
    p, total = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double(), torch.zeros(2).double()
    settings = AdagradSettings(0.1, 0.5, 0.2)
    adagrad_step_(p, total, torch.tensor([[1.0, 7.0], [0.0, 0.0]]).double(), settings)
    assert total.tolist() == [25, 0]  # (1 + 49) / 2
    expected = [[0.98 - 0.1 / 5.5, 2 * 0.98 - 0.7 / 5.5], [3 * 0.98, 4 * 0.98]]
    np.testing.assert_allclose(p, expected, rtol=1e-14)
    adagrad_step_(p, total, torch.tensor([[1.0, 1.0], [2.0, -2.0]]).double(), settings)
    assert total.tolist() == [26, 4]
    first = [
        expected[0][0] * 0.98 - 0.1 / (math.sqrt(26) + 0.5),
        expected[0][1] * 0.98 - 0.1 / (math.sqrt(26) + 0.5),
    ]
    second = [expected[1][0] * 0.98 - 0.2 / 2.5, expected[1][1] * 0.98 + 0.2 / 2.5]
    np.testing.assert_allclose(p, [first, second], rtol=1e-14)


def test_rows_of_one_weight_are_torchs_adagrad(seed):
    random = torch.Generator().manual_seed(seed)
    mine = torch.randn(20, 1, generator=random, dtype=torch.float64)
    theirs, total = mine.clone().requires_grad_(), torch.zeros(20, dtype=torch.float64)
    optimizer = torch.optim.Adagrad([theirs], lr=0.05, eps=1e-3)
    for _ in range(5):
        theirs.grad = torch.randn(20, 1, generator=random, dtype=torch.float64)
        adagrad_step_(mine, total, theirs.grad, AdagradSettings(0.05, 1e-3))
        optimizer.step()
    torch.testing.assert_close(mine, theirs.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("numbers", "where"),
    [
        ((-0.1,), "lr"),
        ((math.nan,), "lr"),
        ((0.1, 0.0), "eps"),
        ((0.1, math.inf), "eps"),
        ((0.1, 1e-8, -1.0), "lr"),
    ],
)
def test_numbers_out_of_range_are_refused(numbers, where):
    for make in (AdagradRule, lambda *given: AdagradSettings(*given).check()):
        with pytest.raises(SettingError) as refused:
            make(*numbers)
        assert refused.value.where == where


@pytest.mark.parametrize("decays", [(0.1, True), (0.1, False), (0.0, False)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("way", ["apply", "update"])
def test_the_rule_is_the_formula(decays, bias, parts, way, seed):
    decay, decay_bias = decays
    random = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64)

    weight, b = drawn(L, D), drawn(L)
    expected = [(weight.clone(), torch.zeros(L).double()), (b.clone()[:, None], torch.zeros(L).double())]
    rule = AdagradRule(0.05, 1e-3, decay, decay_bias)
    for _ in range(4):
        sums = [torch.zeros(L, D).double(), torch.zeros(L, 1).double()]
        for part in range(parts):
            step = StepContext.of_part(part, parts)
            g, x = drawn(L, B), drawn(B, D)
            sums[0] += 0.7 * g @ x
            sums[1] += 0.7 * g.sum(1, keepdim=True)
            rule.prepare(weight, b if bias else None, step)
            for start, stop in CUTS:
                ours = LabelRows(weight, b if bias else None, start, stop)
                rows = 0.7 * g[start:stop]
                if way == "apply":
                    rule.apply(ours, rows @ x, rows.sum(1) if bias else None, step)
                else:
                    rule.update(ours, g[start:stop].contiguous(), x, step, 0.7)
        for (p, total), gradient, own in zip(expected, sums, (decay, decay * decay_bias), strict=True):
            adagrad_step_(p, total, gradient, AdagradSettings(0.05, 1e-3, own))
        torch.testing.assert_close(weight, expected[0][0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(rule.total, expected[0][1], rtol=1e-12, atol=1e-12)
        if bias:
            torch.testing.assert_close(b, expected[1][0][:, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("parts", [1, 2])
def test_its_state_is_a_number_per_row_and_what_is_predicted(parts):
    weight, bias = torch.zeros(L, D), torch.zeros(L)
    rule = AdagradRule(0.1)
    step = ONLY_PART if parts == 1 else StepContext.of_part(0, 2)
    rule.prepare(weight, bias, step)
    state = [rule.total, rule.bias_total, rule.gradient, rule.bias_gradient]
    taken = sum(t.numel() * t.element_size() for t in state if t is not None)
    assert taken == adagrad_state(L, D + 1, parts=parts)
    assert not any(t.any() for t in state if t is not None)
    assert rule.weight_state() == []


def test_frozen_parameters_stay_as_they_are():
    bias, rule = torch.zeros(L), AdagradRule(0.1)
    rule.prepare(None, bias, ONLY_PART)
    rule.apply(LabelRows(None, bias, 0, L), None, torch.ones(L), ONLY_PART)
    torch.testing.assert_close(bias, torch.full((L,), -0.1))
    assert rule.total is None
