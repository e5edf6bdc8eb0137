"""The Triton bodies for narrow weights, interpreted on the CPU: every bit is that of the plain version.

All numbers are small multiples of powers of two, and so are the gradients of the squared hinge: sums are exact,
and the rounding alone decides the bits.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.all_labels_cases import Parts, widened
from support.triton_worker import call, dispatched
from torch import Tensor

from megalabel.kernels.all_labels import label_pass
from megalabel.kernels.all_labels.label_pass import Chunks, PositiveCells
from megalabel.kernels.all_labels.request import Request
from megalabel.kernels.core import dispatch
from megalabel.kernels.core.dtypes import BFLOAT16, FLOAT8, WeightType
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw, integers
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.kernels.updates.rule import StepContext
from megalabel.types import Positives

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here"),
]

N_TEXTS, N_LABELS, DIM = 5, 75, 67


def grid(rng: np.random.Generator, *shape: int) -> Tensor:
    """Multiples of 1/8 from -1 to 1."""
    return torch.from_numpy(rng.integers(-8, 9, shape)).float() / 8


def table_of(values: Tensor, kind: WeightType | None) -> Tensor | NarrowTable:
    if kind is None:
        return values.clone()
    table = NarrowTable.zeros(*values.shape, kind)
    table.store(0, values, Draw(0, 0))
    assert torch.equal(table.float(), values)
    return table


def bits_of(weight: Tensor | NarrowTable, rule: NarrowSGDRule) -> list[Tensor]:
    narrow = isinstance(weight, NarrowTable)
    parts = [weight.codes, weight.exponents] if narrow else [weight]
    return [part for part in (*parts, *rule.weight_state()) if part is not None]


@pytest.mark.parametrize(
    ("kind", "momentum", "buffer"),
    [
        (FLOAT8, 0.5, torch.bfloat16),
        (FLOAT8, 0.0, torch.float32),
        (BFLOAT16, 0.5, torch.float32),
        (None, 0.5, torch.bfloat16),
    ],
    ids=["float8", "float8 alone", "bfloat16", "momentum alone"],
)
def test_rules_round_as_the_plain_version(worker, kind, momentum, buffer, rng):
    x, values = grid(rng, N_TEXTS, DIM), grid(rng, N_LABELS, DIM)
    chunks = Chunks.for_shape(N_LABELS, DIM, N_TEXTS, torch.device("cpu"), 70)
    pairs = torch.from_numpy(rng.random((N_TEXTS, N_LABELS)) < 0.3).nonzero()
    cells = PositiveCells.from_positives(Positives.from_pairs(pairs[:, 0], pairs[:, 1]), N_TEXTS, chunks)
    rule = NarrowSGDRule(2.0**-6, momentum, 0.25, seed=5 << 40, momentum_dtype=buffer)
    rule.buffer = grid(rng, N_LABELS, DIM).to(buffer) if momentum else None
    n_parts = 2 if kind is FLOAT8 and momentum else 1
    steps = [StepContext.of_part(part, n_parts) for part in range(n_parts)]
    weights = [table_of(values, kind), table_of(values, kind)]
    rules = [replace(rule, buffer=None if rule.buffer is None else rule.buffer.clone()) for _ in range(2)]
    for step in steps:
        requests = [Request((True, True, False), 0.5, 0.5, r, step) for r in rules]
        for weight, request in zip(weights, requests, strict=True):
            request.prepare(weight if isinstance(weight, Tensor) else weight.codes, None)
        args = "squared_hinge", x, weights[0], None, cells, chunks, requests[0]
        found, left = call(worker, "all_labels.label_pass.gradients", *args)
        weights[0], rules[0] = left[2], left[-1].rule
        with dispatch.use("plain"):
            expected = label_pass.gradients("squared_hinge", x, weights[1], None, cells, chunks, requests[1])
        assert torch.equal(found.embedding, expected.embedding)
        for ours, theirs in zip(bits_of(weights[0], rules[0]), bits_of(weights[1], rules[1]), strict=True):
            assert torch.equal(integers_of(ours), integers_of(theirs))
    before = table_of(values, kind)
    assert any(not torch.equal(integers_of(a), integers_of(b)) for a, b in zip(
        bits_of(weights[0], rules[0]), bits_of(before, replace(rule)), strict=True
    ))  # fmt: skip


def integers_of(x: Tensor) -> Tensor:
    return integers(x) if x.dtype in (BFLOAT16.dtype, FLOAT8.dtype) else x


@pytest.mark.parametrize("kind", [FLOAT8, BFLOAT16], ids=["float8", "bfloat16"])
def test_numbers_of_every_size_are_rounded_as_in_the_plain_version(worker, kind, rng):
    """A buffer of arbitrary bits becomes the weights: 0 − 1 · buffer."""
    from_bits = rng.integers(0, 2**32, (40, 65), dtype=np.uint32)
    from_bits[:20] = from_bits[:20] & 0x87FFFFFF | 0x3C000000  # of one size
    from_bits[20:30] = from_bits[20:30] & 0x80FFFFFF  # subnormal in float32, or nearly
    buffer = torch.from_numpy(from_bits.view(np.int32)).view(torch.float32).clone()
    buffer[0], buffer[1, 3], buffer[2, 2] = 0, float("nan"), float("inf")
    buffer[3] = torch.finfo(torch.float32).max * torch.linspace(-1, 1, 65)  # beyond the largest of bfloat16
    rule = NarrowSGDRule(1.0, 0.5, 0.0, buffer=buffer.clone())
    table, x = NarrowTable.zeros(40, 65, kind), torch.zeros(1, 65)
    rule.prepare(table.codes, None, StepContext.of_part(1, 2))
    part = integers(table.codes), table.exponents, kind.bits
    _, left = call(
        worker, "all_labels.sgd_step.sgd_step", rule, torch.zeros(40, 1), x, Parts(*part), 0,
        StepContext.of_part(1, 2), 1.0,
    )  # fmt: skip
    with dispatch.use("plain"):
        table.store(0, 0 - buffer, rule.weight_draw)
    finite = buffer.isfinite().all(1) if kind is FLOAT8 else buffer.isfinite()
    assert torch.equal(left[3].codes[finite], integers(table.codes)[finite])
    assert left[3].codes[~finite].view(-1).view(kind.dtype).float().isnan().all()
    if table.exponents is not None:
        assert torch.equal(left[3].exponents[finite], table.exponents[finite])


@pytest.mark.parametrize("kind", [FLOAT8, BFLOAT16], ids=["float8", "bfloat16"])
def test_the_loss_of_narrow_weights(worker, kind, rng):
    x, table = grid(rng, N_TEXTS, DIM), table_of(grid(rng, N_LABELS, DIM), kind)
    positives = Positives.from_pairs(torch.arange(N_TEXTS), torch.arange(N_TEXTS) * 15)
    with torch.no_grad():
        value, _ = dispatched(
            worker, "megalabel.kernels.all_labels.all_labels_loss.all_labels_loss", x, table, None, positives
        )
    expected = label_pass_value(x, table, positives)
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=0)


def label_pass_value(x: Tensor, table: Tensor | NarrowTable, positives: Positives) -> Tensor:
    weight = widened(table.float())
    assert weight is not None
    chunks = Chunks.for_shape(len(weight), weight.shape[1], len(x), x.device, None)
    cells = PositiveCells.from_positives(positives, len(x), chunks)
    return label_pass.value("bce", x.double(), weight, None, cells, chunks)
