"""Rules that learn within the pass over labels of fixed fan-in, against what they do with exact gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from support.fan_in_cases import Case, case, close
from torch import Tensor

from megalabel.kernels.updates.adagrad_rule import AdagradRule
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.rule import ONLY_PART, LabelRows, StepContext, UpdateRule
from megalabel.kernels.updates.sgd_rule import SGDRule
from megalabel.types import Positives

pytestmark = pytest.mark.usefixtures("threads", "poisoned")

DTYPES = [torch.float32, torch.float64]  # numba, and the plain version
LOSSES = ["bce", "squared_hinge"]
RULES: dict[str, Callable[[], UpdateRule]] = {
    "SGD": lambda: SGDRule(lr=0.01),
    "SGD with decay": lambda: SGDRule(lr=0.01, weight_decay=0.3),
    "SGD, biases decay": lambda: SGDRule(lr=0.01, weight_decay=0.3, decay_bias=True),
    "momentum": lambda: SGDRule(lr=0.01, momentum=0.9),
    "momentum with decay": lambda: SGDRule(lr=0.01, momentum=0.9, weight_decay=0.3, decay_bias=True),
    "Adam": lambda: AdamRule(lr=0.01, betas=(0.8, 0.95), eps=1e-3),
    "Adam with decay": lambda: AdamRule(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3),
    "Adagrad": lambda: AdagradRule(lr=0.01, eps=1e-3),
    "Adagrad, biases decay": lambda: AdagradRule(lr=0.01, eps=1e-3, weight_decay=0.3, decay_bias=True),
    "Adam, biases decay": lambda: AdamRule(lr=0.01, eps=1e-3, weight_decay=0.3, decay_bias=True),
}
SHAPES = {"own inputs": (37, 5, 9, 6, 1), "groups": (70, 6, 300, 70, 16), "several blocks": (21, 7, 9, 140, 1)}


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once for every type of inputs, outside any test's time."""
    for dim in (9, 300):
        case(0, dim=dim).of(torch.float32).loss("bce").backward()


def exact(c: Case, rule: UpdateRule, loss: str, scale: float) -> Tensor:
    """The embedding's gradient of a float64 case; its weights learn from the dense layer's gradients."""
    gradients = torch.autograd.grad(c.truth(loss, scale), c.parameters)
    weight, bias = c.weight.detach(), None if c.bias is None else c.bias.detach()
    rule.prepare(weight, bias, ONLY_PART)
    labels = LabelRows(weight, bias, 0, len(weight))
    rule.apply(labels, gradients[1], None if bias is None else gradients[2], ONLY_PART)
    return gradients[0]


def kept(rule: UpdateRule) -> list[Tensor]:
    return [t for name in type(rule).KEPT if isinstance(t := getattr(rule, name), Tensor)]


@pytest.mark.pairwise(
    "threads", name=RULES, shape=SHAPES, bias=[True, False], loss=LOSSES, dtype=DTYPES, threads=[1, 2]
)
def test_three_steps(name, shape, bias, loss, dtype, seed):
    c = case(seed, *SHAPES[shape], bias=bias)
    ours, truth = c.of(dtype), c.of(torch.float64)
    rule, theirs = RULES[name](), RULES[name]()
    for step in range(3):
        context = StepContext(loss_scale=2.0**step)
        found = ours.loss(loss, scale=0.1, rule=rule, step=context, value=False)
        (embedding,) = torch.autograd.grad(found * 2.0**step, ours.x)
        expected = exact(truth, theirs, loss, 0.1)
        close(embedding, expected * 2.0**step)  # by the weights before they moved
        close(ours.weight, truth.weight)
        if bias:
            close(ours.bias, truth.bias)
    for a, e in zip(kept(rule), kept(theirs), strict=True):
        close(a, e)
    assert ours.weight.grad is None


@pytest.mark.pairwise("threads", name=RULES, group=[1, 16], dtype=DTYPES, threads=[1, 2])
def test_micro_batches_equal_one_batch(name, group, dtype, seed):
    c = case(seed, n_labels=40, n_texts=6, group=group)
    whole, parted = c.of(dtype), c.of(dtype)
    rule, parts = RULES[name](), RULES[name]()
    for _ in range(2):
        whole.loss("bce", rule=rule).backward()
        before = parted.weight.detach().clone()
        for part in range(3):
            rows = slice(2 * part, 2 * part + 2)
            mine = c.positives.rows // 2 == part
            positives = Positives(c.positives.rows[mine] - 2 * part, c.positives.labels[mine])
            assert torch.equal(parted.weight, before)
            replace(parted, x=parted.x[rows], positives=positives).loss(
                "bce", rule=parts, step=StepContext.of_part(part, 3)
            ).backward()
        close(parted.weight, whole.weight.double())
        close(parted.bias, whole.bias.double())


@pytest.mark.pairwise("threads", name=RULES, group=[1, 16], threads=[1, 2])
def test_labels_without_slope(name, group, seed):
    """Under plain SGD they keep their bits; where the rule moves every weight, they move."""
    c = case(seed, n_labels=50, n_texts=64, group=group, density=0.0).of(torch.float32)
    with torch.no_grad():
        c.bias.fill_(-1000)
        c.bias[9] = 0
    rule, theirs = RULES[name](), RULES[name]()
    expected, before = c.of(torch.float64), c.of(torch.float32)
    exact(expected, theirs, "squared_hinge", 1.0)
    c.loss("squared_hinge", rule=rule, value=False).backward()
    close(c.weight, expected.weight)
    close(c.bias, expected.bias)
    others = torch.arange(50) != 9
    assert (c.weight[others] != before.weight[others]).any() == (rule.weight_decay > 0)
    assert (c.bias[others] != before.bias[others]).any() == rule.decay_bias
    assert (c.weight[9] != before.weight[9]).all() and c.bias[9] != before.bias[9]


@pytest.mark.parametrize("name", RULES)
def test_an_empty_batch_counts_as_a_step(name, seed):
    c = case(seed, n_texts=0).of(torch.float32)
    truth = c.of(torch.float64)
    rule, theirs = RULES[name](), RULES[name]()
    c.loss("bce", rule=rule).backward()
    exact(truth, theirs, "bce", 1.0)
    close(c.weight, truth.weight)


def test_frozen_embeddings_and_no_gradient_at_all(seed):
    c = case(seed).of(torch.float32)
    trained, frozen = c.of(torch.float32), c.of(torch.float32)
    trained.loss("bce", rule=SGDRule(lr=0.1)).backward()
    frozen.x = frozen.x.detach()
    frozen.loss("bce", rule=SGDRule(lr=0.1)).backward()
    assert torch.equal(trained.weight, frozen.weight)
    with torch.no_grad():
        c.loss("bce", rule=SGDRule(lr=0.1))
    assert torch.equal(c.weight, case(seed).of(torch.float32).weight)
