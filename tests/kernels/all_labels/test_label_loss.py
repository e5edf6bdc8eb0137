"""Losses on chunks of logits against float64 autograd of their definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.all_labels.label_loss import LOSSES, check_loss, gradient_, plain, softplus_sum, value_
from megalabel.types import Positives

SHAPES = [(1, 1), (7, 5), (3, 40), (40, 3)]


def problem(shape: tuple[int, int], seed: int) -> tuple[Tensor, Positives, Tensor]:
    """Logits (B, L), positives, and the positives' flat places in the logits laid out (L, B)."""
    random = torch.Generator().manual_seed(seed)
    z = (2 * torch.randn(shape, generator=random, dtype=torch.float64)).requires_grad_()
    pairs = (torch.rand(shape, generator=random) < 0.3).nonzero()
    positives = Positives.from_pairs(pairs[:, 0], pairs[:, 1])
    return z, positives, positives.labels * shape[0] + positives.rows


def turned(z: Tensor) -> Tensor:
    """A copy, labels by texts, as the kernels hold a chunk."""
    return z.detach().t().clone(memory_format=torch.contiguous_format)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_value_and_gradient_of_a_chunk_are_those_of_the_definition(loss, shape, seed):
    z, positives, places = problem(shape, seed)
    truth = plain(loss, z, positives)
    (expected,) = torch.autograd.grad(truth, z)
    chunk = turned(z)
    found = gradient_(loss, chunk, places)
    assert found.data_ptr() == chunk.data_ptr()
    torch.testing.assert_close(found.t(), expected, rtol=1e-12, atol=1e-13)
    value = value_(loss, turned(z), places)
    assert value.dtype == torch.float64
    torch.testing.assert_close(value, truth.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_no_positives(loss, seed):
    z, _, _ = problem((4, 6), seed)
    none = torch.empty(0, dtype=torch.int64)
    truth = plain(loss, z, Positives(none, none))
    (expected,) = torch.autograd.grad(truth, z)
    torch.testing.assert_close(gradient_(loss, turned(z), none).t(), expected)
    torch.testing.assert_close(value_(loss, turned(z), none), truth.detach())


def test_the_squared_hinge_by_hand():
    """A positive and a negative each: wrong, within the margin, at its edge, right."""
    z = torch.tensor([[-1.0, 0.5, 1.0, 3.0], [2.0, -0.5, -1.0, -4.0]])
    positives = Positives.from_pairs(torch.zeros(4, dtype=torch.int64), torch.arange(4))
    assert float(plain("squared_hinge", z, positives)) == 4 + 0.25 + 9 + 0.25
    places = torch.arange(4) * 2
    found = gradient_("squared_hinge", z.t().contiguous(), places).t()
    assert found.tolist() == [[-4, -1, 0, 0], [6, 1, 0, 0]]


def test_bce_is_torchs(seed):
    z, positives, _ = problem((5, 9), seed)
    y = torch.zeros(5, 9, dtype=torch.float64)
    y[positives.rows, positives.labels] = 1
    expected = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="sum")
    torch.testing.assert_close(plain("bce", z, positives), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_of_narrow_logits_stay_narrow(loss, dtype, seed):
    z, _, places = problem((7, 5), seed)
    narrow = turned(z).to(dtype)
    expected = gradient_(loss, narrow.double(), places)
    found = gradient_(loss, narrow.clone(), places)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_target_is_subtracted_before_the_probability_is_rounded(dtype):
    """At a logit of 9 the probability is 0.99988, which rounds to 1."""
    found = gradient_("bce", torch.full((3, 2), 9.0, dtype=dtype), torch.tensor([0, 3]))
    slope = torch.tensor(9.0, dtype=torch.float64).sigmoid() - 1
    torch.testing.assert_close(found.view(-1)[[0, 3]].double(), slope.expand(2), rtol=4e-3, atol=0)
    assert found.view(-1)[[1, 2, 4, 5]].eq(1).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_nan_stays_nan(loss):
    z = torch.tensor([[0.0, float("nan")]])
    assert gradient_(loss, z.clone(), torch.tensor([0])).isnan().tolist() == [[False, True]]
    assert value_(loss, z.clone(), torch.tensor([0])).isnan()


def test_an_unknown_loss_is_refused():
    for loss in LOSSES:
        check_loss(loss)
    with pytest.raises(SettingError, match="bce or squared_hinge"):
        check_loss("hinge")


@pytest.mark.parametrize("center", [-15.0, 0.0, 15.0, 80.0])
def test_softplus_sum(center, seed):
    for n in (0, 1, 15, 16, 17, 50):
        z = 3 * torch.randn(n, 7, generator=torch.Generator().manual_seed(seed)) + center
        truth = -torch.nn.functional.logsigmoid(-z.double()).sum()
        torch.testing.assert_close(softplus_sum(z.clone()), truth, rtol=1e-6, atol=0)
