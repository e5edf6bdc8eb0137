"""Rows of a layer of fixed fan-in that keep what rounding cuts off their narrow weights."""

from __future__ import annotations

import pytest
import torch
from support.fan_in_cases import case
from support.narrow_tables import narrow, spacing

from megalabel.kernels.core import dispatch
from megalabel.kernels.fan_in.fixed_fan_in import fan_in_loss
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.kernels.updates.sgd_rule import SGDRule

pytestmark = pytest.mark.usefixtures("poisoned")


def loss_of(c, table, **options) -> torch.Tensor:
    return fan_in_loss(c.x, table, c.bias, c.inputs, c.positives, group=c.group, value=False, **options)


@pytest.mark.parametrize(
    "backend, name, momentum, n_labels, group",
    [
        ("plain", "float8", 0.0, 40, 1),
        ("cpu", "float8", 0.0, 40, 16),
        ("cpu", "float8", 0.0, 300_000, 1),
        ("cpu", "bfloat16", 0.9, 40, 16),
    ],
)
def test_steps_of_compensated_rows_and_their_rests_are_those_of_float64(
    backend, name, momentum, n_labels, group, seed
):
    c = case(seed, n_labels=n_labels, n_texts=4, group=group, density=0.02).of(torch.float32)
    table, some = narrow(c.weight, name), torch.tensor([2, 5, n_labels - 9, n_labels - 1])
    rule, exact = NarrowSGDRule(0.05, momentum, compensated=some), SGDRule(0.05, momentum)
    rest = torch.zeros(4, 5, dtype=torch.float64)
    for _ in range(2):
        wide, before = c.of(torch.float64), table.float().double()
        wide.weight = before.clone().requires_grad_()  # both read the stored weights
        wide.loss("bce", rule=exact, value=False).backward()
        moved = wide.weight.detach()[some] - before[some]
        with dispatch.use(backend):
            loss_of(c, table, rule=rule, loss="bce").backward()
        found = table.float().double()[some] + rule.compensation.double()
        exactly = before[some] + rest + moved
        off, rest = (found - exactly).abs(), rule.compensation.double()
        assert (off <= 1.01 * 2**-7 * rest.abs() + 1e-5).all()  # a rest is a bfloat16
        assert (rest.abs() <= 1.01 * spacing(exactly, name) + 1e-6).all()
    assert rest.abs().sum() > 0
    other = torch.ones(n_labels, dtype=torch.bool)
    other[some] = False
    error = (table.float() - wide.weight.detach())[other].abs()
    assert (error <= 1.01 * spacing(wide.weight.detach(), name)[other] + 1e-6).all()


@pytest.mark.parametrize("name, momentum", [("float8", 0.0), ("bfloat16", 0.9)])
def test_compensation_takes_the_same_random_numbers_in_compiled_and_plain_passes(name, momentum):
    c = case(2, n_labels=64, fan_in=40, dim=70, n_texts=30).of(torch.float32)
    found = []
    for backend in ("cpu", "plain"):
        one, table = c.of(torch.float32), narrow(c.weight, name)
        rule = NarrowSGDRule(0.05, momentum, compensated=torch.arange(0, 64, 3))
        for body in ("cpu", backend):  # the same first step, which leaves rests
            with dispatch.use(body):
                loss_of(one, table, rule=rule).backward()
        found.append((table.float(), rule.compensation.float()))
    (weights, rests), (theirs, expected) = found
    # Sums in another order differ in their last bits, and so may a few roundings; rests show smaller differences.
    same = weights == theirs
    assert float(same.double().mean()) > 0.98
    off, some = (rests - expected).abs(), same[::3]
    assert (off[some] <= 1.01 * 2**-7 * expected[some].abs() + 2e-5).all()
    assert float((off[some] == 0).double().mean()) > 0.7


def test_rests_of_replaced_weights_are_dropped_and_no_others():
    rule = NarrowSGDRule(0.1, compensated=torch.tensor([1, 4, 5, 6]))
    rule.weights_replaced(torch.ones(4, 3, dtype=torch.bool), 2)  # nothing is kept yet
    rule.compensation = torch.ones(4, 3, dtype=torch.bfloat16)
    slots = torch.zeros(4, 3, dtype=torch.bool)
    slots[0, 1] = slots[2, 0] = True
    rule.weights_replaced(slots, 2)
    assert rule.compensation.tolist() == [[1, 0, 1], [0, 1, 1], [0, 1, 1], [1, 1, 1]]
