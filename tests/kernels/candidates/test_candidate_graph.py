"""What autograd sees of a loss over candidates, which types and layouts it takes, and what it refuses."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from support.candidate_cases import NONE, candidates_of, case, close, slow_bce

from megalabel.errors import DataError, SettingError
from megalabel.kernels.candidates.candidate_scores import candidate_bce, candidate_scores
from megalabel.types import Positives

DTYPES = [torch.float32, torch.float64]  # numba, and the plain version

pytestmark = pytest.mark.usefixtures("threads", "poisoned")


def test_upstream_gradients_add_up(seed):
    c = case(seed)
    slow = slow_bce(c, 1.0)
    views, weight, bias = c.of(torch.float32)
    value, _, gradient = candidate_bce(views, weight, bias, c.candidates, c.positives, 1.0)
    close(gradient.cells, slow.cells)  # before backward: as for an upstream gradient of 1
    value.backward(torch.tensor(0.5), retain_graph=True)
    close(gradient.cells, 0.5 * slow.cells)
    value.backward(torch.tensor(2.0))
    close(gradient.cells, 2.5 * slow.cells)
    close(views.grad, 2.5 * slow.views)


def test_tables_learn_below_a_frozen_encoder(seed):
    c = case(seed)
    _, weight, bias = c.of(torch.float32)
    value, _, gradient = candidate_bce(c.views.float(), weight, bias, c.candidates, c.positives, 1.0)
    (0.5 * value).backward()
    close(gradient.cells, 0.5 * slow_bce(c, 1.0).cells)


def test_without_gradients_there_is_no_graph(seed):
    c = case(seed)
    views, weight, bias = c.of(torch.float32)
    with torch.no_grad():
        value, _, _ = candidate_bce(views, weight, bias, c.candidates, c.positives, 1.0)
    assert not value.requires_grad
    close(value, slow_bce(c, 1.0).value)


def test_a_kept_value_keeps_no_gradient(seed):
    c = case(seed)
    views, weight, bias = c.of(torch.float32)
    value, _, gradient = candidate_bce(views, weight, bias, c.candidates, c.positives, 1.0)
    gone = weakref.ref(gradient)
    value.backward()
    del gradient
    gc.collect()
    assert gone() is None
    assert value.requires_grad


def test_tables_want_no_gradient_of_autograd(seed):
    c = case(seed)
    views, weight, bias = c.of(torch.float32)
    value, _, _ = candidate_bce(
        views, weight.requires_grad_(), bias.requires_grad_(), c.candidates, c.positives, 1.0
    )
    value.backward()
    assert weight.grad is None
    assert bias.grad is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_views_of_another_type_get_gradients_of_it(dtype, seed):
    c = case(seed)
    views, weight, bias = c.of(torch.float32)
    narrow = views.detach().to(dtype).requires_grad_()
    value, logits, gradient = candidate_bce(narrow, weight, bias, c.candidates, c.positives, 1.0)
    value.backward()
    assert narrow.grad.dtype == dtype
    assert {value.dtype, logits.dtype, gradient.views.dtype} == {torch.float32}
    same = narrow.detach().float().requires_grad_()
    candidate_bce(same, weight, bias, c.candidates, c.positives, 1.0)[0].backward()
    assert torch.equal(narrow.grad, same.grad.to(dtype))


def test_memory_that_is_not_contiguous(seed):
    c = case(seed)
    slow = slow_bce(c, 1.0)
    views, weight, bias = c.of(torch.float32)
    stacked = torch.stack([views.detach()] * 2, dim=1).requires_grad_()
    transposed = weight.t().contiguous().t()
    for table in (weight, transposed):
        stacked.grad = None
        value, _, gradient = candidate_bce(stacked[:, 1], table, bias, c.candidates, c.positives, 1.0)
        value.backward()
        close(stacked.grad[:, 1], slow.views)
        close(gradient.dense(len(weight))[0], slow.weight)


def test_autocast_does_not_reach_inside(seed):
    c = case(seed)
    for dtype in DTYPES:
        expected = candidate_bce(*c.of(dtype), c.candidates, c.positives, 1.0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = candidate_bce(*c.of(dtype), c.candidates, c.positives, 1.0)
            assert torch.equal(candidate_scores(*c.of(dtype), c.candidates), expected[1])
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


@pytest.mark.pairwise(
    "threads", dtype=DTYPES, where=["views", "weight"], bad=[float("nan"), float("inf")], threads=[1, 2]
)
def test_divergence_is_said(dtype, where, bad, seed):
    c = case(seed, share=1.0)
    views, weight, bias = c.of(dtype)
    (views if where == "views" else weight).data[3, 2] = bad
    with pytest.raises(SettingError, match="diverged"):
        candidate_bce(views, weight, bias, c.candidates, c.positives, 1.0)


def test_arguments_that_do_not_fit(seed):
    c = case(seed, share=1.0)
    views, weight, bias = c.of(torch.float32)

    def bce(x=views, w=weight, b=bias, candidates=c.candidates, positives=NONE) -> None:
        candidate_bce(x, w, b, candidates, positives, 1.0)

    with pytest.raises(SettingError, match="same D"):
        bce(x=views[:, :3])
    with pytest.raises(SettingError, match="a bias"):
        bce(b=bias[:3])
    with pytest.raises(SettingError, match="a bias"):
        bce(b=bias.double())
    with pytest.raises(SettingError, match="float32"):
        bce(w=weight.half(), b=None)
    with pytest.raises(SettingError, match="each text"):
        bce(candidates=candidates_of(c.blocks[:-1]))
    with pytest.raises(SettingError, match="one row per node"):
        bce(w=weight[:-1], b=bias[:-1])
    with pytest.raises(SettingError, match="one device"):
        bce(w=weight.to("meta"), b=None)
    with pytest.raises(SettingError, match="one row per node"):
        candidate_scores(views, weight[:-1], bias[:-1], c.candidates)
    with pytest.raises(DataError, match="among the positives"):
        bce(positives=Positives(torch.tensor([0]), torch.tensor([len(weight)])))
