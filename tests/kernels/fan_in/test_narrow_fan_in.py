"""Layers of fixed fan-in with narrow weights, against the same steps with float32 weights, rounded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.fan_in_cases import Case, case, close
from support.narrow_tables import narrow, spacing

from megalabel.errors import SettingError
from megalabel.kernels.core import dispatch
from megalabel.kernels.fan_in.fixed_fan_in import fan_in_growth, fan_in_loss, fan_in_topk
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import integers
from megalabel.kernels.updates.adagrad_rule import AdagradRule
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.narrow_adagrad_rule import NarrowAdagradRule
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.kernels.updates.rule import StepContext, UpdateRule
from megalabel.kernels.updates.sgd_rule import SGDRule
from megalabel.types import Positives

pytestmark = pytest.mark.usefixtures("poisoned")

NARROW = ["bfloat16", "float8"]
BFLOAT16 = torch.bfloat16
# A rule for narrow weights, and the one that it follows.
RULES: dict[str, tuple[Callable[[], UpdateRule], Callable[[], UpdateRule]]] = {
    "SGD": (lambda: NarrowSGDRule(0.05), lambda: SGDRule(0.05)),
    "decay": (lambda: NarrowSGDRule(0.05, 0.0, 0.3), lambda: SGDRule(0.05, 0.0, 0.3)),
    "momentum": (lambda: NarrowSGDRule(0.05, 0.9, 0.3), lambda: SGDRule(0.05, 0.9, 0.3)),
    "narrow momentum": (
        lambda: NarrowSGDRule(0.05, 0.9, 0.3, momentum_dtype=BFLOAT16),
        lambda: SGDRule(0.05, 0.9, 0.3),
    ),
    "Adagrad": (lambda: NarrowAdagradRule(0.05, 1e-3, 0.3), lambda: AdagradRule(0.05, 1e-3, 0.3)),
}


def copied(table: NarrowTable) -> NarrowTable:
    exponents = None if table.exponents is None else table.exponents.clone()
    return NarrowTable(table.kind, table.codes.detach().clone().requires_grad_(), exponents)


def loss_of(c: Case, weight: torch.Tensor | NarrowTable, **options) -> torch.Tensor:
    return fan_in_loss(c.x, weight, c.bias, c.inputs, c.positives, group=c.group, **options)


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("backend", ["cpu", "plain"])
@pytest.mark.parametrize("group, texts", [(1, 6), (16, 70)])
def test_a_step_is_that_of_float32_rounded_to_a_neighbor(name, rule, backend, group, texts, seed):
    c = case(seed, n_labels=40, fan_in=35, dim=70, n_texts=texts, group=group).of(torch.float32)
    table = narrow(c.weight, name)
    wide, theirs = replace(c, weight=table.float().requires_grad_()), c.of(torch.float32)
    rules = [make() for make in RULES[rule]]
    with dispatch.use(backend):
        (expected,) = torch.autograd.grad(loss_of(wide, wide.weight, rule=rules[1], scale=0.1), wide.x)
        (found,) = torch.autograd.grad(loss_of(theirs, table, rule=rules[0], scale=0.1), theirs.x)
    close(found, expected.double())
    close(theirs.bias, wide.bias.double())
    error = (table.float() - wide.weight.detach()).abs()
    assert (error <= 1.01 * spacing(wide.weight.detach(), name) + 1e-6).all()
    if rule == "narrow momentum":
        assert rules[0].buffer.dtype == BFLOAT16
        off = (rules[0].buffer.float() - rules[1].buffer).abs()
        assert (off <= 1.01 * spacing(rules[1].buffer, "bfloat16") + 1e-6).all()


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("rule", RULES)
def test_the_expectation_is_the_step_of_float32(name, rule):
    c = case(3, n_labels=15, fan_in=4, dim=9, n_texts=5).of(torch.float32)
    start = narrow(c.weight, name)
    wide = replace(c, weight=start.float().requires_grad_(), bias=c.bias.detach().clone().requires_grad_())
    loss_of(wide, wide.weight, rule=RULES[rule][1]()).backward()
    n, total = 100, torch.zeros(15, 4, dtype=torch.float64)
    square = total.clone()
    for seed in range(n):
        table, moving = copied(start), RULES[rule][0]()
        moving.seed = seed
        one = replace(c, bias=c.bias.detach().clone().requires_grad_())
        loss_of(one, table, rule=moving, value=False).backward()
        error = (table.float() - wide.weight.detach()).double()
        total, square = total + error, square + error**2
    deviation = (square / n).sqrt() / n**0.5
    least = spacing(wide.weight.detach(), name).double() / n
    assert float(((total / n).abs() / deviation.maximum(least)).max()) < 5


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("rule", RULES)
def test_a_resumed_rule_rounds_to_the_bit_and_threads_change_none(name, rule):
    c = case(1, n_labels=50, fan_in=33, dim=70, n_texts=20).of(torch.float32)
    tables = [narrow(c.weight, name) for _ in range(2)]
    rules = [RULES[rule][0]() for _ in tables]
    biases = [c.bias.detach().clone().requires_grad_() for _ in tables]

    def steps(i: int, n: int) -> None:
        for _ in range(n):
            loss_of(replace(c, bias=biases[i]), tables[i], rule=rules[i], value=False).backward()

    steps(0, 4)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        steps(1, 2)
        resumed = RULES[rule][0]()
        for kept in type(resumed).KEPT:
            setattr(resumed, kept, copy.deepcopy(getattr(rules[1], kept)))
        rules[1] = resumed
        steps(1, 2)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(integers(tables[0].codes), integers(tables[1].codes))


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("rule", RULES)
def test_compiled_and_plain_passes_take_the_same_random_numbers(name, rule):
    c = case(2, n_labels=64, fan_in=40, dim=70, n_texts=30).of(torch.float32)
    found = []
    for backend in ("cpu", "plain"):
        one, table, moving = c.of(torch.float32), narrow(c.weight, name), RULES[rule][0]()
        with dispatch.use(backend):
            for _ in range(2):
                loss_of(one, table, rule=moving, value=False).backward()
        found.append(table.float())
    # Sums in another order differ in their last bits, and so may a few roundings.
    assert float((found[0] == found[1]).double().mean()) > 0.98


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("rule", RULES)
def test_micro_batches_are_summed_before_weights_are_rounded(name, rule):
    c = case(5, n_labels=30, n_texts=6).of(torch.float32)
    whole, parts = narrow(c.weight, name), narrow(c.weight, name)
    rules = [RULES[rule][0]() for _ in range(2)]
    rules[0].roundings = 1  # the number of the last micro-batch is the same
    a, b = c.of(torch.float32), c.of(torch.float32)
    loss_of(a, whole, rule=rules[0], loss="bce").backward()
    for part in range(2):
        rows = slice(3 * part, 3 * part + 3)
        positives, before = c.positives.of_texts(rows.start, rows.stop), parts.float()
        some = replace(b, x=b.x[rows], positives=positives)
        loss_of(some, parts, rule=rules[1], loss="bce", step=StepContext.of_part(part, 2)).backward()
        assert torch.equal(before, parts.float()) == (part == 0)
    most = 1.01 * spacing(whole.float(), name) + 1e-6
    if rule == "narrow momentum":  # rounded once more, before it moves the weights
        most += 0.05 * 2**-6 * rules[0].buffer.float().abs().max()
    assert ((whole.float() - parts.float()).abs() <= most).all()


@pytest.mark.parametrize("name", NARROW)
def test_labels_without_a_gradient_keep_their_bits_under_plain_sgd(name):
    c = case(0, n_labels=50, n_texts=64, density=0.0).of(torch.float32)
    with torch.no_grad():
        c.bias.fill_(-1000)
        c.bias[9] = 0
    table = narrow(c.weight, name)
    before = integers(table.codes).clone()
    loss_of(c, table, rule=NarrowSGDRule(0.05), value=False).backward()
    assert (integers(table.codes) != before).any(1).nonzero().tolist() == [[9]]


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("rule", ["decay", "Adagrad"])
def test_weight_decay_far_below_the_spacing_acts(name, rule):
    c = case(0, n_labels=60, fan_in=33, dim=70, density=0.0).of(torch.float32)
    table = narrow(torch.rand(60, 33, generator=torch.Generator().manual_seed(0)) + 0.5, name)
    with torch.no_grad():
        c.bias.fill_(-1000)  # no gradient but the decay's
    moving = RULES[rule][0]()
    moving.lr, moving.weight_decay = 0.1, 1e-4
    start = table.float().double().sum()
    for _ in range(400):
        loss_of(c, table, rule=moving, value=False).backward()
    kept = float(table.float().double().sum() / start)
    assert kept == pytest.approx((1 - 1e-5) ** 400, abs=1.5e-3)
    assert kept < 1 - 2.5e-3


def test_float32_weights_with_momentum_in_bfloat16_are_fused_as_well(seed):
    c = case(seed, n_labels=40, fan_in=33, dim=70, n_texts=20)
    found = []
    for backend in ("cpu", "plain"):
        one, rule = c.of(torch.float32), NarrowSGDRule(0.05, 0.9, 0.3, momentum_dtype=BFLOAT16)
        with dispatch.use(backend):
            for _ in range(3):
                loss_of(one, one.weight, rule=rule, value=False).backward()
        found.append(one.weight.detach())
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("group", [1, 16])
def test_a_ranking_and_growth_read_the_stored_weights(name, group, seed):
    c = case(seed, n_labels=70, fan_in=7, dim=70, n_texts=70, group=group).of(torch.float32)
    table = narrow(c.weight, name)
    pair = [(c.x.detach(), weight, c.bias, c.inputs) for weight in (table, table.float())]
    found, expected = (fan_in_topk(*layer, 5, group=group) for layer in pair)
    assert torch.equal(found.ids, expected.ids)
    assert torch.equal(found.scores, expected.scores)
    a, b = (fan_in_growth(*layer, c.positives, c.inputs, group=group) for layer in pair)
    close(a, b.double())
    with torch.no_grad():
        close(loss_of(c, table), loss_of(c, table.float()).double())


def test_what_cannot_train_them_is_refused(seed):
    c = case(seed).of(torch.float32)
    table = narrow(c.weight, "float8")
    for rule in (None, SGDRule(0.1), AdamRule(0.1), AdagradRule(0.1)):
        with pytest.raises(SettingError, match="float8"):
            loss_of(c, table, rule=rule)
    with pytest.raises(SettingError, match="bias"):
        fan_in_topk(c.x.detach(), table, c.bias.detach().double(), c.inputs, 2)


def test_a_batch_without_texts_moves_by_decay_alone():
    c = case(0, n_labels=20).of(torch.float32)
    table = narrow(c.weight, "bfloat16")
    empty = Positives(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    before = table.float()
    x = torch.zeros(0, 9, requires_grad=True)
    rule = NarrowSGDRule(0.1, weight_decay=1.0)
    fan_in_loss(x, table, c.bias, c.inputs, empty, rule=rule, value=False).backward()
    assert np.isclose(float(table.float().norm() / before.norm()), 0.9, atol=0.01)
