"""The Triton bodies, interpreted on the CPU, against the plain versions in float64."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.candidate_cases import candidates_of
from support.triton_worker import call, interpreter
from torch import Tensor

from megalabel.kernels.candidates.candidate_scores import candidate_bce, plain_bce, plain_scores
from megalabel.kernels.candidates.candidates import Candidates, TableGradient, positives_by_text
from megalabel.kernels.candidates.row_groups import RowGroups
from megalabel.kernels.candidates.row_step import adam_state, plain_adam, plain_sgd
from megalabel.kernels.updates.adam import AdamSettings
from megalabel.types import Positives

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here"),
]

WIDTHS = [1, 33, 200]  # a strip of `row_step` is 32, 64 and 256 wide
LEAVES = [(0, 1), (1, 4), (4, 21), (21, 26), (26, 40), (40, 43)]  # a tile is 8 rows, or 4


@pytest.fixture(scope="module")
def worker():
    with interpreter() as process:
        yield process


def problem(kind: str, rng: np.random.Generator) -> tuple[Candidates, int]:
    """Candidates of 4 texts, and how many rows the table has."""
    if kind == "all":
        return Candidates.all_rows(4, 11), 12
    if kind == "one by one":
        ids = [np.sort(rng.choice(30, n, replace=False)) for n in (5, 0, 9, 2)]
        counts = torch.tensor([0, 5, 5, 14, 16])
        return Candidates.of_ids(counts, torch.from_numpy(np.concatenate(ids))), 30
    if kind == "none":
        return candidates_of([[], [], [], []]), 7
    return candidates_of([[LEAVES[j] for j in kept] for kept in ([0, 2, 4], [], [1, 2, 3, 5], [2])]), 43


KINDS = ["ragged", "one by one", "all", "none"]


def table(rng: np.random.Generator, n: int, dim: int, bias: bool) -> tuple[Tensor, Tensor | None]:
    weight = torch.from_numpy(rng.standard_normal((n, dim))).float()
    return weight, torch.from_numpy(rng.standard_normal(n)).float() if bias else None


def views_of(rng: np.random.Generator, batch: int, dim: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal((batch, dim))).float()


def wide(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.double()


def near(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_scores(worker, kind, bias, rng):
    candidates, n = problem(kind, rng)
    for dim in WIDTHS:
        weight, b = table(rng, n, dim, bias)
        views = views_of(rng, 4, dim)
        logits, _ = call(worker, "candidates.candidate_scores.scores", views, weight, b, candidates)
        assert logits.dtype == torch.float32
        near(logits, plain_scores(views.double(), weight.double(), wide(b), candidates))


def check_bce(
    worker: Executor,
    views: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    candidates: Candidates,
    positives: Positives,
    scale: float,
) -> None:
    gold = positives_by_text(positives, candidates.batch, len(weight))
    args = views, weight, bias, candidates, *gold, scale
    (value, logits, cells, dviews), _ = call(worker, "candidates.candidate_scores.bce", *args, True)

    x, w, b = views.double().requires_grad_(), weight.double(), wide(bias)
    truth = plain_bce(x, w, b, candidates, positives, scale)
    (of_views,) = torch.autograd.grad(truth, x)
    _, of_logits, gradient = candidate_bce(x.detach(), w, b, candidates, positives, scale)
    assert value.shape == () and logits.shape == cells.shape == (candidates.n_cells,)
    near(value, truth.detach())
    near(logits, of_logits)
    near(cells, gradient.cells)
    near(dviews, of_views)

    again, _ = call(worker, "candidates.candidate_scores.bce", *args, False)
    assert again[3] is None
    for one, other in zip(again[:3], (value, logits, cells), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients(worker, kind, bias, rng):
    candidates, n = problem(kind, rng)
    pairs = torch.from_numpy(rng.random((4, n)) < 0.3).nonzero()
    positives = Positives.from_pairs(pairs[:, 0], pairs[:, 1])  # about a third of them are no candidates
    for dim in WIDTHS:
        check_bce(worker, views_of(rng, 4, dim), *table(rng, n, dim, bias), candidates, positives, 0.37)


def test_more_positives_than_are_looked_at_together(worker, rng):
    candidates, n = candidates_of([[(0, 5), (7, 60)]]), 60
    positives = Positives.from_pairs(torch.zeros(50, dtype=torch.int64), torch.arange(3, 53))
    check_bce(worker, views_of(rng, 1, 20), *table(rng, n, 20, True), candidates, positives, 1.0)


def test_a_text_in_many_parts_adds_up(worker, rng):
    """197 cells are 25 tiles in as many programs; the other text's one tile leaves most of its programs idle."""
    candidates = candidates_of([[(3, 100), (100, 200)], [(0, 3)]])
    positives = Positives.from_pairs(torch.tensor([0, 0, 1]), torch.tensor([3, 199, 2]))
    check_bce(worker, views_of(rng, 2, 6), *table(rng, 200, 6, True), candidates, positives, 0.5)


@pytest.mark.parametrize("kind", ["ragged", "all"])
def test_extreme_logits_keep_their_precision_and_nan_is_told(worker, kind, rng):
    candidates, n = problem(kind, rng)
    weight, views = torch.zeros(n, 3), torch.ones(4, 3)
    offsets, rows = positives_by_text(Positives.from_pairs(torch.tensor([0, 2]), torch.tensor([0, 4])), 4, n)
    for logit in (-80.0, -15.0, -1.0, 0.0, 1e-3, 15.0, 80.0, float("nan"), float("inf"), float("-inf")):
        bias = torch.full((n,), logit)
        (value, _, cells, _), _ = call(
            worker, "candidates.candidate_scores.bce", views, weight, bias, candidates, offsets, rows, 1.0, True
        )
        if np.isfinite(logit):
            targets = torch.zeros(4, n, dtype=torch.float64)
            targets[0, 0] = targets[2, 4] = 1
            y = targets[candidates.texts_of_cells(), candidates.rows_of_cells()]
            z = torch.full_like(y, logit)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="sum")
            torch.testing.assert_close(value.double(), loss, rtol=1e-6, atol=1e-30)
            torch.testing.assert_close(cells.double(), z.sigmoid() - y, rtol=1e-5, atol=2e-7)
        else:
            assert not value.isfinite()


def gradients_of(kind: str, dim: int, rng: np.random.Generator) -> tuple[list[TableGradient], int]:
    """Two micro-batches; in "ragged" the second has other blocks of the same tree, and fewer texts."""
    parts = [problem(kind, rng)[0]] * 2
    n = problem(kind, rng)[1]
    if kind == "ragged":
        parts[1] = candidates_of([[LEAVES[2], LEAVES[5]], [LEAVES[2]]])
    made = []
    for part in parts:
        cells = torch.from_numpy(rng.standard_normal(part.n_cells)).float()
        cells[::3] = 0  # touched all the same
        made.append(TableGradient(views_of(rng, part.batch, dim), part, cells))
    return made, n


def widened(groups: RowGroups) -> RowGroups:
    return replace(groups, views=groups.views.double(), cells=groups.cells.double())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS[:3])
def test_adam(worker, kind, bias, rng):
    for dim, betas in zip(WIDTHS, [(0.9, 0.999), (0.0, 0.99), (0.8, 0.0)], strict=True):
        gradients, n = gradients_of(kind, dim, rng)
        weight, b = table(rng, n, dim, bias)
        state = adam_state(weight, b)
        state["steps"][::2] = 3
        for name in state.keys() - {"steps"}:
            state[name] += torch.from_numpy(rng.random(state[name].shape)).float()
        exact = (
            weight.double(),
            wide(b),
            {k: v.double() if v.is_floating_point() else v.clone() for k, v in state.items()},
        )
        groups, settings = RowGroups.from_gradients(gradients), AdamSettings(0.01, betas, 0.01, 0.1)
        # The bias is a column of something larger, as it may be.
        b = None if b is None else torch.stack([b, b], 1)[:, 0]
        _, (weight, b, state, *_) = call(worker, "candidates.row_step.adam", weight, b, state, groups, settings)
        plain_adam(*exact, widened(groups), settings)
        near(weight, exact[0])
        if b is not None and exact[1] is not None:
            near(b, exact[1])
        assert torch.equal(state["steps"], exact[2]["steps"])
        for name in state.keys() - {"steps"}:
            near(state[name], exact[2][name])


@pytest.mark.parametrize("kind", KINDS[:3])
def test_the_first_steps_are_corrected_precisely(worker, kind, rng):
    """With nothing remembered the first move of every entry is the rate, whatever β: 1 − β^t cancels."""
    gradients, n = gradients_of(kind, 4, rng)
    for gradient in gradients:
        gradient.cells.fill_(1.0)
    weight, groups = torch.zeros(n, 4), RowGroups.from_gradients(gradients)
    state = adam_state(weight, None)
    args = weight, None, state, groups, AdamSettings(1.0, (0.99, 0.9999), 1e-30)
    _, (weight, _, state, *_) = call(worker, "candidates.row_step.adam", *args)
    moved = weight[groups.rows()].abs()
    torch.testing.assert_close(moved, torch.ones_like(moved), rtol=2e-6, atol=0)
    assert torch.equal(state["steps"].nonzero()[:, 0], groups.rows())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS[:3])
def test_sgd(worker, kind, bias, rng):
    for dim in WIDTHS:
        gradients, n = gradients_of(kind, dim, rng)
        weight, b = table(rng, n, dim, bias)
        exact = weight.double(), wide(b)
        groups = RowGroups.from_gradients(gradients)
        untouched = weight.clone()
        b = None if b is None else torch.stack([b, b], 1)[:, 0]
        _, (weight, b, *_) = call(worker, "candidates.row_step.sgd", weight, b, groups, 0.01, 0.1)
        plain_sgd(*exact, widened(groups), 0.01, 0.1)
        near(weight, exact[0])
        if b is not None and exact[1] is not None:
            near(b, exact[1])
        still = torch.ones(n, dtype=torch.bool)
        still[groups.rows()] = False
        assert torch.equal(weight[still], untouched[still])


def test_a_cpu_never_imports_triton():
    """It takes a second, and may not be there."""
    code = """
import sys, torch
from megalabel.kernels.candidates.candidate_scores import candidate_scores
from megalabel.kernels.candidates.candidates import Candidates
candidate_scores(torch.ones(1, 2), torch.ones(3, 2), None, Candidates.all_rows(1, 3))
import megalabel.kernels.candidates.row_step
print(*(name for name in sys.modules if name.startswith("megalabel.kernels.") and "._triton" in name))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
