"""The Triton bodies of the loss over all labels, interpreted on the CPU, against the plain pass in float64."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.all_labels_cases import Inherited, loss_and_gradients, widened
from support.triton_worker import call, dispatched
from torch import Tensor

from megalabel.kernels.all_labels import label_pass
from megalabel.kernels.all_labels.implementation import pass_for
from megalabel.kernels.all_labels.label_pass import Chunks, PositiveCells
from megalabel.kernels.all_labels.request import Gradients, Request
from megalabel.kernels.core import dispatch
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.rule import StepContext
from megalabel.kernels.updates.sgd_rule import SGDRule
from megalabel.types import Positives

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here"),
]

# Texts, labels, width, labels of a chunk: a tile is 64 or 128 labels, 16 to 128 texts, 64 columns.
SHAPES = {
    "one": (1, 1, 1, 1),
    "odd": (5, 75, 67, 70),
    "many texts": (131, 9, 3, 9),
    "many labels": (2, 600, 3, 600),
}
CASES = [("one", "bce"), ("odd", "bce"), ("odd", "squared_hinge"), ("many texts", "bce"), ("many labels", "bce")]


class Problem:
    """Embeddings, weights, bias, positives (up to a third of all pairs) and weights of texts, in float32."""

    def __init__(self, shape: str, rng: np.random.Generator) -> None:
        n_texts, n, dim, chunk = SHAPES[shape]

        def normal(*size: int) -> Tensor:
            return torch.from_numpy(rng.standard_normal(size)).float()

        self.x, self.weight, self.bias = normal(n_texts, dim), normal(n, dim) / dim**0.5, normal(n)
        self.text_weights = torch.from_numpy(rng.random(n_texts)).float()
        self.chunks = Chunks.for_shape(n, dim, n_texts, torch.device("cpu"), chunk)
        pairs = torch.from_numpy(rng.random((n_texts, n)) < (0.05 if n_texts > 100 else 0.3)).nonzero()
        self.positives = Positives.from_pairs(pairs[:, 0], pairs[:, 1])
        self.cells = PositiveCells.from_positives(self.positives, n_texts, self.chunks)

    def arguments(self, loss: str, dtype: torch.dtype = torch.float32) -> tuple:
        parts = [x.to(dtype, copy=True) for x in (self.x, self.weight, self.bias)]
        return loss, *parts, self.cells, self.chunks


def near(found: Tensor | None, expected: Tensor | None, rtol: float = 1e-4) -> None:
    if expected is None:
        assert found is None
        return
    assert found is not None
    torch.testing.assert_close(found.double(), expected, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize(("shape", "loss"), CASES)
def test_value_and_gradients(worker, shape, loss, rng):
    problem = Problem(shape, rng)
    weights = problem.text_weights if shape == "odd" else None
    value, _ = call(worker, "all_labels.label_pass.value", *problem.arguments(loss), weights)
    expected = label_pass.value(*problem.arguments(loss, torch.float64), widened(weights))
    assert value.dtype == torch.float64
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)

    request = Request((True, True, True), 0.7, 0.3, text_weights=weights)
    found, _ = call(worker, "all_labels.label_pass.gradients", *problem.arguments(loss), request)
    wide = label_pass.gradients(*problem.arguments(loss, torch.float64), request)
    for a, b in zip(vars(found).values(), vars(wide).values(), strict=True):
        near(a, b)


def test_the_public_function_finds_the_kernels(worker, rng):
    problem = Problem("odd", rng)
    parts = problem.x, problem.weight, problem.bias
    found, _ = dispatched(worker, "support.all_labels_cases.loss_and_gradients", *parts, problem.positives)
    expected = loss_and_gradients(*(part.double() for part in parts), problem.positives)
    for a, b in zip(found, expected, strict=True):
        near(a, b)
    with dispatch.use("triton"):
        assert pass_for(*parts[:2]).__name__.endswith("_triton.label_pass")
        assert pass_for(parts[0].double(), parts[1].double()) is label_pass
        assert pass_for(parts[0][:0], parts[1]) is label_pass
    assert pass_for(*parts[:2]) is label_pass


def test_only_what_is_wanted_is_computed(worker, rng):
    problem = Problem("one", rng)
    for wants in ((True, False, False), (False, True, False), (False, False, True)):
        found, _ = call(worker, "all_labels.label_pass.gradients", *problem.arguments("bce"), Request(wants))
        assert tuple(part is not None for part in vars(found).values()) == wants


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_target_is_subtracted_before_the_gradient_is_rounded(worker, dtype, rng):
    """At a logit of 9 the probability is 0.99988, which rounds to 1."""
    problem = Problem("odd", rng)
    loss, x, weight, bias, _, chunks = problem.arguments("bce")
    weight.zero_()
    every = torch.ones(x.shape[0], 1).nonzero()
    cells = PositiveCells.from_positives(Positives.from_pairs(every[:, 0], every[:, 1]), x.shape[0], chunks)
    args = loss, x.to(dtype), weight, torch.full_like(bias, 9.0), cells, chunks, Request((False, False, True))
    found, _ = call(worker, "all_labels.label_pass.gradients", *args)
    slope = x.shape[0] * (torch.tensor(9.0, dtype=torch.float64).sigmoid() - 1)
    near(found.bias[0] / slope, torch.ones((), dtype=torch.float64), rtol=4e-3)


@pytest.mark.parametrize("loss", ["bce", "squared_hinge"])
def test_extreme_logits_keep_their_precision_and_nan_is_told(worker, loss, rng):
    problem = Problem("many texts", rng)
    name, x, weight, _, cells, chunks = problem.arguments(loss)
    bias = torch.tensor([-80.0, -15.0, -1.0, 0.0, 1e-3, 15.0, 80.0, 1.0, -1.0])
    weight.zero_()
    value, _ = call(worker, "all_labels.label_pass.value", name, x, weight, bias, cells, chunks)
    expected = label_pass.value(name, x.double(), weight.double(), bias.double(), cells, chunks)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    for number in ("nan", "inf"):
        bias[1] = float(number)
        value, _ = call(worker, "all_labels.label_pass.value", name, x, weight, bias, cells, chunks)
        assert not value.isfinite()


RULES = {
    "sgd": ("many texts", SGDRule(0.1, 0.0, 0.2)),  # more texts than are multiplied at a time
    "momentum": ("odd", SGDRule(0.1, 0.9, 0.2)),
    "adam": ("odd", AdamRule(0.1, (0.8, 0.9), 0.1, 0.2)),
    "inherited": ("odd", Inherited(0.1, 0.9, 0.2)),
}


@pytest.mark.parametrize("name", RULES)
def test_rules_learn_in_the_pass(worker, name, rng):
    shape, rule = RULES[name]
    problem = Problem(shape, rng)
    ours, exact = problem.arguments("bce"), problem.arguments("bce", torch.float64)
    rules = [replace(rule), replace(rule)]
    parts = [StepContext.of_part(0, 2), StepContext.of_part(1, 2)]
    for step in (StepContext(), StepContext()) if name == "adam" else (StepContext(), *parts):
        requests = []
        for r, args in zip(rules, (ours, exact), strict=True):
            requests.append(Request((True, True, True), 0.7, 0.3, r, step))
            requests[-1].prepare(args[2], args[3])
        found, left = call(worker, "all_labels.label_pass.gradients", *ours, requests[0])
        ours, rules[0] = left[:-1], left[-1].rule
        expected: Gradients = label_pass.gradients(*exact, requests[1])
        assert found.weight is None and found.bias is None
        near(found.embedding, expected.embedding)  # of the weights before the update
        near(ours[2], exact[2])
        near(ours[3], exact[3])
        for a, b in zip(rules[0].weight_state(), rules[1].weight_state(), strict=True):
            near(a, b)
