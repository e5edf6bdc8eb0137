"""Stochastic rounding: unbiased on every interval of the grid, the same bits everywhere, and nothing saturates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from megalabel.kernels.core import dispatch
from megalabel.kernels.core.dtypes import BFLOAT16, FLOAT8, WeightType
from megalabel.kernels.core.random import row_bits, row_keys
from megalabel.kernels.rounding.stochastic_rounding import Draw, load_rows, plain_round, row_exponents, store_rows

NARROW = [BFLOAT16, FLOAT8]
BACKENDS = ["plain", "cpu"]
FIRST = Draw(1, 0)


def stored(values: Tensor, kind: WeightType, draw: Draw = FIRST, first_row: int = 0):
    """Codes and exponents of rounded rows."""
    codes = torch.zeros(values.shape, dtype=kind.dtype)
    exponents = torch.zeros(len(values), dtype=torch.int8) if kind.scale == "row" else None
    store_rows(values, codes, exponents, kind, draw, first_row)
    return codes, exponents


def rounded(values: Tensor, kind: WeightType, draw: Draw = FIRST) -> Tensor:
    """Values that went through storage."""
    return load_rows(*stored(values, kind, draw), kind, torch.empty(values.shape))


def grid(kind: WeightType) -> Tensor:
    """Finite numbers of 0 or more of a type in their order, float64: all of float8, all exponents of bfloat16."""
    if kind is FLOAT8:
        return torch.arange(0x7F, dtype=torch.uint8).view(torch.float8_e4m3fn).double()
    ends = torch.arange(0, 0x7F80, 128)[:, None] + torch.tensor([0, 1, 77, 78, 127])
    return ends.reshape(-1).to(torch.int16).view(torch.bfloat16).double()


def intervals(kind: WeightType) -> tuple[Tensor, Tensor]:
    """Neighbors on the grid, of both signs: (n,) lower and upper ends by absolute value."""
    numbers = grid(kind)
    low, high = numbers[:-1], numbers[1:]
    if kind is BFLOAT16:
        following = (low.to(torch.bfloat16).view(torch.int16) + 1).view(torch.bfloat16).double()
        low, high = low[following == high], high[following == high]
    return torch.cat([low, -low]), torch.cat([high, -high])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", NARROW, ids=lambda kind: kind.name)
def test_rounding_is_unbiased_on_every_interval_of_the_grid(kind, backend):
    low, high = intervals(kind)
    n_draws, random = (10_000 if kind is FLOAT8 else 1_000), torch.Generator().manual_seed(2)
    share = torch.rand(len(low), n_draws, generator=random).double()
    share[:, : n_draws // 4] = 1 / 64  # most of an update's chance lies near the ends
    values = (low[:, None] + (high - low)[:, None] * share).float()
    exact = (values.double() - low[:, None]) / (high - low)[:, None]
    scaled = values
    if kind is FLOAT8:  # the first number keeps the scale of the row at 1
        scaled = torch.cat([torch.full((len(low), 1), 448.0), values], dim=1)
    with dispatch.use(backend):
        found = rounded(scaled, kind)[:, -n_draws:]
    ups = (found.double() - low[:, None]) / (high - low)[:, None]
    assert set(ups.unique().tolist()) <= {0.0, 1.0}  # one of the two neighbors
    error = (ups - exact).sum(1) / (exact * (1 - exact)).sum(1).sqrt()
    # With several hundred intervals the largest of as many normal deviates is near 3; 4 standard errors of each
    # interval are asked, and of their sum.
    assert float(error.abs().max()) < 4
    assert abs(float(error.sum())) < 4 * len(error) ** 0.5


@pytest.mark.parametrize("kind", NARROW, ids=lambda kind: kind.name)
def test_the_compiled_body_has_the_bits_of_the_definition(kind):
    random = torch.Generator().manual_seed(0)
    values = torch.randn(50, 37, generator=random) * torch.logspace(-44, 38, 50)[:, None]
    values[::7, ::5], values[3] = 0.0, 0.0
    values[:, 4] *= 1e-6
    values[10, 3], values[20, 5], values[30, 1:3] = torch.inf, torch.nan, torch.finfo(torch.float32).max
    both = []
    for backend in BACKENDS:
        with dispatch.use(backend):
            codes, exponents = stored(values, kind, Draw(2**40 + 3, 5), 11)
            both.append((codes.float(), exponents, load_rows(codes, exponents, kind, torch.empty(values.shape))))
    for ours, truth in zip(both[1], both[0], strict=True):
        if truth is not None:
            torch.testing.assert_close(ours, truth, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("kind", NARROW, ids=lambda kind: kind.name)
@pytest.mark.parametrize("backend", BACKENDS)
def test_bits_depend_on_the_row_and_not_on_the_chunk(kind, backend):
    values = torch.randn(20, 9, generator=torch.Generator().manual_seed(0))
    with dispatch.use(backend):
        whole = rounded(values, kind)
        codes, exponents = stored(values[:13], kind)
        rest = stored(values[13:].contiguous(), kind, first_row=13)
        parts = [load_rows(codes, exponents, kind, torch.empty(13, 9))]
        parts.append(load_rows(*rest, kind, torch.empty(7, 9)))
        assert torch.equal(torch.cat(parts), whole)
        assert not torch.equal(rounded(values, kind, Draw(1, 1)), whole)
        assert not torch.equal(rounded(values, kind, Draw(2, 0)), whole)


def test_numbers_on_the_grid_are_kept():
    for kind in NARROW:
        numbers = grid(kind).float()[None]
        assert torch.equal(rounded(torch.cat([numbers, -numbers]), kind), torch.cat([numbers, -numbers]))
        once = rounded(torch.randn(30, 8, generator=torch.Generator().manual_seed(3)), kind)
        assert torch.equal(rounded(once, kind, Draw(1, 9)), once)


@pytest.mark.parametrize("size", [1e-25, 1e-5, 0.37, 448.0, 449.0, 1e6, 3e38])
def test_a_row_is_scaled_so_that_its_largest_number_fits(size):
    values = torch.tensor([[size, -size / 3, size / 4000, 0.0]])
    exponent = int(row_exponents(values, FLOAT8)[0])
    assert 224 * 2.0**exponent < size <= 448 * 2.0**exponent
    for backend in BACKENDS:
        with dispatch.use(backend):
            found = rounded(values, FLOAT8)
        assert abs(float(found[0, 0]) - size) <= size / 8
        assert abs(float(found[0, 2]) - size / 4000) <= size / 4000 / 8


@pytest.mark.parametrize("start", [0.0, 0.0009, 0.008, 0.2])
@pytest.mark.parametrize("kind", NARROW, ids=lambda kind: kind.name)
def test_two_thousand_tiny_updates_arrive(kind, start):
    n, steps, update = 400, 2000, -1e-5
    values = torch.full((4, n), start)
    values[:, 0] = 0.25  # the largest number of its row
    codes, exponents = stored(values, kind)
    for number in range(1, steps + 1):
        values = load_rows(codes, exponents, kind, values)
        values[:, 1:] += update
        store_rows(values, codes, exponents, kind, Draw(1, number))
    found = load_rows(codes, exponents, kind, values)[:, 1:].double()
    expected = start + steps * update
    error = float(found.std()) / found.numel() ** 0.5
    assert abs(float(found.mean()) - expected) < 4 * error + 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
def test_bfloat16_beyond_its_largest_number_is_the_largest(backend):
    most = torch.finfo(torch.float32).max
    with dispatch.use(backend):
        found = rounded(torch.tensor([[most, -most]]), BFLOAT16)
    assert found.tolist() == [[BFLOAT16.largest, -BFLOAT16.largest]]


def test_random_bits_are_uniform_and_unrelated_between_rows_columns_and_numbers():
    keys = np.concatenate([row_keys(7, np.arange(64), number) for number in (0, 1)])
    bits = row_bits(keys, 256).double() / 2**31
    assert abs(float(bits.mean()) - 0.5) < 4 * (1 / 12 / bits.numel()) ** 0.5
    centered = bits - bits.mean()
    n = centered.numel() ** 0.5
    for a, b in (
        (centered[:, 1:], centered[:, :-1]),
        (centered[1:], centered[:-1]),
        (centered[:64], centered[64:]),
    ):
        assert abs(float((a * b).mean())) * 12 < 5 / n


def test_the_definition_is_that_of_a_table_of_all_numbers():
    numbers = grid(FLOAT8)
    values = torch.rand(3000, generator=torch.Generator().manual_seed(5)).double() ** 4 * 440
    bits = torch.randint(0, 2**31, (3000,), generator=torch.Generator().manual_seed(6))
    above = torch.searchsorted(numbers, values, right=True)
    low, high = numbers[above - 1], numbers[above]
    expected = torch.where(bits < (values - low) / (high - low) * 2.0**31, high, low)
    assert torch.equal(plain_round(values, FLOAT8, bits), expected)
    assert torch.equal(plain_round(-values, FLOAT8, bits), -expected)
