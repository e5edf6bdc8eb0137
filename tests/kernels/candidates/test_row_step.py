"""Steps of the rows that were candidates, against torch's optimizers and against loops over rows."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from support.candidate_cases import Case, candidates_of, case, close, slow_bce
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidate_scores import candidate_bce
from megalabel.kernels.candidates.candidates import Candidates, TableGradient
from megalabel.kernels.candidates.row_groups import RowGroups
from megalabel.kernels.candidates.row_step import adam_state, row_adam, row_sgd
from megalabel.kernels.core._cpu.row_ranges import cut_rows

DTYPES = [torch.float32, torch.float64]  # numba, and the plain version
MOMENTS = ("mean", "square", "bias_mean", "bias_square", "steps")


def gradient_of(c: Case, dtype: torch.dtype = torch.float32) -> TableGradient:
    views, weight, bias = c.of(dtype)
    return candidate_bce(views, weight, bias, c.candidates, c.positives, 1.0)[2]


pytestmark = pytest.mark.usefixtures("threads", "poisoned")


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    c = case(0)
    _, weight, bias = c.of(torch.float32)
    row_adam(weight, bias, adam_state(weight, bias), [gradient_of(c)], 0.1)
    row_sgd(weight, bias, [gradient_of(c)], 0.1)


class SlowAdam:
    """Lazy AdamW, one number after the other, in float64."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.table = np.concatenate([weight.double().numpy(), bias.double().numpy()[:, None]], axis=1)
        self.mean, self.square = np.zeros_like(self.table), np.zeros_like(self.table)
        self.steps = [0] * len(weight)

    def step(
        self, gradient: np.ndarray, rows: set[int], lr: float, betas: tuple[float, float], eps: float, decay: float
    ) -> None:
        last = self.table.shape[1] - 1
        for row in rows:
            self.steps[row] += 1
            for d in range(last + 1):
                g = gradient[row, d]
                m = self.mean[row, d] = betas[0] * self.mean[row, d] + (1 - betas[0]) * g
                v = self.square[row, d] = betas[1] * self.square[row, d] + (1 - betas[1]) * g * g
                m, v = m / (1 - betas[0] ** self.steps[row]), v / (1 - betas[1] ** self.steps[row])
                if d < last:
                    self.table[row, d] *= 1 - lr * decay
                self.table[row, d] -= lr * m / (math.sqrt(v) + eps)


def touched(*cases: Case) -> set[int]:
    return {row for c in cases for own in c.blocks for start, end in own for row in range(start, end)}


def slow_gradient(*cases: Case) -> np.ndarray:
    parts = [slow_bce(c, 1.0) for c in cases]
    return sum(np.concatenate([part.weight, part.bias[:, None]], axis=1) for part in parts)


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


def step(kind: str, weight: Tensor, bias: Tensor | None, gradients: list[TableGradient]) -> list[Tensor]:
    """What a step leaves, in clones."""
    weight, bias = weight.clone(), None if bias is None else bias.clone()
    state = adam_state(weight, bias)
    if kind == "adam":
        row_adam(weight, bias, state, gradients, 0.1, weight_decay=0.1)
    else:
        row_sgd(weight, bias, gradients, 0.1, 0.1)
    return [weight, *([] if bias is None else [bias]), *state.values()]


@pytest.mark.pairwise("threads", dtype=DTYPES, kind=["adam", "sgd"], threads=[1, 2])
def test_a_list_of_gradients_is_the_joined_batch(dtype, kind, seed):
    c = case(seed, batch=11, dim=7)
    whole = gradient_of(c, dtype)
    parts = []
    for first, last in ((0, 3), (3, 3), (3, 4), (4, 11)):
        pairs = {(b - first, row) for b, row in c.pairs if first <= b < last}
        parts.append(gradient_of(Case(c.views[first:last], c.weight, c.bias, c.blocks[first:last], pairs), dtype))
    _, weight, bias = c.of(dtype)
    for a, e in zip(step(kind, weight, bias, parts), step(kind, weight, bias, [whole]), strict=True):
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
            results.append(step(kind, weight, bias, [gradient_of(c)]))
        for result in results[1:]:
            for a, e in zip(result, results[0], strict=True):
                assert torch.equal(a, e)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_without_a_bias(kind, seed):
    c = case(seed)
    for dtype in DTYPES:
        _, weight, bias = c.of(dtype)
        with_bias, without = (step(kind, weight, b, [gradient_of(c, dtype)]) for b in (bias, None))
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
            after = step(kind, weight, bias, [gradient_of(c, dtype)])
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


def test_groups(seed):
    c = case(seed)
    gradient = gradient_of(c)
    groups = RowGroups.of([gradient, gradient])
    assert set(groups.rows().tolist()) == touched(c)
    assert groups.rows().tolist() == sorted(touched(c))
    ranges = sorted({block for own in c.blocks for block in own})
    assert list(zip(groups.starts.tolist(), groups.ends.tolist(), strict=True)) == ranges
    for i, block in enumerate(ranges):
        members = groups.texts[groups.offsets[i] : groups.offsets[i + 1]].tolist()
        once = [b for b, own in enumerate(c.blocks) if block in own]
        assert members == once + [b + len(c.blocks) for b in once]


@pytest.mark.parametrize("parts", [1, 2, 3, 16, 500])
def test_rows_are_cut_into_even_parts(parts, seed):
    c = case(seed, nodes=40, widest=9)
    groups = c.candidates.by_rows
    before, cuts = cut_rows(groups, 3, parts)
    lengths = groups.ends - groups.starts
    assert before.tolist() == [0, *lengths.cumsum(0).tolist()]
    assert (cuts[0], cuts[-1], len(cuts)) == (0, before[-1], parts + 1)
    work = (3 + groups.offsets.diff()).repeat_interleave(lengths)
    shares = [int(work[a:b].sum()) for a, b in pairwise(cuts)]
    assert sum(shares) == int(work.sum())
    assert max(shares) <= sum(shares) / parts + 2 * int(work.max())


@pytest.mark.pairwise("threads", dtype=DTYPES, bad=[float("nan"), float("inf")], threads=[1, 2])
def test_what_is_not_finite_changes_nothing(dtype, bad, seed):
    c = case(seed, share=1.0)
    _, weight, bias = c.of(dtype)
    before, state = weight.clone(), adam_state(weight, bias)
    for where in ("cells", "views"):
        gradient = gradient_of(c, dtype)
        gradient.cells, gradient.views = gradient.cells.clone(), gradient.views.clone()
        getattr(gradient, where).view(-1)[3] = bad
        with pytest.raises(SettingError, match="inf or NaN"):
            row_adam(weight, bias, state, [gradient_of(c, dtype), gradient], 0.1)
        with pytest.raises(SettingError, match="inf or NaN"):
            row_sgd(weight, bias, [gradient], 0.1)
    assert torch.equal(weight, before)
    assert not state["steps"].any()


@pytest.mark.parametrize("blocks", [[[(0, 4)], [(2, 6)]], [[(0, 4)], [(0, 3)]], [[(0, 4)], [(1, 2)]]])
def test_blocks_that_overlap_are_refused(blocks):
    candidates = candidates_of(blocks)
    gradient = TableGradient(torch.ones(2, 3), candidates, torch.ones(candidates.n_cells))
    with pytest.raises(SettingError, match="overlap"):
        row_sgd(torch.ones(6, 3), None, [gradient], 0.1)


def test_arguments_that_do_not_fit(seed):
    c = case(seed, share=1.0)
    _, weight, bias = c.of(torch.float32)
    good, state = gradient_of(c), adam_state(weight, bias)
    with pytest.raises(SettingError, match="without gradients"):
        row_sgd(weight, bias, [], 0.1)
    with pytest.raises(SettingError, match="of this table"):
        row_sgd(weight[:-1], bias[:-1], [good], 0.1)
    with pytest.raises(SettingError, match="of this table"):
        row_sgd(weight[:, :-1], bias, [good], 0.1)
    with pytest.raises(SettingError, match="of this table"):
        row_sgd(weight, bias, [TableGradient(good.views, good.candidates, good.cells[1:])], 0.1)
    with pytest.raises(SettingError, match="float64"):
        row_sgd(weight, bias, [gradient_of(c, torch.float64)], 0.1)
    with pytest.raises(SettingError, match="a bias"):
        row_sgd(weight, bias[1:], [good], 0.1)
    for numbers in ((-0.1, 0.0), (math.nan, 0.0), (math.inf, 0.0), (0.1, -1.0)):
        with pytest.raises(SettingError, match="lr="):
            row_sgd(weight, bias, [good], *numbers)
    for settings in ({"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"eps": 0.0}, {"eps": math.nan}):
        with pytest.raises(SettingError, match="betas="):
            row_adam(weight, bias, state, [good], 0.1, **settings)
    wrong = [
        {},
        {name: state[name] for name in MOMENTS[:-1]},
        state | {"mean": state["mean"][1:]},
        state | {"square": state["square"].double()},
        state | {"steps": state["steps"].long()},
        state | {"steps": state["steps"][1:]},
        state | {"bias_mean": state["mean"]},
        {name: state[name] for name in MOMENTS if not name.startswith("bias")},
    ]
    for other in wrong:
        with pytest.raises(SettingError, match="a state of"):
            row_adam(weight, bias, other, [good], 0.1)
