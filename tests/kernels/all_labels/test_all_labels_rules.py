"""Rules that learn within the pass over all labels, against torch.optim.SGD and AdamW, and when they must not."""

from __future__ import annotations

import copy

import pytest
import torch
from support.all_labels_cases import CHUNKS, close, problem
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.all_labels.all_labels_loss import AdamRule, SGDRule, StepContext, all_labels_loss, plain
from megalabel.kernels.all_labels.label_loss import LOSSES
from megalabel.types import Positives

pytestmark = pytest.mark.usefixtures("threads", "poisoned")


@pytest.mark.pairwise(
    "threads", momentum=[0.9, 0.0], decay=[0.1, 0.0], bias=[True, False], chunk=CHUNKS, threads=[1, 2]
)
def test_the_rule_is_torch_sgd(momentum, decay, bias, chunk, seed):
    x, weight, b, positives = problem((5, 53, 4), seed, bias=bias)
    theirs = [t.detach().clone().requires_grad_() for t in (weight, b) if t is not None]
    groups = [{"params": theirs[:1], "weight_decay": decay}, {"params": theirs[1:]}]
    sgd = torch.optim.SGD([g for g in groups if g["params"]], lr=0.05, momentum=momentum)
    rule = SGDRule(lr=0.05, momentum=momentum, weight_decay=decay)
    for _ in range(4):
        truth = plain(x, theirs[0], theirs[1] if bias else None, positives)
        (expected,) = torch.autograd.grad(truth, x, retain_graph=True)
        sgd.zero_grad()
        truth.backward(inputs=theirs)
        sgd.step()
        ours = all_labels_loss(x, weight, b, positives, rule=rule, chunk=chunk)
        close(ours, truth)
        (found,) = torch.autograd.grad(ours, x)  # from the weights before the update
        close(found, expected)
        close(weight, theirs[0])
        if b is not None:
            close(b, theirs[1])
    assert weight.grad is None
    assert (rule.buffer is not None) == (momentum > 0)
    assert (rule.bias_buffer is not None) == (momentum > 0 and bias)


@pytest.mark.pairwise(
    "threads", loss=LOSSES, decay=[0.0, 0.1], bias=[True, False], chunk=[8, None], threads=[1, 2]
)
def test_the_rule_is_torch_adamw(loss, decay, bias, chunk, seed):
    x, weight, b, positives = problem((5, 53, 4), seed, bias=bias)
    theirs = [t.detach().clone().requires_grad_() for t in (weight, b) if t is not None]
    groups = [{"params": theirs[:1], "weight_decay": decay}, {"params": theirs[1:], "weight_decay": 0.0}]
    adam = torch.optim.AdamW([g for g in groups if g["params"]], lr=0.05, eps=1e-3)
    rule = AdamRule(lr=0.05, eps=1e-3, weight_decay=decay)
    for _ in range(4):
        truth = 0.1 * plain(x, theirs[0], theirs[1] if bias else None, positives, loss)
        (expected,) = torch.autograd.grad(truth, x, retain_graph=True)
        adam.zero_grad()
        truth.backward(inputs=theirs)
        adam.step()
        ours = all_labels_loss(x, weight, b, positives, loss=loss, scale=0.1, rule=rule, chunk=chunk)
        close(ours, truth)
        (found,) = torch.autograd.grad(ours, x)  # from the weights before the update
        close(found, expected)
        close(weight, theirs[0])
        if b is not None:
            close(b, theirs[1])
    assert weight.grad is None
    assert rule.steps == 4
    assert rule.gradient is None


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_micro_batches_equal_one_batch(momentum, seed):
    x, weight, b, positives = problem((6, 53, 4), seed)
    weight2, b2 = weight.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    whole = SGDRule(lr=0.05, momentum=momentum, weight_decay=0.1)
    parts = SGDRule(lr=0.05, momentum=momentum, weight_decay=0.1)
    for _ in range(3):
        all_labels_loss(x, weight, b, positives, rule=whole).backward()
        before = weight2.detach().clone()
        for part in range(3):
            mine = (positives.rows // 2) == part
            piece = Positives(positives.rows[mine] - 2 * part, positives.labels[mine])
            step = StepContext.of_part(part, 3)
            assert torch.equal(weight2, before)
            loss = all_labels_loss(x[2 * part : 2 * part + 2], weight2, b2, piece, rule=parts, step=step, chunk=10)
            loss.backward()
        close(weight2, weight)
        close(b2, b)


def test_the_scale_of_a_loss_scaler_reaches_the_embedding_alone(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    weight2, b2 = weight.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    plainly = all_labels_loss(x, weight, b, positives, rule=SGDRule(lr=0.1, momentum=0.9))
    rule, step = SGDRule(lr=0.1, momentum=0.9), StepContext(loss_scale=1024.0)
    scaled = 1024 * all_labels_loss(x, weight2, b2, positives, rule=rule, step=step)
    (g1,) = torch.autograd.grad(plainly, x)
    (g2,) = torch.autograd.grad(scaled, x)
    close(g2, 1024 * g1)
    assert torch.equal(weight, weight2)
    assert torch.equal(b, b2)


@pytest.mark.parametrize("rule", [SGDRule(lr=0.1), AdamRule(lr=0.1, eps=1.0)], ids=["sgd", "adam"])
def test_a_factor_of_the_loss_reaches_weights_too(rule, seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    weight2, b2 = weight.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    other, rule = copy.deepcopy(rule), copy.deepcopy(rule)
    all_labels_loss(x, weight, b, positives, scale=0.5, rule=rule).backward()
    step = StepContext(loss_scale=1024.0)
    (0.5 * 1024 * all_labels_loss(x, weight2, b2, positives, rule=other, step=step)).backward()
    close(weight, weight2)
    close(b, b2)
    assert not torch.equal(b, problem((5, 20, 4), seed)[2])


def test_without_gradients_a_rule_changes_nothing(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    before = weight.detach().clone()
    with torch.no_grad():
        all_labels_loss(x, weight, b, positives, rule=SGDRule(lr=1.0, momentum=0.9))
    assert torch.equal(weight, before)


def test_frozen_embeddings_still_train_the_weights(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    w2, b2 = weight.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    all_labels_loss(x, weight, b, positives, rule=SGDRule(lr=0.1)).backward()
    all_labels_loss(x.detach(), w2, b2, positives, rule=SGDRule(lr=0.1)).backward()
    assert torch.equal(weight, w2)


@pytest.mark.pairwise(
    "threads",
    names=[["weight"], ["bias"], ["weight", "bias"]],
    rule=[SGDRule(lr=0.1, weight_decay=0.1), SGDRule(lr=0.1, momentum=0.9), AdamRule(lr=0.1, weight_decay=0.1)],
    threads=[1, 2],
)
def test_frozen_parts_do_not_move(names, rule, seed):
    def step(frozen: list[str]) -> tuple[dict[str, Tensor], Tensor]:
        x, weight, b, positives = problem((5, 53, 4), seed)
        parts, own = {"weight": weight, "bias": b}, copy.deepcopy(rule)
        for name in frozen:
            parts[name].requires_grad_(False)
        for first, last in ((True, True), (True, False), (False, True)):  # a step, and one of two micro-batches
            step = StepContext(first, last)
            all_labels_loss(x, weight, b, positives, rule=own, step=step).backward()
        assert not own.weight_state() or "weight" not in frozen
        return parts, x.grad

    _, weight, b, _ = problem((5, 53, 4), seed)
    (parts, _), before = step(names), {"weight": weight, "bias": b}
    for name, part in parts.items():
        assert torch.equal(part, before[name]) == (name in names)


@pytest.mark.parametrize("which", ["weight", "bias"])
def test_numbers_that_share_memory_are_refused(which, seed):
    x, weight, b, positives = problem((5, 53, 4), seed)
    if which == "weight":
        weight = weight.detach()[:, :1].expand(53, 4).requires_grad_()
    else:
        b = b.detach()[:1].expand(53).requires_grad_()
    all_labels_loss(x, weight, b, positives).backward()
    with pytest.raises(SettingError, match="share memory"):
        all_labels_loss(x, weight, b, positives, rule=SGDRule(lr=0.1))


def test_the_loss_scale_saves_small_float16_gradients(seed):
    n, n_labels, dim = 2, 4, 3
    x = torch.full((n, dim), -10.0, requires_grad=True)
    weight = torch.full((n_labels, dim), 0.4, requires_grad=True)  # sigmoid(−12) · 0.4 is subnormal in float16
    weight.data *= 1e-3
    bias = torch.full((n_labels,), -12.0)
    none = torch.empty(0, dtype=torch.int64)
    loss = all_labels_loss(x, weight, bias, Positives(none, none), compute_dtype=torch.float16)
    (scaled,) = torch.autograd.grad(2.0**14 * loss, x)
    expected = n_labels * torch.sigmoid(torch.tensor(-12.012)) * 0.0004
    torch.testing.assert_close(scaled / 2**14, expected.expand(n, dim), rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    "rule_of_a_run",
    [SGDRule(lr=0.01, momentum=0.9, weight_decay=0.01), AdamRule(lr=0.01, weight_decay=0.01)],
    ids=["sgd", "adam"],
)
def test_repeated_runs_give_the_same_bits(rule_of_a_run, seed):
    def run() -> list[Tensor]:
        x, weight, b, positives = problem((33, 700, 19), seed, torch.float32)
        rule = copy.deepcopy(rule_of_a_run)
        for _ in range(3):
            x.grad = None
            loss = all_labels_loss(x, weight, b, positives, rule=rule, chunk=50)
            loss.backward()
        return [loss, x.grad, weight, b, *rule.weight_state()]

    for a, e in zip(run(), run(), strict=True):
        assert torch.equal(a, e)


def test_nan_embeddings_leave_the_weights_alone(seed):
    x, weight, _, positives = problem((5, 20, 4), seed)
    before = weight.detach().clone()
    x.data[0, 0] = float("nan")
    with pytest.raises(SettingError, match="diverged"):
        all_labels_loss(x, weight, None, positives, rule=SGDRule(lr=0.1)).backward()
    assert torch.equal(weight, before)


def test_an_upstream_gradient_of_nan_leaves_the_weights_alone(seed):
    x, weight, _, positives = problem((5, 20, 4), seed)
    before = weight.detach().clone()
    loss = all_labels_loss(x, weight, None, positives, rule=AdamRule(lr=0.1))
    with pytest.raises(SettingError, match="diverged"):
        (float("nan") * loss).backward()
    assert torch.equal(weight, before)


def test_a_buffer_of_another_head_is_refused(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    rule = SGDRule(lr=0.1, momentum=0.9, buffer=torch.zeros(19, 4))
    with pytest.raises(SettingError, match="buffer"):
        all_labels_loss(x, weight, b, positives, rule=rule).backward()
