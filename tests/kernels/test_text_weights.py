"""Weights of texts: twice the weight is the text twice, the weight 0 is no text, and ones change no bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support import candidate_cases, fan_in_cases
from support.backends import using
from torch import Tensor

from megalabel.kernels.all_labels.all_labels_loss import SGDRule, all_labels_loss
from megalabel.kernels.candidates.candidate_scores import candidate_bce, plain_bce
from megalabel.kernels.fan_in.fixed_fan_in import fan_in_growth, fan_in_loss
from megalabel.types import Positives

LOSSES = ("bce", "squared_hinge")
BACKENDS = ("plain", "cpu")
COUNTS = [2, 0, 1, 3, 1, 0]  # how often each of six texts occurs, as its weight


def repeated(positives: Positives) -> tuple[Tensor, Positives]:
    """The rows of the batch in which each text occurs as often as `COUNTS` says, and its pairs."""
    rows = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
    pairs = [(i, int(label)) for i, row in enumerate(rows) for label in positives.labels[positives.rows == row]]
    at = torch.tensor(pairs)
    return rows, Positives.from_pairs(at[:, 0], at[:, 1])


def weighted(positives: Positives, dtype: torch.dtype = torch.float32) -> Positives:
    return replace(positives, weights=torch.tensor(COUNTS, dtype=dtype))


def summed(gradient: Tensor, rows: Tensor) -> Tensor:
    """The gradients of copies of a text, added."""
    return gradient.new_zeros(len(COUNTS), gradient.shape[1]).index_add_(0, rows, gradient)


def results(
    function: Callable[..., Tensor], tensors: tuple[Tensor, ...], *rest: Any, **options: Any
) -> list[Tensor]:
    """The value of a loss and the gradients of its tensors."""
    own = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    value = function(*own, *rest, **options)
    value.backward()
    return [value.detach(), *(tensor.grad for tensor in own if tensor.grad is not None)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("group", [1, 4])
def test_a_sparse_layer(loss, backend, group, dtype):
    c = fan_in_cases.case(1, n_labels=70, group=group)
    x, weight, bias = (t.to(dtype) for t in (c.x, c.weight, c.bias))
    rows, pairs = repeated(c.positives)
    found = using(
        backend, results, fan_in_loss, (x, weight, bias), c.inputs, weighted(c.positives), group=group, loss=loss
    )
    truth = using(backend, results, fan_in_loss, (x[rows], weight, bias), c.inputs, pairs, group=group, loss=loss)
    truth[1] = summed(truth[1], rows)
    for ours, theirs in zip(found, truth, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sparse_layer_with_more_texts_than_a_block(loss, backend):
    generator = torch.Generator().manual_seed(0)
    c = fan_in_cases.case(2, n_texts=150, n_labels=40)
    weights = torch.rand(150, generator=generator)
    pairs = replace(c.positives, weights=weights)
    x, weight, bias = (t.float() for t in (c.x, c.weight, c.bias))
    found = using(backend, results, fan_in_loss, (x, weight, bias), c.inputs, pairs, loss=loss)
    own = [t.double().requires_grad_() for t in (x.detach(), weight.detach(), bias.detach())]
    truth = fan_in_cases.plain(*own, c.inputs, pairs, loss=loss)
    truth.backward()
    for ours, theirs in zip(found, [truth.detach(), *(t.grad for t in own)], strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-3)
    grown = using(backend, fan_in_growth, x, weight, bias, c.inputs, pairs, c.inputs, loss=loss)
    truth_of = using("plain", fan_in_growth, x.double(), weight.double(), bias.double(), c.inputs, pairs, c.inputs,
                     loss=loss)  # fmt: skip
    torch.testing.assert_close(grown.double(), truth_of, rtol=1e-4, atol=1e-3)


def all_labels_case(seed: int = 0) -> tuple[tuple[Tensor, Tensor, Tensor], Positives]:
    generator = torch.Generator().manual_seed(seed)
    tensors = torch.randn(6, 8, generator=generator), torch.randn(50, 8, generator=generator)
    rows, labels = torch.arange(6).repeat_interleave(3), torch.randint(0, 50, (18,), generator=generator)
    return (*tensors, torch.randn(50, generator=generator)), Positives.from_pairs(rows, labels)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_dense_layer(loss, dtype):
    (x, weight, bias), positives = all_labels_case()
    x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
    rows, pairs = repeated(positives)
    found = results(all_labels_loss, (x, weight, bias), weighted(positives), loss=loss, chunk=7)
    truth = results(all_labels_loss, (x[rows], weight, bias), pairs, loss=loss, chunk=7)
    truth[1] = summed(truth[1], rows)
    for ours, theirs in zip(found, truth, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_update_in_the_backward_pass(kind, backend):
    c = fan_in_cases.case(1, n_labels=50)
    (x, weight, bias), positives = all_labels_case()
    rows, _ = repeated(positives)
    more: tuple[Tensor, ...] = ()
    loss: Any = all_labels_loss
    if kind == "sparse":
        loss, more, positives = fan_in_loss, (c.inputs,), c.positives
        x, weight, bias = (t.detach().float() for t in (c.x, c.weight, c.bias))
    pairs = repeated(positives)[1]
    states = []
    for batch, own in ((x, weighted(positives)), (x[rows], pairs)):
        w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
        value = using(backend, loss, batch, w, b, *more, own, rule=SGDRule(0.01), loss="bce")
        using(backend, value.backward)
        states.append((w.detach(), b.detach()))
    for ours, theirs in zip(*states, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not torch.equal(states[0][0], weight)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("backend", BACKENDS)
def test_candidates(backend, dtype):
    c = candidate_cases.case(3)
    weights = torch.from_numpy(np.random.default_rng(0).random(len(c.views))).to(dtype)
    weights[1] = 0
    pairs = replace(c.positives, weights=weights)
    views, weight, bias = c.of(dtype)
    value, _, gradient = using(backend, candidate_bce, views, weight, bias, c.candidates, pairs, 0.25)
    value.backward()
    of_weight, of_bias = gradient.dense(len(weight))
    own, w, b = c.of(torch.float64)
    w.requires_grad_(), b.requires_grad_()
    truth = plain_bce(own, w, b, c.candidates, pairs, 0.25)
    truth.backward()
    near = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
    for ours, theirs in ((value, truth), (views.grad, own.grad), (of_weight, w.grad), (of_bias, b.grad)):
        torch.testing.assert_close(ours.detach().double(), theirs.detach(), **near)
    assert not views.grad[1].any()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_ones_change_no_bit(loss, backend):
    c = fan_in_cases.case(1, n_labels=70)
    x, weight, bias = (t.detach().float() for t in (c.x, c.weight, c.bias))
    (dense_x, dense, dense_bias), positives = all_labels_case()
    for run, tensors, rest, pairs in (
        (fan_in_loss, (x, weight, bias), (c.inputs,), c.positives),
        (all_labels_loss, (dense_x, dense, dense_bias), (), positives),
    ):
        none = using(backend, results, run, tensors, *rest, pairs, loss=loss)
        ones = using(backend, results, run, tensors, *rest, replace(pairs, weights=torch.ones(6)), loss=loss)
        for before, after in zip(none[1:], ones[1:], strict=True):
            assert torch.equal(before, after)
