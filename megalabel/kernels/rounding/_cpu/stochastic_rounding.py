"""Numba implementation of `stochastic_rounding.py`: one row after the other, in integers (`row_codes.py`)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.core._cpu.compiling import compiled
from megalabel.kernels.core._cpu.pointers import pointer
from megalabel.kernels.core.dtypes import WeightType
from megalabel.kernels.rounding._cpu.row_codes import read8, read16, round8, round16


def store(
    values: Tensor,
    codes: Tensor,
    exponents: Tensor | None,
    kind: WeightType,
    draw: tuple[int, int, int],
    rows: np.ndarray,
    places: np.ndarray,
) -> None:
    """See `stochastic_rounding.store_rows`."""
    given, seed, number = values.detach().numpy(), np.uint64(draw[0] % 2**64), np.int64(draw[1])
    if exponents is None:
        _store_bfloat16(given, raw(codes), seed, number, rows, places)
    else:
        _store_float8(given, raw(codes), exponents.numpy(), seed, number, rows, places)


def load(codes: Tensor, exponents: Tensor | None, out: Tensor, places: np.ndarray) -> None:
    """See `stochastic_rounding.load_rows`."""
    if exponents is None:
        _load_bfloat16(raw(codes), out.numpy(), places)
    else:
        _load_float8(raw(codes), exponents.numpy(), out.numpy(), places)


def raw(codes: Tensor) -> np.ndarray:
    """The codes as unsigned integers, in the same memory."""
    codes = codes.detach()
    if codes.element_size() == 1:
        return codes.view(torch.uint8).numpy()
    return codes.view(torch.int16).numpy().view(np.uint16)


@compiled
def _store_float8(values, codes, exponents, seed, number, rows, places):
    n, given, into, scales = values.shape[1], pointer(values), pointer(codes), pointer(exponents)
    for i in range(len(rows)):
        round8(given, i * n, into, scales, rows[i], n, seed, number, places[i])


@compiled
def _store_bfloat16(values, codes, seed, number, rows, places):
    n, given, into = values.shape[1], pointer(values), pointer(codes)
    for i in range(len(rows)):
        round16(given, i * n, into, rows[i], n, seed, number, places[i])


@compiled
def _load_float8(codes, exponents, out, places):
    n, own, into = codes.shape[1], pointer(codes), pointer(out)
    for i in range(len(places)):
        read8(own, places[i] * n, np.int64(exponents[places[i]]), into, i * n, n)


@compiled
def _load_bfloat16(codes, out, places):
    n, own, into = codes.shape[1], pointer(codes), pointer(out)
    for i in range(len(places)):
        read16(own, places[i] * n, into, i * n, n)
