"""The Triton body of the top k over all labels, interpreted on the CPU, against a stable sort of all scores."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from support.triton_worker import call, dispatched
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.all_labels.implementation import topk_for
from megalabel.kernels.all_labels.streaming_topk import plain_of
from megalabel.kernels.all_labels.topk_results import all_found
from megalabel.kernels.core import dispatch
from megalabel.kernels.core.dtypes import BFLOAT16, FLOAT8, WeightType
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.types import Positives

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here"),
]

TOPK = "megalabel.kernels.all_labels.streaming_topk.streaming_topk"


def problem(
    rng: np.random.Generator, shape: tuple[int, int, int], kind: WeightType | None
) -> tuple[Tensor, Tensor | NarrowTable, Tensor, Positives]:
    """Small integers, so that sums are exact and scores are equal everywhere; some pairs are excluded."""
    n_texts, n, dim = shape
    sizes = (n_texts, dim), (n, dim), (n,)
    x, weight, bias = (torch.from_numpy(rng.integers(-2, 3, size)).float() for size in sizes)
    pairs = torch.from_numpy(rng.random((n_texts, n)) < 0.5).nonzero()[::7]
    exclude = Positives(pairs[:, 0].flip(0), pairs[:, 1].flip(0))
    if kind is None:
        return x, weight, bias, exclude
    table = NarrowTable.zeros(n, dim, kind)
    table.store(0, weight, Draw(0, 0))
    return x, table, bias, exclude


def exact(x: Tensor, weight: Tensor | NarrowTable, bias: Tensor | None) -> Tensor:
    scores = x.double() @ weight.float().double().t()
    return scores.float() if bias is None else (scores + bias).float()


CASES = [  # texts, labels, width; k; the type of the weights; the ranges of labels
    ((5, 140, 67), 7, None, 528),
    ((5, 140, 67), 1, FLOAT8, 1),
    ((17, 70, 3), 40, BFLOAT16, 528),
    ((1, 1, 1), 3, None, 528),
    ((3, 200, 5), 9, None, 2),
]


@pytest.mark.parametrize(("shape", "k", "kind", "programs"), CASES)
def test_the_best_labels_and_ties_in_the_order_of_labels(worker, shape, k, kind, programs, rng):
    x, weight, bias, exclude = problem(rng, shape, kind)
    call(worker, "all_labels.streaming_topk.__setattr__", "_PROGRAMS", programs)
    found, _ = dispatched(worker, TOPK, x, weight, bias, k, exclude)
    expected = plain_of(exact(x, weight, bias), k, exclude)
    assert torch.equal(found.ids, expected.ids)
    assert torch.equal(found.scores, expected.scores)

    order = torch.from_numpy(rng.permutation(shape[1]))
    found, _ = dispatched(worker, TOPK, x, weight, None, k, row_to_label=order)
    expected = plain_of(exact(x, weight, None), k, None, order)
    assert torch.equal(found.ids, expected.ids)
    assert torch.equal(found.scores, expected.scores)


def test_a_tile_whose_scores_only_equal_the_best_is_not_skipped(worker):
    call(worker, "all_labels.streaming_topk.__setattr__", "_PROGRAMS", 1)
    order = torch.arange(130).flip(0)
    found, _ = dispatched(worker, TOPK, torch.ones(2, 1), torch.ones(130, 1), None, 2, row_to_label=order)
    assert found.ids.tolist() == [[0, 1]] * 2


def test_every_number_of_float8_is_read(worker):
    codes = torch.tensor([code for code in range(256) if code & 0x7F != 0x7F], dtype=torch.uint8)[:, None]
    exponents = torch.arange(254).to(torch.int8) % 3 - 1
    table = NarrowTable(FLOAT8, codes.view(FLOAT8.dtype), exponents)
    x = torch.tensor([[1.0], [-1.0]])
    found, _ = dispatched(worker, TOPK, x, table, None, 127)
    values = codes[:, 0].view(FLOAT8.dtype).float() * torch.exp2(exponents.float())
    expected = plain_of(x * values, 127)
    assert torch.equal(found.ids, expected.ids)
    assert torch.equal(found.scores, expected.scores)


def test_the_body_ran_where_it_can(worker):
    x, weight = torch.ones(2, 3), torch.ones(4, 3)
    with dispatch.use("triton"):
        assert topk_for(x, weight, 5).__name__.endswith("_triton.streaming_topk")
        assert topk_for(x, weight, 129) is None
        assert topk_for(x.double(), weight.double(), 5) is None
        assert topk_for(x[:0], weight, 5) is None
    assert topk_for(x, weight, 5) is None


@pytest.mark.parametrize("number", ["nan", "-inf"])
def test_scores_that_are_not_finite_are_told(worker, number):
    weight = torch.ones(70, 2)
    weight[66] = float(number)
    args = torch.ones(2, 2), weight, None
    found, _ = call(worker, "all_labels.streaming_topk.topk", *args, 70, None, None)
    assert found.ids.tolist() == [[*range(66), 67, 68, 69, -1]] * 2
    assert found.scores.tolist() == [[2.0] * 69 + [-float("inf")]] * 2
    with pytest.raises(SettingError):
        all_found(found.ids, None, 70, 70)
