"""SGD on narrow weights: its expectation is SGD in float32, and it neither depends on chunks nor on a restart."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.all_labels.all_labels_loss import SGDRule, StepContext, all_labels_loss
from megalabel.kernels.all_labels.streaming_topk import streaming_topk
from megalabel.kernels.core.dtypes import BFLOAT16, FLOAT8, WeightType, weight_type
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.types import Positives

NARROW = [BFLOAT16, FLOAT8]
L, D, B = 53, 8, 6


def problem(kind: WeightType, seed: int = 0):
    """Embeddings, a table of weights, and positives."""
    random = torch.Generator().manual_seed(seed)
    table = NarrowTable.zeros(L, D, kind)
    table.normal_(0.1, Draw(3, 0), random)
    table.codes.requires_grad_()
    labels = torch.randint(0, L, (2 * B,), generator=random)
    positives = Positives.from_pairs(torch.arange(B).repeat_interleave(2), labels)
    return torch.randn(B, D, generator=random).requires_grad_(), table, positives


def copied(table: NarrowTable) -> NarrowTable:
    exponents = None if table.exponents is None else table.exponents.clone()
    return NarrowTable(table.kind, table.codes.detach().clone().requires_grad_(), exponents)


def steps(x: Tensor, table: NarrowTable, positives: Positives, rule: NarrowSGDRule, n: int, **more) -> Tensor:
    """Trains; returns the gradient of the embeddings in the last step."""
    for _ in range(n):
        x.grad = None
        all_labels_loss(x, table, None, positives, rule=rule, **more).backward()
    return x.grad


@pytest.mark.parametrize("kind", NARROW, ids=lambda kind: kind.name)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_its_expectation_is_sgd(kind, momentum):
    x, start, positives = problem(kind)
    exact = start.float().requires_grad_()
    loss = all_labels_loss(x, exact, None, positives, rule=SGDRule(lr=0.01, momentum=momentum, weight_decay=0.3))
    loss.backward()
    expected, gradient = exact.detach().double(), x.grad.clone()
    n, total, square = 300, torch.zeros(L, D).double(), torch.zeros(L, D).double()
    for seed in range(n):
        table = copied(start)
        rule = NarrowSGDRule(lr=0.01, momentum=momentum, weight_decay=0.3, seed=seed)
        found = steps(x, table, positives, rule, 1)
        error = table.float().double() - expected
        total, square = total + error, square + error**2
    torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-5)  # of the weights before the update
    deviation = (square / n).sqrt() / n**0.5
    # A weight that is hardly ever rounded up has no deviation in so few draws: one rounding counts in any case.
    deviation = deviation.maximum(expected.abs() * 2.0**-kind.mantissa_bits / n)
    assert float((total / n).abs().div(deviation).max()) < 5  # of 424 weights, two of which may be near 4
    assert float((total / n).sum().abs() / deviation.square().sum().sqrt()) < 4


@pytest.mark.parametrize("kind", NARROW, ids=lambda kind: kind.name)
def test_chunks_and_a_restart_change_no_bit(kind):
    x, start, positives = problem(kind)
    settings = dict(lr=0.05, momentum=0.9, weight_decay=0.1, seed=5, momentum_dtype=torch.bfloat16)
    tables = [copied(start) for _ in range(4)]
    rules = [NarrowSGDRule(**settings, compensated=torch.tensor([0, 3, 20, L - 1])) for _ in tables]
    for table, rule, chunk in zip(tables[:3], rules, (None, 7, 1), strict=False):
        steps(x, table, positives, rule, 6, chunk=chunk)
    steps(x, tables[3], positives, rules[3], 2)
    resumed = NarrowSGDRule(**settings, compensated=torch.tensor([0, 3, 20, L - 1]))
    for name in NarrowSGDRule.KEPT:
        setattr(resumed, name, copy.deepcopy(getattr(rules[3], name)))
    steps(x, tables[3], positives, resumed, 4)
    assert torch.equal(tables[0].float(), tables[3].float())
    for table in tables[1:3]:  # products over other chunks differ in their last bits, and so may a rounding
        same = (table.float() == tables[0].float()).double().mean()
        assert float(same) > 0.99


@pytest.mark.parametrize("kind", NARROW, ids=lambda kind: kind.name)
def test_micro_batches_accumulate_before_anything_is_rounded(kind):
    x, start, positives = problem(kind)
    whole, parts = copied(start), copied(start)
    rules = [NarrowSGDRule(lr=0.05, momentum=0.9) for _ in range(2)]
    rules[0].roundings = 1  # the number of the last micro-batch is the same
    steps(x, whole, positives, rules[0], 1)
    for i, (first, stop) in enumerate(((0, 2), (2, B))):
        part = positives.of_texts(first, stop)
        loss = all_labels_loss(x[first:stop], parts, None, part, rule=rules[1], step=StepContext.of_part(i, 2))
        before = parts.float()
        loss.backward()
        assert torch.equal(before, parts.float()) == (i == 0)
    same = (whole.float() == parts.float()).double().mean()
    assert float(same) > 0.99


@pytest.mark.parametrize("kind", NARROW, ids=lambda kind: kind.name)
def test_weight_decay_far_below_the_spacing_acts(kind):
    table = NarrowTable.zeros(40, 200, kind)
    values = torch.rand(40, 200, generator=torch.Generator().manual_seed(0)) + 0.5
    table.store(0, values, Draw(0, 0))
    before = table.float().double().sum()
    rule = NarrowSGDRule(lr=0.1, weight_decay=1e-4)  # a factor of 1 − 1e-5
    x = torch.zeros(1, 200, requires_grad=True)  # no gradient but the decay's
    table.codes.requires_grad_()
    nothing = Positives(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    steps(x, table, nothing, rule, 500, value=False)
    found = float(table.float().double().sum() / before)
    assert found == pytest.approx((1 - 1e-5) ** 500, abs=1.5e-3)
    assert found < 1 - 3e-3


def test_momentum_in_bfloat16_has_the_expectation_of_float32():
    random = torch.Generator().manual_seed(0)
    x = torch.randn(B, D, generator=random).requires_grad_()
    positives = Positives.from_pairs(torch.arange(B), torch.arange(B))
    start = torch.randn(L, D, generator=random) * 0.1
    exact, expected = start.clone().requires_grad_(), SGDRule(lr=0.01, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        all_labels_loss(x, exact, None, positives, rule=expected).backward()
    total = torch.zeros(L, D)
    n = 100
    for seed in range(n):
        weight = start.clone().requires_grad_()
        rule = NarrowSGDRule(lr=0.01, momentum=0.9, weight_decay=0.1, seed=seed, momentum_dtype=torch.bfloat16)
        for _ in range(3):
            all_labels_loss(x, weight, None, positives, rule=rule).backward()
        total += weight.detach()
        assert rule.buffer.dtype == torch.bfloat16
    moved = (exact.detach() - start).abs().mean()
    assert float((total / n - exact.detach()).abs().mean()) < 2e-3 * float(moved)


def test_compensated_rows_keep_what_rounding_cuts_off():
    x, start, positives = problem(FLOAT8)
    some = torch.tensor([1, 4, 50])
    exact = start.float().requires_grad_()
    table, rule = copied(start), NarrowSGDRule(lr=0.02, compensated=some)
    plain = SGDRule(lr=0.02)
    for _ in range(5):
        all_labels_loss(x, exact, None, positives, rule=plain).backward()
        all_labels_loss(x, table, None, positives, rule=rule).backward()
    rest = torch.zeros(L, D).index_add_(0, some, rule.compensation.float())
    error = (table.float() + rest - exact.detach()).abs().mean(1)
    others = torch.ones(L, dtype=torch.bool)
    others[some] = False
    assert float(error[some].mean()) < 0.2 * float(error[others].mean())


@pytest.mark.parametrize("kind", NARROW, ids=lambda kind: kind.name)
def test_a_ranking_reads_the_stored_weights(kind):
    x, table, _ = problem(kind)
    found = streaming_topk(x.detach(), table, None, 5, chunk=9)
    expected = streaming_topk(x.detach(), table.float(), None, 5, chunk=9)
    assert torch.equal(found.ids, expected.ids)
    assert torch.equal(found.scores, expected.scores)


def test_what_cannot_be_is_refused():
    x, table, positives = problem(FLOAT8)
    for rule in (None, SGDRule(lr=0.1)):
        with pytest.raises(SettingError, match="float8"):
            all_labels_loss(x, table, None, positives, rule=rule)
    with pytest.raises(SettingError, match="momentum_dtype"):
        NarrowSGDRule(lr=0.1, momentum_dtype=torch.float16)
    with pytest.raises(SettingError, match="weights"):
        weight_type("int4")
    with pytest.raises(SettingError, match="exponents"):
        NarrowTable(FLOAT8, table.codes)
    with pytest.raises(SettingError, match="float32"):
        NarrowTable(FLOAT8, table.codes.float(), table.exponents)


def test_an_initialization_for_ten_million_labels_survives():
    """ELMO's standard deviation at 8.6 million labels, which rounds to zeros without a scale."""
    std = (2 / (8_623_847 + 768)) ** 0.5
    table = NarrowTable.zeros(300, 768, FLOAT8)
    table.normal_(std, Draw(0, 0), torch.Generator().manual_seed(0))
    values = table.float()
    assert float((values == 0).double().mean()) < 1e-3
    assert float(values.std()) == pytest.approx(std, rel=0.02)
    assert table.n_bytes == 300 * 768 + 300
