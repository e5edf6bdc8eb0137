"""Steps of the rows that were candidates, against torch's optimizers and against loops over rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.candidate_cases import Case, candidates_of, case, close, slow_bce
from support.row_step_cases import DTYPES, SlowAdam, gradient_of, row_step, slow_gradient, touched

from megalabel.kernels.candidates.candidate_scores import candidate_bce
from megalabel.kernels.candidates.candidates import Candidates, TableGradient
from megalabel.kernels.candidates.row_step import adam_state, row_adam, row_sgd

pytestmark = pytest.mark.usefixtures("threads", "poisoned")


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    c = case(0)
    _, weight, bias = c.of(torch.float32)
    row_adam(weight, bias, adam_state(weight, bias), [gradient_of(c)], 0.1)
    row_sgd(weight, bias, [gradient_of(c)], 0.1)


@pytest.mark.pairwise("threads", dim=[1, 3, 7, 33, 384], dtype=DTYPES, threads=[1, 2])
def test_adam_equals_the_loops(dim, dtype, seed):
    c = case(seed, dim=dim, share=0.3)
    _, weight, bias = c.of(dtype)
    slow, state, before = SlowAdam(weight, bias), adam_state(weight, bias), weight.clone()
    rng = np.random.default_rng(seed)
    ever: set[int] = set()
    # A first move is lr · g / (|g| + eps): where a sum cancels to nearly 0, rounding would decide it but for eps.
    eps = 1e-2 if dtype == torch.float32 else 1e-6
    for step in range(4):  # other texts each time, cycled betas, a gradient that does not depend on the table
        keep = rng.permutation(len(c.blocks))[: 1 + step]
        part = Case(
            c.views, c.weight, c.bias, [own if b in keep else [] for b, own in enumerate(c.blocks)], c.pairs
        )
        betas = (0.95 - 0.02 * step, 0.99)
        row_adam(weight, bias, state, [gradient_of(part, dtype)], 0.01, betas, eps, 0.1)
        slow.step(slow_gradient(part), touched(part), 0.01, betas, eps, 0.1)
        ever |= touched(part)
    tolerance = 2e-5 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(weight.double(), torch.from_numpy(slow.table[:, :-1]), rtol=0, atol=tolerance)
    torch.testing.assert_close(bias.double(), torch.from_numpy(slow.table[:, -1]), rtol=0, atol=tolerance)
    assert state["steps"].tolist() == slow.steps
    close(state["mean"], slow.mean[:, :-1])
    close(state["bias_square"], slow.square[:, -1])
    others = [row for row in range(len(weight)) if row not in ever]
    assert torch.equal(weight[others], before[others])
    assert not state["square"][others].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_all_rows_are_touched_it_is_torch_adamw(dtype, seed):
    c, eps = case(seed), 1e-3 if dtype == torch.float32 else 1e-6  # see above
    views, weight, bias = c.of(dtype)
    theirs = [weight.clone().requires_grad_(), bias.clone().requires_grad_()]
    groups: list[dict[str, Any]] = [{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:]}]
    adamw = torch.optim.AdamW(groups, lr=0.05, betas=(0.9, 0.98), eps=eps, weight_decay=0.0)
    state, every = adam_state(weight, bias), Candidates.all_rows(len(views), len(weight))
    target = torch.zeros(len(views), len(weight), dtype=dtype)
    target[c.positives.rows, c.positives.labels] = 1
    for _ in range(5):
        _, _, gradient = candidate_bce(views, weight, bias, every, c.positives, 0.1)
        row_adam(weight, bias, state, [gradient], 0.05, (0.9, 0.98), eps, 0.1)
        adamw.zero_grad()
        logits = torch.nn.functional.linear(views.detach(), *theirs)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
        (0.1 * loss).backward()
        adamw.step()
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    for mine, their in ((weight, theirs[0]), (bias, theirs[1])):
        torch.testing.assert_close(mine, their.detach(), rtol=0, atol=tolerance)
    assert (state["steps"] == 5).all()


@pytest.mark.pairwise("threads", dim=[1, 3, 7, 33, 384], dtype=DTYPES, threads=[1, 2])
def test_sgd_equals_the_loops(dim, dtype, seed):
    c = case(seed, dim=dim)
    _, weight, bias = c.of(dtype)
    slow, rows = slow_bce(c, 1.0), sorted(touched(c))
    row_sgd(weight, bias, [gradient_of(c, dtype)], 0.1, 0.5)
    expected, expected_bias = c.weight.numpy().copy(), c.bias.numpy() - 0.1 * slow.bias
    expected[rows] = expected[rows] * (1 - 0.1 * 0.5) - 0.1 * slow.weight[rows]
    close(weight, expected)
    close(bias, expected_bias)


@pytest.mark.pairwise("threads", batch=[1, 2, 4, 5, 6, 8, 9, 13], dtype=DTYPES, threads=[1, 2])
def test_any_number_of_members(batch, dtype, seed):
    """All rows, one group: members are added up four at a time, and what is left over."""
    c = case(seed, batch=batch, dim=11, nodes=3)
    c.blocks = [[(0, len(c.weight))] for _ in range(batch)]
    _, weight, bias = c.of(dtype)
    row_sgd(weight, bias, [gradient_of(c, dtype)], 1.0)
    slow = slow_bce(c, 1.0)
    close(weight, c.weight.numpy() - slow.weight)
    close(bias, c.bias.numpy() - slow.bias)


@pytest.mark.pairwise("threads", dtype=DTYPES, kind=["adam", "sgd"], threads=[1, 2])
def test_a_list_of_gradients_is_the_joined_batch(dtype, kind, seed):
    c = case(seed, batch=11, dim=7)
    whole = gradient_of(c, dtype)
    parts = []
    for first, last in ((0, 3), (3, 3), (3, 4), (4, 11)):
        pairs = {(b - first, row) for b, row in c.pairs if first <= b < last}
        parts.append(gradient_of(Case(c.views[first:last], c.weight, c.bias, c.blocks[first:last], pairs), dtype))
    _, weight, bias = c.of(dtype)
    for a, e in zip(row_step(kind, weight, bias, parts), row_step(kind, weight, bias, [whole]), strict=True):
        if dtype == torch.float32:
            assert torch.equal(a, e)
        else:
            close(a, e.double())


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_the_same_bits_whatever_the_threads(kind, seed):
    ragged, one_group = case(seed, batch=17, dim=33, nodes=40), case(seed, batch=5, dim=33, nodes=40)
    one_group.blocks = [[(0, len(one_group.weight))]] * 5
    for c in (ragged, one_group):
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            _, weight, bias = c.of(torch.float32)
            results.append(row_step(kind, weight, bias, [gradient_of(c)]))
        for result in results[1:]:
            for a, e in zip(result, results[0], strict=True):
                assert torch.equal(a, e)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_without_a_bias(kind, seed):
    c = case(seed)
    for dtype in DTYPES:
        _, weight, bias = c.of(dtype)
        with_bias, without = (row_step(kind, weight, b, [gradient_of(c, dtype)]) for b in (bias, None))
        assert torch.equal(with_bias[0], without[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gradient_of_zero_still_touches(dtype):
    weight = torch.full((6, 3), 2.0, dtype=dtype)
    bias = torch.ones(6, dtype=dtype)
    state = adam_state(weight, bias)
    gradient = TableGradient(torch.ones(1, 3, dtype=dtype), candidates_of([[(2, 4)]]), torch.zeros(2, dtype=dtype))
    row_adam(weight, bias, state, [gradient], 0.5, weight_decay=0.5)
    assert weight[:, 0].tolist() == [2, 2, 1.5, 1.5, 2, 2]
    assert bias.tolist() == [1] * 6
    assert state["steps"].tolist() == [0, 0, 1, 1, 0, 0]


def test_no_candidates_move_nothing(seed):
    c = case(seed, share=0.0)
    for dtype in DTYPES:
        for kind in ("adam", "sgd"):
            _, weight, bias = c.of(dtype)
            after = row_step(kind, weight, bias, [gradient_of(c, dtype)])
            assert torch.equal(after[0], weight)
            assert torch.equal(after[1], bias)


def test_parameters_move_in_place(seed):
    c = case(seed)
    views, weight, bias = c.of(torch.float32)
    tables = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
    _, _, gradient = candidate_bce(views, *tables, c.candidates, c.positives, 1.0)
    state = adam_state(*tables)
    row_adam(*tables, state, [gradient], 0.1)
    assert not torch.equal(tables[0].detach(), c.weight.float())
    assert tables[0].detach().data_ptr() == weight.data_ptr()
    assert not any(x.requires_grad for x in state.values())
