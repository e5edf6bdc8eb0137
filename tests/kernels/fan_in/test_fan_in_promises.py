"""What fixed fan-in promises beside its numbers: bits, types, any layout in memory, and what stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from support.fan_in_cases import case, close

from megalabel.errors import SettingError
from megalabel.kernels.fan_in.fixed_fan_in import fan_in_growth, fan_in_scores, fan_in_topk
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.rule import UpdateRule
from megalabel.kernels.updates.sgd_rule import SGDRule
from megalabel.types import Positives

pytestmark = pytest.mark.usefixtures("threads", "poisoned")

RULES: dict[str, Callable[[], UpdateRule]] = {
    "SGD": lambda: SGDRule(lr=0.1, weight_decay=0.1, decay_bias=True),
    "momentum": lambda: SGDRule(lr=0.1, momentum=0.9),
    "Adam": lambda: AdamRule(lr=0.1, eps=0.1, weight_decay=0.1),
}


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    case(0).of(torch.float32).loss("bce").backward()


def strided(t: torch.Tensor) -> torch.Tensor:
    """The same numbers, each with a gap behind it."""
    return torch.stack([t, t], -1)[..., 0]


def test_positives_in_any_order_count_once(seed):
    c = case(seed, n_texts=70, group=3)
    order = torch.randperm(2 * len(c.positives), generator=torch.Generator().manual_seed(seed))
    rows, labels = c.positives.rows.repeat(2)[order], c.positives.labels.repeat(2)[order]
    messy = replace(c, positives=Positives(rows, labels)).of(torch.float32)
    tidy = c.of(torch.float32)
    for a, e in zip(
        torch.autograd.grad(messy.loss("bce"), messy.parameters),
        torch.autograd.grad(tidy.loss("bce"), tidy.parameters),
        strict=True,
    ):
        assert torch.equal(a, e)


def test_the_same_number_of_threads_gives_the_same_bits(seed):
    c = case(seed, n_labels=300, n_texts=64).of(torch.float32)
    once, again = (torch.autograd.grad(c.loss("bce"), c.parameters) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


def test_an_unwanted_value_is_nan_but_trains(seed):
    c = case(seed).of(torch.float32)
    loss = c.loss("bce", value=False)
    assert loss.isnan()
    expected = torch.autograd.grad(c.loss("bce"), c.parameters)
    assert all(torch.equal(a, e) for a, e in zip(torch.autograd.grad(loss, c.parameters), expected, strict=True))
    with torch.no_grad():
        assert c.loss("bce", value=False).isfinite()


def test_embeddings_of_a_narrow_type_and_weights_that_are_not_contiguous(seed):
    c = case(seed, group=4).of(torch.float32)
    c.x = c.x.detach().bfloat16().requires_grad_()
    expected = torch.autograd.grad(c.loss("bce"), c.parameters)
    c.weight = c.weight.detach().t().contiguous().t().requires_grad_()
    found = torch.autograd.grad(c.loss("bce"), c.parameters)
    assert found[0].dtype == torch.bfloat16
    torch.testing.assert_close(found[0], expected[0], rtol=0.02, atol=0.02)
    close(found[1], expected[1])


def test_frozen_parts_get_no_gradient(seed):
    c = case(seed).of(torch.float32)
    everything = torch.autograd.grad(c.loss("bce"), c.parameters)
    for kept in range(3):
        frozen = c.of(torch.float32)
        for i, tensor in enumerate(frozen.parameters):
            tensor.requires_grad_(i == kept)
        frozen.loss("bce").backward()
        for i, (tensor, gradient) in enumerate(zip(frozen.parameters, everything, strict=True)):
            assert torch.equal(tensor.grad, gradient) if i == kept else tensor.grad is None


@pytest.mark.pairwise("threads", rule=RULES, group=[1, 16], name=["x", "weight", "bias", "inputs"], threads=[1, 2])
def test_any_layout_in_memory(rule, group, name, seed):
    c = case(seed, n_labels=40, group=group)
    laid, packed = c.of(torch.float32), c.of(torch.float32)
    tensor = strided(getattr(laid, name).detach())
    setattr(laid, name, tensor.requires_grad_(tensor.is_floating_point()))
    rules = RULES[rule](), RULES[rule]()
    for _ in range(2):
        for one, own in zip((laid, packed), rules, strict=True):
            one.loss("bce", rule=own).backward()
        close(laid.x.grad, packed.x.grad.double())
        close(laid.weight, packed.weight.double())
        close(laid.bias, packed.bias.double())
        for kept in rules[0].KEPT:  # moments of any layout too
            if isinstance(moments := getattr(rules[0], kept), torch.Tensor):
                setattr(rules[0], kept, strided(moments))
    layer = laid.weight.detach(), laid.bias.detach(), laid.inputs
    scores = fan_in_scores(laid.x, *layer, group)
    close(scores, fan_in_scores(packed.x, *(t.clone().contiguous() for t in layer), group).double())
    assert torch.equal(fan_in_topk(laid.x, *layer, 1, group=group).ids[:, 0], scores.argmax(1))
    growth = fan_in_growth(laid.x, *layer, c.positives, strided(c.inputs), group=group)
    close(growth, fan_in_growth(laid.x, *layer, c.positives, c.inputs, group=group).double())


@pytest.mark.pairwise("threads", dtype=[torch.float32, torch.float64], name=["weight", "bias"], threads=[1, 2])
def test_a_rule_refuses_numbers_that_share_memory(dtype, name, seed):
    c = case(seed).of(dtype)
    one = getattr(c, name).detach()[:1]
    setattr(c, name, one.expand(getattr(c, name).shape).requires_grad_())
    c.loss("bce").backward()
    with pytest.raises(SettingError, match="share memory"):
        c.loss("bce", rule=SGDRule(lr=0.1))


@pytest.mark.pairwise("threads", rule=RULES, dtype=[torch.float32, torch.float64], group=[1, 16], threads=[1, 2])
def test_a_rule_leaves_frozen_parts_alone(rule, dtype, group, seed):
    c = case(seed, n_labels=40, group=group)
    everything = c.of(dtype)
    everything.loss("bce", rule=RULES[rule]()).backward()
    for names in (["weight"], ["bias"], ["weight", "bias"]):
        frozen, own = c.of(dtype), RULES[rule]()
        for name in names:
            getattr(frozen, name).requires_grad_(False)
        frozen.loss("bce", rule=own).backward()
        for name in ("weight", "bias"):
            expected = c.of(dtype) if name in names else everything
            assert torch.equal(getattr(frozen, name), getattr(expected, name))
        assert torch.equal(frozen.x.grad, everything.x.grad)
        assert not own.weight_state() or "weight" not in names


def test_weights_changed_before_backward_are_noticed(seed):
    c = case(seed).of(torch.float32)
    for value in (c.loss("bce"), fan_in_scores(c.x, c.weight, c.bias, c.inputs).sum()):
        with torch.no_grad():
            c.weight.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            value.backward()
