"""Row-wise Adagrad on the rows that were candidates, against loops over rows in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.candidate_cases import Case, candidates_of, case, close
from support.row_step_cases import DTYPES, gradient_of, slow_gradient, touched

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.kernels.candidates.row_adagrad import adagrad_state, row_adagrad

pytestmark = pytest.mark.usefixtures("threads", "poisoned")


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    c = case(0)
    _, weight, bias = c.of(torch.float32)
    row_adagrad(weight, bias, adagrad_state(weight, bias), [gradient_of(c)], 0.1)


def part_of(c: Case, keep: list[int]) -> Case:
    return Case(c.views, c.weight, c.bias, [own if b in keep else [] for b, own in enumerate(c.blocks)], c.pairs)


@pytest.mark.pairwise("threads", dim=[1, 3, 7, 33, 384], dtype=DTYPES, threads=[1, 2])
def test_it_equals_the_loops_and_leaves_other_rows_alone(dim, dtype, seed):
    c = case(seed, dim=dim, share=0.3)
    _, weight, bias = c.of(dtype)
    state, before = adagrad_state(weight, bias), weight.clone()
    table = np.concatenate([c.weight.double().numpy(), c.bias.double().numpy()[:, None]], axis=1)
    totals = np.zeros((len(table), 2))
    rng, ever = np.random.default_rng(seed), set()
    for step in range(3):
        part = part_of(c, list(rng.permutation(len(c.blocks))[: 1 + step]))
        row_adagrad(weight, bias, state, [gradient_of(part, dtype)], 0.05, 1e-2, 0.1)
        gradient = slow_gradient(part)
        for row in touched(part):
            g, b = gradient[row, :-1], gradient[row, -1]
            totals[row] += np.mean(g * g), b * b
            table[row, :-1] = table[row, :-1] * (1 - 0.05 * 0.1) - 0.05 * g / (math.sqrt(totals[row, 0]) + 1e-2)
            table[row, -1] -= 0.05 * b / (math.sqrt(totals[row, 1]) + 1e-2)
        ever |= touched(part)
    tolerance = 2e-5 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(weight.double(), torch.from_numpy(table[:, :-1]), rtol=0, atol=tolerance)
    torch.testing.assert_close(bias.double(), torch.from_numpy(table[:, -1]), rtol=0, atol=tolerance)
    close(state["total"], totals[:, 0])
    close(state["bias_total"], totals[:, 1])
    others = [row for row in range(len(weight)) if row not in ever]
    assert torch.equal(weight[others], before[others])
    assert not state["total"][others].any()


@pytest.mark.pairwise("threads", dtype=DTYPES, bias=[True, False], threads=[1, 2])
def test_a_whole_table_and_a_list_of_gradients(dtype, bias, seed):
    """All rows of many texts, whose gradients are products, equal the same texts in two micro-batches."""
    c = case(seed, batch=40, dim=7, nodes=5)
    c.blocks = [[(0, len(c.weight))] for _ in range(40)]
    halves = []
    for first, last in ((0, 13), (13, 40)):
        pairs = {(b - first, row) for b, row in c.pairs if first <= b < last}
        halves.append(gradient_of(Case(c.views[first:last], c.weight, c.bias, c.blocks[first:last], pairs), dtype))
    results = []
    for gradients in ([gradient_of(c, dtype)], halves):
        _, weight, b = c.of(dtype)
        b = b if bias else None
        state = adagrad_state(weight, b)
        row_adagrad(weight, b, state, gradients, 0.1, 1e-2)
        results.append([weight, *([] if b is None else [b]), *state.values()])
    for a, e in zip(*results, strict=True):
        close(a, e.double())


def test_the_same_bits_whatever_the_threads(seed):
    c = case(seed, batch=17, dim=33, nodes=40)
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        _, weight, bias = c.of(torch.float32)
        state = adagrad_state(weight, bias)
        row_adagrad(weight, bias, state, [gradient_of(c)], 0.1)
        results.append([weight, bias, *state.values()])
    for result in results[1:]:
        assert all(torch.equal(a, e) for a, e in zip(result, results[0], strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gradient_of_zero_decays_and_divides_by_nothing(dtype):
    weight, bias = torch.full((6, 3), 2.0, dtype=dtype), torch.ones(6, dtype=dtype)
    state = adagrad_state(weight, bias)
    gradient = TableGradient(torch.ones(1, 3, dtype=dtype), candidates_of([[(2, 4)]]), torch.zeros(2, dtype=dtype))
    row_adagrad(weight, bias, state, [gradient], 0.5, weight_decay=0.5)
    assert weight[:, 0].tolist() == [2, 2, 1.5, 1.5, 2, 2]
    assert bias.tolist() == [1] * 6
    assert not state["total"].any()


def test_what_does_not_fit_is_refused_and_changes_nothing(seed):
    c = case(seed, share=1.0)
    _, weight, bias = c.of(torch.float32)
    before, good, state = weight.clone(), gradient_of(c), adagrad_state(weight, bias)
    bad = [
        {}, {"total": state["total"]}, {**state, "total": state["total"][1:]},
        {**state, "bias_total": state["bias_total"].double()},
        {**state, "total": torch.zeros(2 * len(weight))[::2]},
    ]  # fmt: skip
    for other in bad:
        with pytest.raises(SettingError) as refused:
            row_adagrad(weight, bias, other, [good], 0.1)
        assert refused.value.where == "state"
    with pytest.raises(SettingError, match="without gradients"):
        row_adagrad(weight, bias, state, [], 0.1)
    with pytest.raises(SettingError):
        row_adagrad(weight, bias, state, [good], -0.1)
    good.cells.view(-1)[0] = math.inf
    with pytest.raises(SettingError, match="inf or NaN"):
        row_adagrad(weight, bias, state, [good], 0.1)
    assert torch.equal(weight, before) and not state["total"].any()
