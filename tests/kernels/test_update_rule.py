"""Update rules that are not of this package, weights of 16 bits, and the context of a micro-batch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from support.all_labels_cases import close, problem
from support.fan_in_cases import case
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.heads.dense import DenseHead
from megalabel.kernels.all_labels.all_labels_loss import AdamRule, SGDRule, all_labels_loss, plain
from megalabel.kernels.updates.rule import LabelRows, StepContext, UpdateRule
from megalabel.training.optim.fused import Fused
from megalabel.types import Positives


@dataclass
class SignRule(UpdateRule):
    """Moves every weight by lr against the sign of its gradient, and counts micro-batches and labels."""

    lr: float = 0.1
    micro_batches: int = 0
    labels: list[range] = field(default_factory=list)

    KEPT: ClassVar[tuple[str, ...]] = ("micro_batches",)

    def prepare(self, weight: Tensor | None, bias: Tensor | None, step: StepContext) -> None:
        self.micro_batches += 1

    def apply(self, labels: LabelRows, gw: Tensor | None, gb: Tensor | None, step: StepContext) -> None:
        self.labels.append(range(labels.start, labels.stop))
        for parameter, gradient in ((labels.weight, gw), (labels.bias, gb)):
            if parameter is not None and gradient is not None:
                parameter[labels.rows] -= self.lr * gradient.sign()


@dataclass
class RoundedSGD(UpdateRule):
    """SGD in float32 whose result is rounded to the weights of 16 bits."""

    lr: float = 0.5

    WEIGHT_DTYPES: ClassVar[tuple[torch.dtype, ...]] = (torch.bfloat16,)

    def apply(self, labels: LabelRows, gw: Tensor | None, gb: Tensor | None, step: StepContext) -> None:
        for parameter, gradient in ((labels.weight, gw), (labels.bias, gb)):
            if parameter is not None and gradient is not None:
                assert gradient.dtype == torch.float32
                parameter[labels.rows] = (parameter[labels.rows].float() - self.lr * gradient).to(parameter.dtype)


@pytest.mark.parametrize("bias", [True, False])
def test_a_rule_of_ones_own_trains_all_labels(bias, seed):
    x, weight, b, positives = problem((5, 53, 4), seed, bias=bias)
    parameters = [t for t in (weight, b) if t is not None]
    gradients = torch.autograd.grad(plain(x, weight, b, positives), parameters)
    expected = [p.detach() - 0.1 * g.sign() for p, g in zip(parameters, gradients, strict=True)]
    rule = SignRule()
    all_labels_loss(x, weight, b, positives, rule=rule, chunk=10).backward()
    for p, e in zip(parameters, expected, strict=True):
        close(p, e)
    assert rule.micro_batches == 1
    assert sorted(label for chunk in rule.labels for label in chunk) == list(range(53))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("group", [1, 16])
def test_a_rule_of_ones_own_trains_labels_of_fixed_fan_in(group, dtype, seed):
    c = case(seed, group=group).of(dtype)
    gradients = torch.autograd.grad(c.loss("bce"), c.parameters)
    expected = [p.detach() - 0.1 * g.sign() for p, g in zip(c.parameters[1:], gradients[1:], strict=True)]
    c.loss("bce", rule=SignRule()).backward()
    for p, e in zip(c.parameters[1:], expected, strict=True):
        torch.testing.assert_close(p.detach(), e)
    torch.testing.assert_close(c.x.grad, gradients[0])


def test_a_subclass_of_a_rule_is_not_mistaken_for_it(seed):
    class Frozen(SGDRule):
        def apply(self, labels, gw, gb, step):
            pass

    c = case(seed).of(torch.float32)
    before = c.weight.detach().clone()
    c.loss("bce", rule=Frozen(lr=1.0)).backward()
    assert torch.equal(c.weight, before)


def narrow_problem(seed: int) -> tuple[Tensor, Tensor, Tensor, Positives]:
    x, weight, b, positives = problem((5, 53, 4), seed, torch.float32)
    weight, b = (t.detach().bfloat16().requires_grad_() for t in (weight, b))
    return x, weight, b, positives


def test_weights_of_16_bits_train_by_a_rule_that_handles_them(seed):
    x, weight, b, positives = narrow_problem(seed)
    wide = [t.detach().float().requires_grad_() for t in (x, weight, b)]
    truth = plain(*wide, positives)
    gradients = torch.autograd.grad(truth, wide)
    loss = all_labels_loss(x, weight, b, positives, rule=RoundedSGD(), chunk=10)
    loss.backward()
    assert loss.dtype == torch.float32
    assert weight.dtype == b.dtype == torch.bfloat16
    torch.testing.assert_close(loss, truth, rtol=2e-2, atol=0)
    torch.testing.assert_close(x.grad, gradients[0], rtol=0, atol=3e-2 * float(gradients[0].abs().max()))
    for parameter, before, gradient in zip((weight, b), wide[1:], gradients[1:], strict=True):
        expected = before.detach() - 0.5 * gradient
        torch.testing.assert_close(
            parameter.float(), expected, rtol=0, atol=3e-2 * float(expected.detach().abs().max())
        )


@pytest.mark.parametrize("rule", [None, SGDRule(lr=0.1), AdamRule(lr=0.1)], ids=["none", "sgd", "adam"])
def test_weights_of_16_bits_are_refused_where_updates_would_vanish(rule, seed):
    x, weight, b, positives = narrow_problem(seed)
    with pytest.raises(SettingError, match="bfloat16"):
        all_labels_loss(x, weight, b, positives, rule=rule)


def test_weights_of_16_bits_have_a_loss_without_gradients(seed):
    x, weight, b, positives = narrow_problem(seed)
    with torch.no_grad():
        found = all_labels_loss(x, weight, b, positives)
    truth = plain(x.detach(), weight.detach().float(), b.detach().float(), positives)
    torch.testing.assert_close(found, truth, rtol=2e-2, atol=0)


def test_a_backward_pass_acts_in_the_context_of_its_loss():
    torch.manual_seed(0)
    head = DenseHead(7, 5)
    fused = Fused(head, 0.1, lambda: SGDRule(lr=0.1))
    pairs = Positives.from_pairs(torch.tensor([0, 1]), torch.tensor([1, 4]))
    before = head.weight.detach().clone()
    fused.begin(StepContext(first=True, last=False))
    loss = head.loss(torch.randn(2, 1, 5), pairs)
    fused.begin(StepContext(first=True, last=True))
    loss.backward()
    assert torch.equal(head.weight, before)  # the micro-batch was not the last when its loss was computed


def test_what_a_rule_of_ones_own_keeps_is_the_state_of_its_optimizer():
    head = DenseHead(7, 5)
    fused = Fused(head, 0.1, SignRule)
    fused.rules[0].micro_batches = 3
    other = Fused(DenseHead(7, 5), 0.2, SignRule)
    other.load_state_dict(fused.state_dict())
    assert other.rules[0].micro_batches == 3
    assert other.param_groups[0]["lr"] == 0.1


def test_a_context_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        StepContext().last = False
