"""Scores and steps of candidate rows in narrow types, against the same rows as a float32 table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.candidate_cases import candidates_of, case, close
from support.row_step_cases import gradient_of, touched

from megalabel.errors import DataError, SettingError
from megalabel.kernels.candidates import narrow_rows
from megalabel.kernels.candidates.candidate_scores import candidate_bce
from megalabel.kernels.candidates.candidates import Candidates, TableGradient
from megalabel.kernels.candidates.narrow_rows import RowBuffer, narrow_bce
from megalabel.kernels.candidates.row_adagrad import adagrad_state, row_adagrad
from megalabel.kernels.candidates.row_step import row_sgd
from megalabel.kernels.core import dispatch
from megalabel.kernels.core.dtypes import weight_type
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.types import Positives

NARROW = ["bfloat16", "float8"]


def narrow(weight: torch.Tensor, name: str) -> NarrowTable:
    table = NarrowTable.zeros(*weight.shape, weight_type(name))
    table.store(0, weight.float().contiguous(), Draw(7, 0))
    return table


def raw(table: NarrowTable) -> list[np.ndarray]:
    codes = table.codes.view(torch.uint8 if table.kind.bits == 8 else torch.int16).numpy().copy()
    return [codes, *([] if table.exponents is None else [table.exponents.numpy().copy()])]


@pytest.mark.parametrize("name", NARROW)
def test_rows_are_read_and_rounded_as_ranges_are(name, rng):
    table, values = narrow(torch.randn(50, 33), name), torch.randn(50, 33)
    rows = torch.from_numpy(rng.permutation(50)[:20])
    assert torch.equal(table.load_rows(rows), table.float()[rows])
    before, whole = raw(table), narrow(torch.zeros(50, 33), name)
    table.store_rows(rows, values[rows].contiguous(), Draw(3, 5))
    whole.store(0, values, Draw(3, 5))
    others = np.setdiff1d(np.arange(50), rows.numpy())
    for found, expected, old in zip(raw(table), raw(whole), before, strict=True):
        assert (found[rows.numpy()] == expected[rows.numpy()]).all()
        assert (found[others] == old[others]).all()


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("backend", ["cpu", "plain"])
def test_the_loss_is_that_of_the_float32_table(name, whole, backend, seed):
    c = case(seed, dim=33, share=0.3)
    views, weight, bias = c.of(torch.float32)
    table = narrow(weight, name)
    candidates = Candidates.all_rows(len(views), len(weight)) if whole else c.candidates
    theirs_x, ours_x = views.detach().requires_grad_(), views.detach().clone().requires_grad_()
    value, logits, gradient = candidate_bce(theirs_x, table.float(), bias, candidates, c.positives, 0.3)
    with dispatch.use(backend):
        found, z, own = narrow_bce(ours_x, table, bias, candidates, c.positives, 0.3, RowBuffer())
    (value * 2).backward()
    (found * 2).backward()
    close(found.detach(), value.detach().double())
    close(z, logits.double())
    close(ours_x.grad, theirs_x.grad.double())
    for a, e in zip(own.dense(len(weight)), gradient.dense(len(weight)), strict=True):
        close(a, e.double())


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("rule", ["sgd", "adagrad"])
@pytest.mark.parametrize("backend, rows_at_once", [("cpu", 0), ("plain", 3), ("plain", 1 << 14)])
def test_a_step_is_that_of_float32_rounded_to_a_neighbor(name, rule, backend, rows_at_once, seed, monkeypatch):
    monkeypatch.setattr(narrow_rows, "_ROWS", rows_at_once)
    c = case(seed, dim=33, share=0.3)
    _, weight, bias = c.of(torch.float32)
    table = narrow(weight, name)
    wide, wide_bias = table.float(), bias.clone()
    states = [adagrad_state(weight, bias), adagrad_state(table, bias)]
    for step in range(2):
        table.store(0, wide, Draw(1, step))  # both steps from the same weights
        wide = table.float()
        gradients = [gradient_of(c)]
        if rule == "sgd":
            row_sgd(wide, wide_bias, gradients, 0.05, 0.1)
            with dispatch.use(backend):
                row_sgd(table, bias, gradients, 0.05, 0.1, Draw(2, step))
        else:
            row_adagrad(wide, wide_bias, states[0], gradients, 0.05, 1e-3, 0.1)
            with dispatch.use(backend):
                row_adagrad(table, bias, states[1], gradients, 0.05, 1e-3, 0.1, Draw(2, step))
        close(bias, wide_bias.double())
        largest = wide.abs().amax(1, keepdim=True)
        spacing = (
            wide.abs() if name == "bfloat16" else torch.maximum(wide.abs(), largest / 2**13)
        ) / 2**table.kind.mantissa_bits
        assert ((table.float() - wide).abs() <= 1.01 * spacing + 1e-6)[sorted(touched(c))].all()
    for a, e in zip(states[1].values(), states[0].values(), strict=True):
        close(a, e.double())


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("rule", ["sgd", "adagrad"])
def test_compiled_and_plain_steps_take_the_same_random_numbers(name, rule, seed):
    c = case(seed, dim=33, share=0.3)
    _, weight, bias = c.of(torch.float32)
    found = []
    for backend in ("cpu", "plain"):
        table, own, state = narrow(weight, name), bias.clone(), adagrad_state(weight, bias)
        with dispatch.use(backend):
            if rule == "sgd":
                row_sgd(table, own, [gradient_of(c)], 0.05, 0.1, Draw(2, 5))
            else:
                row_adagrad(table, own, state, [gradient_of(c)], 0.05, 1e-3, 0.1, Draw(2, 5))
        found.append(table.float())
    # Sums in another order differ in their last bits, and so may a few roundings.
    assert float((found[0] == found[1]).double().mean()) > 0.98


@pytest.mark.parametrize("name", NARROW)
def test_a_step_leaves_other_rows_their_bits_and_repeats_to_the_bit(name, seed):
    c = case(seed, dim=33, share=0.2)
    _, weight, bias = c.of(torch.float32)
    n = len(weight)
    weight, bias = torch.cat([weight, torch.randn(9, 33)]), torch.cat([bias, torch.ones(9)])
    results = []
    for draw in (Draw(2, 1), Draw(2, 1), Draw(2, 2)):
        table = narrow(weight, name)
        row_sgd(table, bias.clone(), [gradient_of(c)], 0.05, draw=draw)
        results.append(raw(table))
    others = [row for row in range(n + 9) if row not in touched(c)]
    start = raw(narrow(weight, name))
    assert all((a[others] == e[others]).all() for a, e in zip(results[0], start, strict=True))
    assert all((a == e).all() for a, e in zip(results[0], results[1], strict=True))
    assert (results[0][0] != results[2][0]).any()


@pytest.mark.parametrize("name", NARROW)
def test_many_tiny_updates_arrive_on_average(name):
    """Each is far below the spacing of the type, and would be lost if rounded to the nearest."""
    table, bias = narrow(torch.ones(4, 64), name), torch.zeros(4)
    gradient = TableGradient(torch.full((1, 64), -1.0), candidates_of([[(1, 3)]]), torch.ones(2))
    for step in range(500):
        row_sgd(table, bias, [gradient], 1e-4, draw=Draw(0, step))
    moved = table.float() - 1
    assert not moved[[0, 3]].any()
    assert abs(float(moved[1:3].mean()) - 0.05) < 0.01


def test_what_does_not_fit_is_refused(seed):
    c = case(seed, share=1.0)
    views, weight, bias = c.of(torch.float32)
    table = narrow(weight, "float8")
    with pytest.raises(SettingError, match="random numbers"):
        row_sgd(table, bias, [gradient_of(c)], 0.1)
    with pytest.raises(SettingError, match="of one dtype"):
        row_sgd(table, bias.double(), [gradient_of(c)], 0.1, draw=Draw(0, 0))
    far = Candidates.of_ids(torch.tensor([0, 1]), torch.tensor([len(weight)]))
    nothing = Positives(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(SettingError, match="candidate row"):
        narrow_bce(views[:1], table, bias, far, nothing, 1.0, RowBuffer())
    with pytest.raises(DataError):
        wrong = Positives(torch.tensor([0]), torch.tensor([len(weight)]))
        narrow_bce(views, table, bias, c.candidates, wrong, 1.0, RowBuffer())


def test_a_batch_without_candidates_has_no_loss():
    table = narrow(torch.randn(5, 3), "float8")
    none = Candidates.of_ids(torch.zeros(3, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    positives = Positives(torch.tensor([1]), torch.tensor([4]))
    value, logits, _ = narrow_bce(torch.randn(2, 3), table, torch.zeros(5), none, positives, 1.0, RowBuffer())
    assert float(value.detach()) == 0 and len(logits) == 0
