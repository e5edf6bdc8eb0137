"""The summed losses over all labels against dense float64 autograd, torch.optim.SGD and AdamW."""

from __future__ import annotations

import pytest
import torch
from support.all_labels_cases import CHUNKS, SHAPES, close, problem
from torch import Tensor

from megalabel.errors import DataError, SettingError
from megalabel.kernels.all_labels.all_labels_loss import SGDRule, all_labels_loss, plain
from megalabel.kernels.all_labels.label_loss import LOSSES
from megalabel.types import Positives

pytestmark = pytest.mark.usefixtures("threads", "poisoned")


@pytest.mark.pairwise("threads", shape=SHAPES, chunk=CHUNKS, bias=[True, False], loss=LOSSES, threads=[1, 2])
def test_loss_and_gradients_equal_dense_autograd(shape, chunk, bias, loss, seed):
    x, weight, b, positives = problem(shape, seed, bias=bias)
    inputs = [t for t in (x, weight, b) if t is not None]
    ours = all_labels_loss(x, weight, b, positives, loss=loss, scale=0.25, chunk=chunk)
    truth = 0.25 * plain(x, weight, b, positives, loss)
    close(ours, truth)
    for a, e in zip(torch.autograd.grad(3 * ours, inputs), torch.autograd.grad(3 * truth, inputs), strict=True):
        close(a, e)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradcheck(loss, seed):
    x, weight, b, positives = problem((4, 9, 3), seed)

    def ours(*inputs: Tensor) -> Tensor:
        return all_labels_loss(*inputs, positives, loss=loss, chunk=4)

    assert torch.autograd.gradcheck(ours, (x, weight, b))


def test_duplicates_count_once_in_any_order(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    order = torch.randperm(2 * len(positives), generator=torch.Generator().manual_seed(seed))
    messy = Positives(positives.rows.repeat(2)[order], positives.labels.repeat(2)[order])
    a = torch.autograd.grad(all_labels_loss(x, weight, b, messy, chunk=7), (x, weight, b))
    e = torch.autograd.grad(all_labels_loss(x, weight, b, positives, chunk=7), (x, weight, b))
    for i, j in zip(a, e, strict=True):
        assert torch.equal(i, j)


def test_no_positives_and_rows_without_any(seed):
    x, weight, b, _ = problem((5, 20, 4), seed)
    none = torch.empty(0, dtype=torch.int64)
    for positives in (Positives(none, none), Positives.from_pairs(torch.tensor([3]), torch.tensor([19]))):
        ours, truth = all_labels_loss(x, weight, b, positives), plain(x, weight, b, positives)
        close(ours, truth)
        for i, j in zip(
            torch.autograd.grad(ours, (x, weight)), torch.autograd.grad(truth, (x, weight)), strict=True
        ):
            close(i, j)


def test_embeddings_and_weights_that_are_not_contiguous(seed):
    x, weight, _, positives = problem((5, 20, 4), seed)
    views = torch.stack([x.detach(), x.detach()], dim=-1).requires_grad_()
    w = weight.detach().t().contiguous().t().requires_grad_()
    ours = all_labels_loss(views[..., 1], w, None, positives, chunk=6)
    truth = plain(x, weight, None, positives)
    close(ours, truth)
    ours.backward()
    truth.backward()
    close(views.grad[..., 1], x.grad)
    close(w.grad, weight.grad)


def test_an_empty_batch(seed):
    _, weight, b, _ = problem((5, 20, 4), seed)
    none = torch.empty(0, dtype=torch.int64)
    x = torch.empty(0, 4, dtype=torch.float64, requires_grad=True)
    loss = all_labels_loss(x, weight, b, Positives(none, none))
    loss.backward()
    assert loss == 0
    assert x.grad.shape == (0, 4)
    assert (weight.grad == 0).all()


def test_an_unwanted_value_is_nan_but_trains(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    loss = all_labels_loss(x, weight, b, positives, value=False)
    assert loss.isnan()
    expected = torch.autograd.grad(plain(x, weight, b, positives), (x, weight, b))
    for i, j in zip(torch.autograd.grad(loss, (x, weight, b)), expected, strict=True):
        close(i, j)
    with torch.no_grad():
        close(all_labels_loss(x, weight, b, positives, value=False), plain(x, weight, b, positives))


def as_good_as_plain(ours: Tensor, theirs: Tensor, truth: Tensor, slack: float) -> None:
    """`ours` may miss `truth` by what plain arithmetic of the same precision misses it, plus `slack`."""
    scale = truth.abs().max()
    excess = ((ours.double() - truth).abs().max() - (theirs.double() - truth).abs().max()) / scale
    assert excess <= slack, f"errs by {excess:.1e} of the largest value more than plain arithmetic does"


@pytest.mark.pairwise("threads", chunk=[7, None], loss=LOSSES, threads=[1, 2])
@pytest.mark.parametrize(
    ("dtype", "slack"), [(torch.float32, 1e-6), (torch.bfloat16, 8e-3), (torch.float16, 1e-3)]
)
def test_narrow_products_err_no_more_than_plain_ones(dtype, slack, chunk, loss, seed):
    x, weight, _, positives = problem((9, 70, 33), seed, torch.float32, bias=False)
    wide = [t.detach().double().requires_grad_() for t in (x, weight)]
    truth = torch.autograd.grad(plain(wide[0], wide[1], None, positives, loss), wide)
    narrow = [t.detach().to(dtype).requires_grad_() for t in (x, weight)]
    theirs = torch.autograd.grad(plain(narrow[0], narrow[1], None, positives, loss), narrow)
    found = all_labels_loss(x, weight, None, positives, loss=loss, compute_dtype=dtype, chunk=chunk)
    ours = torch.autograd.grad(found, (x, weight))
    for o, p, t in zip(ours, theirs, truth, strict=True):
        assert o.dtype == torch.float32
        as_good_as_plain(o, p, t, slack)


def test_narrow_embeddings_get_gradients_of_their_own_type(seed):
    x, weight, b, positives = problem((5, 20, 4), seed, torch.float32)
    narrow = x.detach().bfloat16().requires_grad_()
    all_labels_loss(narrow, weight, b, positives).backward()
    assert narrow.grad.dtype == torch.bfloat16
    assert weight.grad.dtype == torch.float32


def test_autocast_does_not_reach_inside(seed):
    x, weight, b, positives = problem((5, 20, 4), seed, torch.float32)
    expected = all_labels_loss(x, weight, b, positives)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(all_labels_loss(x, weight, b, positives), expected)


@pytest.mark.pairwise("threads", bad=[float("nan"), float("inf")], where=["x", "weight"], threads=[1, 2])
def test_divergence_is_said(where, bad, seed):
    x, weight, _, positives = problem((5, 20, 4), seed, torch.float32)
    (x if where == "x" else weight).data[1, 2] = bad
    with pytest.raises(SettingError, match="diverged"):
        all_labels_loss(x, weight, None, positives, rule=SGDRule(lr=0.1), value=False).backward()


def test_float16_leaves_inf_to_the_scaler(seed):
    x, weight, _, positives = problem((5, 20, 4), seed, torch.float32, bias=False)
    loss = all_labels_loss(x, weight, None, positives, compute_dtype=torch.float16, value=False)
    (g,) = torch.autograd.grad(2.0**30 * loss, x)
    assert not g.isfinite().all()


@pytest.mark.parametrize("pair", [(0, 20), (5, 0), (-1, 0), (0, -1)])
def test_pairs_out_of_range(pair, seed):
    x, weight, _, _ = problem((5, 20, 4), seed)
    with pytest.raises(DataError, match="among the positives"):
        all_labels_loss(x, weight, None, Positives(torch.tensor([pair[0]]), torch.tensor([pair[1]])))


def test_settings_that_do_not_fit(seed):
    x, weight, b, positives = problem((5, 20, 4), seed)
    with pytest.raises(SettingError, match="same D"):
        all_labels_loss(x[:, :3], weight, b, positives)
    with pytest.raises(SettingError, match="a bias"):
        all_labels_loss(x, weight, b[:3], positives)
    with pytest.raises(SettingError, match="chunk=0"):
        all_labels_loss(x, weight, b, positives, chunk=0)
    with pytest.raises(SettingError, match="compute_dtype"):
        all_labels_loss(x, weight, b, positives, compute_dtype=torch.int8)
    with pytest.raises(SettingError, match="float32"):
        all_labels_loss(x, weight.half(), None, positives)
    with pytest.raises(SettingError, match="loss='hinge'"):
        all_labels_loss(x, weight, b, positives, loss="hinge")
    with pytest.raises(SettingError, match="scale=inf"):
        all_labels_loss(x, weight, b, positives, scale=float("inf"))
    with pytest.raises(DataError, match="two vectors"):
        all_labels_loss(x, weight, b, Positives(torch.zeros(3, dtype=torch.int64), torch.zeros(2).long()))
