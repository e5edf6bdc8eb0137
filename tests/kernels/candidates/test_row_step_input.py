"""Groups and parts of rows, and the gradients and arguments that a step of rows refuses."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from support.candidate_cases import candidates_of, case
from support.row_step_cases import DTYPES, MOMENTS, gradient_of, touched

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.kernels.candidates.row_groups import RowGroups
from megalabel.kernels.candidates.row_step import adam_state, row_adam, row_sgd
from megalabel.kernels.core._cpu.row_ranges import cut_rows

pytestmark = pytest.mark.usefixtures("threads", "poisoned")


def test_groups(seed):
    c = case(seed)
    gradient = gradient_of(c)
    groups = RowGroups.from_gradients([gradient, gradient])
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
