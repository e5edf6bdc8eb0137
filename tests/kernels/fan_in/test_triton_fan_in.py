"""The Triton bodies of fixed fan-in, interpreted on the CPU, against the densified layer in float64."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.triton_worker import call, interpreter
from torch import Tensor

from megalabel.kernels.all_labels.request import Request
from megalabel.kernels.fan_in import plain as fan_in_plain
from megalabel.kernels.fan_in.connections import input_dtype
from megalabel.kernels.fan_in.layer import FanIn
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.rule import StepContext
from megalabel.kernels.updates.sgd_rule import SGDRule

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here"),
]

# Labels, fan-in, width, texts, labels a group: groups from 16 on are products, below them rows are gathered.
SHAPES = {
    "one": (1, 1, 1, 1, 1),
    "odd": (37, 5, 3, 3, 1),  # more connections than inputs: duplicates everywhere
    "wide": (9, 11, 40000, 2, 1),
    "many texts": (12, 17, 300, 131, 1),
    "pairs": (35, 6, 20, 17, 2),
    "groups": (41, 7, 13, 5, 16),
    "whole groups": (32, 8, 30, 130, 16),
    "no text": (10, 3, 4, 0, 1),
    "groups without text": (10, 3, 4, 0, 16),
}
LOSSES = ("bce", "squared_hinge")
WANTED = [
    ("bce", (True, True, True)),
    ("squared_hinge", (True, True, False)),
    ("bce", (False, True, False)),
    ("squared_hinge", (True, False, True)),
]  # the loss, and which gradients


CHUNKS = ["one chunk", "many chunks"]


@pytest.fixture(scope="module")
def process():
    with interpreter() as started:
        yield started


@pytest.fixture(params=CHUNKS)
def worker(process, request):
    """The interpreting process, with that much memory for the logits of a chunk of labels."""
    call(process, "fan_in.fixed_fan_in.__setattr__", "_BYTES", 256 << 20 if request.param == "one chunk" else 400)
    return process


def problem(shape: str, rng: np.random.Generator, bias: bool = True) -> tuple[Tensor, FanIn, Tensor]:
    """x (D, B), a layer, and the places of a third of all pairs."""
    n, fan_in, dim, n_texts, group = SHAPES[shape]

    def normal(*size: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(size)).float()

    inputs = torch.from_numpy(rng.integers(0, dim, (-(-n // group), fan_in))).to(input_dtype(dim))
    layer = FanIn(normal(n, fan_in), normal(n) if bias else None, inputs, group, dim)
    return normal(dim, n_texts), layer, torch.from_numpy(rng.random(n * n_texts) < 0.3).nonzero()[:, 0]


def widened(layer: FanIn) -> FanIn:
    return replace(layer, weight=layer.weight.double(), bias=None if layer.bias is None else layer.bias.double())


def near(found: Tensor | None, expected: Tensor | None) -> None:
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert found.dtype == torch.float32
    largest = float(expected.abs().max()) if expected.numel() else 0.0  # of the terms of sums that cancel
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5 + 1e-6 * largest)


@pytest.mark.pairwise("worker", shape=SHAPES, bias=[True, False], worker=CHUNKS)
def test_scores(worker, shape, bias, rng):
    xt, layer, _ = problem(shape, rng, bias)
    n = layer.n_labels
    for start, stop in {(0, n), (n // 3, n), (n // 3, n - n // 4)}:  # in the middle of groups too
        z, _ = call(worker, "fan_in.fixed_fan_in.scores", xt, layer, start, stop)
        near(z, fan_in_plain.scores(xt.double(), widened(layer), start, stop))


@pytest.mark.pairwise("worker", shape=SHAPES, loss=LOSSES, worker=CHUNKS)
def test_value(worker, shape, loss, rng):
    xt, layer, places = problem(shape, rng)
    value, _ = call(worker, "fan_in.fixed_fan_in.value", xt, layer, loss, places)
    expected = fan_in_plain.value(xt.double(), widened(layer), loss, places)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.pairwise("worker", shape=SHAPES, wanted=WANTED, worker=CHUNKS)
def test_gradients(worker, shape, wanted, rng):
    loss, wants = wanted
    xt, layer, places = problem(shape, rng, bias=loss == "bce" or wants[2])
    request = Request(wants, scale=0.7, weight_scale=0.3)
    found, _ = call(worker, "fan_in.fixed_fan_in.gradients", xt, layer, loss, places, request)
    expected = fan_in_plain.gradients(xt.double(), widened(layer), loss, places, request)
    near(found.embedding, expected.embedding)
    near(found.weight, expected.weight)
    near(found.bias, expected.bias)
    again, _ = call(worker, "fan_in.fixed_fan_in.gradients", xt, layer, loss, places, request)
    for a, b in zip(vars(found).values(), vars(again).values(), strict=True):
        assert a is b is None or torch.equal(a, b)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_follows_from_slopes_that_are_mostly_zero(worker, shape, rng):
    xt, layer, places = problem(shape, rng)
    dz = torch.zeros(layer.n_labels, xt.shape[1])
    dz.view(-1)[places[::7]] = 1.5
    found, _ = call(worker, "fan_in.fixed_fan_in.spread", xt, layer, dz, (True, True, True))
    expected = fan_in_plain.spread(xt.double(), widened(layer), dz.double(), (True, True, True))
    for a, b in zip(vars(found).values(), vars(expected).values(), strict=True):
        near(a, b)
    assert torch.equal(found.weight[(dz == 0).all(1)], torch.zeros_like(found.weight)[(dz == 0).all(1)])


@pytest.mark.parametrize("shape", ["odd", "groups"])
def test_a_slope_that_is_nan_is_told(worker, shape, rng):
    xt, layer, _ = problem(shape, rng)
    dz = torch.zeros(layer.n_labels, xt.shape[1])
    dz[1, 2] = float("nan")
    found, _ = call(worker, "fan_in.fixed_fan_in.spread", xt, layer, dz, (True, True, True))
    assert found.weight[1].isnan().all() and found.bias[1].isnan()
    assert found.embedding[:, 2].isnan().any()


@pytest.mark.pairwise(
    "worker",
    shape=["odd", "pairs", "groups"],
    bias=[True, False],
    rule=[SGDRule(0.1, 0.0, 0.01), SGDRule(0.1, 0.9, 0.01), AdamRule(0.1, eps=0.1)],
    worker=CHUNKS,
)
def test_rules_learn_in_the_pass(worker, shape, bias, rule, rng):
    xt, layer, places = problem(shape, rng, bias)
    exact, rules = widened(layer), [replace(rule), replace(rule)]
    for part in range(4):  # two steps of two micro-batches
        for r, of_layer in zip(rules, (layer, exact), strict=True):
            r.prepare(of_layer.weight, of_layer.bias, StepContext.of_part(part % 2, 2))
        requests = [Request((True, True, bias), 0.7, 0.3, r, StepContext.of_part(part % 2, 2)) for r in rules]
        found, left = call(
            worker, "fan_in.fixed_fan_in.gradients", xt, layer, "squared_hinge", places, requests[0]
        )
        layer, rules[0] = left[1], left[4].rule
        expected = fan_in_plain.gradients(xt.double(), exact, "squared_hinge", places, requests[1])
        assert found.weight is None and found.bias is None
        near(found.embedding, expected.embedding)
        near(layer.weight, exact.weight)
        near(layer.bias, exact.bias)
        for a, b in zip(rules[0].weight_state(), rules[1].weight_state(), strict=True):
            near(a, b)


@pytest.mark.pairwise("worker", shape=SHAPES, loss=LOSSES, worker=CHUNKS)
def test_growth(worker, shape, loss, rng):
    xt, layer, places = problem(shape, rng)
    candidates = rng.integers(0, layer.dim, (len(layer.inputs), 9))
    candidates = torch.from_numpy(candidates).to(layer.inputs.dtype)
    found, _ = call(worker, "fan_in.fixed_fan_in.growth", xt, layer, loss, places, candidates)
    near(found, fan_in_plain.growth(xt.double(), widened(layer), loss, places, candidates))
