"""Labels of fixed fan-in against the densified layer in float64, differentiated by autograd."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fan_in_cases import Case, case, close

from megalabel.kernels.all_labels import label_loss
from megalabel.kernels.all_labels.streaming_topk import plain_of
from megalabel.kernels.fan_in.connections import first_inputs
from megalabel.kernels.fan_in.fixed_fan_in import (
    densify,
    fan_in_growth,
    fan_in_loss,
    fan_in_scores,
    fan_in_topk,
    plain,
)
from megalabel.types import Positives

pytestmark = pytest.mark.usefixtures("threads", "poisoned")

DTYPES = [torch.float32, torch.float64]  # numba, and the plain version
LOSSES = list(label_loss.LOSSES)
SHAPES = {  # labels, fan-in, width, texts, labels a group
    "one of each": (1, 1, 1, 1, 1),
    "one connection": (53, 1, 7, 3, 1),
    "more connections than inputs": (37, 11, 4, 5, 1),
    "one text": (21, 6, 20, 1, 1),
    "a narrow block": (21, 4, 20, 16, 1),
    "a wide block, cut": (21, 7, 20, 17, 1),
    "a wide block": (70, 33, 40, 64, 1),
    "several blocks": (19, 5, 30, 200, 1),
    "two wide blocks, int32": (9, 3, 32769, 81, 1),
    "groups, the last short": (70, 5, 30, 64, 16),
    "groups, narrow": (41, 6, 300, 7, 32),
    "groups, several blocks": (35, 3, 30, 133, 16),
    "three a group": (10, 4, 12, 65, 3),
    "one group": (5, 4, 12, 5, 32),
    "no text": (12, 3, 5, 0, 1),
    "groups without text": (12, 3, 5, 0, 16),
}


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once for every type of inputs, outside any test's time."""
    for dim in (9, 300, 32769):
        c = case(0, dim=dim).of(torch.float32)
        c.loss("bce").backward()


def shaped(shape: str, seed: int, bias: bool = True) -> Case:
    n_labels, fan_in, dim, n_texts, group = SHAPES[shape]
    return case(seed, n_labels, fan_in, dim, n_texts, group, bias)


def test_densify_adds_up_what_meets(seed):
    c = case(seed, fan_in=7, dim=4, group=3)
    assert torch.equal(densify(c.weight, c.inputs, 4, 3), c.dense_weight())


@pytest.mark.pairwise("threads", shape=SHAPES, loss=LOSSES, bias=[True, False], dtype=DTYPES, threads=[1, 2])
def test_loss_and_gradients_equal_the_dense_layer(shape, loss, bias, dtype, seed):
    c = shaped(shape, seed, bias)
    ours, truth = c.of(dtype), c.of(torch.float64)
    found, expected = ours.loss(loss, scale=0.3), truth.truth(loss, scale=0.3)
    assert found.dtype == dtype
    close(found, expected)
    gradients = torch.autograd.grad(2 * found, ours.parameters)
    for a, e in zip(gradients, torch.autograd.grad(2 * expected, truth.parameters), strict=True):
        close(a, e)


@pytest.mark.pairwise("threads", shape=SHAPES, dtype=DTYPES, threads=[1, 2])
def test_scores_and_their_gradients_equal_the_dense_layer(shape, dtype, seed):
    c = shaped(shape, seed)
    ours, truth = c.of(dtype), c.of(torch.float64)
    z = fan_in_scores(ours.x, ours.weight, ours.bias, c.inputs, c.group)
    expected = truth.x @ densify(truth.weight, c.inputs, c.x.shape[1], c.group).t() + truth.bias
    close(z, expected)
    upstream = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    upstream[:, ::2] = 0
    gradients = torch.autograd.grad(z, ours.parameters, upstream.to(dtype))
    for a, e in zip(gradients, torch.autograd.grad(expected, truth.parameters, upstream), strict=True):
        close(a, e)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    n_labels=st.integers(1, 40),
    fan_in=st.integers(1, 20),
    dim=st.integers(1, 24),
    n_texts=st.integers(0, 140),
    group=st.integers(1, 40),
    loss=st.sampled_from(LOSSES),
    bias=st.booleans(),
    density=st.sampled_from([0.0, 0.05, 1.0]),
)
def test_any_shape(seed, n_labels, fan_in, dim, n_texts, group, loss, bias, density):
    c = case(seed, n_labels, fan_in, dim, n_texts, group, bias, density)
    ours, truth = c.of(torch.float32), c.of(torch.float64)
    found, expected = ours.loss(loss), truth.truth(loss)
    close(found, expected)
    for a, e in zip(
        torch.autograd.grad(found, ours.parameters), torch.autograd.grad(expected, truth.parameters), strict=True
    ):
        close(a, e)


@pytest.mark.parametrize("group", [1, 4])
def test_a_label_whose_inputs_are_all_the_same(group, seed):
    c = case(seed, n_labels=12, fan_in=8, dim=5, n_texts=20, group=group)
    c.inputs[1] = c.inputs[1, 0]
    ours, truth = c.of(torch.float32), c.of(torch.float64)
    gradients = torch.autograd.grad(ours.loss("bce"), ours.parameters)
    for a, e in zip(gradients, torch.autograd.grad(truth.truth("bce"), truth.parameters), strict=True):
        close(a, e)
    assert (gradients[1][group] == gradients[1][group][0]).all()


@pytest.mark.pairwise("threads", n_texts=[5, 64, 80], group=[1, 16], threads=[1, 2])
def test_a_hinge_without_slope_moves_nothing(n_texts, group, seed):
    c = case(seed, n_labels=50, n_texts=n_texts, group=group).of(torch.float32)
    with torch.no_grad():
        c.bias.fill_(-100)
        c.weight[7] = 0
        c.bias[7] = 0  # wrong for everybody
    right = c.positives.labels < 0
    c.positives = Positives(c.positives.rows[right], c.positives.labels[right])
    gradients = torch.autograd.grad(c.loss("squared_hinge"), c.parameters)
    assert (gradients[0] == 0).all()  # label 7 has weights of 0
    assert (gradients[2][7] - 2 * n_texts).abs() < 1e-3
    others = torch.arange(50) != 7
    assert (gradients[1][others] == 0).all() and (gradients[2][others] == 0).all()
    assert (gradients[1][7] != 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_logits_far_out(loss):
    weight = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    inputs = torch.zeros(2, 1, dtype=torch.uint8)
    x = torch.tensor([[0.0], [50.0], [-79.0], [200.0], [-1e30]], requires_grad=True)
    positives = Positives.from_pairs(torch.tensor([1, 3]), torch.tensor([0, 1]))
    (found,) = torch.autograd.grad(fan_in_loss(x, weight, None, inputs, positives, loss=loss, value=False), x)
    wide = x.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(
        plain(wide, weight.detach().double(), None, inputs, positives, loss=loss), wide
    )
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.pairwise("threads", n_texts=[3, 64], group=[1, 16], dtype=DTYPES, threads=[1, 2])
def test_the_best_labels_are_those_of_all_scores(n_texts, group, dtype, seed):
    c = case(seed, n_labels=90, dim=300, n_texts=n_texts, group=group).of(dtype)
    generator = torch.Generator().manual_seed(seed)
    row_to_label = torch.randperm(90, generator=generator)
    scores = fan_in_scores(c.x, c.weight, c.bias, c.inputs, group).detach().float()
    found = fan_in_topk(c.x, c.weight, c.bias, c.inputs, 7, c.positives, group=group, row_to_label=row_to_label)
    expected = plain_of(scores, 7, c.positives, row_to_label)
    assert torch.equal(found.ids, expected.ids)
    assert torch.equal(found.scores, expected.scores)


@pytest.mark.pairwise(
    "threads",
    shape=["several blocks", "groups, the last short", "one of each", "no text"],
    loss=LOSSES,
    dtype=DTYPES,
    threads=[1, 2],
)
def test_growth_is_the_dense_gradient_at_the_candidates(shape, loss, dtype, seed):
    c = shaped(shape, seed)
    ours, truth = c.of(dtype), c.of(torch.float64)
    candidates = first_inputs(len(c.inputs), 6, c.x.shape[1], seed=seed, distinct=False)
    found = fan_in_growth(
        ours.x, ours.weight, ours.bias, c.inputs, c.positives, candidates, group=c.group, loss=loss
    )
    dense = densify(truth.weight.detach(), c.inputs, c.x.shape[1], c.group).requires_grad_()
    value = label_loss.plain(loss, truth.x.detach() @ dense.t() + truth.bias.detach(), c.positives)
    (gradient,) = torch.autograd.grad(value, dense)
    squares = torch.zeros(len(c.inputs), c.x.shape[1], dtype=torch.float64)
    squares.index_add_(0, torch.arange(len(gradient)) // c.group, gradient.square())
    close(found, squares.gather(1, candidates.long()).sqrt())
